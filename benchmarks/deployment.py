"""Compare the speed of exported files with that of the same network in plain PyTorch.

python -m benchmarks.deployment                     every backbone in float32 and int8, 608x608
python -m benchmarks.deployment resnet18 --nms      with NMS in the file as well

This is `--phase benchmark` without a trained checkpoint: the weights are random, which take as long
as trained ones. Only NMS takes longer than usual, as all K rows are detections.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch

from deploy.benchmark import BenchmarkSettings, benchmark, processor, table
from deploy.export.equalize import equalize
from deploy.export.graph.assemble import assemble
from deploy.export.graph.heads import fuse_heads
from deploy.export.graph.upsample import convolve_before_upsampling
from deploy.export.network import ExportNetwork
from deploy.export.network_onnx import export_network
from deploy.export.quantize import quantize
from deploy.export.types import InputShape
from deploy.metadata import ModelMetadata
from deploy.runtimes.base import DetectorSettings
from models import BACKBONES, CTRBOX, Checkpoint, save_checkpoint
from structures.boxes import HEAD_CHANNELS
from structures.defaults import NMS_THRESH, THETA_THRESH, K
from structures.letterbox import normalize

CLASSES = tuple(map(str, range(15)))
CONF_THRESH = 0.0
"""Keeps every peak, so that random weights give K detections."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add(
        "backbones",
        nargs="*",
        default=tuple(BACKBONES),
        metavar="BACKBONE",
        help=f"{', '.join(BACKBONES)} (default: all, which takes a quarter of an hour)",
    )
    add("--size", type=int, default=608, help="side of the input, a multiple of 32 (%(default)s)")
    add(
        "--runs",
        type=int,
        default=9,
        help="timed runs of each file; the median is shown (%(default)s)",
    )
    add("--nms", action="store_true", help="also time files that include NMS")
    add(
        "--threads",
        type=int,
        default=torch.get_num_threads(),
        help="CPU threads in every runtime (here: %(default)s)",
    )
    args = parser.parse_args()
    if unknown := [name for name in args.backbones if name not in BACKBONES]:
        parser.error(f"unknown backbone {unknown[0]}: choose from {', '.join(BACKBONES)}")
    if args.size < 32 or args.size % 32:
        parser.error(f"--size must be a multiple of 32, got {args.size}")
    torch.set_num_threads(args.threads)
    print(f"{processor()}; speedup: network and decode, compared with the first row")
    image = np.random.default_rng(0).integers(0, 256, (args.size, args.size, 3), dtype=np.uint8)
    for backbone in args.backbones:
        with tempfile.TemporaryDirectory() as folder:
            files = write_files(Path(folder), backbone, image, args.nms)
            result = benchmark(
                files,
                [image],
                DetectorSettings(conf_thresh=CONF_THRESH),
                BenchmarkSettings(args.runs),
            )
        print(table(result), flush=True)


def write_files(folder: Path, backbone: str, image: np.ndarray, nms: bool) -> list[Path]:
    """Write a checkpoint with the input size of the image, and its exported files.

    Args:
        folder: Folder to write to.
        backbone: Name of the backbone.
        image: Image [H, W, 3] to calibrate int8 with.
        nms: Whether to write files that include NMS as well.

    Returns:
        Paths of the files, the checkpoint first.
    """
    torch.manual_seed(0)
    heads = {"hm": len(CLASSES), **HEAD_CHANNELS}
    model = CTRBOX(
        heads, None, 4, 1, 256, backbone=backbone, classes=CLASSES, input_size=image.shape[:2]
    ).eval()
    files = [folder / f"{backbone}.pth"]
    save_checkpoint(files[0], Checkpoint.of(model))
    network, batch = ExportNetwork(model), normalize(image)[None]
    parts = {
        "float32": (
            convolve_before_upsampling(export_network(network)),
            fuse_heads(network.box_heads),
        )
    }
    equalize(network, [batch])
    graph = quantize(export_network(network), [batch])
    parts["int8"] = (graph, fuse_heads(network.box_heads))
    for precision, (graph, box_heads) in parts.items():
        for nms_thresh in (None, NMS_THRESH) if nms else (None,):
            metadata = ModelMetadata(
                CLASSES, backbone, CONF_THRESH, THETA_THRESH, K, CONF_THRESH,
                nms_thresh=nms_thresh, precision=precision, default_size=model.input_size,
            )  # fmt: skip
            suffix = "" if nms_thresh is None else "-nms"
            files.append(folder / f"{backbone}-{precision}{suffix}.onnx")
            onnx.save(assemble(graph, box_heads, metadata, InputShape()), files[-1])
    return files


if __name__ == "__main__":
    main()
