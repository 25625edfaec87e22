"""Ctrl-C: the exit code, the message, and the files that are kept."""

import contextlib
import os
import pkgutil
import signal
import sys
import time
from pathlib import Path

import pytest

from helpers import forked_python
from helpers.command_line import TINY_TRAINING, CommandResult, assert_refused
from helpers.data_folders import picture, write_image
from helpers.paths import ROOT
from models import read_checkpoint


def interrupt_when(folder, arguments, ready, signum=signal.SIGINT):
    """Run a command in a process of its own and return its result after a signal.

    It is sent once `ready()` is true, to the process and to its workers, as a terminal does.
    """
    with open(folder / "stdout.txt", "w+") as out, open(folder / "stderr.txt", "w+") as err:
        process = forked_python.Popen(
            [sys.executable, ROOT / "main.py", *map(str, arguments)],
            cwd=folder, stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while not ready() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            os.killpg(process.pid, signum)
            code = process.wait(timeout=60)
        finally:
            process.kill()
    out, err = ((folder / f"std{name}.txt").read_text() for name in ("out", "err"))
    return CommandResult(code, out, err)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("signum", "name", "code"),
    [(signal.SIGINT, "Ctrl-C", 130), (signal.SIGTERM, "SIGTERM", 143)],  # Slurm, Docker
)
def test_signal_saves_the_run(data, tmp_path, workers, signum, name, code):
    """It is sent to the workers as well, which are still needed for the end of the step."""
    arguments = ["--phase", "train", "--data_dir", data, *TINY_TRAINING, "--epochs", 500]
    last = tmp_path / "weights_dota" / "model_last.pth"
    arguments += ["--num_workers", workers]
    result = interrupt_when(tmp_path, arguments, last.with_name("history.csv").is_file, signum)
    assert_refused(result, f"stopped by {name}; the run up to ", "--resume_train", code=code)
    assert "is kept in weights_dota/model_last.pth" in result.err
    checkpoint = read_checkpoint(last)
    assert checkpoint.epoch >= 1 and len(checkpoint.history) == checkpoint.epoch
    assert not [*last.parent.glob("*.tmp"), *last.parent.glob(".*")]


@pytest.mark.slow
def test_ctrl_c_keeps_finished_predictions(run_cli, trained_weights, tmp_path):
    """The same command continues where it was stopped."""
    write_image(tmp_path / "large.png", picture(600, 600))
    arguments = ["--phase", "predict", "--source", "large.png", "--tile", 64, "--batch_size", 1,
                 "--formats", "json", "--weights", trained_weights]  # fmt: skip

    def some_tiles_are_done():
        journals = tmp_path.glob("result_predict/progress-*/*.jsonl")
        return any(path.read_bytes().count(b"\n") > 3 for path in journals)

    result = interrupt_when(tmp_path, arguments, some_tiles_are_done)
    assert_refused(result, "stopped by Ctrl-C; any progress so far", "the same command", code=130)
    assert "epoch" not in result.err and not Path("result_predict/detections.json").exists()
    again = run_cli(*arguments)
    assert again.code == 0 and "resuming a run that was stopped" in again.out
    assert Path("result_predict/detections.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["exporting", "tracing", "comparing"])
def test_ctrl_c_leaves_no_partial_export(trained_weights, tmp_path, step):
    pytest.importorskip("onnxruntime")
    write_image(tmp_path / "images/a.png", picture(64, 64))
    arguments = ["--phase", "export", "--weights", trained_weights,
                 "--source", "images", "--output", "made.onnx"]  # fmt: skip
    log = tmp_path / "stdout.txt"
    result = interrupt_when(tmp_path, arguments, lambda: step in log.read_text())
    assert_refused(result, "stopped by Ctrl-C; no file was written", code=130)
    assert not list(tmp_path.glob("*made*")) and "epoch" not in result.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "function", "kept"),
    [
        ("train", "train.RectangleLoss.forward", "the run up to batch 1 of 1 in epoch 1 is kept"),
        ("test", "inference.postprocess", "starts over with the first image"),
        ("eval", "inference.postprocess", "starts over with the first image"),
        ("predict", "deploy.predict.pipeline.detect_batch", "any progress so far"),
        ("benchmark", "deploy.benchmark.time_stages", "no times were written"),
        ("export", "deploy.export.pipeline.compare", "no file was written"),
    ],
)
def test_ctrl_c_swallowed_by_a_library(
    run_cli, data, trained_weights, monkeypatch, phase, function, kept
):
    """C++ code that looks up an attribute clears all exceptions: the run must stop nevertheless."""
    pytest.importorskip("onnxruntime")
    target, _, name = function.rpartition(".")
    owner = pkgutil.resolve_name(target)
    original = getattr(owner, name)

    def swallow_interrupt(*args, **kwargs):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, swallow_interrupt)
    model = ["--weights", trained_weights]
    labeled, images = ["--data_dir", data], ["--source", data / "images"]
    arguments = {
        "train": [*labeled, *TINY_TRAINING],
        "test": [*model, *labeled],
        "eval": [*model, *labeled],
        "export": [*model, *images, "--output", "made.onnx"],
    }.get(phase, [*model, *images])
    result = run_cli("--phase", phase, *arguments)
    assert_refused(result, "stopped by Ctrl-C", kept, code=130)
    kept = ["model_last.pth"] if phase == "train" else []
    assert [path.name for path in Path.cwd().rglob("model_*.pth")] == kept
    assert not list(Path.cwd().rglob("*made*"))


def test_ctrl_c_turned_into_another_error(run_cli, monkeypatch, data):
    def fail(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ValueError("a callback failed") from error

    monkeypatch.setattr("train.RectangleLoss.forward", fail)
    result = run_cli("--phase", "train", "--data_dir", data, *TINY_TRAINING)
    assert_refused(result, "stopped by Ctrl-C", code=130)
