"""Statistics compared with values computed by hand, with OpenCV and with published numbers."""

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from shapely.geometry import Polygon

from DOTA_devkit.commands import main
from DOTA_devkit.errors import InputError
from DOTA_devkit.images import find_images
from DOTA_devkit.polygon import grouped_iou
from DOTA_devkit.stats import collect_stats, measure_boxes, plot_stats, problems, read_label_set
from DOTA_devkit.stats.problems import labeled_twice

BOX = "10 20 50 20 50 30 10 30"  # 40 x 10


@pytest.fixture
def data(tmp_path):
    """Return a function that writes label lines by image id, and 100 x 80 images for `sized`."""

    def make(labels, sized=()):
        folder = tmp_path / "labelTxt"
        folder.mkdir()
        (tmp_path / "images").mkdir()
        for image_id, lines in labels.items():
            (folder / f"{image_id}.txt").write_text("\n".join(lines), encoding="utf-8")
        for image_id in sized:
            _, png = cv2.imencode(".png", np.zeros((80, 100, 3), np.uint8))
            (tmp_path / "images" / f"{image_id}.png").write_bytes(png.tobytes())
        return read_label_set(folder, find_images(tmp_path / "images"))

    return make


def counts(stats):
    return {title: len(places) for title, places in stats.problems.items() if places}


@pytest.mark.parametrize("across_classes", [False, True])
def test_labeled_twice_equals_a_search_of_all_pairs(data, across_classes):
    """Equal and nearly equal boxes of two classes in two images, in any order, and a flat one."""
    rng = np.random.default_rng(0)
    boxes = np.array([[10, 20, 50, 20, 50, 30, 10, 30], [30, 40, 60, 50, 55, 65, 25, 55]], float)
    labels = {}
    for image_id in ("a", "b"):
        rows = [
            *boxes,
            boxes[0] + 0.2,
            boxes[0] + 3,
            np.roll(boxes[1], 2),
            [5, 5, 9, 5, 9, 5, 5, 5],
        ]
        chosen = [(rows[k], "ship" if rng.random() < 0.5 else "plane")
                  for k in rng.integers(len(rows), size=30)]  # fmt: skip
        labels[image_id] = [f"{' '.join(map(str, row))} {name} 0" for row, name in chosen]
    found = data(labels)
    expected = []
    polygons = [Polygon(corners) for corners in found.corners]
    for later, shape in enumerate(polygons):
        for earlier in range(later):
            both = shape.intersection(polygons[earlier]).area
            either = shape.area + polygons[earlier].area - both
            same_class = found.names[later] == found.names[earlier]
            if (
                found.image_index[later] == found.image_index[earlier]
                and same_class != across_classes
                and either
                and both / either > 0.95
            ):
                expected.append(later)
                break
    assert 10 < len(expected) < 55
    assert labeled_twice(found, across_classes).tolist() == expected


@pytest.mark.parametrize("across_classes", [False, True])
def test_thousands_of_equal_boxes_are_compared_as_one(data, monkeypatch, across_classes):
    sizes = []

    def counted(a, b, groups_a, groups_b):
        sizes.append((len(a), len(b)))
        return grouped_iou(a, b, groups_a, groups_b)

    monkeypatch.setattr(problems, "grouped_iou", counted)
    lines = [f"{BOX} {('ship', 'plane')[k % 2]} 0" for k in range(3000)]
    found = labeled_twice(data({"a": lines, "b": lines[:1]}), across_classes)
    # The first of each class is new, and of two classes the very first alone.
    assert found.tolist() == list(range(1 if across_classes else 2, 3000))
    assert sizes == [(3, 3)]


