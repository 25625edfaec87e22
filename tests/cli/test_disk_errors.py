"""A full disk, and a standard output that cannot be written."""

import sys
from pathlib import Path

import pytest

import main
from helpers.command_line import assert_refused, limit_file_size


@pytest.mark.slow
def test_full_disk_keeps_the_last_checkpoint(run_cli, run_training, data, tmp_path):
    """A checkpoint cannot be written in full: that of the previous epoch is kept."""
    assert run_training(data).code == 0
    last = tmp_path / "weights_dota" / "model_last.pth"
    before = last.read_bytes()
    with limit_file_size(len(before) // 2):
        result = run_cli("--phase", "train", "--data_dir", data, "--resume_train", "--epochs", 2)
    assert_refused(result, "model_", "File too large", "unchanged")
    assert last.read_bytes() == before
    assert not list((tmp_path / "weights_dota").glob("*.tmp"))


@pytest.mark.parametrize("phase", ["train", "test", "eval"])
def test_disk_full_from_the_start(run_cli, phase_arguments, data, phase):
    """Only files of a few lines can be written."""
    arguments = phase_arguments(phase, data)
    with limit_file_size(200):
        result = run_cli(*arguments)
    assert_refused(result, "File too large")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_standard_output(capsys, monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = main.main(["--phase", "info", "--backbone", "mobilenetv2", "--input_h", "64"])
        full.flush()  # nothing is left in the buffer that would fail at exit
    assert code == 2
    assert capsys.readouterr().err == "error: standard output: No space left on device\n"
