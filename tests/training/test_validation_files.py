"""Pictures and scores that are kept of a validation."""

import json

import cv2
import numpy as np
import pytest

from helpers.data_folders import line, make_dota
from helpers.validations import validation_of
from structures.drawing import class_color
from training.validation_files import (
    BEST_LOSS,
    SPREAD,
    WORST_LOSS,
    chosen_images,
    draw_image,
    keep_only,
    kept_epochs,
    read_validation,
    write_validation,
)

SHIP = line(12, 20, 30, 20, "ship")


def folder_of(path, labels, size=(120, 90)):
    make_dota(path, {f"im{k}": lines for k, lines in enumerate(labels)}, size=size,
              val=[f"im{k}" for k in range(len(labels))])  # fmt: skip
    (path / "classes.txt").write_text("ship\nplane")
    return path


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """Six images, of which the second and the last have no objects."""
    return folder_of(tmp_path_factory.mktemp("six"), [[SHIP], [], [SHIP], [SHIP], [SHIP], []])


@pytest.mark.parametrize(
    ("losses", "count", "worst", "best", "spread"),
    [
        ([3, 1, 5, 2, 4, 6], 2, [5, 2], [3, 0], [0, 4]),
        ([1, 1, 1, 1, 1, 1], 1, [0], [2], [0]),  # the first of equal ones, in one role
        ([3, 1, 5, 2, 4, 6], 9, [5, 2, 4, 0, 3, 1], [], [0, 2, 3, 4]),
        ([3, 1, 5, 2, 4, 6], 0, [], [], []),
        ([3, np.nan, np.inf, 2, 4, 1], 2, [1, 2], [3, 0], [0, 4]),  # what is not finite is worst
        (None, 3, [], [], [0, 3, 4]),  # without losses
    ],
)
def test_chosen_images(six, losses, count, worst, best, spread):
    measured = losses and [{"hm": loss - 1.0, "wh": 1.0} for loss in losses]
    chosen = chosen_images(validation_of(six, [[]] * 6, measured), count)
    assert chosen == {WORST_LOSS: worst, BEST_LOSS: best, SPREAD: spread}


def test_images_without_any_object_are_chosen_as_well(tmp_path):
    data = folder_of(tmp_path, [[], []])
    chosen = chosen_images(validation_of(data, [[], []], [{"hm": 1.0}, {"hm": 2.0}]), 1)
    assert chosen == {WORST_LOSS: [1], BEST_LOSS: [], SPREAD: [0]}


@pytest.mark.parametrize(
    ("size", "scale"), [((120, 90), 320 / 120), ((400, 90), 1), ((90, 1280), 0.5)]
)
def test_truth_is_white_and_detections_have_the_color_of_their_class(tmp_path, size, scale):
    data = folder_of(tmp_path / "data", [[SHIP]], size)
    boxes = [(54, 50, 84, 80, 0.9, 1)]
    drawn, picture = draw_image(validation_of(data, [boxes]), SPREAD, 1, 0)
    uncertain = validation_of(data, [[*boxes, (0, 60, 30, 85, 0.17, 0)]])
    assert np.array_equal(draw_image(uncertain, SPREAD, 1, 0)[1], picture)
    assert (drawn.role, drawn.image_id, drawn.objects, drawn.detections) == (SPREAD, "im0", 1, 1)
    assert picture.shape[:2] == tuple(round(side * scale) for side in size[::-1])

    def color_at(x, y):
        """The middle of the left side of a box, where no text is."""
        x, y = round(x * scale), round(y * scale)
        return picture[y, max(x - 1, 0) : x + 2].astype(int)

    assert abs(color_at(12, 30) - 255).sum(axis=1).min() < 150
    assert abs(color_at(54, 65) - class_color(1)).sum(axis=1).min() < 150


def test_scores_return_from_their_file(six, tmp_path):
    boxes = [[(10, 20, 40, 40, 0.9, 0)], [(1, 1, 9, 9, 0.8, 1)], *[[]] * 4]
    losses = [{"hm": float(k)} for k in range(6)]
    validation = validation_of(six, boxes, losses)
    kept = write_validation(tmp_path, 7, validation, 1)
    again = read_validation(tmp_path, 7)
    assert again.epoch == 7 and again.pictures == kept.pictures
    np.testing.assert_equal(again.scores.rows(), validation.scores.rows())
    assert again.scores.images == 6 and again.scores.metric == "voc07"
    curve, expected = again.scores["ship"].curve, validation.scores["ship"].curve
    assert curve.recall.tolist() == expected.recall.tolist() == [0.25]
    assert cv2.imread(str(tmp_path / "epoch_7_worst_1.jpg")).shape == (240, 320, 3)
    assert [one.caption() for one in again.pictures if one.role == WORST_LOSS] == [
        "im5: loss 5.000, objects 0, detections 0"
    ]


def test_long_curves_keep_their_ends(six, tmp_path):
    boxes = [[(0, 0, 5, 5, 0.9 - k / 3000, 0) for k in range(2001)], *[[]] * 5]
    curve = write_validation(tmp_path, 1, validation_of(six, boxes), 0).scores["ship"].curve
    assert len(curve.scores) == len(curve.recall) == len(curve.precision) == 500
    assert curve.scores[[0, -1]] == pytest.approx([0.9, 0.9 - 2 / 3])


DAMAGED = {
    "no json": lambda content: "{",
    "another document": lambda content: "[]",
    "no scores": lambda content: json.dumps({"pictures": []}),
    "a role that is a path": lambda content: content.replace('"sample"', '"../../x"'),
    "more than there is": lambda content: content.replace('"number"', '"place"'),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_file_is_left_out(six, tmp_path, caplog, damage):
    write_validation(tmp_path, 2, validation_of(six, [[]] * 6), 1)
    path = tmp_path / "epoch_2.json"
    path.write_text(DAMAGED[damage](path.read_text()))
    assert read_validation(tmp_path, 2) is None
    assert f"{path} is damaged" in caplog.text


def test_missing_file_is_not_a_fault(tmp_path, caplog):
    assert read_validation(tmp_path, 2) is None and not caplog.text
    assert kept_epochs(tmp_path / "none") == []


def test_files_of_other_epochs_are_deleted(tmp_path):
    names = ["epoch_2.json", "epoch_2_worst_1.jpg", "epoch_12.json", "epoch_12_best_1.jpg"]
    others = ["epoch_x.json", "notes.txt"]
    for name in [*names, "epoch_1.json", "epoch_1_best_2.jpg", "epoch_21_worst_1.jpg", *others]:
        (tmp_path / name).write_text("")
    keep_only(tmp_path, {2, 12})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, *others])
    assert kept_epochs(tmp_path) == [2, 12]
