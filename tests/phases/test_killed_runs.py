"""A run that is killed at any moment and resumed ends as one that was never stopped."""

import json
import os
import random
import shlex
import sys

import pytest
import torch

from helpers import forked_python
from helpers.data_folders import make_small_dota
from helpers.networks import add_tiny_backbone
from helpers.paths import ROOT
from models import read_checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no forks there")

# One process forks a child for each attempt. A child is killed after some
# seconds, or kills itself in the middle of writing its n-th checkpoint, or before renaming it.
ATTEMPTS = """
import io, json, os, signal, sys, time
from pathlib import Path
import pytest
import torch
import main, DOTA_devkit.torch_files, training.history, training.report
from helpers.networks import add_tiny_backbone

add_tiny_backbone(pytest.MonkeyPatch())
torch.set_num_threads(1)
training.history.plot_history = lambda rows, path: None
training.report.plot_evaluation = lambda scores, path: path.write_bytes(b"")
plan = json.loads(sys.argv[1])
last = Path(plan["run_dir"], "weights_dota", "model_last.pth")
original_save, original_replace = torch.save, os.replace


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def half_written(calls):
    def save(content, file):
        calls[0] -= 1
        if calls[0]:
            return original_save(content, file)
        buffer = io.BytesIO()
        original_save(content, buffer)
        file.write(buffer.getvalue()[: buffer.tell() // 2])
        file.flush()
        die()

    DOTA_devkit.torch_files.torch.save = save


def not_renamed(calls):
    def replace(source, target):
        calls[0] -= str(target).endswith(".pth")
        if calls[0] == 0:
            die()
        original_replace(source, target)

    os.replace = replace


def attempt(kind, value):
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        if kind == "writing":
            half_written([value])
        elif kind == "renaming":
            not_renamed([value])
        words = ["--resume_train"] if last.is_file() else plan["start"]
        words += ["--phase", "train", "--run_dir", plan["run_dir"], "--device", "cpu"]
        code = 1
        try:
            code = main.main(words)
        finally:
            os._exit(code)
    if kind == "after":
        time.sleep(value)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - begin


results = [attempt(*one) for one in plan["attempts"]]
Path(plan["report"]).write_text(json.dumps(results))
"""


def run_attempts(folder, name, data, workers, attempts):
    """Run `attempts` (kind of death, number) one after the other; return code and seconds each."""
    plan = {
        "run_dir": str(folder / name),
        "start": ["--data_dir", str(data), "--num_workers", str(workers), *START],
        "attempts": attempts,
        "report": str(folder / f"{name}.json"),
    }
    done = forked_python.run(
        [sys.executable, "-c", ATTEMPTS, json.dumps(plan)], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / f"{name}.json").read_text())
    return results, done.stdout + done.stderr


# A save after each step.
START = shlex.split(
    "--backbone tiny --pretrained none --head_conv 8 --input_h 64 --input_w 64 "
    "--batch_size 2 --epochs 2 --init_lr 1e-3 --save_minutes 1e-6 --save_every 0 --val_every 1"
)
NO_DEATH = ("none", 0)


def assert_same_values(a, b):
    """Compare nested content of two checkpoints, tensors bit by bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same_values(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same_values(one, other)
    else:
        assert a == b


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_resumed_run_equals_an_undisturbed_one(tmp_path, monkeypatch, workers):
    add_tiny_backbone(monkeypatch)  # its checkpoints are read here
    data = make_small_dota(tmp_path / "data", train=6, val=1)
    [(code, seconds)], output = run_attempts(tmp_path, "whole", data, workers, [NO_DEATH])
    assert code == 0, output
    rng = random.Random(workers)
    # The run is not to end before the last of them: each is early, and starts where the one before
    # it died.
    moments = [("after", rng.uniform(0.05, 0.3) * seconds) for _ in range(2)]
    deaths = [("writing", rng.randint(1, 2)), ("renaming", rng.randint(1, 2)), *moments]
    results, output = run_attempts(tmp_path, "killed", data, workers, [*deaths, NO_DEATH])
    codes = [code for code, _ in results]
    assert codes[-1] == 0 and set(codes[:-1]) <= {-9, 0, 2}, output
    assert codes.count(-9) >= 3, (codes, output)
    whole, killed = (tmp_path / name / "weights_dota" for name in ("whole", "killed"))
    for name in ("model_last.pth", "model_best.pth"):
        ours, theirs = read_checkpoint(whole / name), read_checkpoint(killed / name)
        for part in ("model_state", "optimizer_state", "history", "random_state", "epoch"):
            assert_same_values(getattr(ours, part), getattr(theirs, part))
        assert ours.extras["progress"] == theirs.extras["progress"]
    assert len(read_checkpoint(killed / "model_last.pth").history) == 2
    for name in ("history.csv", "train_loss.txt", "ap_list.txt"):
        assert (whole / name).read_text() == (killed / name).read_text()
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}