@pytest.mark.parametrize(
    ("corners", "longer", "shorter", "angle"),
    [
        ([[0, 0], [4, 0], [4, 2], [0, 2]], 4, 2, 0),
        ([[0, 0], [2, 0], [2, 4], [0, 4]], 4, 2, 90),
        ([[4, 2], [0, 2], [0, 0], [4, 0]], 4, 2, 0),  # another first corner
        ([[0, 0], [0, 2], [4, 2], [4, 0]], 4, 2, 0),  # the other orientation
        (
            [[1e6, 1e6], [1e6 + 3, 1e6 + 3], [1e6 + 2, 1e6 + 4], [1e6 - 1, 1e6 + 1]],
            18**0.5,
            2**0.5,
            45,
        ),
        ([[0, 0], [4, 2], [4, 0], [0, 2]], 4, 2, 0),  # self-intersecting
        ([[0, 0], [4, 0], [1, 1], [0, 4]], 32**0.5, 8**0.5, 135),  # concave
        ([[1, 1]] * 4, 0, 0, 0),  # a point
        ([[0, 0], [4, 0], [4, 0], [0, 0]], 4, 0, 0),  # a line
    ],
)
def test_measure_boxes(corners, longer, shorter, angle):
    found = measure_boxes(np.array([corners], float))
    assert found.longer[0] == pytest.approx(longer)
    assert found.shorter[0] == pytest.approx(shorter, abs=1e-9)
    assert found.angle[0] == pytest.approx(angle)


def test_measure_boxes_against_opencv():
    corners = np.random.default_rng(0).uniform(0, 100, (500, 4, 2))
    found = measure_boxes(corners)
    for index, points in enumerate(corners.astype(np.float32)):
        sides = sorted(cv2.minAreaRect(points)[1])
        area = found.longer[index] * found.shorter[index]
        assert area == pytest.approx(sides[0] * sides[1], rel=1e-4)
    assert measure_boxes(np.zeros((0, 4, 2))).longer.shape == (0,)


def test_stats_excluded_by_min_size_and_max_objs(data):
    tiny = "0 0 9 0 9 9 0 9 a 0"
    edge = "0 0 10 0 10 3 0 3 a 0"  # a longer side of exactly min_size is kept
    stats = collect_stats(data({"x": [tiny, edge, f"{BOX} b 1", f"{BOX} b"], "y": []}), max_objs=2)
    assert stats.too_small.tolist() == [True, False, False, False]
    assert stats.over_cap == 1  # three of four are large enough, two are used
    table = stats.table()
    assert "2 images, 4 objects (1 difficult), 1 images without objects" in table
    assert "excluded from training by min_size 10 (longer side, pixels): 1 (a 1)" in table
    assert "excluded from training by max_objs 2: 1 objects (1 images have more)" in table


def test_size_limit_below_zero_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["stats", str(tmp_path), "--min_size=-1"])
    assert "'-1' is not a number of 0 or more" in capsys.readouterr().err


def test_stats_problems(data):
    stats = collect_stats(
        data(
            {
                "x": [
                    "gsd:0.3",
                    f"{BOX} a 0",
                    "50 20 50 30 10 30 10.1 20 a 0",  # the first box again, from another corner
                    f"{BOX} b 0",  # the same box with another class
                    "-2 0 9 0 9 9 -2 9 a 0",  # 2 pixels beyond the border are tolerated
                    "-9 0 12 0 12 9 -9 9 a 0",  # reaching outside
                    "95 50 120 50 120 60 95 60 a 0",  # center outside
                    "101 0 120 0 120 9 101 9 a 0",  # entirely outside
                    "-50 -9 200 -9 200 99 -50 99 a 0",  # around the image, not outside
                    "5 5 5 5 5 5 5 5 a 0",  # no area
                ],
                "no_image": [f"{BOX} c 0"],
            },
            sized=["x", "no_labels"],
        ),
        classes=("a", "b"),
    )
    assert stats.problems["reaching outside the image by more than 2 pixels"] == [
        "x.txt:6",
        "x.txt:7",
        "x.txt:8",
        "x.txt:9",
    ]
    assert stats.problems["center outside the image"] == ["x.txt:7"]
    assert stats.problems["entirely outside the image"] == ["x.txt:8"]
    assert stats.problems["labeled twice (same class, IoU above 0.95)"] == ["x.txt:3"]
    assert stats.problems["boxes without area"] == ["x.txt:10"]
    assert stats.problems["class 'c' is not in the list, objects"] == ["no_image.txt:1"]
    assert stats.problems["label files without an image"] == ["no_image"]
    assert stats.problems["images without a label file"] == ["no_labels"]
    assert "entirely outside the image: 1 (x.txt:8)" in stats.table()


