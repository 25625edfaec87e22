"""Measure images per second of training steps and of the network alone, and print them as JSON.

python -m benchmarks.device_speed --device cuda --amp float16 --compile

The images are noise that is already on the device, so the time of reading images is excluded.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.training import make_batch
from datasets.batching import to_device
from models import CTRBOX
from models.rectangle_loss import RectangleLoss
from structures.boxes import HEAD_CHANNELS, RECTANGLE, STRIDE
from training.compiling import CompiledNetwork
from training.guards import NormStatistics, Outcome
from training.optimizer import make_optimizer
from training.precision import choose_precision
from training.settings import AMP, TrainSettings
from training.step import train_step

WARM_UP = 4
"""Untimed first steps, which select algorithms, find the loss scale and compile."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    add("--amp", choices=AMP, default="none", help="as in --phase train (%(default)s)")
    add("--compile", action="store_true", help="as in --phase train")
    add("--backbone", default="resnet18", help="(%(default)s)")
    add("--size", type=int, default=608, help="side of the input (%(default)s)")
    add("--batch_size", type=int, default=8, help="images per batch (%(default)s)")
    add("--steps", type=int, default=20, help="timed steps; the median counts (%(default)s)")
    args = parser.parse_args()
    print(json.dumps(measure(args)))


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Time training steps and the network alone.

    Returns:
        `train` and `eval` -> images per second; `eval` is in float32 and not compiled.
    """
    device = torch.device(args.device)
    torch.manual_seed(0)
    model = CTRBOX(
        {"hm": 1, **HEAD_CHANNELS}, None, STRIDE, 1, 256, args.backbone,
        head_bn=True, box_coding=RECTANGLE,
    ).to(device, memory_format=torch.channels_last)  # fmt: skip
    batch = {
        name: value.to(device) for name, value in make_batch(args.batch_size, args.size).items()
    }
    images = to_device(batch["input"], device)
    settings = TrainSettings(optimizer="adamw", lr=1e-4)
    optimizer, precision = make_optimizer(model, settings), choose_precision(args.amp, device)
    network = CompiledNetwork(model) if args.compile else model
    norm_statistics, loss = NormStatistics(network.train()), RectangleLoss()
    outcomes = []

    def step() -> None:
        outcomes.append(
            train_step(
                network, [dict(batch)], loss, optimizer, settings.clip_norm, norm_statistics,
                device, precision,
            )[1]
        )  # fmt: skip

    def detect() -> None:
        with torch.no_grad():
            model(images)

    trained = args.batch_size / median_seconds(step, args.steps, device)
    if Outcome.DONE not in outcomes[WARM_UP:]:
        raise SystemExit(f"none of the {args.steps} timed steps was finite with --amp {args.amp}")
    model.eval()
    return {"train": trained, "eval": args.batch_size / median_seconds(detect, args.steps, device)}


def median_seconds(run: Callable[[], None], steps: int, device: torch.device) -> float:
    """Return the median seconds of a call of `run`, after `WARM_UP` untimed calls."""
    times = []
    for _ in range(WARM_UP + steps):
        begin = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[WARM_UP:])


if __name__ == "__main__":
    main()
