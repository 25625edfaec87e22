"""What a run shows in TensorBoard, over several processes."""

import itertools

import pytest
import torch

from DOTA_devkit.errors import InputError
from helpers.data_folders import line, make_dota
from helpers.validations import validation_of
from training.epoch import EpochProgress
from training.history import History
from training.reporting import Reporting, epoch_values
from training.settings import TrainSettings

BATCHES = 100
"""Steps of an epoch: every second one is shown, but not the last."""


def settings(**changes):
    return TrainSettings(tensorboard=True, **changes)


class Process:
    """A process of a run without a network: the loss of each step is its number."""

    def __init__(self, folder, epoch=1, step=0):
        self.reporting = Reporting(settings(), folder)
        self.progress = EpochProgress(epoch, BATCHES, step)
        self.history = History([row(number) for number in range(1, epoch)])
        self.reporting.start_epoch(self.progress, self.history)

    def steps(self, count):
        for _ in range(count):
            done = (self.progress.epoch - 1) * BATCHES + self.progress.step + 1
            self.reporting.add_step(self.progress, {"hm": torch.tensor(float(done))}, 0.5)
            self.progress.step += 1

    def finish_epoch(self):
        self.history.rows = [*self.history.rows, row(self.progress.epoch)]
        self.history.speed = [{"epoch": self.progress.epoch, "seconds": 2.0}]
        self.reporting.finish_epoch(self.history, BATCHES)
        self.progress = EpochProgress(self.progress.epoch + 1, BATCHES)

    def end(self):
        """End, or be killed after the values have been written."""
        self.reporting.flush()


def row(epoch):
    return {"epoch": epoch, "lr": 0.5, "loss": 3.0 - epoch, "hm": 3.0 - epoch}


def shown(folder, tag):
    """Return step -> value as TensorBoard shows them, each step once."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(
        str(folder / "tensorboard"), size_guidance={"scalars": 0}
    ).Reload()
    found = [(event.step, event.value) for event in events.Scalars(tag)]
    assert len(dict(found)) == len(found)
    return dict(found)


STEPS_OF_TWO_EPOCHS = [*range(2, 99, 2), *range(102, 199, 2)]

STOPS = {
    "never": (0, 0, 0),
    # the steps that the first process has done when it is killed, and the place of the checkpoint
    "within the first epoch": (40, 1, 31),
    "at a step that was shown": (40, 1, 40),
    "before the first save": (40, 1, 0),
    "within the second epoch": (150, 2, 21),
    "at the end of the first epoch, before it is saved": (100, 1, 100),
    "right after the end of the first epoch": (100, 2, 0),
    "at the end of the run": (200, 2, 100),
}


@pytest.mark.parametrize("stop", STOPS)
def test_a_killed_run_shows_each_step_once(tmp_path, monkeypatch, stop):
    """Each process starts in a second of its own, which is in the names of the event files."""
    pytest.importorskip("tensorboard")
    monkeypatch.setattr("time.time", itertools.count(1.8e9).__next__)
    done, epoch, step = STOPS[stop]
    first = Process(tmp_path)
    for _ in range(done):
        first.steps(1)
        if first.progress.step == BATCHES:
            first.finish_epoch()
    first.end()
    last = Process(tmp_path, epoch, step) if done else first
    while last.progress.epoch < 3:
        last.steps(BATCHES - last.progress.step)
        last.finish_epoch()
    last.end()
    assert shown(tmp_path, "step/hm") == {step: step for step in STEPS_OF_TWO_EPOCHS}
    assert shown(tmp_path, "train/hm") == {100: 2.0, 200: 1.0}
    assert shown(tmp_path, "epoch") == {100: 1, 200: 2}


def test_earlier_epochs_are_shown_where_tensorboard_comes_later(tmp_path):
    pytest.importorskip("tensorboard")
    process = Process(tmp_path, epoch=3)
    process.steps(BATCHES)
    process.finish_epoch()
    process.end()
    assert shown(tmp_path, "train/loss") == {100: 2.0, 200: 1.0, 300: 0.0}


def test_pictures_of_a_validation(tmp_path):
    """They have the number of the last step of their epoch; those of other epochs are deleted."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    make_dota(tmp_path / "data", {"a": [line(12, 20, 30, 20, "ship")], "b": []}, val="ab")
    (tmp_path / "data/classes.txt").write_text("ship")
    found = [(12, 20, 42, 40, 0.9, 0)], []
    validation = validation_of(tmp_path / "data", found, [{"hm": 1.0}, {"hm": 2.0}])
    reporting = Reporting(settings(val_pictures=1), tmp_path)
    history = History()
    for epoch, ap in enumerate((0.5, 0.9, 0.1, 0.2), start=1):
        progress = EpochProgress(epoch, BATCHES, BATCHES)
        reporting.start_epoch(progress, history)
        assert reporting.add_validation(progress, validation)["ap50_ship"] == 1.0
        history.rows.append({**row(epoch), "ap": ap})
        history.speed.append({"epoch": epoch})
        reporting.finish_epoch(history, BATCHES)
    reporting.flush()
    folder = tmp_path / "validation"
    kept = [f"epoch_{epoch}{end}" for epoch in (2, 4)  # the best and the latest
            for end in (".json", "_best_1.jpg", "_sample_1.jpg", "_worst_1.jpg")]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == kept
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(events.Tags()["images"]) == ["best/1", "sample/1", "worst/1"]
    pictures = events.Images("worst/1")
    assert [one.step for one in pictures] == [100, 200, 300, 400]
    assert (pictures[-1].width, pictures[-1].height) == (320, 240)
    content = (folder / "epoch_4_worst_1.jpg").read_bytes()
    assert pictures[-1].encoded_image_string == content


def test_reports_are_written_only_on_request(tmp_path):
    reporting = Reporting(TrainSettings(), tmp_path)
    progress = EpochProgress(1, BATCHES)
    reporting.start_epoch(progress, History())
    reporting.add_step(progress, {"hm": torch.tensor(1.0)}, 0.1)
    reporting.flush()
    reporting.conclude(History(), {})  # no epoch is finished: there is nothing to report
    assert not list(tmp_path.iterdir())
    assert reporting.add_validation(progress, 0.25) == {"ap": 0.25}


def test_tensorboard_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        InputError, match=r"`tensorboard` needs .*pip install -e '\.\[tensorboard\]'"
    ):
        Reporting(settings(), tmp_path)


def test_tags_of_an_epoch():
    history_row = {
        "epoch": 3, "lr": 0.1, "loss": 1.0, "hm": 0.75, "wh": 0.25, "ap": 0.5, "ap50": 0.5,
        "ap75": 0.25, "precision": 0.9, "recall": 0.8, "val_loss": 2.0, "val_hm": 2.0,
        "ap50_ap75_x": 0.5, "ap75_ship": 0.125,
    }  # fmt: skip
    speed = {"epoch": 3, "seconds": 60.0, "images_per_second": 8.0, "waiting": 0.1,
             "memory_mb": 100.0}  # fmt: skip
    assert epoch_values(history_row, speed) == {
        "epoch": 3, "learning_rate": 0.1, "train/loss": 1.0, "train/hm": 0.75, "train/wh": 0.25,
        "AP": 0.5, "AP50": 0.5, "AP75": 0.25, "validation/precision": 0.9,
        "validation/recall": 0.8, "validation/loss": 2.0, "validation/hm": 2.0,
        "AP50/ap75_x": 0.5, "AP75/ship": 0.125, "speed/seconds": 60.0,
        "speed/images_per_second": 8.0, "speed/waiting": 0.1, "speed/memory_mb": 100.0,
    }  # fmt: skip
