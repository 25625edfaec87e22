"""Huge GeoTIFFs from the command line: memory, progress, kill, shards."""

import json
import os
import re
import select
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.predict.journal import BatchResult
from helpers import forked_python
from helpers.paths import ROOT
from helpers.small_exports import sharp_model
from models import CTRBOX, Checkpoint, save_checkpoint
from structures.boxes import HEAD_CHANNELS

fcntl = pytest.importorskip("fcntl", reason="no terminals here")
pty = pytest.importorskip("pty", reason="no terminals here")
termios = pytest.importorskip("termios", reason="no terminals here")
pytest.importorskip("rasterio")

pytestmark = pytest.mark.slow
HUGE = 20_000
PATCH = 245
LARGE = 4_000  # it has hundreds of windows, of which the network sees few
PATCHES = [(0, 0), (3_000, 800), (800, 3_000), (LARGE - PATCH, LARGE - PATCH)]
FLAGS = ("--tile", 320, "--formats", "task1,json,csv,geojson", "--conf_thresh", 0.72)
ENOUGH = 3  # batches with detections before a run is killed
MEGABYTES = 2000
PATIENCE = 600  # seconds after which a process that does nothing is given up

WRITE = """
import sys
import numpy as np
import rasterio
from rasterio.transform import from_origin

path, side, patch, *places = sys.argv[1:]
side, patch = int(side), int(patch)
rng = np.random.default_rng(0)
profile = {
    "driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8",
    "tiled": True, "compress": "deflate", "sparse_ok": True, "crs": "EPSG:32632",
    "transform": from_origin(500000, 5200000, 0.5, 0.5),
}
with rasterio.open(path, "w", **profile) as dataset:
    for place in places:
        left, top = map(int, place.split(","))
        blobs = rng.integers(1, 256, (3, patch // 7, patch // 7), dtype=np.uint8)
        blobs = blobs.repeat(7, axis=1).repeat(7, axis=2)
        dataset.write(blobs, window=((top, top + patch), (left, left + patch)))
"""


def write_blobs(path, side, places, patch=PATCH):
    """Write side x side pixels that hold blobs at the places and no data elsewhere.

    Another process writes them, so that GDAL's cache does not stay in that of the tests.
    """
    words = [path, side, patch, *(f"{left},{top}" for left, top in places)]
    subprocess.run([sys.executable, "-c", WRITE, *map(str, words)], check=True)
    return path


def start(popen, weights, source, output, *flags, **streams):
    words = ["main.py", "--phase", "predict", "--weights", weights, "--source", source, "--output",
             output, "--device", "cpu", *flags]  # fmt: skip
    return popen([sys.executable, *map(str, words)], cwd=ROOT, **streams)


def peak_megabytes(process):
    """Return the peak memory of a running process; 0 if the system does not tell.

    `wait4` is of no use: what it reports starts with the usage of the parent process.
    """
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(peak.group(1)) / 1024 if peak else 0


