"""Time the core of the devkit against the compiled original.

    python -m benchmarks.devkit                    # all, a few minutes
    python -m benchmarks.devkit merge overlap      # only these two
    python -m benchmarks.devkit merge --tenfold    # also ten times the input, to see how it scales

Inputs are generated from a fixed seed, so they are the same on every machine. The times of the
original, the devkit of CAPTAIN-WHU with its compiled polyiou, are constants: they were measured on
the same inputs with Python 3.11 and NumPy 2.4 on two cores. The median of a few runs is shown;
close other programs before.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DOTA_devkit.dota_evaluation_task1 import voc_eval
from DOTA_devkit.merging import merge_results
from DOTA_devkit.polygon import paired_iou, polygon_nms
from DOTA_devkit.splitting import SplitOptions, split_folder

ORIGINAL_SECONDS = {"merge": 4.5, "evaluate": 8.7, "split": 10.2}
"""Benchmark -> time of the original, measured as described above."""


@dataclass(frozen=True)
class Benchmark:
    """A task that is timed.

    Attributes:
        title: Title in the table.
        make_input: Called with a folder and a scale; writes the input, whose amount is
            proportional to the scale.
        run: Called with that folder; runs the task.
    """

    title: str
    make_input: Callable[[Path, float], None]
    run: Callable[[Path], object]


def rotated_boxes(
    rng: np.random.Generator, count: int, extent: float, sides: tuple[float, float]
) -> np.ndarray:
    """Return randomly rotated rectangles [N, 4, 2] with centers in a square of side `extent`."""
    center = rng.uniform(0, extent, (count, 1, 2))
    width, height = rng.uniform(*sides, (2, count, 1))
    angle = rng.uniform(0, 2 * np.pi, (count, 1))
    u = np.hstack([np.cos(angle), np.sin(angle)]) * width / 2
    v = np.hstack([-np.sin(angle), np.cos(angle)]) * height / 2
    return np.stack([-u - v, u - v, u + v, -u + v], axis=1) + center


def format_boxes(corners: np.ndarray) -> list[str]:
    """Return each box of [N, 4, 2] as a text of eight coordinates with one decimal."""
    line = " ".join(["%.1f"] * 8)
    return [line % tuple(row) for row in corners.reshape(-1, 8).tolist()]


def make_merge(folder: Path, scale: float) -> None:
    """Write 200,000 detections: 65 ships in each of 1,000 images, about three per ship.

    They come from patches at the rates 0.5 and 1.
    """
    rng = np.random.default_rng(0)
    images, ships, lines = round(1000 * scale), 65, round(200_000 * scale)
    boxes = rotated_boxes(rng, images * ships, 2000, (10, 60))
    chosen = rng.integers(0, len(boxes), lines)
    rate = rng.choice([0.5, 1.0], lines)
    moved = (boxes[chosen] + rng.normal(0, 1, (lines, 1, 2))) * rate[:, None, None]
    offset = np.maximum(moved.mean(axis=1) // 500 * 500, 0).astype(int)
    scores = rng.random(lines)
    with open(folder / "Task1_ship.txt", "w") as file:
        for image, r, (x, y), score, text in zip(
            (chosen // ships).tolist(),
            rate.tolist(),
            offset.tolist(),
            scores.tolist(),
            format_boxes(moved - offset[:, None]),
            strict=True,
        ):
            file.write(f"P{image:05d}__{r:g}__{x}___{y} {score:.12f} {text}\n")


def run_merge(folder: Path) -> object:
    """Merge the detections of `make_merge`."""
    with tempfile.TemporaryDirectory() as target:
        return merge_results(folder, target, 0.1)


def make_evaluate(folder: Path, scale: float) -> None:
    """Write the labels of 1,000 images with 200 ships each, and 140,000 detections, half false."""
    rng = np.random.default_rng(0)
    images, ships, detections = round(1000 * scale), 200, round(140_000 * scale)
    boxes = rotated_boxes(rng, images * ships, 4000, (10, 60))
    texts = [f"{text} ship {k % 10 == 0:d}\n" for k, text in enumerate(format_boxes(boxes))]
    for image in range(images):
        part = texts[image * ships : (image + 1) * ships]
        (folder / f"P{image:05d}.txt").write_text("imagesource:x\ngsd:0.1\n" + "".join(part))
    found = rng.permutation(len(boxes))[: detections // 2]
    false = rotated_boxes(rng, detections - len(found), 4000, (10, 60))
    corners = np.concatenate([boxes[found] + rng.normal(0, 2, (len(found), 4, 2)), false])
    image = np.concatenate([found // ships, rng.integers(0, images, len(false))])
    with open(folder / "Task1_ship", "w") as file:
        for k in rng.permutation(detections):
            file.write(f"P{image[k]:05d} {rng.random():.12f} {format_boxes(corners[k])[0]}\n")
    (folder / "list").write_text("".join(f"P{image:05d}\n" for image in range(images)))


def run_evaluate(folder: Path) -> object:
    """Compute the AP of the detections of `make_evaluate`."""
    return voc_eval(
        f"{folder}/Task1_{{:s}}", f"{folder}/{{:s}}.txt", folder / "list", "ship", 0.5, True
    )


def make_split(folder: Path, scale: float) -> None:
    """Write an image of 8000x8000 pixels with 2,000 labels."""
    import cv2

    rng = np.random.default_rng(0)
    side = round(8000 * scale**0.5)
    for name in ("images", "labelTxt"):
        (folder / name).mkdir()
    coarse = rng.integers(0, 255, (side // 16, side // 16, 3), np.uint8)
    image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    grain = rng.integers(-6, 7, image.shape, np.int8)
    image = np.clip(image.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    cv2.imwrite(str(folder / "images" / "P0.png"), image)
    boxes = rotated_boxes(rng, round(2000 * scale), side, (10, 80))
    lines = [f"{text} ship 0\n" for text in format_boxes(boxes.astype(int))]
    (folder / "labelTxt" / "P0.txt").write_text("".join(lines))


def run_split(folder: Path) -> object:
    """Split the image of `make_split` at the rates 0.5 and 1."""
    with tempfile.TemporaryDirectory() as target:
        return split_folder(folder, target, SplitOptions(size=600, gap=100, rates=(0.5, 1)))


def make_pairs(folder: Path, scale: float) -> None:
    """Write a million pairs of overlapping rotated boxes."""
    rng = np.random.default_rng(0)
    a = rotated_boxes(rng, round(1_000_000 * scale), 1000, (20, 40))
    b = a + rng.uniform(-10, 10, (len(a), 1, 2)) + rng.normal(0, 1, a.shape)
    np.save(folder / "pairs.npy", np.stack([a, b]))


def run_pairs(folder: Path) -> object:
    """Compute the IoU of the pairs of `make_pairs`."""
    return paired_iou(*np.load(folder / "pairs.npy"))


def make_nms(folder: Path, scale: float) -> None:
    """Write 500 detections in one image: five for each of 100 objects."""
    rng = np.random.default_rng(0)
    boxes = np.repeat(rotated_boxes(rng, round(100 * scale), 600 * scale**0.5, (10, 60)), 5, axis=0)
    np.save(folder / "boxes.npy", boxes + rng.normal(0, 1, (len(boxes), 1, 2)))
    np.save(folder / "scores.npy", rng.random(len(boxes)))


def run_nms(folder: Path) -> object:
    """Apply NMS to the detections of `make_nms`."""
    boxes, scores = np.load(folder / "boxes.npy"), np.load(folder / "scores.npy")
    return polygon_nms(boxes, scores, 0.1)


BENCHMARKS = {
    "merge": Benchmark("merge 200,000 detections, 1 class", make_merge, run_merge),
    "evaluate": Benchmark("AP of 140,000 detections, 1,000 images", make_evaluate, run_evaluate),
    "split": Benchmark("split 8000x8000, 2,000 labels, 2 rates", make_split, run_split),
    "overlap": Benchmark("overlap of 1,000,000 pairs", make_pairs, run_pairs),
    "nms": Benchmark("NMS of 500 detections", make_nms, run_nms),
}


def median_seconds(benchmark: Benchmark, scale: float, repeats: int) -> float:
    """Return the median seconds of a few runs, after an untimed run that warms the file cache."""
    with tempfile.TemporaryDirectory() as folder:
        benchmark.make_input(Path(folder), scale)
        benchmark.run(Path(folder))
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            benchmark.run(Path(folder))
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "benchmarks",
        nargs="*",
        choices=[*BENCHMARKS, []],
        metavar="BENCHMARK",
        help=f"{', '.join(BENCHMARKS)} (default: all)",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=5,
        metavar="N",
        help="runs of which the median is shown (default: 5)",
    )
    parser.add_argument(
        "--tenfold",
        action="store_true",
        help="also time ten times the input, which takes minutes and a few gigabytes",
    )
    arguments = parser.parse_args()
    print(f"{'':<40}{'seconds':>9}{'original':>10}{'faster':>8}", end="")
    print(f"{'10 x':>9}{'growth':>8}" if arguments.tenfold else "")
    for name in arguments.benchmarks or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        ours = median_seconds(benchmark, 1, arguments.repeats)
        original = ORIGINAL_SECONDS.get(name)
        faster = f"{original:>10.1f}{original / ours:>7.1f}x" if original else f"{'':>18}"
        print(f"{benchmark.title:<40}{ours:>9.4f}{faster}", end="", flush=True)
        if arguments.tenfold:
            tenfold = median_seconds(benchmark, 10, min(arguments.repeats, 3))
            print(f"{tenfold:>9.3f}{tenfold / ours:>7.1f}x", end="")
        print(flush=True)


if __name__ == "__main__":
    main()
