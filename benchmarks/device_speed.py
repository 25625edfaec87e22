"""Time training steps and the network alone on a device, and print images per second as JSON.

python -m benchmarks.device_speed --device cuda --amp float16 --compile

The images are noise that is on the device already, so reading images is not part of it.
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
"""Steps that are not timed: the first ones find algorithms and the loss scale, and compile."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    add("--amp", choices=AMP, default="none", help="as of --phase train (%(default)s)")
    add("--compile", action="store_true", help="as of --phase train")
    add("--backbone", default="resnet18", help="(%(default)s)")
    add("--size", type=int, default=608, help="side of the input (%(default)s)")
    add("--batch_size", type=int, default=8, help="images of a batch (%(default)s)")
    add("--steps", type=int, default=20, help="timed steps, of which the median counts")
    args = parser.parse_args()
    print(json.dumps(measure(args)))


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Time both.

    Returns:
        `train` and `eval` in images per second, the latter in float32 and not compiled.
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
    statistics_of, loss = NormStatistics(network.train()), RectangleLoss()
    outcomes = []

    def step() -> None:
        outcomes.append(
            train_step(
                network, [dict(batch)], loss, optimizer, settings.clip_norm, statistics_of, device,
                precision,
            )[1]
        )  # fmt: skip

    def detect() -> None:
        with torch.no_grad():
            model(images)

    trained = args.batch_size / seconds(step, args.steps, device)
    if Outcome.DONE not in outcomes[WARM_UP:]:
        raise SystemExit(f"no step of {len(outcomes)} was finite with --amp {args.amp}")
    model.eval()
    return {"train": trained, "eval": args.batch_size / seconds(detect, args.steps, device)}


def seconds(run: Callable[[], None], steps: int, device: torch.device) -> float:
    """Return the median time of a run, after some to warm up."""
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
