"""Outlines whose corners are in an order that crosses: one interpretation everywhere."""

import logging

import cv2
import numpy as np
import pytest

from datasets.dataset_dota import DOTA
from DOTA_devkit.commands import main
from DOTA_devkit.formats import read_label_files, read_labels, read_task1
from DOTA_devkit.polygon import polygon_area, uncrossed
from DOTA_devkit.splitting import SplitOptions, split_folder

AROUND = np.array([[10, 20], [90, 30], [85, 70], [5, 60]], float)
BOW_TIE = "10 20 90 30 5 60 85 70 ship 0\n"
SHOELACE_AREA = 3250  # of AROUND, by hand: (-1500 + 3750 + 4750 - 500) / 2


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3]),  # around the box: left alone
        ([3, 2, 1, 0], [3, 2, 1, 0]),
        ([0, 1, 3, 2], [0, 1, 2, 3]),  # rows, as TL TR BL BR
        ([0, 3, 1, 2], [0, 3, 2, 1]),  # columns, as TL BL TR BR
        ([0, 2, 1, 3], [0, 1, 2, 3]),
        ([2, 0, 1, 3], [2, 1, 0, 3]),
    ],
)
def test_uncrossed(order, expected):
    corners, crossing = uncrossed(AROUND[None, order])
    assert crossing.tolist() == [order != expected]
    assert corners[0].tolist() == AROUND[expected].tolist()


def test_uncrossed_leaves_concave_and_flat_outlines():
    arrow = [[0, 0], [10, 5], [0, 10], [3, 5]]
    line = [[0, 0], [2, 2], [1, 1], [3, 3]]
    point = [[5, 5]] * 4
    triangle = [[0, 0], [4, 0], [4, 0], [0, 4]]
    outlines = np.array([arrow, line, point, triangle], float)
    corners, crossing = uncrossed(outlines)
    assert not crossing.any() and (corners == outlines).all()
    assert len(uncrossed(np.zeros((0, 4, 2)))[0]) == 0


def test_labels_and_their_lines(tmp_path):
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    paths[0].write_text("gsd:1\n" + BOW_TIE)
    paths[1].write_text("0 0 4 0 4 4 0 4 ship 0\n")
    paths[2].write_text("0 0 4 0 4 4 0 4 ship 0\n" + BOW_TIE)
    for labels in ([read_labels(path) for path in paths], list(read_label_files(paths))):
        assert [one.crossing.tolist() for one in labels] == [[2], [], [2]]
        np.testing.assert_array_equal(labels[2].corners[1], AROUND)
        assert polygon_area(labels[0].corners).tolist() == [SHOELACE_AREA]


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "labelTxt", "results"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), np.zeros((100, 100, 3), np.uint8))
    (tmp_path / "labelTxt/a.txt").write_text(BOW_TIE)
    (tmp_path / "test.txt").write_text("a\n")
    return tmp_path


def test_scored_as_the_box(folder, capsys, caplog):
    around, bow_tie = "10 20 90 30 85 70 5 60", "10 20 90 30 5 60 85 70"
    for corners in (around, bow_tie):
        (folder / "results/Task1_ship.txt").write_text(f"a 0.9 {corners}\n")
        arguments = ["evaluate", str(folder / "results"), str(folder / "labelTxt")]
        assert main([*arguments, "--iou", "0.99"]) == 0
        assert "100.00" in capsys.readouterr().out
        assert f"{folder}/labelTxt/a.txt:1: the corners of this box" in caplog.text
    assert f"{folder}/results/Task1_ship.txt:1: the corners of this box" in caplog.text


def test_merged_as_the_box(folder):
    (folder / "results/Task1_ship.txt").write_text(
        "a 0.9 10 20 90 30 5 60 85 70\na 0.8 10 20 90 30 85 70 5 60\n"
    )
    assert main(["merge", str(folder / "results"), str(folder / "merged")]) == 0
    merged = read_task1(folder / "merged/Task1_ship.txt")
    assert merged.corners.tolist() == [AROUND.tolist()]


def test_split_as_the_box(folder, caplog):
    with caplog.at_level(logging.WARNING):
        split_folder(folder, folder / "patches", options=SplitOptions(size=60, gap=20))
    assert f"{folder}/labelTxt/a.txt:1: the corners of this box" in caplog.text
    # The left patch has the corners 10, 20 and 5, 60 of the box, not those of a bow tie's wing.
    left = read_labels(folder / "patches/labelTxt/a__1__0___0.txt")
    assert len(left) == 1 and not len(left.crossing)
    assert polygon_area(left.corners)[0] > 0.5 * SHOELACE_AREA


def test_trained_on_as_the_box(folder, caplog):
    (folder / "trainval.txt").write_text("a\n")
    (folder / "classes.txt").write_text("ship\n")
    for _ in range(2):  # the second time from the cache
        dataset = DOTA(str(folder), "train", 64, 64, 4)
        caplog.clear()
        dataset.check_labels()
        assert dataset.load_annotation(0)["pts"].tolist() == [AROUND.tolist()]
        assert f"{folder}/labelTxt/a.txt:1: the corners of this box" in caplog.text


def test_converted_and_listed(folder, capsys, caplog):
    (folder / "labels").mkdir()
    (folder / "labels/a.txt").write_text("0 0.1 0.2 0.9 0.3 0.05 0.6 0.85 0.7\n")
    arguments = ["yolo", str(folder / "labels"), str(folder / "out"), "--classes", "ship"]
    assert main(["convert", *arguments]) == 0
    assert (folder / "out/a.txt").read_text() == "10 20 90 30 85 70 5 60 ship 0\n"
    assert f"{folder}/labels/a.txt:1: the corners of this box" in caplog.text
    capsys.readouterr()
    assert main(["stats", str(folder / "labelTxt")]) == 0
    assert "corners in an order that crosses: 1 (a.txt:1)" in capsys.readouterr().out
