"""How long each stage of a detector takes, for every runtime that is installed.

For each runtime: load (file to first answer), preprocess (letterbox and network input), network,
decode, NMS, and end to end. An exported file has its decoder, and perhaps its NMS, inside: their
time is part of `network` then, and `decode` is only the reading of its rows. How many times faster
than the first row a runtime is compares network and decode together, which all of them have: the
first row is a checkpoint's network in plain PyTorch, where there is a checkpoint.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from deploy.detector import Detector, as_bgr
from deploy.runtimes.base import DetectorSettings
from deploy.runtimes.torch_runtime import TorchRuntime
from DOTA_devkit import interrupts
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.tables import format_table

logger = logging.getLogger(__name__)

STAGES = ("preprocess", "network", "decode", "nms", "end to end")

SETTLE = 0.15
"""Seconds before each run. Threads of ONNX Runtime wait awake for some 60 ms after the last one,
and whatever ran next on their cores would take up to twice as long."""

_PACKAGES = {"pytorch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino"}
_READ_BY = {".onnx": ("onnxruntime", "openvino"), ".xml": ("openvino",)}


@dataclass(frozen=True)
class BenchmarkSettings:
    """runs: timed ones, after `warm_up` that are not. batch_size: images that go in together."""

    runs: int = 20
    warm_up: int = 3
    batch_size: int = 1


class PlainTorchRuntime(TorchRuntime):
    """A checkpoint as the original runs it, its memory contiguous: what others are held against."""

    name = "PyTorch eager, contiguous"
    memory_format = torch.contiguous_format


class Contestant(NamedTuple):
    """A file that is open in a runtime. threads: of the network. load: seconds."""

    file: Path
    version: str
    threads: int
    detector: Detector
    load: float


@dataclass(frozen=True)
class Timings:
    """Of one file in one runtime. load: seconds. stages: median milliseconds an image."""

    file: str
    runtime: str
    version: str
    threads: int
    input_hw: tuple[int, int]
    load: float
    stages: dict[str, float]
    detections: float
    """Mean number an image, on which decoding and NMS depend."""
    speed_up: float
    """How many times faster than the first row network and decode are together: the median of the
    turns' ratios."""


def benchmark(
    files: Sequence[Path],
    images: Sequence[np.ndarray | Path],
    detector_settings: DetectorSettings,
    settings: BenchmarkSettings,
) -> dict[str, Any]:
    """Time each file in each runtime that is installed and can read it.

    The first checkpoint comes first in plain PyTorch as well. The runtimes take turns, one run
    each, so that whatever else the machine does meets them all. Before each there is a pause, as
    the threads of the one before may go on waiting for work, awake.

    Raises:
        InputError: a file is no model, or none of its runtimes is installed.
    """
    pixels = [as_bgr(image) for image in images]
    contestants = open_all(files, pixels[0], detector_settings)
    measured: list[list[dict[str, float]]] = [[] for _ in contestants]
    turns = range(settings.warm_up + settings.runs)
    for turn in tqdm(turns, desc="benchmark", unit="run", disable=None):
        first = turn * settings.batch_size
        batch = [pixels[(first + k) % len(pixels)] for k in range(settings.batch_size)]
        for times, one in zip(measured, contestants, strict=True):
            time.sleep(SETTLE)
            times.append(time_stages(one.detector, batch))
        interrupts.stop_if_pressed()
    counted = [times[settings.warm_up :] for times in measured]
    timings = [
        summary(one, times, counted[0]) for one, times in zip(contestants, counted, strict=True)
    ]
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        **asdict(settings),
        "images": len(pixels),
        "timings": [asdict(one) for one in timings],
    }


def open_all(
    files: Sequence[Path], image: np.ndarray, settings: DetectorSettings
) -> list[Contestant]:
    """Each file in each of its runtimes, after a first answer for `image`."""
    able = [(file, runtime) for file in files for runtime in runtimes_of(file, settings.runtime)]
    checkpoints = [file for file, runtime in able if runtime == "pytorch"]

    def enter(
        file: Path, runtime: str, load: Callable[[Path, DetectorSettings], Detector]
    ) -> Contestant:
        begin = time.perf_counter()
        detector = load(file, replace(settings, runtime=runtime))
        detector.detect(image)
        seconds = time.perf_counter() - begin
        threads = torch.get_num_threads() if runtime == "pytorch" else settings.used_threads()
        return Contestant(file, metadata.version(_PACKAGES[runtime]), threads, detector, seconds)

    contestants = [enter(file, runtime, Detector.load) for file, runtime in able]
    plain = [
        enter(file, "pytorch", lambda path, own: Detector(PlainTorchRuntime(path, own), own))
        for file in checkpoints[:1]
    ]
    return plain + contestants


