"""Images that cannot be read: they stop a training, or are left out and listed."""

import errno
import re
import shutil

import numpy as np
import pytest
import torch

from datasets import DOTA, DataOptions
from datasets.batching import collate_readable
from datasets.images import UnreadableImage
from DOTA_devkit.errors import InputError
from helpers.command_line import TINY_TRAINING, assert_refused, run_main
from helpers.data_folders import make_small_dota
from helpers.no_plots import draw_no_plots
from models import read_checkpoint
from training.shared_steps import BatchNotes, is_trainable


@pytest.fixture(autouse=True)
def empty_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_no_plots(monkeypatch)


@pytest.fixture
def damaged(tmp_path):
    """Return a data folder of which a training and a validation image are damaged."""
    folder = make_small_dota(tmp_path / "own", train=4, val=2)
    for name in ("im2", "im4"):
        (folder / "images" / f"{name}.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def run(capsys, damaged):
    def run(*more, batch_size=3):
        words = ["--phase", "train", "--data_dir", damaged, *TINY_TRAINING, *more]
        return run_main(capsys, [*words, "--batch_size", batch_size])

    return run


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("name", "kept"),
    [("im2", "batch [01] of 2 in epoch 1|its start"), ("im4", "batch 2 of 2 in epoch 1")],
)
@pytest.mark.slow
def test_bad_image_stops_the_run_with_its_path(run, damaged, workers, name, kept, monkeypatch):
    """The run up to there is kept."""
    if name == "im4":  # of the validation list
        shutil.copy(damaged / "images" / "im3.png", damaged / "images" / "im2.png")
    monkeypatch.setattr("train.save_pictures", lambda *_: None)
    result = run("--num_workers", workers, batch_size=2)
    path = damaged / "images" / f"{name}.png"
    assert_refused(result, path, "not an image", "; --skip_bad_images leaves such images out")
    assert len(result.err.splitlines()) == 1
    assert re.search(f"the run up to ({kept}) is kept in weights_dota/model_last.pth", result.out)


@pytest.mark.slow
def test_bad_images_are_left_out_and_listed(run, damaged, tmp_path):
    """Each is listed once, not in each epoch; the other image of its batch is trained on."""
    result = run("--skip_bad_images", "--epochs", 2, batch_size=2)
    assert result.code == 0, result.err
    listed = (tmp_path / "weights_dota" / "bad_images.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in listed] == ["im4", "im2"]
    assert all(str(damaged / "images") in line for line in listed)
    assert "epoch 2: 1 images could not be read and were left out" in result.out
    checkpoint = read_checkpoint(tmp_path / "weights_dota" / "model_last.pth")
    steps = [entry["step"] for entry in checkpoint.optimizer_state["state"].values()]
    assert set(map(float, steps)) == {4.0}  # two steps in each epoch, as without bad images
    assert len(checkpoint.history) == 2 and "ap" in checkpoint.history[1]
    assert (tmp_path / "weights_dota" / "train_batch_0.jpg").is_file()


@pytest.mark.slow
def test_run_stopped_by_a_bad_image_resumes_without_it(run, damaged, tmp_path, capsys):
    whole = ["--skip_bad_images", "--run_dir", tmp_path / "whole"]
    assert run(*whole, batch_size=1).code == 0
    (damaged / "images" / "im2.png").rename(tmp_path / "im2.png")
    (damaged / "images" / "im2.png").mkdir()  # opened after the pictures of the first batches
    assert run(batch_size=1).code == 2
    words = ["--phase", "train", "--resume_train", "--skip_bad_images"]
    result = run_main(capsys, words)
    assert result.code == 0, result.err
    assert "the run continues with --skip_bad_images, without which it was started" in result.out
    ours, theirs = (
        read_checkpoint(tmp_path / folder / "weights_dota" / "model_last.pth")
        for folder in ("whole", "")
    )
    assert ours.history == theirs.history
    for key, value in ours.model_state.items():
        assert torch.equal(value, theirs.model_state[key]), key


def test_no_validation_image_can_be_read(run, damaged, tmp_path):
    (damaged / "images" / "im5.png").write_bytes(b"")
    old = tmp_path / "weights_dota" / "model_last.pth"
    old.parent.mkdir()
    old.write_text("an earlier run")
    result = run("--skip_bad_images", "--overwrite")
    assert_refused(result, "no image can be read", "im4.png")
    assert old.read_text() == "an earlier run"


def test_batch_without_readable_images():
    batch = collate_readable([{"unreadable": (3, "why")}] * 2)
    assert batch == {"unreadable": [(3, "why")] * 2}
    assert not is_trainable([BatchNotes.take(batch)])


@pytest.mark.parametrize(
    ("size", "count", "enough"), [(32, 1, False), (32, 2, True), (64, 1, True)]
)
def test_rest_of_a_batch_that_is_enough_for_batch_norm(size, count, enough):
    samples = [{"input": np.zeros((3, size, size), np.float32)}] * count
    batch = collate_readable([{"unreadable": (0, "")}, *samples])
    assert is_trainable([BatchNotes.take(batch)]) is enough


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("a.png: truncated"), UnreadableImage),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.png"), UnreadableImage),
        (OSError("cannot identify image file"), UnreadableImage),  # as of Pillow
        (OSError(errno.EMFILE, "Too many open files", "a.png"), OSError),
        (MemoryError(), MemoryError),
        (KeyError("a bug"), KeyError),
    ],
)
def test_errors_that_count_as_unreadable(damaged, error, expected):
    """What the image is not to blame for is no reason to leave it out."""

    class Failing(DOTA):
        def load_image(self, index):
            raise error

    with pytest.raises(expected) as raised:
        Failing(damaged, "train", 64, 64, options=DataOptions())[0]
    assert raised.type is expected
