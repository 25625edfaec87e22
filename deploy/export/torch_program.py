"""Export network and decoder as one PyTorch program (`torch.export`), which runs without this code.

module = torch.export.load("model.pt2").module()
corners, scores, labels = module(images)
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional as F

from deploy.export.exporter_output import quiet
from deploy.export.graph.heads import HeadsAtPeaks
from deploy.export.network import ExportNetwork, HeadMaps
from deploy.export.types import SIZE_MULTIPLE, InputShape, ModelRunner
from deploy.metadata import ModelMetadata
from structures.boxes import CORNER_VECTORS, STRIDE, UPRIGHT_MIDPOINTS, WH

METADATA_FILE = "metadata.json"
"""Name of the extra file in a `.pt2` that holds the metadata, an object of strings."""
MIN_SIZE = 2 * SIZE_MULTIPLE
"""Smallest height and width of a free input: 32 would be traced as a special case."""
MAX_BATCH = 1 << 16
"""PyTorch 2.6 refuses a dimension without an upper bound."""

_FIRST, _SECOND = (list(indices) for indices in zip(*CORNER_VECTORS, strict=True))

_KEPT_META = ("val", "tensor_meta")
"""What nodes keep of what the tracing notes about them: shapes and types, but no source files."""


class TorchDetector(nn.Module):
    """Network and decoder, with the same outputs as the ONNX file.

    Args:
        network: Images -> heat map and features, as `ExportNetwork`.
        box_heads: Features and cells [B, K] -> [B, K, 13], as `HeadsAtPeaks`.
        metadata: The contract of the file.
    """

    def __init__(self, network: nn.Module, box_heads: nn.Module, metadata: ModelMetadata) -> None:
        super().__init__()
        self.network = network
        self.box_heads = box_heads
        self.K = metadata.K
        self.theta_thresh = metadata.theta_thresh
        lowest = metadata.min_conf_thresh
        # rounded to float32, as the scores are
        self.min_conf_thresh = None if lowest is None else torch.tensor(lowest).item()

    def forward(
        self, input: Tensor, conf_thresh: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Detect objects.

        Args:
            input: [B, 3, H, W] float32.
            conf_thresh: Score above which rows are found, a scalar; only where it is an input.

        Returns:
            Corners [B, K, 4, 2], scores [B, K] and labels [B, K].
        """
        heatmap, features = self.network(input)
        _, _, height, width = heatmap.shape
        scores, index = best_peaks(heatmap, self.K)
        cells = index % (height * width)
        labels = index // (height * width)
        corners = self.corners(self.box_heads(features, cells), cells, width)
        threshold = self.min_conf_thresh if conf_thresh is None else conf_thresh
        finite = torch.isfinite(corners).flatten(2).all(dim=2)
        return pack_rows(corners, scores, labels, finite & (scores > threshold))

    def corners(self, values: Tensor, cells: Tensor, width: int) -> Tensor:
        """Decode the corners tr, br, bl, tl in input pixels, [B, K, 4, 2].

        Args:
            values: The heads at the cells, [B, K, 13].
            cells: [B, K], `y * width + x`.
            width: Width of the map.
        """
        vectors, size, offset, theta = values.split([WH["size"].start, 2, 2, 1], dim=2)
        grid = torch.stack([cells % width, cells // width], dim=2)
        center = (grid + offset)[:, :, None]
        upright = size[:, :, None] * values.new_tensor(UPRIGHT_MIDPOINTS)
        turned = theta[..., None] > self.theta_thresh
        midpoints = center + torch.where(turned, vectors.unflatten(2, (4, 2)), upright)
        # Going back from absolute midpoints rounds as the eager decoder does.
        vectors = midpoints - center
        return (center + (vectors[:, :, _FIRST] + vectors[:, :, _SECOND])) * STRIDE


def best_peaks(heatmap: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """Find the best K local maxima of a heat map [B, C, H, W].

    They are in descending order of scores, ties by index, which `torch.topk` does not promise. So
    it only finds the lowest score that is taken. The scores above it, and the first ones that equal
    it, get keys of which no two are alike. All integers fit into 32 bits, which is what the
    runtimes of phones compute with.

    Returns:
        Scores and flattened indices (class, y, x), [B, K] each.
    """
    around = F.max_pool2d(heatmap, 3, stride=1, padding=1)
    flat = torch.where(heatmap == around, heatmap, 0.0).flatten(1)
    flat = F.pad(flat, (0, K))  # so that there are K entries however small the map is
    count = flat.shape[1]
    lowest = flat.topk(K, dim=1).values[:, -1:]
    early = count - torch.arange(count, device=flat.device)  # 1 for the last
    keys = torch.where(flat > lowest, early + count, torch.where(flat == lowest, early, 0))
    index = keys.topk(K, dim=1).indices  # by rising index, with the ones that equal it at the end
    scores = flat.gather(1, index)
    order = descending_order(scores)
    return scores.gather(1, order), index.gather(1, order)


def descending_order(values: Tensor) -> Tensor:
    """Return the indices [B, K] that sort [B, K] in descending order, equal ones by index.

    A stable sort is not among the core operators, so each value counts those that go before it.
    """
    count = values.shape[1]
    rising = torch.arange(count, device=values.device)
    this, other = values[:, :, None], values[:, None]
    tied = torch.logical_and(other == this, rising < rising[:, None])
    before = torch.logical_or(other > this, tied)
    return (count - before.sum(dim=2)).topk(count, dim=1).indices


def pack_rows(
    corners: Tensor, scores: Tensor, labels: Tensor, found: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Put the rows that are found first, in their order, and empty the others.

    Args:
        corners: [B, K, 4, 2].
        scores: [B, K].
        labels: [B, K].
        found: [B, K] bool.

    Returns:
        Corners, scores and labels of these shapes, with 0, 0 and -1 in empty rows.
    """
    order = descending_order(torch.where(found, 1.0, 0.0))
    found = found.gather(1, order)
    corners = corners.gather(1, order[:, :, None, None].expand(-1, -1, 4, 2))
    return (
        torch.where(found[:, :, None, None], corners, 0.0),
        torch.where(found, scores.gather(1, order), 0.0),
        torch.where(found, labels.gather(1, order), -1),
    )


def _decompositions() -> dict:
    """Return the decompositions into core operators, without that of max pooling.

    It would have a second output, the indices, which coremltools does not take. ExecuTorch
    decomposes what is left by itself.
    """
    table = torch.export.default_decompositions()
    table.pop(torch.ops.aten.max_pool2d.default, None)
    return table


def export_program(
    network: ExportNetwork, metadata: ModelMetadata, shape: InputShape
) -> ExportedProgram:
    """Trace the program, made of core operators and max pooling, which ExecuTorch and others take.

    Args:
        network: The network.
        metadata: The contract of the file.
        shape: Which of batch, height and width are fixed.
    """
    dims = (
        (0, shape.batch, Dim("batch", min=1, max=MAX_BATCH), 2),
        (2, shape.height, SIZE_MULTIPLE * Dim("height32", min=2), MIN_SIZE),
        (3, shape.width, SIZE_MULTIPLE * Dim("width32", min=2), MIN_SIZE + SIZE_MULTIPLE),
    )
    example = [2, 3, 0, 0]
    free = {}
    for axis, fixed, dimension, size in dims:
        example[axis] = fixed or size
        if fixed is None:
            free[axis] = dimension
    examples, shapes = {"input": torch.zeros(example)}, {"input": free}
    if metadata.min_conf_thresh is None:
        examples["conf_thresh"] = torch.tensor(metadata.conf_thresh)
        shapes["conf_thresh"] = {}
    if metadata.layout == "heads":
        module = HeadMaps(network)
    else:
        module = TorchDetector(
            network, HeadsAtPeaks(network.box_heads, network.box_coding), metadata
        )
    with torch.no_grad(), quiet():
        program = torch.export.export(
            module.eval(),
            tuple(examples.values()),
            dynamic_shapes=shapes,
            strict=False,  # not the default in PyTorch 2.6
        ).run_decompositions(_decompositions())
    for node in program.graph.nodes:
        node.meta = {key: value for key, value in node.meta.items() if key in _KEPT_META}
    return program


def serialize(program: ExportedProgram, metadata: ModelMetadata) -> bytes:
    """Return the content of a `.pt2` file."""
    content = io.BytesIO()
    props = json.dumps(metadata.to_props(), ensure_ascii=False)
    with quiet():
        torch.export.save(program, content, extra_files={METADATA_FILE: props})
    return content.getvalue()


def runner(content: bytes, outputs: Sequence[str]) -> ModelRunner:
    """Load a `.pt2` file to be run with the inputs of an ONNX file.

    Args:
        content: The file.
        outputs: The names of its outputs.
    """
    return module_runner(torch.export.load(io.BytesIO(content)).module(), outputs)


def module_runner(module: nn.Module, outputs: Sequence[str]) -> ModelRunner:
    """Run a module with the inputs of an ONNX file.

    Args:
        module: As `TorchDetector`.
        outputs: The names of its outputs.
    """

    @torch.no_grad()
    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = ("input", "conf_thresh")[: len(inputs)]
        values = module(*(torch.from_numpy(inputs[name]) for name in names))
        return dict(zip(outputs, map(Tensor.numpy, values), strict=True))

    return run
