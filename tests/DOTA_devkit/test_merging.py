"""Merging against recorded results and a simple line-by-line merge."""

import re

import numpy as np
import pytest
import shapely

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Task1, read_task1
from DOTA_devkit.merging import (
    class_of,
    has_patch_ids,
    merge_detections,
    merge_file,
    merge_results,
)


def square(x: float, y: float, side: float = 10) -> str:
    corners = [x, y, x + side, y, x + side, y + side, x, y + side]
    return " ".join(f"{value:.1f}" for value in corners)


def write(folder, files: dict[str, str]):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def random_lines(seed: int, count: int = 180) -> list[str]:
    """Detections of patches at three rates, in random order, with equal scores."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        name = f"P__{rng.integers(8)}"
        rate, x, y = rng.choice(["0.5", "1", "1.5"]), *rng.choice([0, 400, 500], 2)
        corners = rng.uniform(0, 200, 2) + rng.uniform(-30, 30, (4, 2))
        text = " ".join(f"{value:.1f}" for value in corners.ravel())
        lines.append(f"{name}__{rate}__{x}___{y} {rng.random():.2f} {text}")
    return lines


def around_the_box(values: list[float]) -> list[float]:
    """The first order of four corners, beginning with the given one, whose edges do not cross."""
    points = [tuple(values[k : k + 2]) for k in range(0, 8, 2)]
    for order in ([0, 1, 2, 3], [0, 2, 1, 3], [0, 1, 3, 2]):
        ordered = [points[k] for k in order]
        if shapely.Polygon(ordered).is_valid:
            return [value for point in ordered for value in point]
    raise AssertionError(values)


def reference_merge(lines: list[str], threshold: float, rectangles: bool = False) -> list[str]:
    """One line after the other, as the rules are written."""
    images: dict[str, list[tuple[float, list[float]]]] = {}
    for line in lines:
        image_id, score, *values = line.split()
        name, rate, x, y = re.fullmatch(r"(.+)__([\d.]+)__(\d+)___(\d+)", image_id).groups()
        moved = around_the_box(
            [(float(value) + float((x, y)[k % 2])) / float(rate) for k, value in enumerate(values)]
        )
        images.setdefault(name, []).append((float(score), moved))

    def iou(a: list[float], b: list[float]) -> float:
        if rectangles:
            boxes = []
            for one in (a, b):
                left, top, right, bottom = shapely.Polygon(np.reshape(one, (4, 2))).bounds
                boxes.append(shapely.box(left, top, right + 1, bottom + 1))
        else:
            boxes = [shapely.make_valid(shapely.Polygon(np.reshape(one, (4, 2)))) for one in (a, b)]
        shared = boxes[0].intersection(boxes[1]).area
        return shared / (boxes[0].area + boxes[1].area - shared)

    merged = []
    for name, rows in images.items():
        kept: list[tuple[float, list[float]]] = []
        for row in sorted(rows, key=lambda row: -row[0]):
            if all(iou(row[1], other[1]) <= threshold for other in kept):
                kept.append(row)
        merged += [f"{name} {score} {' '.join(map(str, values))}" for score, values in kept]
    return merged


class TestRecorded:
    @pytest.mark.parametrize("rows_in_memory", [1_000_000, 900, 1])
    def test_merge_as_recorded(self, shared, tmp_path, rows_in_memory):
        folder = shared / "fixtures" / "merge20"
        counts = merge_results(folder / "in", tmp_path, 0.1, rows_in_memory=rows_in_memory)
        assert sum(read for read, _ in counts.values()) == 12_000
        assert sum(kept for _, kept in counts.values()) == 3_869
        for path in (folder / "out").iterdir():
            assert (tmp_path / path.name).read_text() == path.read_text()

    def test_merge_in_memory_and_in_processes(self, shared, tmp_path):
        folder = shared / "fixtures" / "merge20"
        merge_results(folder / "in", tmp_path, 0.1, workers=2)
        for path in (folder / "out").iterdir():
            assert (tmp_path / path.name).read_text() == path.read_text()
            merged = merge_detections(read_task1(folder / "in" / path.name), 0.1)
            expected = read_task1(path)
            assert merged.image_ids == expected.image_ids
            np.testing.assert_array_equal(merged.scores, expected.scores)
            np.testing.assert_array_equal(merged.corners, expected.corners)


class TestAgainstReference:
    @pytest.mark.parametrize("kind", ["polygon", "rectangle"])
    @pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5])
    @pytest.mark.parametrize("rows_in_memory", [1000, 30])
    def test_merge_against_reference(self, tmp_path, kind, threshold, rows_in_memory):
        lines = random_lines(0)
        source = write(tmp_path / "in", {"Task1_ship.txt": "\n".join(lines) + "\n"})
        merge_results(source, tmp_path / "out", threshold, kind, rows_in_memory=rows_in_memory)
        merged = (tmp_path / "out" / "Task1_ship.txt").read_text().splitlines()
        assert merged == reference_merge(lines, threshold, kind == "rectangle")


class TestFolders:
    def test_folders_are_joined_in_order(self, tmp_path):
        first = write(tmp_path / "a", {
            "Task1_ship.txt": f"Q__1__0___0 0.5 {square(0, 0)}\nP__1__0___0 0.5 {square(0, 0)}\n",
        })  # fmt: skip
        second = write(tmp_path / "b", {
            # Whole images, merged already.
            "Task1_ship.txt": f"P 0.9 {square(1, 0)}\nP 0.3 {square(50, 0)}\n",
            "Task1_plane.txt": f"P 0.9 {square(0, 0)}\n",
        })  # fmt: skip
        counts = merge_results([first, second], tmp_path / "out")
        assert counts == {"Task1_ship.txt": (4, 3), "Task1_plane.txt": (1, 1)}
        assert (tmp_path / "out" / "Task1_ship.txt").read_text() == (
            f"Q 0.5 {square(0, 0)}\nP 0.9 {square(1, 0)}\nP 0.3 {square(50, 0)}\n"
        )

    def test_class_thresholds(self, tmp_path):
        text = f"P 0.9 {square(0, 0)}\nP 0.8 {square(5, 0)}\n"  # IoU 1/3
        names = ("ship", "plane", "small-vehicle")
        source = write(tmp_path / "in", {f"Task1_{name}.txt": text for name in names})
        counts = merge_results(source, tmp_path / "out", {"ship": 0.4, "default": 0.2})
        assert {class_of(name): kept for name, (_, kept) in counts.items()} == {
            "ship": 2, "plane": 1, "small-vehicle": 1,
        }  # fmt: skip
        counts = merge_results(source, tmp_path / "out", {"plane": 0.4})  # the others 0.1
        assert [kept for _, kept in counts.values()] == [2, 1, 1]

    def test_empty_files_stay_empty(self, tmp_path):
        source = write(tmp_path / "in", {"Task1_ship.txt": "", "Task1_plane.txt": "\n\n"})
        merge_results(source, tmp_path / "out")
        assert [p.read_text() for p in sorted((tmp_path / "out").iterdir())] == ["", ""]

    def test_ids_are_unchanged_without_patches(self, tmp_path):
        line = f"P__1__5___0 0.5 {square(0, 0)}\n"
        source = write(tmp_path / "in", {"Task1_ship.txt": line})
        merge_results(source, tmp_path / "out", patches=False)
        assert (tmp_path / "out" / "Task1_ship.txt").read_text() == line

    @pytest.mark.parametrize("name", ["a__b", "my image.v2", "P.1__1__0___0"])
    def test_unusual_image_names(self, tmp_path, name):
        text = f"{name}__0.5__100___0 0.5 {square(0, 0)}\r\n"
        source = write(tmp_path / "in", {"Task1_ship.txt": text})
        merge_results(source, tmp_path / "out")
        merged = (tmp_path / "out" / "Task1_ship.txt").read_text()
        assert merged == f"{name} 0.5 200.0 0.0 220.0 0.0 220.0 20.0 200.0 20.0\n"

    def test_patch_size_instead_of_rate(self, tmp_path):
        text = f"P0861__1024__0___1648 0.5 {square(0, 0)}\n"
        source = write(tmp_path / "in", {"Task1_ship.txt": text})
        merge_results(source, tmp_path / "out")
        assert (tmp_path / "out" / "Task1_ship.txt").read_text() == f"P0861 0.5 {square(0, 1648)}\n"

    def test_task2_stays_task2(self, tmp_path):
        text = "P__1__10___0 0.9 0 0 9 9\nP__1__10___0 0.8 5 0 14 9\nP__1__10___0 0.7 30 0 39 9\n"
        source = write(tmp_path / "in", {"Task2_ship.txt": text})
        merge_results(source, tmp_path / "out", 0.333, "rectangle")  # IoU 50 / 150
        assert (tmp_path / "out" / "Task2_ship.txt").read_text() == (
            "P 0.9 10.0 0.0 19.0 9.0\nP 0.7 40.0 0.0 49.0 9.0\n"
        )
        merge_results(source, tmp_path / "out", 0.334, "rectangle")
        assert len((tmp_path / "out" / "Task2_ship.txt").read_text().splitlines()) == 3


class TestErrors:
    @pytest.fixture
    def source(self, tmp_path):
        return write(tmp_path / "in", {"Task1_ship.txt": f"P 0.9 {square(0, 0)}\n"})

    def test_malformed_line(self, source, tmp_path):
        path = source / "Task1_ship.txt"
        path.write_text(path.read_text() + "P 0.8 1 2 3\n")
        with pytest.raises(InputError, match=r"Task1_ship\.txt:2: "):
            merge_results(source, tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("P__1__0___0 0.9 0 nan 9 0 9 9 0 9", "a score or coordinate is not finite"),
            ("P__1__0___0 0.9 0 x 9 0 9 9 0 9", "expected a number, got 'x'"),
            ("P__1__0___0 0.9 0 0 9 9", "expected 8 coordinates|got 6 fields"),
        ],
    )
    @pytest.mark.parametrize("name", ["Task1_ship.txt", "ship.txt"])
    @pytest.mark.parametrize("position", [0, 1])
    def test_damage_is_not_another_kind(self, tmp_path, name, line, message, position):
        lines = [f"P__1__0___0 0.8 {square(0, 0)}"] * 3
        lines.insert(position, line)
        source = write(tmp_path / "in", {name: "\n".join(lines) + "\n"})
        with pytest.raises(InputError, match=rf"{name}:[12]: .*({message}|as in the lines)"):
            merge_results(source, tmp_path / "out")

    def test_coordinates_that_could_not_be_read_again(self, tmp_path):
        text = f"P__0.001__0___0 0.9 {square(1e9 - 10, 0)}\n"
        source = write(tmp_path / "in", {"Task1_ship.txt": text})
        with pytest.raises(InputError, match=r"P__0\.001__0___0: a coordinate of a detection"):
            merge_results(source, tmp_path / "out")

    def test_invalid_folders(self, source, tmp_path):
        with pytest.raises(InputError, match="source and target must be different"):
            merge_results(source, source)
        with pytest.raises(InputError, match="no result files"):
            merge_results(write(tmp_path / "empty", {}), tmp_path / "out")
        with pytest.raises(InputError, match="expected a folder"):
            merge_results(tmp_path / "nothing", tmp_path / "out")

    def test_invalid_thresholds_and_kind(self, source, tmp_path):
        with pytest.raises(
            InputError, match=r"iou_threshold must be a number from 0 to 1, got 1\.5"
        ):
            merge_results(source, tmp_path / "out", 1.5)
        with pytest.raises(InputError, match=r"is given for boat, but there are only .* ship$"):
            merge_results(source, tmp_path / "out", {"boat": 0.1})
        with pytest.raises(
            InputError, match="kind must be one of polygon, rectangle, got 'circle'"
        ):
            merge_results(source, tmp_path / "out", kind="circle")

    def test_task1_joined_with_task2(self, source, tmp_path):
        other = write(tmp_path / "b", {"Task1_ship.txt": "P 0.9 0 0 9 9\n"})
        with pytest.raises(InputError, match="different numbers of coordinates"):
            merge_results([source, other], tmp_path / "out")


def test_merge_file(tmp_path):
    write(tmp_path, {"a.txt": f"P 0.9 {square(0, 0)}\n", "b.txt": f"P 0.8 {square(0, 0)}\n"})
    assert merge_file([tmp_path / "a.txt", tmp_path / "b.txt"], tmp_path / "c.txt") == (2, 1)


def test_merge_no_detections():
    none = Task1([], np.zeros(0), np.zeros((0, 4, 2)))
    assert len(merge_detections(none)) == 0


def test_has_patch_ids():
    assert has_patch_ids(["P1", "P1__1__0___0"])
    assert not has_patch_ids(["P1", "a__b"])
    assert not has_patch_ids(Task1([], np.zeros(0), np.zeros((0, 4, 2))))


@pytest.mark.parametrize(
    ("name", "class_name"),
    [("Task1_ship.txt", "ship"), ("a/Task2_small-vehicle.txt", "small-vehicle"), ("x.txt", "x")],
)
def test_class_of_file_name(name, class_name):
    assert class_of(name) == class_name
