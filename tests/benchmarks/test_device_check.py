"""The device checks: table and exit code, comparisons with their tolerances, a complete run."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import device_check, device_checks, device_workspace
from benchmarks.device_check import FAILED, PASSED, SKIPPED
from benchmarks.device_workspace import (
    CheckFailed,
    CheckSkipped,
    Workspace,
    compare_detections,
    compare_losses,
)
from helpers import forked_python
from helpers.paths import ROOT


def no_memory(work):
    raise CheckFailed("out of\nmemory", "output of the command")


def missing_package(work):
    raise CheckSkipped("onnx is not installed")


def broken(work):
    return json.loads("no json")


@pytest.fixture
def checks(monkeypatch):
    """Replace the checks by some with known results."""
    known = {
        "good": lambda work: work.device,
        "bad": no_memory,
        "none": missing_package,
        "odd": broken,
    }
    monkeypatch.setattr(device_check, "CHECKS", known)
    return known


def test_a_failed_check_is_shown_and_gives_code_1(checks, tmp_path, capsys):
    assert device_check.main(["--device", "cpu", "--json", str(tmp_path / "a.json")]) == 1
    text = capsys.readouterr().out.split("\n\n")[1]
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert rows[:4] == [
        "check result seconds",
        "good passed 0 cpu",
        "bad failed 0 out of memory",
        "none skipped 0 onnx is not installed",
    ]
    assert rows[4].startswith("odd failed 0 JSONDecodeError: ") and len(rows) == 5
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["device"] == "cpu"
    assert [one["result"] for one in written["checks"]] == [PASSED, FAILED, SKIPPED, FAILED]
    assert written["checks"][1]["output"] == "output of the command"


def test_a_skipped_check_gives_code_0(checks, capsys):
    assert device_check.main(["--device", "cpu", "--only", "none,good"]) == 0
    assert "0 of 2 checks failed on cpu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "good,evil"], "unknown check 'evil': choose from good, bad"),
        (["--json", "gone/a.json"], "there is no folder gone"),
        (["--keep", "."], "exists already"),
    ],
)
def test_wrong_flags(checks, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        device_check.main(["--device", "cpu", *words])
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_checks_fail_after_the_time_limit(checks, tmp_path):
    work = Workspace(tmp_path, "cpu", limit_s=0)
    (row,) = device_check.run_checks(work, ["good"], by_name=True)
    assert row.result == FAILED and "--only good runs it alone" in row.note


def test_cpu_compiles_only_on_request(tmp_path, monkeypatch):
    monkeypatch.setitem(device_check.CHECKS, "compile", lambda work: "done")
    work = Workspace(tmp_path, "cpu", 60)
    for by_name, expected in ((False, SKIPPED), (True, PASSED)):
        (row,) = device_check.run_checks(work, ["compile"], by_name)
        assert row.result == expected
    (row,) = device_check.run_checks(Workspace(tmp_path, "cuda", 60), ["compile"], by_name=False)
    assert row.result == PASSED


@pytest.mark.parametrize("name", ["float16", "onnx-cuda", "tensorrt"])
def test_gpu_checks_are_skipped_on_a_cpu(tmp_path, name):
    with pytest.raises(CheckSkipped, match="needs a GPU"):
        device_checks.CHECKS[name](Workspace(tmp_path, "cpu", 60))


def test_a_failed_command_says_why(tmp_path):
    work = Workspace(tmp_path, "cpu", 60)
    code = "import sys; print('one'); print('error: no card', file=sys.stderr); print('two'); "
    with pytest.raises(CheckFailed, match=r"^no card$") as failed:
        work.run(["-c", f"{code}sys.exit(3)"])
    assert failed.value.output.count("\n") == 3
    with pytest.raises(CheckFailed, match="exit code 4"):
        work.run(["-c", "import sys; sys.exit(4)"])


def test_once_calls_a_function_only_once(tmp_path):
    work, calls = Workspace(tmp_path, "cpu", 60), []

    def fail():
        calls.append(1)
        raise CheckFailed("broken")

    for _ in range(2):
        with pytest.raises(CheckFailed, match="broken"):
            work.once("run", fail)
        assert work.once("number", lambda: 7) == 7
    assert len(calls) == 1


def write_losses(folder, *values):
    (folder / "weights_dota").mkdir(parents=True)
    rows = "".join(f"{k},{value}\n" for k, value in enumerate(values))
    (folder / "weights_dota" / "history.csv").write_text(f"epoch,loss\n{rows}")
    return folder


@pytest.mark.parametrize(
    ("ours", "tolerance", "message"),
    [
        ((2.0, 1.0), 0.0, None),
        ((2.02, 1.0), 0.02, None),
        ((2.0, 1.1), 0.05, "losses differ by 0.1, more than 0.05"),
        ((2.0, 0.9), 0.05, "losses differ by 0.1, more than 0.05"),
        ((2.0,), 0.5, "1 epochs instead of 2"),
        ((2.0, "nan"), 9.0, "nan"),
    ],
)
def test_losses_are_compared(tmp_path, ours, tolerance, message):
    runs = write_losses(tmp_path / "a", *ours), write_losses(tmp_path / "b", 2.0, 1.0)
    if message is None:
        assert compare_losses(*runs, tolerance).startswith("losses differ by ")
    else:
        with pytest.raises(CheckFailed, match=message):
            compare_losses(*runs, tolerance)


def test_losses_of_some_epochs_are_compared(tmp_path):
    runs = write_losses(tmp_path / "a", 2.0, 3.0), write_losses(tmp_path / "b", 2.0, 1.0)
    assert compare_losses(*runs, 0.0, epochs=1).startswith("losses differ by 0 ")
    with pytest.raises(CheckFailed, match="losses differ by 2"):
        compare_losses(*runs, 0.0, epochs=2)


SAVES = """
import os, sys, time
from pathlib import Path
folder = Path(sys.argv[1], "weights_dota")
folder.mkdir(parents=True)
for text in sys.argv[2:]:
    (folder / "new").write_text(text)
    os.replace(folder / "new", folder / "model_last.pth")
    time.sleep(0.3)
