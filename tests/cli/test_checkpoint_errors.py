"""Checkpoints that cannot be used, or that the flags contradict."""

import os
import pickle

import pytest
import torch

import main
from helpers.command_line import TINY_TRAINING, assert_refused
from helpers.networks import save_untrained


class CodeInPickle:
    """A pickle of it runs a command when it is loaded."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


def write_invalid_checkpoint(kind, path):
    """Write a file, or a folder, that is no checkpoint and return its path."""
    if kind == "empty":
        path.touch()
    elif kind == "truncated":
        save_untrained(path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "code":
        torch.save({"epoch": 1, "model_state_dict": CodeInPickle()}, path)
    elif kind == "plain pickle":
        path.write_bytes(pickle.dumps(CodeInPickle()))
    elif kind == "another model":
        torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("empty", "0 bytes"),
        ("truncated", "truncated or damaged"),
        ("code", "could run code"),
        ("plain pickle", ""),
        ("another model", "no weights of this detector"),
        ("folder", ""),
    ],
)
@pytest.mark.parametrize("phase", ["test", "eval", "--resume_train", "--finetune"])
def test_invalid_checkpoint_file(run_cli, data, tmp_path, kind, part, phase):
    path = write_invalid_checkpoint(kind, tmp_path / "x.pth")
    arguments = ["--data_dir", data]
    if phase.startswith("-"):
        arguments += ["--phase", "train", phase, path]
    else:
        arguments += ["--phase", phase, "--weights", path]
    assert_refused(run_cli(*arguments), path, part)
    assert not (tmp_path / "pwned").exists()


def test_resume_without_optimizer_state(run_cli, data, tmp_path):
    path = save_untrained(tmp_path / "x.pth")
    result = run_cli("--phase", "train", "--data_dir", data, "--resume_train", path)
    assert_refused(result, path, "--finetune")


@pytest.fixture(scope="module")
def paper_weights(data, tmp_path_factory):
    """Return a checkpoint of the recipe of the paper, whose heads have no BatchNorm."""
    folder = tmp_path_factory.mktemp("paper")
    flags = ["--data_dir", data, "--run_dir", folder, "--recipe", "paper", *TINY_TRAINING]
    assert main.main(["--phase", "train", *map(str, flags)]) == 0
    return folder / "weights_dota" / "model_last.pth"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--backbone", "resnet18"], "backbone is resnet18, but the file has mobilenetv2"),
        (["--head_conv", "16"], "head_conv is 16, but the file has 8"),
        (["--neck", "16"], "neck is 16, but the file has the backbone's widths"),
        (["--head_bn"], "the file has no BatchNorm in its heads"),
        (
            ["--classes", "car,bus"],
            "2 names (car, bus), but the file has 2 (ship, plane)",
        ),
    ],
)
@pytest.mark.parametrize("phase", ["train", "test", "eval"])
@pytest.mark.slow
def test_flags_that_contradict_a_checkpoint(
    run_cli, writable_data, paper_weights, phase, flags, message
):
    arguments = ["--phase", phase, "--data_dir", writable_data]
    if phase == "train":
        arguments += ["--resume_train", paper_weights, "--epochs", "2"]
    else:
        arguments += ["--weights", paper_weights]
    if "--classes" in flags:  # no labels, which would not be of these classes
        for label in (writable_data / "labelTxt").iterdir():
            label.write_text("")
    assert_refused(run_cli(*arguments, *flags), "model_last.pth", message)
