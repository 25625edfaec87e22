"""Times of each stage of a detector, in every installed runtime.

The stages are load (from the file to the first result), preprocess (letterbox and network input),
network, decode, NMS, and end to end. An exported file includes the decoder and perhaps NMS. Their
time is then part of `network`, and `decode` only reads the rows. The speedup of a runtime compares
the sum of network and decode, which all runtimes have, with that of the first row: the network of a
checkpoint in plain PyTorch, if there is a checkpoint.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from deploy.detector import Detector, as_bgr
from deploy.runtimes.base import DetectorSettings
from deploy.runtimes.registry import RUNTIMES, runtimes_of_file
from deploy.runtimes.torch_runtime import TorchRuntime
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.progress import progress
from DOTA_devkit.tables import format_table

logger = logging.getLogger(__name__)

STAGES = ("preprocess", "network", "decode", "nms", "end to end")

PAUSE_S = 0.15
"""Pause before each run in seconds. Threads of ONNX Runtime keep spinning for some 60 ms after a
run, and whatever ran next on their cores would take up to twice as long."""


@dataclass(frozen=True)
class BenchmarkSettings:
    """How often and on how many images the stages are timed.

    Attributes:
        runs: Timed runs.
        warm_up: Runs before them that are not counted.
        batch_size: Images that go through the network together.
    """

    runs: int = 20
    warm_up: int = 3
    batch_size: int = 1


class PlainTorchRuntime(TorchRuntime):
    """A checkpoint as the original runs it, in contiguous memory: the baseline."""

    name = "PyTorch eager, contiguous"
    memory_format = torch.contiguous_format
    folded = False


class LoadedModel(NamedTuple):
    """A model file that is open in a runtime.

    Attributes:
        file: The model file.
        version: Version of the runtime.
        threads: CPU threads of the network.
        detector: The detector.
        load: Seconds from the file to the first result.
        tta: Views of the test-time augmentation, None without it.
    """

    file: Path
    version: str
    threads: int
    detector: Detector
    load: float
    tta: str | None = None


@dataclass(frozen=True)
class Timings:
    """The times of one file in one runtime.

    Attributes:
        file: The model file.
        runtime: Name of the runtime.
        version: Version of the runtime.
        threads: CPU threads of the network.
        input_hw: Height and width of the network's input.
        load: Seconds from the file to the first result.
        stages: Name of the stage -> median milliseconds per image.
        detections: Mean number per image, on which decoding and NMS depend.
        speed_up: How many times faster than in the first row network and decode are together: the
            median of the ratios of all turns.
        tta: Views of the test-time augmentation, None without it.
    """

    file: str
    runtime: str
    version: str
    threads: int
    input_hw: tuple[int, int]
    load: float
    stages: dict[str, float]
    detections: float
    speed_up: float
    tta: str | None = None


def benchmark(
    files: Sequence[Path],
    images: Sequence[np.ndarray | Path],
    detector_settings: DetectorSettings,
    settings: BenchmarkSettings,
) -> dict[str, Any]:
    """Time each file in each runtime that is installed and can read it.

    The first checkpoint is also timed in plain PyTorch, as the first row. If test-time augmentation
    is asked for, each file that can do it is timed with it as well. All of them take turns, one run
    each, so that whatever else the machine does affects all. There is a pause before each run
    (`PAUSE_S`).

    Args:
        files: Checkpoints, ONNX files and OpenVINO models.
        images: Images or their paths, which are used in turn.
        detector_settings: How the detectors are run.
        settings: How they are timed.

    Returns:
        The machine, the settings and `Timings` of each row, as values for JSON.

    Raises:
        InputError: A file is not a model, none of its runtimes is installed, or test-time
            augmentation is asked for and no file can do it.
    """
    pixels = [as_bgr(image, detector_settings.reading(None)) for image in images]
    models = load_models(files, pixels[0], detector_settings)
    measured: list[list[dict[str, float]]] = [[] for _ in models]
    turns = range(settings.warm_up + settings.runs)
    for turn in progress(turns, "benchmark", unit="run", leave=True):
        first = turn * settings.batch_size
        batch = [pixels[(first + k) % len(pixels)] for k in range(settings.batch_size)]
        for times, model in zip(measured, models, strict=True):
            time.sleep(PAUSE_S)
            times.append(time_stages(model.detector, batch))
    counted = [times[settings.warm_up :] for times in measured]
    timings = [
        summarize(model, times, counted[0]) for model, times in zip(models, counted, strict=True)
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


def load_models(
    files: Sequence[Path], image: np.ndarray, settings: DetectorSettings
) -> list[LoadedModel]:
    """Load each file in each of its runtimes, and the first checkpoint in plain PyTorch.

    Args:
        files: The model files.
        image: Image [H, W, 3] that each of them detects in once.
        settings: How the detectors are run; with test-time augmentation, each file is loaded
            without it as well.

    Raises:
        InputError: As in `benchmark`.
    """
    plain_settings = replace(settings, tta=None)
    pairs = [(file, runtime) for file in files for runtime in runtimes_of(file, settings.runtime)]
    checkpoints = [file for file, runtime in pairs if runtime == "pytorch"]

    def timed_load(
        file: Path,
        runtime: str,
        own: DetectorSettings = plain_settings,
        load: Callable[[Path, DetectorSettings], Detector] = Detector.load,
    ) -> LoadedModel:
        begin = time.perf_counter()
        detector = load(file, replace(own, runtime=runtime))
        detector.detect(image)
        seconds = time.perf_counter() - begin
        # Of the module: the package may have another name, as onnxruntime-gpu has.
        module = importlib.import_module(RUNTIMES[runtime].package)
        version = re.split("[-+]", module.__version__)[0]
        return LoadedModel(file, version, settings.used_threads(), detector, seconds, own.tta)

    models, unable = [], []
    for file, runtime in pairs:
        models.append(timed_load(file, runtime))
        if settings.tta is not None:
            try:
                models.append(timed_load(file, runtime, settings))
            except InputError as error:  # a file that holds the decoder
                unable.append(error)
    if len(unable) == len(pairs):
        raise unable[0]
    for error in unable:
        logger.warning("not timed with test-time augmentation: %s", error)
    plain = [
        timed_load(
            file, "pytorch", load=lambda path, own: Detector(PlainTorchRuntime(path, own), own)
        )
        for file in checkpoints[:1]
    ]
    return plain + models


def summarize(
    model: LoadedModel, times: Sequence[dict[str, float]], first: Sequence[dict[str, float]]
) -> Timings:
    """Compute the medians of a model's turns.

    Args:
        model: The model.
        times: Of each turn the results of `time_stages`.
        first: The same turns of the first model, for the speed-up.
    """

    def to_boxes(turn: dict[str, float]) -> float:
        return turn["network"] + turn["decode"]

    return Timings(
        file=str(model.file),
        runtime=model.detector.runtime.name,
        version=model.version,
        threads=model.threads,
        input_hw=model.detector.input_hw,
        load=model.load,
        stages={stage: statistics.median(turn[stage] for turn in times) for stage in STAGES},
        detections=statistics.mean(turn["detections"] for turn in times),
        speed_up=statistics.median(
            to_boxes(other) / to_boxes(own) for other, own in zip(first, times, strict=True)
        ),
        tta=model.tta,
    )


def runtimes_of(file: Path, asked: str | None = None) -> list[str]:
    """Return the installed runtimes that can read a file; log the missing ones.

    Args:
        file: A model file.
        asked: Name of a runtime, which is returned alone if it reads the file.

    Raises:
        InputError: None of the file's runtimes is installed.
    """
    able = runtimes_of_file(file)
    if asked in able:
        able = (asked,)
    installed = [name for name in able if find_spec(RUNTIMES[name].package) is not None]
    for name in able:
        if name not in installed:
            logger.info("%s is not installed, so %s is not timed in it", name, file)
    if not installed:
        raise InputError(f"{file}: none of {', '.join(able)} is installed")
    return installed


def time_stages(detector: Detector, images: Sequence[np.ndarray]) -> dict[str, float]:
    """Run a batch of images once.

    Returns:
        Name of the stage -> milliseconds per image, and `detections` -> their number per image.
    """
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
    """Format the result of `benchmark` as text, with a row for each file and runtime."""
    stages = (f"{name} ms" for name in STAGES)
    augmented = any(one["tta"] is not None for one in result["timings"])
    rows = [(
        "model", "runtime", *(["tta"] if augmented else []), "threads", "input", "load s", *stages,
        "detections", "speedup",
    )]  # fmt: skip
    for one in result["timings"]:
        rows.append((
            Path(one["file"]).name,
            f"{one['runtime']} {one['version']}",
            *([one["tta"] or "-"] if augmented else []),
            one["threads"],
            "{}x{}".format(*one["input_hw"]),
            f"{one['load']:.2f}",
            *(f"{one['stages'][name]:.1f}" for name in STAGES),
            f"{one['detections']:.1f}",
            f"{one['speed_up']:.2f}",
        ))  # fmt: skip
    return format_table(rows)


def write_json(result: dict[str, Any], path: Path) -> None:
    """Write the result of `benchmark` into a file."""
    with replacing(path) as file:
        json.dump(result, file, indent=1)
        file.write("\n")


def processor() -> str:
    """Return the processor's name and, if known, its int8 and bfloat16 instructions."""
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
    found = [flag for flag in known if flag in flags]
    return f"{name} ({', '.join(found)})" if found else name