time.sleep(60)
"""


def test_a_run_is_killed_once_its_first_epoch_is_saved(tmp_path, monkeypatch):
    """The first save is made at the start of the run, when there is nothing to resume yet."""
    work, folder = Workspace(tmp_path, "cpu", 20), tmp_path / "runs/killed"
    monkeypatch.setattr(work, "trained_run", lambda name: write_losses(tmp_path / name, 2.0, 1.0))
    monkeypatch.setattr(
        work, "train_arguments", lambda folder, flags: ["-c", SAVES, folder, "start", "epoch 1"]
    )

    def resume(*words):
        saved.append((folder / "weights_dota/model_last.pth").read_text())
        (folder / "weights_dota/history.csv").write_text("epoch,loss\n1,2.0\n2,1.0\n")
        return f"resuming at epoch {epoch} of 2"

    monkeypatch.setattr(work, "main", resume)
    saved, epoch = [], 2
    assert device_checks.check_resume(work).startswith("losses differ by 0 ")
    assert saved == ["epoch 1"]


def test_a_run_that_starts_over_is_not_resumed(tmp_path, monkeypatch):
    work = Workspace(tmp_path, "cpu", 20)
    monkeypatch.setattr(device_checks, "_kill_after_an_epoch", lambda *words: None)
    monkeypatch.setattr(work, "main", lambda *words: "resuming at epoch 1 of 2")
    with pytest.raises(CheckFailed, match="did not resume after the first epoch"):
        device_checks.check_resume(work)


def write_scores(folder, *values):
    folder.mkdir()
    for name in ("plane", "ship", "vehicle", "harbor"):
        (folder / f"Task1_{name}.txt").write_text("")
    rows = [f"im {value} 0 0 9 0 9 9 0 9\n" for value in values]
    (folder / "Task1_ship.txt").write_text("".join(rows))
    return folder


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        ((0.5, 0.4), None),
        ((0.4, 0.5), None),  # in another order
        ((0.5, 0.43), "scores differ by 0.03, more than 0.02"),
        ((0.5,), "1 detections of ship instead of 2"),
        ((), "0 detections of ship instead of 2"),
    ],
)
def test_detections_are_compared(tmp_path, ours, message):
    folders = write_scores(tmp_path / "a", *ours), write_scores(tmp_path / "b", 0.5, 0.4)
    if message is None:
        assert compare_detections(*folders, 0.02).startswith("scores of 2 detections differ by ")
    else:
        with pytest.raises(CheckFailed, match=message):
            compare_detections(*folders, 0.02)


@pytest.mark.parametrize(("count", "fails"), [(95, False), (105, False), (94, True), (106, True)])
def test_numbers_of_detections_may_differ_slightly(tmp_path, count, fails):
    folders = [write_scores(tmp_path / str(n), *[0.5] * n) for n in (count, 100)]
    if fails:
        with pytest.raises(CheckFailed, match=f"{count} detections of ship instead of 100"):
            compare_detections(*folders, 0.02)
    else:
        assert f"{min(count, 100)} detections" in compare_detections(*folders, 0.02)


def test_comparing_no_detections_fails(tmp_path):
    with pytest.raises(CheckFailed, match="no detections to compare"):
        compare_detections(write_scores(tmp_path / "a"), write_scores(tmp_path / "b"), 0.02)


def results_of(path):
    """Return name of the check -> result, read from a JSON file."""
    return {row["check"]: row["result"] for row in json.loads(path.read_text())["checks"]}


def expected_results(*names):
    skipped = ("float16", "onnx-cuda", "tensorrt", "compile")
    return {name: SKIPPED if name in skipped else PASSED for name in names}


@pytest.mark.slow  # runs a dozen commands
def test_checks_on_the_cpu(tmp_path, monkeypatch, capsys):
    """Run all but torchrun, which starts further processes, and compiling."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    for module in (device_checks, device_workspace):
        monkeypatch.setattr(module, "subprocess", forked_python)
    names = [name for name in device_checks.CHECKS if name not in ("torchrun", "compile")]
    code = device_check.main(["--device", "cpu", "--json", str(tmp_path / "a.json"),
                              "--minutes", "60", "--only", ",".join(names)])  # fmt: skip
    assert code == 0, capsys.readouterr().out
    assert results_of(tmp_path / "a.json") == expected_results(*names)


@pytest.mark.slow
@pytest.mark.long
def test_every_check_on_the_cpu(tmp_path):
    """Run the command as a user would."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.device_check", "--device", "cpu", "--json", "a.json",
         "--minutes", "60"],
        cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert results_of(tmp_path / "a.json") == expected_results(*device_checks.CHECKS)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]