def summary(
    one: Contestant, times: Sequence[dict[str, float]], first: Sequence[dict[str, float]]
) -> Timings:
    """Medians of a contestant's turns. first: the same turns of the first one."""

    def to_boxes(turn: dict[str, float]) -> float:
        return turn["network"] + turn["decode"]

    return Timings(
        file=str(one.file),
        runtime=one.detector.runtime.name,
        version=one.version,
        threads=one.threads,
        input_hw=one.detector.input_hw,
        load=one.load,
        stages={stage: statistics.median(turn[stage] for turn in times) for stage in STAGES},
        detections=statistics.mean(turn["detections"] for turn in times),
        speed_up=statistics.median(
            to_boxes(other) / to_boxes(own) for other, own in zip(first, times, strict=True)
        ),
    )


def runtimes_of(file: Path, asked: str | None = None) -> list[str]:
    """The installed runtimes that read a file, or of them the one that is asked for; those that
    are not installed are told."""
    able = _READ_BY.get(file.suffix.lower(), ("pytorch",))
    if asked in able:
        able = (asked,)
    there = [name for name in able if find_spec(_PACKAGES[name]) is not None]
    for name in able:
        if name not in there:
            logger.info("%s is not installed, so that %s is not timed in it", name, file)
    if not there:
        raise InputError(f"{file}: none of {', '.join(able)} is installed")
    return there


def time_stages(detector: Detector, images: Sequence[np.ndarray]) -> dict[str, float]:
    """Milliseconds an image of each stage, and `detections` an image."""
    runtime, times = detector.runtime, {}

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        result = work()
        times[stage] = 1000 * (time.perf_counter() - begin) / len(images)
        return result

    begin = time.perf_counter()
    boxes = [detector.letterbox(image.shape[1::-1]) for image in images]
    batch = timed(
        "preprocess",
        lambda: runtime.prepare(
            [box.apply(image) for box, image in zip(boxes, images, strict=True)]
        ),
    )
    outputs = timed("network", lambda: runtime.network(batch))
    found = timed("decode", lambda: runtime.decode(outputs))
    kept = timed("nms", lambda: [one.nms(detector.nms_thresh) for one in found])
    for box, one in zip(boxes, kept, strict=True):
        one.with_corners(box.to_source(one.corners))
    times["end to end"] = 1000 * (time.perf_counter() - begin) / len(images)
    times["detections"] = sum(map(len, kept)) / len(images)
    return times


def table(result: dict[str, Any]) -> str:
    """A row for each file and runtime."""
    stages = (f"{name} ms" for name in STAGES)
    rows = [(
        "model", "runtime", "threads", "input", "load s", *stages, "found", "times faster"
    )]  # fmt: skip
    for one in result["timings"]:
        rows.append((
            Path(one["file"]).name,
            f"{one['runtime']} {one['version']}",
            one["threads"],
            "{}x{}".format(*one["input_hw"]),
            f"{one['load']:.2f}",
            *(f"{one['stages'][name]:.1f}" for name in STAGES),
            f"{one['detections']:.1f}",
            f"{one['speed_up']:.2f}",
        ))  # fmt: skip
    return format_table(rows)


def write_json(result: dict[str, Any], path: Path) -> None:
    with replacing(path) as file:
        json.dump(result, file, indent=1)
        file.write("\n")


def processor() -> str:
    """The processor's name and, where the system tells, what of int8 and bfloat16 it can do."""
    name, flags = platform.processor() or platform.machine(), set()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return name
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() == "flags":
            flags = set(value.split())
    known = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16")
    have = [flag for flag in known if flag in flags]
    return f"{name} ({', '.join(have)})" if have else name
