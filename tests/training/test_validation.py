"""The columns of the history that a validation fills, and what the history makes of them."""

import math

import pytest

from helpers.data_folders import CLASSES, line, make_dota
from helpers.validations import validation_of
from training.history import History, epoch_line, loss_names
from training.validation import mean_losses, validation_columns


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two ships in two images, one plane, and a third class without objects."""
    labels = {
        "a": [line(10, 10, 20, 10, "ship"), line(50, 50, 20, 20, "plane")],
        "b": [line(10, 10, 20, 10, "ship")],
    }
    folder = make_dota(tmp_path_factory.mktemp("data"), labels, val="ab")
    (folder / "classes.txt").write_text("\n".join([*CLASSES, "harbor"]))
    return folder


def test_columns(data):
    """One ship is found exactly, the other at an IoU of 14 / 26, the plane not at all."""
    boxes = [[(10, 10, 30, 20, 0.9, 0)], [(16, 10, 36, 20, 0.8, 0), (60, 10, 90, 20, 0.1, 2)]]
    losses = [{"hm": 1.0, "wh": 0.5}, {"hm": 2.0, "wh": 0.0}]
    row = validation_columns(validation_of(data, boxes, losses))
    # voc07: 6 of 11 points of recall are reached with the first of two ships
    assert row == pytest.approx({
        "ap": 0.5, "ap50": 0.5, "ap75": 6 / 11 / 2, "precision": 0.5, "recall": 0.5,
        "val_loss": 1.75, "val_hm": 1.5, "val_wh": 0.25,
        "ap50_ship": 1.0, "ap50_plane": 0.0, "ap75_ship": 6 / 11, "ap75_plane": 0.0,
    })  # fmt: skip
    assert all(type(value) is float for value in row.values())  # as checkpoints store them


def test_columns_of_coco(data):
    validation = validation_of(data, [[(10, 10, 30, 20, 0.9, 0)], []], metric="coco")
    row = validation_columns(validation)
    assert row["ap"] == pytest.approx(validation.scores.map)
    assert row["ap50_ship"] == row["ap75_ship"] == pytest.approx(51 / 101)
    assert "val_loss" not in row


def test_columns_without_objects(tmp_path):
    make_dota(tmp_path, {"a": []}, val="a")
    (tmp_path / "classes.txt").write_text("ship")
    row = validation_columns(validation_of(tmp_path, [[]]))
    assert list(row) == ["ap"] and math.isnan(row["ap"])


def test_mean_losses_of_nothing():
    assert mean_losses([]) == {}


ROW = {
    "epoch": 2, "lr": 1e-3, "loss": 3.0, "hm": 1.0, "wh": 2.0, "ap": 0.5, "ap75": 0.25,
    "val_loss": 4.0, "val_hm": 4.0, "ap50_ship": 0.5,
}  # fmt: skip


def test_losses_are_distinguished_from_other_columns():
    assert loss_names(ROW) == ["hm", "wh"]
    text = "epoch 2/3  loss 3.0000 (hm 1.0000 wh 2.0000)  lr 1.00e-03  AP 0.5000  AP75 0.2500"
    assert epoch_line(ROW, 3) == text


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([], None),
        ([None], None),
        ([0.0], 1),
        ([0.5, 0.4], 1),
        ([0.5, 0.5], 2),  # of equal ones the later
        ([None, 0.1, None], 2),
        ([math.nan, 0.1], 2),
        ([math.nan], None),
    ],
)
def test_best_epoch(scores, best):
    rows = [
        {"epoch": number} | ({} if ap is None else {"ap": ap})
        for number, ap in enumerate(scores, start=1)
    ]
    assert History(rows).best_epoch() == best


def test_best_epoch_of_those_whose_checkpoint_is_there():
    rows = [{"epoch": epoch, "ap": ap} for epoch, ap in ((1, 0.3), (2, 0.9), (3, 0.2), (4, 0.4))]
    assert History(rows, best_since=2).best_epoch() == 4
    assert History(rows[:2], best_since=2).best_epoch() is None


def test_tables_have_the_columns_of_all_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr("training.history.plot_history", lambda rows, path: None)
    rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5, "ap": 0.5, "ap50_a, b": 0.5}]
    History(rows, [{"epoch": 1, "seconds": 3.5}]).write(tmp_path)
    table = (tmp_path / "history.csv").read_text()
    assert table == 'epoch,loss,ap,"ap50_a, b"\n1,2.0,,\n2,1.5,0.5,0.5\n'
    assert (tmp_path / "speed.csv").read_text() == "epoch,seconds\n1,3.5\n"
