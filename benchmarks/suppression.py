"""Compare the speed of NMS in an exported file with that in NumPy.

python -m benchmarks.suppression [--K 500] [--runs 25]

Prints milliseconds for K boxes of one class, as medians after a warm-up. The boxes range from lying
apart to all overlapping, which is the worst case.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.detector import median_ms
from deploy.export.graph.assemble import nms_model
from deploy.runtimes.onnx_runtime import open_session
from DOTA_devkit.polygon import polygon_nms
from DOTA_devkit.tables import format_table
from structures.defaults import NMS_THRESH

EXTENTS_PX = {"apart": 4000, "as in an image": 608, "dense": 200, "all overlap": 20}
"""Name -> side in pixels of the square in which the centers lie; boxes are 18 to 60 pixels long."""


def random_boxes(count: int, extent: float) -> np.ndarray:
    """Return rotated rectangles [N, 4, 2] with an aspect ratio of 2.

    Args:
        count: Number of boxes.
        extent: Side in pixels of the square in which their centers lie.
    """
    rng = np.random.default_rng(0)
    angle, length = rng.uniform(0, np.pi, count), rng.uniform(18, 60, count) / 2
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1) * length[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / 2
    corners = [along - across, along + across, across - along, -along - across]
    centers = rng.uniform(0, extent, (count, 1, 2))
    return (centers + np.stack(corners, axis=1)).astype(np.float32)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--K", type=int, default=500, help="number of boxes (%(default)s)")
    parser.add_argument("--runs", type=int, default=25, help="timed runs (%(default)s)")
    args = parser.parse_args()
    session = open_session(nms_model(args.K, NMS_THRESH))
    scores = np.linspace(1, 0.1, args.K, dtype=np.float32)
    labels = np.zeros(args.K, np.int64)
    table = [("boxes", "kept", "in the file ms", "NumPy ms")]
    for name, extent in EXTENTS_PX.items():
        corners = random_boxes(args.K, extent)
        inputs = {"corners": corners[None], "scores": scores[None], "labels": labels[None]}

        def in_file(inputs: dict[str, np.ndarray] = inputs) -> np.ndarray:
            return session.run(["kept_labels"], inputs)[0]

        def in_numpy(corners: np.ndarray = corners) -> np.ndarray:
            return polygon_nms(corners, scores, NMS_THRESH, labels=labels)

        kept = int((in_file() >= 0).sum())
        if kept != len(in_numpy()):
            raise SystemExit(f"{name}: the file keeps {kept} boxes, NumPy {len(in_numpy())}")
        times = [f"{median_ms(run, args.runs):.1f}" for run in (in_file, in_numpy)]
        table.append((name, kept, *times))
    print(format_table(table))


if __name__ == "__main__":
    main()