def run(folder, commands, popen=forked_python.Popen):
    """Run commands in parallel, which must succeed -> the log of each and the peak memory."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.log" for number in range(len(commands))]
    processes = []
    for path, words in zip(paths, commands, strict=True):
        with open(path, "w") as log:
            processes.append(start(popen, *words, stdout=log, stderr=subprocess.STDOUT))
    peak = 0
    deadline = time.monotonic() + PATIENCE
    try:
        while any(process.poll() is None for process in processes):
            assert time.monotonic() < deadline
            peak = max(peak, *map(peak_megabytes, processes))
            time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    logs = [path.read_text() for path in paths]
    assert [process.returncode for process in processes] == [0] * len(commands), logs
    return logs, peak


def files(output):
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*")) if path.is_file()
    }  # fmt: skip


def test_memory_of_the_largest_backbone(tmp_path):
    """The patch lies in one window of the coarse pass, and in two of one batch of the other."""
    huge = write_blobs(tmp_path / "huge.tif", HUGE, [(9_900, 9_690)], patch=210)
    names = tuple(f"c{k}" for k in range(15))
    model = CTRBOX({"hm": 15, **HEAD_CHANNELS}, None, 4, 1, 256, backbone="resnet101",
                   classes=names, input_size=(608, 608))  # fmt: skip
    save_checkpoint(tmp_path / "large.pth", Checkpoint.of(model))
    del model
    command = (tmp_path / "large.pth", huge, tmp_path / "out", "--tile", 608, "--scales", "0.5,1")
    (log,), megabytes = run(tmp_path / "logs", [command], subprocess.Popen)
    windows, without_data = map(int, re.search(r"(\d+) windows, (\d+) of them", log).groups())
    assert windows > 2000 and windows - without_data == 3
    assert megabytes < MEGABYTES


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small untrained network that finds boxes of a few pixels in the blobs."""
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    model = sharp_model()
    with torch.no_grad():
        model.hm[-1].weight *= 10
        model.wh[-1].bias += 3
    save_checkpoint(path, Checkpoint.of(model))
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_blobs(tmp_path_factory.mktemp("large") / "large.tif", LARGE, PATCHES)


@pytest.fixture(scope="module")
def whole(weights, large, tmp_path_factory):
    """The files of a run that was not stopped."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder / "logs", [(weights, large, folder / "out", *FLAGS)])
    return files(folder / "out")


def test_every_patch_is_searched(whole):
    (image,) = json.loads(whole["detections.json"])["images"]
    found = np.array([one["corners"] for one in image["detections"]]).mean(axis=1)
    assert len(found) == len(json.loads(whole["detections.geojson"])["features"])
    within = [((found > place) & (found < np.add(place, PATCH))).all(axis=1) for place in PATCHES]
    assert all(inside.sum() > 20 for inside in within)
    assert np.any(within, axis=0).mean() > 0.8


def batches_with_detections(output):
    lines = [
        line
        for path in output.glob("progress-*/*.jsonl")
        for line in path.read_bytes().splitlines()
    ]
    results = map(BatchResult.from_line, lines)
    return sum(result is not None and len(result.rows) > 0 for result in results)


def killed_on_a_terminal(output, *words):
    """Return what a terminal shows of a run that is killed once it has found something."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # rows and columns
    process = start(forked_python.Popen, *words, stdout=inner, stderr=inner)
    os.close(inner)
    shown = b""
    deadline = time.monotonic() + PATIENCE
    try:
        while batches_with_detections(output) < ENOUGH:
            assert time.monotonic() < deadline
            assert process.poll() is None, shown
            if select.select([terminal], [], [], 0.05)[0]:
                shown += os.read(terminal, 1 << 16)
    finally:
        process.kill()  # SIGKILL
        process.wait()
        os.close(terminal)
    return shown.decode()


def test_killed_run_is_resumed(weights, large, whole, tmp_path):
    command = (weights, large, tmp_path / "out", *FLAGS)
    shown = killed_on_a_terminal(tmp_path / "out", *command)
    bar = r"predict: +\d+%\|.*\| \d+/\d+ \[\d\d:\d\d<\d\d:\d\d, .*window"
    assert re.search(bar, shown), shown
    assert not list((tmp_path / "out").glob("detections.*"))
    (log,), _ = run(tmp_path / "logs", [command])
    done, of = map(int, re.search(r"stopped: (\d+) of (\d+) windows are done", log).groups())
    assert 2 * ENOUGH <= done < of
    assert files(tmp_path / "out") == whole


def test_two_shards_in_parallel(weights, large, whole, tmp_path):
    commands = [(weights, large, tmp_path / "out", *FLAGS, "--shard", f"{i}/2") for i in (0, 1)]
    logs, _ = run(tmp_path / "logs", commands)
    assert any("results in" in log for log in logs)
    assert files(tmp_path / "out") == whole
