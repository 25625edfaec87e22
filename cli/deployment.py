"""The phases predict and benchmark: model files on images of any size."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from cli.defaults import SAMPLE_DIR
from cli.devices import asked_threads, model_file_device, warn_if_busy
from cli.given import asked_classes
from cli.processes import refuse_for_torchrun
from datasets.sample import make_sample
from deploy.detector import Detector, file_digest
from deploy.predict import pipeline as prediction
from deploy.predict.settings import ModelRecord, PredictSettings, Shard
from deploy.predict.sources import find_sources
from deploy.runtimes.base import DetectorSettings
from deploy.runtimes.registry import require_file
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import refuse_unwritable
from processes.numbers import ProcessNumbers

logger = logging.getLogger("bbavectors")


PREDICT_BATCH = {"cuda": 16, "cpu": 2}
"""Windows of a batch: on a CPU more are no faster, and resnet101 would need over 2 GB."""


def predict(args: argparse.Namespace) -> int:
    """Detect in images of any size; the exit code is 1 if some could not be used."""
    if not args.source or not args.weights:
        raise InputError("--phase predict needs --source PATH and --weights FILE")
    refuse_for_torchrun(args, ProcessNumbers.of())
    output = args.output or args.run_dir / "result_predict"
    refuse_unwritable(output)
    options = detector_settings(args, [Path(args.weights)])
    detector = Detector.load(args.weights, options)
    if options.device == "cpu":
        warn_if_busy(options.used_threads())
    settings = PredictSettings(
        tile=args.tile,
        overlap=args.overlap,
        scales=args.scales,
        gsd=args.gsd,
        crs=args.crs,
        batch_size=args.batch_size or PREDICT_BATCH["cuda" if "cuda" in options.device else "cpu"],
        formats=args.formats,
        shard=args.shard or Shard.from_environment(),
        overwrite=args.overwrite,
    )
    runtime = detector.runtime
    model = ModelRecord(
        weights=str(args.weights),
        file_digest=file_digest(args.weights),
        runtime=runtime.name,
        K=runtime.K,
        theta_thresh=runtime.theta_thresh,
        squash=detector.squash,
        tta=options.tta,
    )
    done = prediction.predict(detector, args.source, settings, output, model)
    if done.written_elsewhere:
        logger.info("this process has finished its part of %d windows", done.windows)
    elif not done.missing:
        logger.info("%s", done.table(detector.classes))
        logger.info(
            "%d windows, %d of them without data, in %.1f s; results in %s",
            done.windows, done.without_data, done.seconds, output,
        )  # fmt: skip
    else:
        logger.info(
            "this process's part is done; %d batches of other processes are not, and the last "
            "process to finish writes the results",
            done.missing,
        )  # fmt: skip
    if done.faults:
        logger.error("%d images were left out or not drawn; see above", len(done.faults))
    return 1 if done.faults else 0


def benchmark(args: argparse.Namespace) -> None:
    """Time the stages of model files in every runtime that is installed."""
    from deploy import benchmark as timing  # it runs PyTorch, which predict may do without

    files = [*([Path(args.weights)] if args.weights else []), *args.models]
    if not files:
        raise InputError("--phase benchmark needs --weights FILE (and more with --models)")
    for file in files:  # now, as drawing the sample set takes a while
        require_file(file)
    path = args.output or args.run_dir / "benchmark.json"
    if path.is_dir():
        raise InputError(f"--output {path} is a folder; expected the path of a JSON file")
    refuse_unwritable(path.parent)
    settings = timing.BenchmarkSettings(runs=args.runs, batch_size=args.batch_size or 1)
    paths = find_sources(args.source or [make_sample(SAMPLE_DIR) / "images"])
    result = timing.benchmark(files, paths[: args.runs], detector_settings(args, files), settings)
    logger.info(
        "%s, %d cores, batches of %d, medians of %d runs, milliseconds per image; speedup: "
        "network and decode, compared with the first row",
        result["processor"], result["cores"], settings.batch_size, settings.runs,
    )  # fmt: skip
    logger.info("%s", timing.table(result))
    timing.write_json(result, path)
    logger.info("results saved as JSON in %s", path)


def detector_settings(args: argparse.Namespace, files: list[Path]) -> DetectorSettings:
    """Settings of the detectors of model files; what is not given is taken from the file."""
    if (args.input_h is None) != (args.input_w is None):
        raise InputError("give both --input_h and --input_w, or neither")
    return DetectorSettings(
        device=model_file_device(args, files),
        classes=asked_classes(args),
        backbone=args.backbone,
        input_hw=None if args.input_h is None else (args.input_h, args.input_w),
        conf_thresh=args.conf_thresh,
        nms_thresh=args.nms_thresh,
        agnostic_nms_thresh=args.agnostic_nms_thresh,
        theta_thresh=args.theta_thresh,
        K=args.K,
        squash=args.squash or None,  # without the flag, as the model file says
        runtime=args.runtime,
        threads=asked_threads(args),
        depth=args.depth,
        bands=args.bands,
        max_pixels=args.max_pixels,
        allow_remote=args.allow_remote,
        tta=args.tta,
    )
