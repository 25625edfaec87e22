"""Splitting against recorded patches and a simple splitter, object by object."""

import itertools
import json
import logging
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
import shapely

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Labels, read_ids
from DOTA_devkit.images import find_images
from DOTA_devkit.imaging import ReadOptions
from DOTA_devkit.splitting import (
    LabelCutter,
    SplitOptions,
    WindowedTiff,
    open_source,
    resized_wh,
    split,
    split_folder,
    split_images,
    windows,
)
from helpers.rasters import write_tiff


def labels_of(corners: np.ndarray, names=None, difficult=None) -> Labels:
    count = len(corners)
    return Labels(
        np.asarray(corners, np.float64).reshape(-1, 4, 2),
        tuple(names or ["ship"] * count),
        np.zeros(count, np.int64) if difficult is None else np.asarray(difficult),
        np.arange(1, count + 1),
    )


def random_boxes(rng: np.random.Generator, count: int, extent: float) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi, (count, 1))
    width, height = rng.uniform(4, 60, (2, count, 1))
    u = np.hstack([np.cos(angle), np.sin(angle)]) * width
    v = np.hstack([-np.sin(angle), np.cos(angle)]) * height
    corners = np.stack([-u - v, u - v, u + v, -u + v], axis=1)
    corners[::2] = corners[::2, ::-1]  # half of them with reversed orientation
    return corners + rng.uniform(-20, extent + 20, (count, 1, 2))


def sides_of(rectangle: shapely.Polygon) -> list[float]:
    a, b, c = rectangle.exterior.coords[:3]
    return [float(np.hypot(*np.subtract(a, b))), float(np.hypot(*np.subtract(b, c)))]


def reference_lines(
    labels: Labels, rate: float, size_wh, window_xy, size: int, whole_pixels: bool
) -> list[str]:
    """Label lines of one window, as the rules are written."""
    (x, y), (width, height) = window_xy, size_wh
    right, bottom = min(x + size, width - whole_pixels), min(y + size, height - whole_pixels)
    window = shapely.box(x, y, right, bottom)
    lines = []
    for corners, name, difficult in zip(
        labels.corners, labels.names, labels.difficult.tolist(), strict=True
    ):
        if whole_pixels:
            corners = np.array([[int(px), int(py)] for px, py in corners.tolist()])
        corners = (corners * rate).tolist()
        polygon = shapely.Polygon(corners)
        if polygon.area == 0:
            continue
        inside = polygon.intersection(window)
        share = inside.area / polygon.area
        if all(x <= px <= right and y <= py <= bottom for px, py in corners):
            values = [v for px, py in corners for v in (px - x, py - y)]
            values = [int(v) if whole_pixels else v for v in values]
        elif share > 0:
            if not whole_pixels:
                around = inside.minimum_rotated_rectangle
                if around.area == 0 or min(sides_of(around)) < 1:
                    continue
                if len(inside.exterior.coords) not in (5, 6):
                    inside = around
            points = list(shapely.geometry.polygon.orient(inside, 1).exterior.coords)[:-1]
            if len(points) == 5:
                lengths = [np.hypot(*np.subtract(points[k], points[k - 4])) for k in range(5)]
                k = int(np.argmin(lengths))
                middle = tuple(np.add(points[k], points[k - 4]) / 2)
                points = [middle if i == k else p for i, p in enumerate(points) if i != (k + 1) % 5]
            if len(points) != 4:
                continue
            turns = [points[k:] + points[:k] for k in range(4)]
            points = min(turns, key=lambda turn: np.sum(np.subtract(turn, corners) ** 2))
            values = [v for px, py in points for v in (px - x, py - y)]
            values = [min(max(int(v), 1), size) if whole_pixels else v for v in values]
            difficult = difficult if share > 0.7 else 2
        else:
            continue
        texts = (f"{round(float(value), 2)}" for value in values)
        lines.append(" ".join(texts) + f" {name} {difficult}")
    return lines


def assert_same_lines(found: list[list[str]], expected: list[list[str]]) -> None:
    """Compare label lines; a triangle has several smallest rectangles, all of the same area."""
    assert [len(lines) for lines in found] == [len(lines) for lines in expected]
    for line, other in zip(itertools.chain(*found), itertools.chain(*expected), strict=True):
        if line != other:
            assert line.split()[8:] == other.split()[8:]
            a, b = (
                shapely.Polygon(np.array(one.split()[:8], float).reshape(4, 2))
                for one in (line, other)
            )
            assert a.area == pytest.approx(b.area, abs=2)
            assert a.intersection(b).area > a.area / 2 - 2