def test_stats_without_image_sizes(data):
    stats = collect_stats(data({"x": [f"{BOX} 船 0"]}))
    assert counts(stats) == {}
    assert not any("outside" in title or "without an image" in title for title in stats.problems)
    assert "船" in stats.table()


def test_stats_of_an_empty_set(data):
    stats = collect_stats(data({"x": []}))
    assert "1 images, 0 objects" in stats.table()


def test_read_label_set_reports_all_faults(data):
    with pytest.raises(InputError, match=r"(?s)2 files cannot be used.*a\.txt:1.*b\.txt:2"):
        data({"a": ["1 2 3"], "b": [f"{BOX} x 0", "nan " + BOX[2:] + " x 0"], "c": [f"{BOX} x"]})


def test_stats_match_published_numbers(shared):
    """The README of the dataset has these numbers, which its author computed with other code."""
    folder = shared / "data/hit_uav_small"
    stats = collect_stats(read_label_set(folder / "labelTxt", find_images(folder / "images")))
    table = stats.table()
    assert "516 images, 5102 objects (14 difficult), 0 images without objects" in table
    assert "rotated more than 5 degrees from the axes: 69%" in table
    rows = {line.split()[0]: line.split() for line in table.splitlines() if line}
    assert rows["bicycle"][1] == "2567" and rows["vehicle"][1] == "2535"
    assert "10.8 / 23.3 / 55.1" in table
    assert np.median(stats.measures.aspect) == pytest.approx(2.08, abs=0.005)
    assert counts(stats) == {}

    folder = shared / "data/dota_samples"
    stats = collect_stats(read_label_set(folder / "labelTxt", find_images(folder / "images")))
    assert len(stats.problems["reaching outside the image by more than 2 pixels"]) == 20


@pytest.mark.slow
def test_command_with_plot(data, tmp_path, capsys):
    data({"x": [f"{BOX} 船 0", f"{BOX} b 0"]}, sized=["x"])
    (tmp_path / "classes.txt").write_text("b\n")
    plot = tmp_path / "out" / "stats.png"
    command = ["stats", str(tmp_path / "labelTxt"), "--plot", str(plot)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert (
        "class '船' is not in the list, objects: 1 (x.txt:1)" in out
    )  # classes.txt is beside the labels
    assert cv2.imread(str(plot)).shape == (850, 1500, 3)
    assert main(["stats", str(tmp_path)]) == 0  # the data folder is accepted, too
    assert out.startswith(capsys.readouterr().out.rstrip("\n"))
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "a.xyz")]) == 2
    assert "matplotlib cannot write .xyz" in capsys.readouterr().err


def test_plot_without_matplotlib(data, tmp_path, monkeypatch):
    stats = collect_stats(data({"x": [f"{BOX} b 0"]}))
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install -e '.\[plot\]'"):
        plot_stats(stats, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("folder", "message"),
    [("none", "no such folder of labels"), ("empty", "no label files")],
)
def test_command_without_labels(tmp_path, capsys, folder, message):
    (tmp_path / "empty").mkdir()
    assert main(["stats", str(tmp_path / folder)]) == 2
    assert message in capsys.readouterr().err


def test_memory_does_not_grow_with_one_long_name(data):
    labels = data({"a": [f"{x} 0 {x + 9} 0 {x + 9} 9 {x} 9 ship" for x in range(0, 50_000, 10)]})
    names = labels.names.copy()
    names[7] = "x" * 50_000
    labels = replace(labels, names=names)
    tracemalloc.start()
    found = collect_stats(labels, classes=["ship"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    assert counts(found)[f"class {names[7]!r} is not in the list, objects"] == 1


def test_rows_by_class(data):
    labels = data({"a": [f"{BOX} {name}" for name in "bcbacb"], "b": [f"{BOX} c"]})
    rows = {name: index.tolist() for name, index in labels.rows_by_class().items()}
    assert rows == {"b": [0, 2, 5], "c": [1, 4, 6], "a": [3]}
    assert list(rows) == ["b", "c", "a"]  # by number, equal ones as they come


def test_rows_by_class_without_objects(data):
    assert data({"a": []}).rows_by_class() == {}
