"""Tests of training.best: which file is the best one of a run that goes back."""

import logging

import pytest

from helpers.networks import add_tiny_backbone, tiny_model
from models import Checkpoint, read_checkpoint, save_checkpoint
from training.best import keep_later, restore_best
from training.history import History

APS = {1: 0.3, 2: 0.5, 3: 0.4, 4: 0.7}
"""Epoch -> AP on the validation list."""


@pytest.fixture
def model(monkeypatch):
    add_tiny_backbone(monkeypatch)
    return tiny_model("tiny")


def write(model, path, epoch, step=0):
    """Write the checkpoint at the end of an epoch, or of some step of the next one."""
    path.parent.mkdir(exist_ok=True)
    rows = [{"epoch": one, "loss": 1.0, "ap": APS[one]} for one in range(1, epoch + 1)]
    made = Checkpoint.of(model, epoch=epoch, history=rows, extras={"progress": {"step": step}})
    save_checkpoint(path, made)


def go_back(folder, path):
    resume = read_checkpoint(path)
    keep_later(folder, resume)
    return restore_best(folder, resume, History(resume.history))


def epochs(folder):
    return {path.name: read_checkpoint(path).epoch for path in folder.iterdir()}


@pytest.mark.parametrize("step", [0, 5])
def test_best_epoch_is_found_again(model, tmp_path, caplog, step):
    """Of four epochs, the last was the best; of the first three, the second is."""
    write(model, tmp_path / "model_2.pth", 2)
    write(model, tmp_path / "model_3.pth", 3, step)
    write(model, tmp_path / "model_best.pth", 4)
    with caplog.at_level(logging.WARNING):
        go_back(tmp_path, tmp_path / "model_3.pth")
    assert epochs(tmp_path) == {
        "model_2.pth": 2, "model_3.pth": 3, "model_best.pth": 2, "model_4.pth": 4
    }  # fmt: skip
    assert "model_best.pth was of epoch 4, which this run does again: it is" in caplog.text


def test_checkpoint_itself_may_be_the_best(model, tmp_path):
    write(model, tmp_path / "model_2.pth", 2)
    write(model, tmp_path / "model_best.pth", 4)
    go_back(tmp_path, tmp_path / "model_2.pth")
    assert epochs(tmp_path) == {"model_2.pth": 2, "model_best.pth": 2, "model_4.pth": 4}


def test_without_the_file_of_the_best_epoch_there_is_none(model, tmp_path, caplog):
    write(model, tmp_path / "model_2.pth", 2, step=1)  # not at the end of the epoch
    write(model, tmp_path / "model_3.pth", 3)
    write(model, tmp_path / "model_best.pth", 4)
    assert not go_back(tmp_path, tmp_path / "model_3.pth")
    assert epochs(tmp_path) == {"model_2.pth": 2, "model_3.pth": 3, "model_4.pth": 4}
    assert "the checkpoint of epoch 2, the best one so far, is not there" in caplog.text


@pytest.mark.parametrize(("step", "name"), [(0, "model_4.pth"), (7, "model_4_step_7.pth")])
def test_the_last_checkpoint_is_kept_by_a_run_that_goes_back(model, tmp_path, caplog, step, name):
    write(model, tmp_path / "model_2.pth", 2)
    write(model, tmp_path / "model_last.pth", 4, step)
    content = (tmp_path / "model_last.pth").read_bytes()
    assert go_back(tmp_path, tmp_path / "model_2.pth")
    assert (tmp_path / name).read_bytes() == content
    assert not (tmp_path / "model_last.pth").exists()
    assert f"model_last.pth was of epoch {5 if step else 4}, which this run does" in caplog.text


def test_an_earlier_last_checkpoint_is_replaced(model, tmp_path):
    write(model, tmp_path / "model_last.pth", 2, step=5)
    write(model, tmp_path / "model_3.pth", 3)
    write(model, tmp_path / "model_best.pth", 2)
    assert go_back(tmp_path, tmp_path / "model_3.pth")
    assert epochs(tmp_path) == {"model_last.pth": 2, "model_3.pth": 3, "model_best.pth": 2}


@pytest.mark.parametrize("resumed", ["model_best.pth", "model_3.pth"])
def test_right_file_is_left_alone(model, tmp_path, resumed):
    write(model, tmp_path / "model_3.pth", 3)
    write(model, tmp_path / "model_best.pth", 2)
    before = (tmp_path / "model_best.pth").read_bytes()
    go_back(tmp_path, tmp_path / resumed)
    assert epochs(tmp_path) == {"model_3.pth": 3, "model_best.pth": 2}
    assert (tmp_path / "model_best.pth").read_bytes() == before


def test_new_folder_gets_the_best_of_the_old_one(model, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    write(model, old / "model_3.pth", 3)
    write(model, old / "model_best.pth", 2)
    new.mkdir()
    go_back(new, old / "model_3.pth")
    assert epochs(old) == {"model_3.pth": 3, "model_best.pth": 2}
    assert epochs(new) == {"model_best.pth": 2}


def test_damaged_file_stays(model, tmp_path):
    write(model, tmp_path / "model_3.pth", 3)
    (tmp_path / "model_best.pth").write_bytes(b"damaged")
    go_back(tmp_path, tmp_path / "model_3.pth")
    assert (tmp_path / "model_best.pth").read_bytes() == b"damaged"


def test_a_run_without_scores_has_no_best(model, tmp_path):
    resume = Checkpoint.of(model, epoch=1, history=[{"epoch": 1, "loss": 1.0}])
    save_checkpoint(tmp_path / "model_1.pth", resume)
    go_back(tmp_path, tmp_path / "model_1.pth")
    keep_later(tmp_path, resume)  # not read from a file
    assert restore_best(tmp_path, resume, History(resume.history))
    assert epochs(tmp_path) == {"model_1.pth": 1}
