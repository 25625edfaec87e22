"""A prediction that was killed is resumed, and a full disk loses nothing."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from deploy.predict.journal import COLUMNS, BatchResult, Journal, progress_folder
from deploy.predict.settings import ModelRecord, Shard
from DOTA_devkit.errors import InputError
from helpers.drawn_objects import DrawnObjects
from helpers.paths import ROOT
from helpers.prediction_runs import Killed, KilledAfter, assert_found, result_files, run, write

OTHER_MODEL = ModelRecord("model.pth", "0123456789abcdef", "PyTorch", K=500, theta_thresh=0.5)


@pytest.mark.parametrize(
    "torn", [None, b"", b"\0" * 4096, b"\xff\xfe\x80 garbage", b'{"batch": 1', b"[]\n", b'"rows"\n']
)
def test_killed_run_is_resumed(tmp_path, picture, torn):
    """Whatever `torn` stands in place of the end of the last line."""
    cut_line = torn is not None
    whole = run(picture, tmp_path / "whole")
    with pytest.raises(Killed):
        run(picture, tmp_path / "out", KilledAfter(2))
    (journal,) = (tmp_path / "out").glob("progress-*/*.jsonl")
    if cut_line:
        journal.write_bytes(journal.read_bytes()[:-9] + torn)
    detector = DrawnObjects()
    done = run(picture, tmp_path / "out", detector)
    assert len(detector.batches) == 4 - (1 if cut_line else 2)
    np.testing.assert_array_equal(
        done.images[0].detections.corners, whole.images[0].detections.corners
    )
    assert result_files(tmp_path / "out") == result_files(tmp_path / "whole")


@pytest.mark.parametrize("place", [0, 9, 30, 60, -3])
def test_a_damaged_line_is_done_again(tmp_path, picture, place):
    """Its JSON and base64 may still be valid: one letter is another one."""
    whole = run(picture, tmp_path / "whole")
    with pytest.raises(Killed):
        run(picture, tmp_path / "out", KilledAfter(2))
    (journal,) = (tmp_path / "out").glob("progress-*/*.jsonl")
    first, second = journal.read_bytes().splitlines()
    damaged = bytearray(first)
    damaged[place] ^= 1
    journal.write_bytes(bytes(damaged) + b"\n" + second + b"\n" + b"[" * 200_000 + b"\n")
    detector = DrawnObjects()
    run(picture, tmp_path / "out", detector)
    assert len(detector.batches) == 3 and whole.windows
    assert result_files(tmp_path / "out") == result_files(tmp_path / "whole")


def test_journal_line_of_an_unknown_batch_is_ignored(tmp_path, picture):
    with pytest.raises(Killed):
        run(picture, tmp_path / "out", KilledAfter(2))
    (journal,) = (tmp_path / "out").glob("progress-*/*.jsonl")
    line = BatchResult(99, np.zeros((0, COLUMNS), np.float32)).to_line()
    journal.write_bytes(journal.read_bytes() + line.encode() + b"\n")
    run(picture, tmp_path / "whole")
    run(picture, tmp_path / "out")
    assert result_files(tmp_path / "out") == result_files(tmp_path / "whole")


@pytest.mark.parametrize("other", ["setting", "model", "pixels"])
def test_other_work_starts_from_scratch(tmp_path, picture, other):
    picture = write(picture.with_suffix(".bmp"), cv2.imread(str(picture)))
    with pytest.raises(Killed):
        run(picture, tmp_path / "out", KilledAfter(2))
    settings = {"setting": {"scales": (0.9,)}, "model": {"model": OTHER_MODEL}}
    if other == "pixels":  # in a file of the same size in bytes
        cv2.imwrite(str(picture), cv2.imread(str(picture))[::-1])
    detector = DrawnObjects()
    done = run(picture, tmp_path / "out", detector, **settings.get(other, {}))
    assert sum(detector.batches) == done.windows


def test_another_augmentation_is_other_work():
    """Without one, runs that an earlier version was stopped in are still resumed."""
    identity = replace(OTHER_MODEL, tta="flips").identity()
    assert identity == {**OTHER_MODEL.identity(), "tta": "flips"}
    assert "tta" not in OTHER_MODEL.identity()


def test_result_without_faults_wins(tmp_path):
    """A disk was away for a moment; it does not matter which file comes first."""
    rows = np.zeros((1, COLUMNS), np.float32)
    for name, faults in (("a", {}), ("b", {0: "gone"})):
        with Journal(progress_folder(tmp_path, {}), name) as journal:
            journal.append(BatchResult(0, rows, faults=faults))
            journal.append(BatchResult(1, rows, faults={1: f"gone for {name}"}))
            journal.append(BatchResult(2, rows[:0]))
            journal.append(BatchResult(2, rows))
    assert journal.done() == {0: True, 1: False, 2: True}
    assert journal.latest()[1].faults == {1: "gone for b"} and len(journal.latest()[2].rows) == 1


def test_results_written_by_another_process(tmp_path, picture, monkeypatch, caplog):
    """The folder disappears at once: a part of it is never taken for the whole."""
    run(picture, tmp_path / "out", shard=Shard(0, 2))
    (folder,) = (tmp_path / "out").glob("progress-*")
    latest = Journal.latest
    caplog.set_level("INFO")

    def taken_away(journal):
        journal.remove()
        return latest(journal)

    monkeypatch.setattr(Journal, "latest", taken_away)
    monkeypatch.setattr(Journal, "done", lambda journal: {})
    done = run(picture, tmp_path / "out", shard=Shard(1, 2))
    assert done.written_elsewhere and not done.images and not folder.exists()
    assert "another process has written the results" in caplog.text
    assert result_files(tmp_path / "out") == {}


def appending_to_full(path):
    return os.fdopen(os.open("/dev/full", os.O_RDWR | os.O_APPEND), "a+b")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_full_disk_keeps_what_is_done(tmp_path, picture, monkeypatch):
    with pytest.raises(Killed):
        run(picture, tmp_path / "out", KilledAfter(2))
    (journal,) = (tmp_path / "out").glob("progress-*/*.jsonl")
    kept = journal.read_bytes()
    journal.rename(journal.with_name("before.jsonl"))
    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match=r"cannot write .*No space left.*is kept"),
    ):
        patch.setattr("deploy.predict.journal.appending", appending_to_full)
        run(picture, tmp_path / "out")
    assert journal.with_name("before.jsonl").read_bytes() == kept
    detector = DrawnObjects()
    done = run(picture, tmp_path / "out", detector)
    assert len(detector.batches) == 2
    assert_found(done.images[0].detections)


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from helpers.drawn_objects import DrawnObjects
from deploy.predict.pipeline import predict
from deploy.predict.settings import PredictSettings
class Slow(DrawnObjects):
    def detect_inputs(self, images):
        time.sleep(0.2)
        return super().detect_inputs(images)
predict(Slow(), [{source!r}], PredictSettings(batch_size=1), Path({output!r}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.slow
def test_process_killed_by_the_system_is_resumed(tmp_path, picture):
    code = KILLED.format(
        root=str(ROOT), tests=str(ROOT / "tests"), source=str(picture), output=str(tmp_path / "out")
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lines = [p.read_bytes().count(b"\n") for p in tmp_path.glob("out/progress-*/*.jsonl")]
            if lines and lines[0] >= 2:
                break
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    detector = DrawnObjects()
    done = run(picture, tmp_path / "out", detector, batch_size=1)
    assert 0 < len(detector.batches) <= 13
    assert_found(done.images[0].detections)
