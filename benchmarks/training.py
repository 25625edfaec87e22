"""Compare the speed and the losses of training steps with those of a plain training loop.

python -m benchmarks.training
python -m benchmarks.training --backbones mobilenetv2 --sizes 416 --neck 64 --head_conv 64
python -m benchmarks.training --amp bfloat16

The plain loop uses the contiguous memory format, computes every head as a complete map, and uses an
Adam that is not fused; it is always in float32. Both loops start from the same weights and see the
same images. Their steps alternate, so that other load on the machine affects both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from datasets.targets import encode_targets
from deploy.benchmark import processor
from DOTA_devkit.tables import format_table
from models import CTRBOX, DetectionLoss
from models.assignment import object_cells
from structures.boxes import HEAD_CHANNELS, STRIDE
from training.optimizer import make_optimizer
from training.precision import choose_precision
from training.settings import AMP, TrainSettings

OBJECTS = 20
"""Objects per image."""

Step = Callable[[], float]
"""Runs a training step and returns its loss."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--backbones", default="resnet18,mobilenetv2", metavar="A,B", help="(%(default)s)")
    add("--sizes", default="416,608", metavar="A,B", help="sides of the input (%(default)s)")
    add("--batch_size", type=int, default=4, help="images per step (%(default)s)")
    add("--neck", type=int, help="as in --phase train")
    add("--head_conv", type=int, default=256, help="as in --phase train (%(default)s)")
    add("--turns", type=int, default=5, help="timed steps of each loop (%(default)s)")
    add("--threads", type=int, help="CPU threads (default: one per core)")
    types = [one for one in AMP if one != "float16"]  # which is for GPUs
    add("--amp", choices=types, default="none", help="as in --phase train (%(default)s)")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    print(f"{processor()}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    rows = []
    for backbone in args.backbones.split(","):
        for size in map(int, args.sizes.split(",")):
            rows.append(compare(backbone, size, args))
    header = ("backbone", "input", "plain images/s", "images/s", "ratio", "loss differs by")
    print(format_table([header, *rows]))


def compare(backbone: str, size: int, args: argparse.Namespace) -> tuple[str, ...]:
    """Time both loops for one network and input size, and return a row of the table."""
    batch = make_batch(args.batch_size, size)
    steps = [make_step(plain, backbone, batch, args) for plain in (True, False)]
    first = [step() for step in steps]  # also warms up
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(args.turns):
        for step, seconds in zip(steps, times, strict=True):
            begin = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begin)
    plain, ours = (args.batch_size / statistics.median(seconds) for seconds in times)
    difference = abs(first[1] - first[0]) / first[0]
    return (
        backbone, f"{size}x{size}", f"{plain:.2f}", f"{ours:.2f}", f"{ours / plain:.2f}",
        f"{difference:.1e}",
    )  # fmt: skip


def make_batch(batch_size: int, size: int) -> dict[str, torch.Tensor]:
    """Return a batch of noise images and the training targets of random rectangles."""
    rng = np.random.default_rng(0)
    cells = size // STRIDE
    samples = []
    for _ in range(batch_size):
        low, high = (0, 0, 2, 2, -90), (cells, cells, 20, 10, 90)
        rectangles = rng.uniform(low, high, (OBJECTS, 5))
        samples.append(encode_targets(rectangles, np.zeros(OBJECTS), 1, (cells, cells)))
    batch = {
        name: torch.from_numpy(np.stack([one[name] for one in samples])) for name in samples[0]
    }
    batch["input"] = torch.from_numpy(
        rng.uniform(-0.5, 0.5, (batch_size, 3, size, size)).astype(np.float32)
    )
    return batch


def make_step(
    plain: bool, backbone: str, batch: dict[str, torch.Tensor], args: argparse.Namespace
) -> Step:
    """Make a network and return its training step, that of the plain loop if `plain`."""
    torch.manual_seed(0)
    model = CTRBOX(
        {"hm": 1, **HEAD_CHANNELS}, None, STRIDE, 1, args.head_conv, backbone, neck=args.neck
    ).train()
    layout = torch.contiguous_format if plain else torch.channels_last
    model.to(memory_format=layout)
    images = batch["input"].contiguous(memory_format=layout)
    if plain:
        optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    else:
        optimizer = make_optimizer(model, TrainSettings(lr=1e-4))
    precision = choose_precision("none" if plain else args.amp, images.device)
    loss = DetectionLoss()

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        cells = None if plain else object_cells(batch)
        maps = precision.forward(model, images, logits=True, cells=cells)
        losses = loss(maps, batch, logits=True)
        total = sum(losses.values())
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 35.0)
        optimizer.step()
        return total.item()

    return step


if __name__ == "__main__":
    main()
