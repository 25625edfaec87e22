"""The phases predict and benchmark: model files on images of any size."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from cli.run_dir import SAMPLE_DIR
from cli.settings import detector_settings
from datasets.sample import make_sample
from deploy import benchmark as timing
from deploy.detector import Detector, file_digest
from deploy.predict import pipeline as prediction
from deploy.predict.settings import ModelRecord, PredictSettings, Shard
from deploy.predict.sources import find_sources
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import refuse_unwritable

logger = logging.getLogger("bbavectors")


PREDICT_BATCH = 16 if torch.cuda.is_available() else 2
"""Windows of a batch: on a CPU more are no faster, and resnet101 would need over 2 GB."""


def predict(args: argparse.Namespace) -> int:
    """Detect in images of any size; the exit code is 1 if some could not be used."""
    if not args.source or not args.weights:
        raise InputError("--phase predict needs --source PATH and --weights FILE")
    output = args.output or args.run_dir / "result_predict"
    refuse_unwritable(output)
    detector = Detector.load(args.weights, detector_settings(args))
    settings = PredictSettings(
        tile=args.tile,
        overlap=args.overlap,
        scales=args.scales,
        gsd=args.gsd,
        crs=args.crs,
        batch_size=args.batch_size or PREDICT_BATCH,
        formats=args.formats,
        shard=args.shard or Shard.from_environment(),
    )
    runtime = detector.runtime
    model = ModelRecord(
        weights=str(args.weights),
        file_digest=file_digest(args.weights),
        runtime=runtime.name,
        K=runtime.K,
        theta_thresh=runtime.theta_thresh,
        squash=args.squash,
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
    files = [*([Path(args.weights)] if args.weights else []), *args.models]
    if not files:
        raise InputError("--phase benchmark needs --weights FILE (and more with --models)")
    path = args.output or args.run_dir / "benchmark.json"
    if path.is_dir():
        raise InputError(f"--output {path} is a folder; expected the path of a JSON file")
    refuse_unwritable(path.parent)
    settings = timing.BenchmarkSettings(runs=args.runs, batch_size=args.batch_size or 1)
    paths = find_sources(args.source or [make_sample(SAMPLE_DIR) / "images"])
    result = timing.benchmark(files, paths[: args.runs], detector_settings(args), settings)
    logger.info(
        "%s, %d cores, batches of %d, medians of %d runs, milliseconds per image; speedup: "
        "network and decode, compared with the first row",
        result["processor"], result["cores"], settings.batch_size, settings.runs,
    )  # fmt: skip
    logger.info("%s", timing.table(result))
    timing.write_json(result, path)
    logger.info("results saved as JSON in %s", path)