@pytest.fixture
def data(tmp_path):
    """A folder with an image of 900x700 with 40 labels and one of 300x200 without any."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    for name in ("images", "labelTxt"):
        (folder / name).mkdir(parents=True)
    for name, (width, height) in {"a__b.v1": (900, 700), "small": (300, 200)}.items():
        noise = rng.integers(0, 255, (height // 20, width // 20, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), cv2.resize(noise, (width, height)))
    boxes = random_boxes(rng, 40, 700).reshape(-1, 8)
    lines = [" ".join(f"{value:.1f}" for value in box) + " ship 1\n" for box in boxes]
    (folder / "labelTxt" / "a__b.v1.txt").write_text("gsd:1\r\n" + "".join(lines))
    (folder / "labelTxt" / "small.txt").write_text("")
    return folder


def files_of(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


class TestRecorded:
    def test_split_as_recorded(self, shared, tmp_path):
        samples, recorded = shared / "data" / "dota_samples", shared / "fixtures" / "split600"
        for folder in ("images", "labelTxt"):
            (tmp_path / "in" / folder).mkdir(parents=True)
            for path in (samples / folder).iterdir():
                if path.stem in ("P0706", "P1888"):
                    (tmp_path / "in" / folder / path.name).write_bytes(path.read_bytes())
        options = SplitOptions(rates=(1, 0.5), whole_pixels=True)
        summary = split_folder(tmp_path / "in", tmp_path / "out", options)
        found, expected = files_of(tmp_path / "out"), files_of(recorded)
        images = {name: found.pop(name) for name in list(found) if name.startswith("images/")}
        assert found == expected
        assert {name.removeprefix("images/") for name in images} == set(
            read_ids(recorded / "images.txt")
        )
        assert (summary.images, summary.written, summary.present) == (2, 13, 0)
        assert summary.objects == sum(
            len(text.splitlines()) for name, text in expected.items() if name.startswith("label")
        )
        # The pixels are those of the resized image.
        image = cv2.imread(str(samples / "images" / "P0706.png"))
        half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
        for name, source in (("0.5__0___0", half[:600, :600]), ("1__511___582", image[582:, 511:])):
            patch = cv2.imread(str(tmp_path / "out" / "images" / f"P0706__{name}.png"))
            np.testing.assert_array_equal(patch, source)


class TestWindows:
    @pytest.mark.parametrize(
        ("size_wh", "size", "gap", "columns", "rows"),
        [
            ((600, 600), 600, 100, [0], [0]),
            ((300, 601), 600, 100, [0], [0, 1]),  # the last one is moved back
            ((1100, 1101), 600, 100, [0, 500], [0, 500, 501]),
            ((1, 1), 600, 0, [0], [0]),
            ((10, 9), 3, 2, list(range(8)), list(range(7))),
        ],
    )
    def test_windows_by_hand(self, size_wh, size, gap, columns, rows):
        assert windows(size_wh, size, gap) == [(x, y) for x in columns for y in rows]

    @pytest.mark.parametrize("seed", range(30))
    def test_windows_cover_every_pixel(self, seed):
        rng = np.random.default_rng(seed)
        width, height = (int(v) for v in rng.integers(1, 60, 2))
        size = int(rng.integers(1, 30))
        gap = int(rng.integers(0, size))
        seen = np.zeros((height, width), bool)
        for x, y in windows((width, height), size, gap):
            assert 0 <= x <= max(width - size, 0) and 0 <= y <= max(height - size, 0)
            seen[y : y + size, x : x + size] = True
        assert seen.all()

    @pytest.mark.parametrize(
        ("size_wh", "rate", "expected"),
        [((1111, 1113), 0.5, (556, 556)), ((3, 5), 0.1, (1, 1)), ((7, 3), 1.5, (10, 4))],
    )
    def test_resized_wh_rounds_as_opencv(self, size_wh, rate, expected):
        assert resized_wh(size_wh, rate) == expected
        if min(size_wh) * rate > 0.5:
            image = np.zeros((size_wh[1], size_wh[0]), np.uint8)
            assert cv2.resize(image, None, fx=rate, fy=rate).shape == expected[::-1]


class TestLabels:
    @pytest.mark.parametrize("whole_pixels", [False, True])
    @pytest.mark.parametrize("rate", [0.5, 1, 2])
    def test_label_lines_against_reference(self, rate, whole_pixels, monkeypatch):
        rng = np.random.default_rng(1)
        difficult = rng.integers(0, 2, 150)
        labels = labels_of(random_boxes(rng, 150, 400), difficult=difficult)
        size_wh = resized_wh((400, 300), rate)
        options = SplitOptions(size=100, gap=30, whole_pixels=whole_pixels)
        cutter = LabelCutter(labels, rate, size_wh, options)
        origins = windows(size_wh, 100, 30)
        expected = [
            reference_lines(labels, rate, size_wh, origin, 100, whole_pixels) for origin in origins
        ]
        assert_same_lines(cutter.lines(origins), expected)
        assert sum(map(len, expected)) > 200 and (cutter.dropped > 0 or not whole_pixels)
        monkeypatch.setattr("DOTA_devkit.splitting.labels.PAIRS_PER_STEP", 400)
        assert_same_lines(cutter.lines(origins), expected)

    @pytest.mark.parametrize(
        ("corners", "line"),
        [
            # Inside: unchanged, also at 0.
            ([[0, 0], [9, 0], [9, 9], [0, 9]], "0.0 0.0 9.0 0.0 9.0 9.0 0.0 9.0 ship 0"),
            ([[-0.5, 0], [9, 0], [9, 9], [-0.5, 9]], "0.0 0.0 9.0 0.0 9.0 9.0 0.0 9.0 ship 0"),
            # 80 % left: not difficult, clamped to at least 1, and starts at its first corner.
            ([[-2, 10], [8, 10], [8, 20], [-2, 20]], "1.0 10.0 8.0 10.0 8.0 20.0 1.0 20.0 ship 0"),
            # 70 % left: difficult.
            ([[-3, 10], [7, 10], [7, 20], [-3, 20]], "1.0 10.0 7.0 10.0 7.0 20.0 1.0 20.0 ship 2"),
            # A corner cut off: the shortest of five edges is replaced by its midpoint.
            (
                [[98, 10], [108, 20], [96, 32], [86, 20]],
                "99.0 11.0 100.0 28.0 96.0 32.0 86.0 20.0 ship 0",
            ),
            # Three corners left: dropped.
            ([[110, 20], [130, 40], [110, 60], [90, 40]], None),
            # Outside, and touching from the outside.
            ([[200, 0], [210, 0], [210, 9], [200, 9]], None),
            ([[100, 0], [110, 0], [110, 9], [100, 9]], None),
            # Without area.
            ([[5, 5], [5, 5], [5, 5], [5, 5]], None),
            ([[5, 5], [9, 9], [20, 20], [30, 30]], None),
            # Self-intersecting: unchanged inside, dropped if two parts are left.
            (
                [[10, 10], [20, 20], [20, 10], [10, 20]],
                "10.0 10.0 20.0 20.0 20.0 10.0 10.0 20.0 ship 0",
            ),
            ([[95, 10], [106, 10], [95, 20], [106, 20]], None),
        ],
    )
    def test_label_lines_of_the_original_by_hand(self, corners, line):
        options = SplitOptions(size=100, gap=0, whole_pixels=True)
        cutter = LabelCutter(labels_of([corners]), 1, (300, 300), options)
        assert cutter.lines([(0, 0)]) == [[] if line is None else [line]]

    @pytest.mark.parametrize(
        ("corners", "rate", "line"),
        [
            # Inside: unchanged, and resized before it is rounded.
            ([[0, 0.25], [9, 0], [9.125, 9], [0, 9]], 1,
             "0.0 0.25 9.0 0.0 9.12 9.0 0.0 9.0 ship 0"),
            ([[30.9, 40.9], [42.9, 40.9], [42.9, 46.9], [30.9, 46.9]], 2,
             "61.8 81.8 85.8 81.8 85.8 93.8 61.8 93.8 ship 0"),
            # Beyond the left border: 0 and not -0.
            ([[-0.002, 0], [9, 0], [9, 9], [-0.002, 9]], 1,
             "0.0 0.0 9.0 0.0 9.0 9.0 0.0 9.0 ship 0"),
            # 70 % left: difficult.
            ([[-3, 10], [7, 10], [7, 20], [-3, 20]], 1,
             "0.0 10.0 7.0 10.0 7.0 20.0 0.0 20.0 ship 2"),
            # A corner cut off: the shortest of five edges is replaced by its midpoint.
            ([[98, 10], [108, 20], [96, 32], [86, 20]], 1,
             "99.0 11.0 100.0 28.0 96.0 32.0 86.0 20.0 ship 0"),
        ],
    )  # fmt: skip
    def test_label_lines_by_hand(self, corners, rate, line):
        cutter = LabelCutter(labels_of([corners]), rate, (300, 300), SplitOptions(size=100, gap=0))
        assert cutter.lines([(0, 0)]) == [[line]]

    def test_what_is_left_with_six_corners_is_kept(self):
        """The original drops this ship, of which 99.9 % are in the window."""
        ship = np.array([[-2, 30], [30, -2], [150, 118], [118, 150]])
        cutter = LabelCutter(labels_of([ship]), 1, (300, 300), SplitOptions(size=200, gap=0))
        ((line,),) = cutter.lines([(0, 0)])
        assert line.endswith("ship 0") and cutter.dropped == 0
        found = shapely.Polygon(np.array(line.split()[:8], float).reshape(4, 2))
        whole = shapely.Polygon(ship)
        assert found.intersection(whole).area / found.union(whole).area > 0.97
        original = SplitOptions(size=200, gap=0, whole_pixels=True)
        assert LabelCutter(labels_of([ship]), 1, (300, 300), original).lines([(0, 0)]) == [[]]

    def test_what_is_left_with_three_corners_becomes_the_rectangle_around_it(self):
        cutter = LabelCutter(
            labels_of([[[110, 20], [130, 40], [110, 60], [90, 40]]]), 1, (300, 300),
            SplitOptions(size=100, gap=0),
        )  # fmt: skip
        ((line,),) = cutter.lines([(0, 0)])
        corners = np.array(line.split()[:8], float).reshape(4, 2)
        # The smallest rectangles around the triangle (100, 30), (90, 40), (100, 50) have 200 px.
        assert shapely.Polygon(corners).area == pytest.approx(200, abs=0.1)
        assert line.endswith("ship 2")

    @pytest.mark.parametrize(
        ("left", "kept"), [(99.996, False), (99.1, False), (98.9, True), (90, True)]
    )
    def test_what_is_thinner_than_a_pixel_is_dropped(self, left, kept):
        corners = [[left, 10], [left + 20, 10], [left + 20, 50], [left, 50]]
        cutter = LabelCutter(labels_of([corners]), 1, (300, 300), SplitOptions(size=100, gap=0))
        assert len(cutter.lines([(0, 0)])[0]) == kept and cutter.dropped == (not kept)
        turned = np.array(corners)[:, ::-1]
        cutter = LabelCutter(labels_of([turned]), 1, (300, 300), SplitOptions(size=100, gap=0))
        assert len(cutter.lines([(0, 0)])[0]) == kept

    def test_an_object_at_the_last_pixel_of_the_image_is_whole(self):
        corners = [[290, 10], [300, 10], [300, 20], [290, 20]]
        for whole_pixels, right in ((False, 100.0), (True, 99.0)):
            options = SplitOptions(size=100, gap=0, whole_pixels=whole_pixels)
            cutter = LabelCutter(labels_of([corners]), 1, (300, 300), options)
            line = f"90.0 10.0 {right} 10.0 {right} 20.0 90.0 20.0 ship 0"
            assert cutter.lines([(200, 0)]) == [[line]]

    @pytest.mark.parametrize("seed", range(5))
    def test_small_boxes_keep_their_shape(self, seed):
        """Whole pixels leave small boxes with an IoU of 0.8; hundredths with more than 0.99."""
        rng = np.random.default_rng(seed)
        boxes = np.array([[[0, 0], [12, 0], [12, 6], [0, 6]]]) + rng.uniform(1, 80, (50, 1, 2))
        cutter = LabelCutter(labels_of(boxes), 1, (300, 300), SplitOptions(size=100, gap=0))
        found = [np.array(line.split()[:8], float) for line in cutter.lines([(0, 0)])[0]]
        polygons = shapely.polygons(np.reshape(found, (-1, 4, 2)))
        inside = shapely.area(shapely.intersection(polygons, shapely.polygons(boxes)))
        assert len(found) == 50 and inside.min() / 72 > 0.99

    def test_label_lines_of_an_image_without_labels(self):
        none, options = labels_of(np.zeros((0, 4, 2))), SplitOptions(size=100, gap=0)
        cutter = LabelCutter(none, 1, (300, 300), options)
        assert cutter.lines([(0, 0), (100, 0)]) == [[], []] and cutter.lines([]) == []

    def test_label_lines_without_fit_order(self):
        corners = [[8, 20], [-2, 20], [-2, 10], [8, 10]]
        lines = [
            LabelCutter(
                labels_of([corners]), 1, (300, 300), SplitOptions(size=100, gap=0, fit_order=fit)
            ).lines([(0, 0)])[0][0]
            for fit in (True, False)
        ]
        assert lines[0].startswith("8.0 20.0 ") and sorted(lines[0]) == sorted(lines[1])


class TestFolder:
    options = SplitOptions(size=200, gap=50, rates=(1, 0.5))

    def test_split_folder_layout_and_lists(self, data, tmp_path):
        summary = split_folder(data, tmp_path / "out", self.options)
        ids = read_ids(tmp_path / "out" / "trainval.txt")
        assert ids == sorted(summary.patch_ids) and len(ids) == summary.written
        files = files_of(tmp_path / "out")
        assert set(files) == {"trainval.txt", "images.txt"} | {
            name for one in ids for name in (f"images/{one}.png", f"labelTxt/{one}.txt")
        }
        assert read_ids(tmp_path / "out" / "images.txt") == [f"{one}.png" for one in ids]
        # 900x700 -> 6 x 5 windows, 450x350 -> 3 x 2, 300x200 -> 2 x 1, 150x100 -> 1.
        assert len(ids) == 30 + 6 + 2 + 1
        assert "a__b.v1__0.5__150___150" in ids and "small__1__100___0" in ids
        assert cv2.imread(str(tmp_path / "out/images/small__0.5__0___0.png")).shape == (100, 150, 3)
        assert files["labelTxt/small__1__0___0.txt"] == b""

    def test_workers_do_not_change_the_files(self, data, tmp_path):
        for workers in (1, 3):
            split_folder(data, tmp_path / f"{workers}", self.options, workers=workers)
        assert files_of(tmp_path / "1") == files_of(tmp_path / "3")

    def test_split_images_without_labels(self, data, tmp_path):
        images = {"small": data / "images" / "small.png"}
        summary = split_images(images, tmp_path / "out", self.options, list_dir=tmp_path / "lists")
        assert set(files_of(tmp_path / "out")) == {f"{one}.png" for one in summary.patch_ids}
        assert len(read_ids(tmp_path / "lists" / "test.txt")) == 3

    def test_split_images_with_padding(self, data, tmp_path):
        images = {"small": data / "images" / "small.png"}
        split_images(images, tmp_path, replace(self.options, pad=True, rates=(0.5,)))
        patch = cv2.imread(str(tmp_path / "small__0.5__0___0.png"))
        assert patch.shape == (200, 200, 3) and patch[:100, :150].any()
        assert not patch[100:].any() and not patch[:, 150:].any()

    def test_split_folder_to_jpeg(self, data, tmp_path):
        split_folder(data, tmp_path / "out", replace(self.options, suffix=".jpg"))
        paths = list((tmp_path / "out" / "images").glob("*.jpg"))
        assert len(paths) == 39 and paths[0].read_bytes().startswith(b"\xff\xd8")
        assert read_ids(tmp_path / "out" / "images.txt")[0].endswith(".jpg")

    @pytest.mark.parametrize("share", [0, 0.4, 1])
    def test_keep_empty(self, data, tmp_path, share):
        for name in ("a__b.v1", "small"):  # a single label, so that most patches are empty
            text = "10 10 60 10 60 60 10 60 ship 0\n" if name == "a__b.v1" else ""
            (data / "labelTxt" / f"{name}.txt").write_text(text)
        options = replace(self.options, size=60, gap=0, keep_empty=share)
        summary = split_folder(data, tmp_path / "out", options)
        files = files_of(tmp_path / "out" / "labelTxt")
        empty = [name for name, text in files.items() if not text]
        total = summary.empty_dropped + len(empty)
        assert total > 200 and len(files) - len(empty) >= 2
        assert abs(len(empty) - share * total) < 0.1 * total
        # The same ones when it is repeated, different ones with another seed.
        again = split_folder(data, tmp_path / "again", options)
        assert again.patch_ids == summary.patch_ids
        other = split_folder(data, tmp_path / "other", replace(options, seed=1))
        assert (other.patch_ids == summary.patch_ids) == (share in (0, 1))


class TestResuming:
    options = SplitOptions(size=200, gap=50, rates=(1, 0.5))

    def test_resume_writes_only_missing_files(self, data, tmp_path):
        split_folder(data, tmp_path / "out", self.options)
        whole = files_of(tmp_path / "out")
        removed = ["images/small__1__0___0.png", "labelTxt/a__b.v1__1__0___0.txt", "trainval.txt"]
        for name in removed:
            (tmp_path / "out" / name).unlink()
        (tmp_path / "out" / "images" / ".x.png.0123abcd.tmp").write_text("half of an image")
        summary = split_folder(data, tmp_path / "out", self.options)
        assert (summary.written, summary.present) == (2, 37)
        assert files_of(tmp_path / "out") == whole
        assert not list((tmp_path / "out").rglob("*.tmp"))
        assert split_folder(data, tmp_path / "out", self.options).written == 0

    @pytest.mark.slow
    def test_resume_after_kill(self, data, tmp_path):
        split_folder(data, tmp_path / "whole", self.options)
        code = (
            "import sys, time; from DOTA_devkit import splitting; "
            "from DOTA_devkit.splitting import writer; encode = writer.encode_patch; "
            "writer.encode_patch = lambda *given: time.sleep(0.1) or encode(*given); "
            "splitting.split_folder(*sys.argv[1:], "
            "splitting.SplitOptions(size=200, gap=50, rates=(1, 0.5)))"
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(data), str(tmp_path / "out")])
        images = tmp_path / "out" / "images"
        while process.poll() is None and len(list(images.glob("[!.]*.png"))) < 4:
            time.sleep(0.02)
        process.kill()
        process.wait()
        made = len(list(images.glob("[!.]*.png")))
        assert 4 <= made < 39
        summary = split_folder(data, tmp_path / "out", self.options)
        assert (summary.written, summary.present) == (39 - made, made)
        assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")

    def test_rates_one_after_the_other(self, data, tmp_path):
        split_folder(data, tmp_path / "out", self.options)
        split_folder(data, tmp_path / "two", replace(self.options, rates=(1,)))
        split_folder(data, tmp_path / "two", replace(self.options, rates=(0.5,)))
        found, whole = files_of(tmp_path / "two"), files_of(tmp_path / "out")
        assert {k for k in found if "/" in k} == {k for k in whole if "/" in k}

    def test_patches_with_other_labels_are_not_kept(self, data, tmp_path):
        split_folder(data, tmp_path / "out", self.options)
        labels = data / "labelTxt" / "a__b.v1.txt"
        labels.write_text("10 10 60 10 60 60 10 60 ship 0\n")
        with pytest.raises(InputError, match=r"exists with other labels .* set `overwrite`"):
            split_folder(data, tmp_path / "out", self.options)
        split_folder(data, tmp_path / "out", self.options, overwrite=True)
        split_folder(data, tmp_path / "new", self.options)
        assert files_of(tmp_path / "out") == files_of(tmp_path / "new")

    def test_lists_of_two_splits_into_one_folder(self, data, tmp_path):
        out, images = tmp_path / "out", find_images(data / "images")
        for name in images:
            split_images(
                {name: images[name]}, out / "images", self.options, label_dir=data / "labelTxt",
                output_label_dir=out / "labelTxt", list_dir=out, list_name=f"{name}.txt",
            )  # fmt: skip
        files = sorted(path.name for path in (out / "images").glob("*.png"))
        assert read_ids(out / "images.txt") == files and len(files) == 39
        assert len(read_ids(out / "small.txt")) == 3
        split_folder(data, tmp_path / "one", replace(self.options, rates=(1,)))
        split_folder(data, tmp_path / "one", replace(self.options, rates=(0.5,)))
        assert len(read_ids(tmp_path / "one" / "trainval.txt")) == 39

    @pytest.mark.parametrize("foreign", ["small", "other__1__0___0"])
    def test_a_list_of_something_else_is_not_replaced(self, data, tmp_path, foreign):
        (tmp_path / "trainval.txt").write_text(f"{foreign}\n")
        with pytest.raises(InputError, match=rf"trainval\.txt.*{foreign} is no patch"):
            split_folder(data, tmp_path, self.options)
        assert (tmp_path / "trainval.txt").read_text() == f"{foreign}\n"
        split_folder(data, tmp_path, self.options, overwrite=True)
        assert len(read_ids(tmp_path / "trainval.txt")) == 39

    def test_a_folder_of_images_of_another_format_is_rejected(self, data, tmp_path):
        with pytest.raises(InputError, match="contains images that are not part of a split"):
            split_folder(data, data, replace(self.options, suffix=".jpg"))

    def test_a_split_of_an_earlier_version_has_whole_pixels(self, data, tmp_path):
        whole = replace(self.options, whole_pixels=True)
        split_folder(data, tmp_path / "out", whole)
        state = tmp_path / "out" / "images" / split.STATE_FILE
        earlier = {k: v for k, v in json.loads(state.read_text()).items() if k != "whole_pixels"}
        state.write_text(json.dumps(earlier))
        with pytest.raises(InputError, match=r"\(whole_pixels True, now False\)"):
            split_folder(data, tmp_path / "out", self.options)
        assert split_folder(data, tmp_path / "out", whole).written == 0

    def test_without_labels_whole_pixels_do_not_matter(self, data, tmp_path):
        images = {"small": data / "images" / "small.png"}
        split_images(images, tmp_path, replace(self.options, whole_pixels=True))
        assert split_images(images, tmp_path, self.options).written == 0

    def test_another_size_is_rejected(self, data, tmp_path):
        split_folder(data, tmp_path / "out", self.options)
        other = replace(self.options, size=100)
        with pytest.raises(InputError, match=r"split with other options \(size 200, now 100\)"):
            split_folder(data, tmp_path / "out", other)
        summary = split_folder(data, tmp_path / "out", other, overwrite=True)
        assert summary.present == 0

    def test_folder_with_other_images_is_rejected(self, data):
        with pytest.raises(InputError, match="contains images that are not part of a split"):
            split_folder(data, data, self.options)


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"size": 0}, "size must be at least 1, got 0"),
            ({"gap": 600}, r"gap must be in \[0, 600\), smaller than the size, got 600"),
            ({"rates": ()}, "rates must be above 0"),
            ({"rates": (1, 0)}, "rates must be above 0"),
            ({"rates": (1, 0.5, 1.0)}, "rates must be different ones"),
            ({"keep_empty": 1.5}, r"keep_empty must be in \[0, 1\], got 1\.5"),
            ({"suffix": ".gif"}, "one of .png, .* got '.gif'"),
        ],
    )
    def test_invalid_options(self, options, message):
        with pytest.raises(InputError, match=message):
            SplitOptions(**options)

    def test_image_without_label_file(self, data, tmp_path):
        (data / "labelTxt" / "small.txt").unlink()
        with pytest.raises(InputError, match=r"1 images have no label file .* first is small"):
            split_folder(data, tmp_path / "out")

    def test_label_file_without_image_is_a_warning(self, data, tmp_path, caplog):
        (data / "labelTxt" / "extra.txt").write_text("")
        with caplog.at_level(logging.WARNING):
            split_folder(data, tmp_path / "out")
        assert "ignoring 1 label files" in caplog.text and "extra" in caplog.text

    def test_labels_of_unselected_images_give_no_warning(self, data, caplog):
        selected = {"small": data / "images" / "small.png"}
        with caplog.at_level(logging.WARNING):
            split._check_label_files(selected, data / "labelTxt")
        assert len(list((data / "labelTxt").iterdir())) > 1 and not caplog.text

    def test_malformed_label(self, data, tmp_path):
        (data / "labelTxt" / "small.txt").write_text("1 2 3\n")
        with pytest.raises(InputError, match=r"small\.txt:1: "):
            split_folder(data, tmp_path / "out")

    def test_broken_image(self, data, tmp_path):
        (data / "images" / "small.png").write_bytes(b"no image")
        with pytest.raises(InputError, match=r"small\.png"):
            split_folder(data, tmp_path / "out")

    def test_full_disk(self, data, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("DOTA_devkit.splitting.writer.encode_patch", full)
        with pytest.raises(OSError, match="No space left"):
            split_folder(data, tmp_path / "out")
        assert not (tmp_path / "out" / "trainval.txt").exists()


class TestWindowedTiff:
    @pytest.fixture
    def tiff(self, tmp_path):
        """Write pixels [H, W, C] as a TIFF and return its path."""
        return partial(write_tiff, tmp_path / "x.tif")

    @pytest.mark.parametrize("rate", [1, 0.5, 0.75, 0.3, 1.5, 2])
    def test_windowed_tiff_equals_whole_image(self, tiff, rate):
        pixels = np.random.default_rng(0).integers(0, 255, (331, 417, 3), np.uint8)
        source = WindowedTiff(tiff(pixels), min_pixels=0)
        assert source.size_wh == (417, 331)
        whole = np.ascontiguousarray(pixels[:, :, ::-1])
        if rate != 1:
            whole = cv2.resize(whole, None, fx=rate, fy=rate, interpolation=cv2.INTER_CUBIC)
        read = source.reader(rate)
        for x, y in windows(resized_wh(source.size_wh, rate), 100, 20):
            patch, expected = read(x, y, 100), whole[y : y + 100, x : x + 100]
            # OpenCV computes weights from the position in float32: they may differ by a gray level.
            assert patch.shape == expected.shape
            assert np.abs(patch.astype(int) - expected).max() <= (rate == 0.75)

    def test_windowed_tiff_of_16_bits_and_one_band(self, tiff):
        pixels = np.random.default_rng(0).integers(0, 65536, (331, 417, 1), np.uint16)
        patch = WindowedTiff(tiff(pixels), ReadOptions("high_byte"), 0).reader(1)(0, 0, 100)
        assert patch.dtype == np.uint8 and patch.shape == (100, 100, 3)
        np.testing.assert_array_equal(patch[:, :, 0], pixels[:100, :100, 0] >> 8)

    def test_windows_and_whole_image_share_the_stretch(self, tiff):
        pixels = np.random.default_rng(0).integers(300, 900, (331, 417, 4)).astype(np.uint16)
        path = tiff(pixels)
        windowed = WindowedTiff(path, min_pixels=0).reader(1)
        found = np.concatenate(
            [np.concatenate([windowed(x, y, 100) for x in range(0, 417, 100)], 1)
             for y in range(0, 331, 100)]
        )  # fmt: skip
        np.testing.assert_array_equal(found, open_source(path).reader(1)(0, 0, 500))
        assert found.min() == 0 and found.max() == 255

    def test_small_tiffs_are_read_as_a_whole(self, tiff):
        path = tiff(np.zeros((9, 9, 3), np.uint8))
        assert not isinstance(open_source(path), WindowedTiff)

    @pytest.mark.slow
    def test_windowed_tiff_of_real_files(self, shared, tmp_path, monkeypatch):
        pytest.importorskip("rasterio")
        images = {path.stem: path for path in (shared / "data" / "geotiff").glob("*.tif")}
        options = SplitOptions(size=300, gap=50, rates=(1, 0.5))
        split_images(images, tmp_path / "whole", options)
        monkeypatch.setattr("DOTA_devkit.splitting.sources.MIN_WINDOWED_PIXELS", 0)
        split_images(images, tmp_path / "windows", options)
        names = sorted(path.name for path in (tmp_path / "whole").glob("*.png"))
        assert names == sorted(path.name for path in (tmp_path / "windows").glob("*.png"))
        for name in names:
            whole, window = (
                cv2.imread(str(tmp_path / folder / name)).astype(int)
                for folder in ("whole", "windows")
            )
            assert whole.shape == window.shape
            # Two contain JPEG, which the two libraries decode slightly differently.
            lossless = name.startswith(("OSBS", "2018_SJER"))
            assert np.abs(whole - window).mean() <= (0 if lossless else 1)
