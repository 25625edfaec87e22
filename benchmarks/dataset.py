"""Measure the time of a training sample, from reading the image to the training targets.

    python -m benchmarks.dataset DATA_DIR [--input 608] [--rounds 20] [--threads 1]

DATA_DIR is a folder in DOTA layout, such as the output of `python -m DOTA_devkit split`. In each
round, one process turns each image into a sample, with random geometric and color augmentation.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import cv2
import numpy as np

from datasets import BaseDataset, DataOptions, open_dataset
from DOTA_devkit.errors import InputError


def time_samples(dataset: BaseDataset, rounds: int) -> dict[str, np.ndarray]:
    """Time the samples of a dataset.

    Returns:
        "sample" and "read" -> milliseconds [rounds, images] of complete samples and of only reading
        the image.
    """
    times = {"sample": [], "read": []}
    for index in range(len(dataset)):  # fill caches
        dataset[index]
    for epoch in range(rounds):
        dataset.set_epoch(epoch)
        for name, make in (("sample", dataset.__getitem__), ("read", dataset.load_image)):
            row = []
            for index in range(len(dataset)):
                begin = time.perf_counter()
                make(index)
                row.append(1000 * (time.perf_counter() - begin))
            times[name].append(row)
    return {name: np.array(rows) for name, rows in times.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dataset", description=__doc__.splitlines()[0]
    )
    parser.add_argument("data_dir", help="folder in DOTA layout")
    parser.add_argument("--dataset", default="dota", help="dota, hrsc or file.py:Class")
    parser.add_argument("--input", type=int, default=608, help="input side (default: 608)")
    parser.add_argument("--rounds", type=int, default=20, help="samples per image (default: 20)")
    parser.add_argument("--threads", type=int, default=1, help="OpenCV threads (default: 1)")
    args = parser.parse_args(arguments)

    cv2.setNumThreads(args.threads)
    try:
        options = DataOptions(cache_labels=False)
        side = (args.input, args.input)
        dataset = open_dataset(args.dataset, args.data_dir, "train", side, options)
        dataset.check_labels()
        times = time_samples(dataset, args.rounds)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2

    print(f"{'image':40} {'objects':>7} {'sample ms':>10} {'read ms':>10}")
    medians = zip(*(np.median(times[name], axis=0) for name in ("sample", "read")), strict=True)
    for index, (sample, read) in enumerate(medians):
        count = len(dataset.load_annotation(index)["cat"])
        print(f"{dataset.img_ids[index]:40} {count:7d} {sample:10.1f} {read:10.1f}")
    print(f"median of {times['sample'].size} samples: {np.median(times['sample']):.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
