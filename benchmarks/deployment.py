"""Exported files against the same network in plain PyTorch, in one run, in turns.

python -m benchmarks.deployment                     every backbone in float32 and int8, 608x608
python -m benchmarks.deployment resnet18 --nms      with the suppression in the file as well

Plain PyTorch is the network as it was trained, eager and contiguous, with the eager decoder; the
files have their decoder inside. Weights are random, which costs the same as trained ones but for
the suppression, of which `--nms` times the worst case: K rows that all are found.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import torch

from benchmark import processor
from boxes import HEAD_CHANNELS
from decoder import DecDecoder
from deploy_metadata import ModelMetadata
from DOTA_devkit.tables import format_table
from exporting import openvino_model
from exporting.equalise import equalise
from exporting.heads_at_peaks import products_of
from exporting.network import ExportNetwork
from exporting.network_onnx import export_network
from exporting.onnx_model import Shape, assemble
from exporting.onnx_runtime import open_session
from exporting.parity import Run
from exporting.quantize import quantise
from models import BACKBONES, CTRBOX

CLASSES = tuple(map(str, range(15)))
CONF = 0.0
"""Everything counts, so that K rows come out of random weights."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", default=tuple(BACKBONES))
    parser.add_argument("--size", type=int, default=608)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--nms", action="store_true")
    args = parser.parse_args()
    print(f"{processor()}, {torch.get_num_threads()} threads, {args.size}x{args.size}, batch 1")
    rows = [("backbone", "file", "ms", "times faster", "smallest", "largest")]
    for backbone in args.backbones:
        runs = contestants(backbone, args.size, args.nms)
        times = in_turns(runs, args.runs)
        for name in runs:
            ratios = [a / b for a, b in zip(times["PyTorch"], times[name], strict=True)]
            rows.append((
                backbone, name, f"{statistics.median(times[name]):.0f}",
                *(f"{of(ratios):.2f}" for of in (statistics.median, min, max)),
            ))  # fmt: skip
    print(format_table(rows))


def contestants(backbone: str, size: int, nms: bool) -> dict[str, Callable[[], object]]:
    """What is timed, by name; plain PyTorch first."""
    torch.manual_seed(0)
    model = CTRBOX({"hm": len(CLASSES), **HEAD_CHANNELS}, None, 4, 1, 256, backbone=backbone).eval()
    decoder = DecDecoder(500, CONF, len(CLASSES), 0.8)
    image = np.random.default_rng(0).random((1, 3, size, size), np.float32) - np.float32(0.5)
    tensor = torch.from_numpy(image)

    @torch.no_grad()
    def eager() -> object:
        return decoder.decode(model(tensor))

    found: dict[str, Callable[[], object]] = {"PyTorch": eager}
    network = ExportNetwork(model)
    parts = {"float32": (export_network(network), products_of(network.box_heads))}
    equalise(network, [image])
    graph = quantise(export_network(network), [image])
    parts["int8"] = (graph, products_of(network.box_heads))
    for precision, (graph, box_heads) in parts.items():
        for nms_thresh in (None, 0.1) if nms else (None,):
            metadata = ModelMetadata(
                CLASSES, backbone, CONF, 0.8, 500, nms_thresh=nms_thresh, precision=precision
            )
            file = assemble(graph, box_heads, metadata, Shape(), fix_conf=True)
            name = precision if nms_thresh is None else f"{precision}, NMS"
            session = open_session(file)
            found[name] = lambda session=session: session.run(None, {"input": image})
            if find_spec("openvino") and nms_thresh is None:
                run = in_openvino(file, metadata)
                found[f"{name}, OpenVINO"] = lambda run=run: run({"input": image})
    return found


def in_openvino(file: onnx.ModelProto, metadata: ModelMetadata) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        openvino_model.convert(file, metadata, path)
        return openvino_model.runner(path)


def in_turns(runs: dict[str, Callable[[], object]], count: int) -> dict[str, list[float]]:
    """Milliseconds of each, run after run, so that whatever else happens meets them all."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(count + 2):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            if turn >= 2:
                times[name].append(1000 * (time.perf_counter() - begin))
    return times


if __name__ == "__main__":
    main()
