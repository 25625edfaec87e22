"""Trace a network for a file, and test for which input sizes the trace is valid.

A network of convolutions does the same at every size, so it is traced at a small one. A transformer
can have sizes in its graph: those of the windows into which a map is cut, for example. A file of
free input size must not be made of such a graph, which would fail, or worse, be wrong.
"""

from __future__ import annotations

import onnx
import torch
from onnxruntime import RunOptions
from torch.export import ExportedProgram

from deploy.export.network import TRACED_OUTPUTS, ExportNetwork
from deploy.export.network_onnx import TRACED_SHAPE, export_network
from deploy.export.settings import ExportSettings
from deploy.export.torch_program import export_program
from deploy.export.types import SIZE_MULTIPLE, InputShape
from deploy.metadata import ModelMetadata
from deploy.runtimes.onnx_runtime import open_session
from DOTA_devkit.errors import InputError

Shape = tuple[int, int, int]
"""Batch size, height and width."""

_TRIAL_SHAPE = (1, 4 * SIZE_MULTIPLE, 3 * SIZE_MULTIPLE)
"""Another shape than that of the trace in each axis where that is free, and with other products."""

_LOG_NOTHING = 4  # ONNX Runtime's level for fatal errors alone


def traced_network(
    network: ExportNetwork, settings: ExportSettings, half: bool = False
) -> onnx.ModelProto:
    """Export the network to an ONNX graph, see `export_network`.

    Args:
        network: The network; it is converted to float16 in place if `half`.
        settings: What is exported.
        half: Whether to export it in float16.

    Raises:
        InputError: PyTorch cannot export it, or the graph holds for one size only and the settings
            leave the size free.
    """
    if network.convolutional:
        return export_network(network, half)
    image = torch.rand(_with_fixed(_TRIAL_SHAPE, settings)) - 0.5
    with torch.no_grad():
        expected = network(image)
    shape = _with_fixed(TRACED_SHAPE, settings)
    batch, _, height, width = shape
    try:
        graph = export_network(network, half, (batch, height, width))
    except Exception as error:  # of any class: each model has its own operators
        raise InputError(
            f"PyTorch cannot export the network of {network.backbone} ({_reason(error)})"
        ) from error
    if image.shape == shape:  # nothing is free
        return graph
    options = RunOptions()
    options.log_severity_level = _LOG_NOTHING  # a failure is expected
    try:
        found = open_session(graph).run(list(TRACED_OUTPUTS), {"input": image.numpy()}, options)
    except Exception as error:  # ONNX Runtime raises classes of its own, without a common base
        raise InputError(_needs_static(network.backbone, settings.fitted_hw)) from error
    for values, wanted in zip(found, expected, strict=True):
        allowed = (0.1 if half else 1e-3) * max(1.0, wanted.abs().max().item())
        if not (torch.from_numpy(values).float() - wanted).abs().max() <= allowed:
            raise InputError(_needs_static(network.backbone, settings.fitted_hw))
    return graph


def traced_program(
    network: ExportNetwork, metadata: ModelMetadata, shape: InputShape
) -> ExportedProgram:
    """Trace network and decoder as a PyTorch program, see `export_program`.

    Raises:
        InputError: The network is not convolutional, and PyTorch cannot trace it at this shape.
    """
    try:
        return export_program(network, metadata, shape)
    except Exception as error:  # the classes of torch.export have no common base
        if network.convolutional:
            raise
        if shape == InputShape():
            message = _needs_static(network.backbone, metadata.default_size)
            raise InputError(f"{message} ({_reason(error)})") from error
        raise InputError(
            f"PyTorch cannot export the network of {network.backbone} ({_reason(error)})"
        ) from error


def _with_fixed(shape: Shape, settings: ExportSettings) -> tuple[int, int, int, int]:
    """Return the shape [B, 3, H, W] of an input whose free axes are those of `shape`."""
    batch, height, width = shape
    if settings.static:
        batch = settings.static[2]
    return batch, 3, *(settings.network_hw or (height, width))


def _needs_static(backbone: str, input_hw: tuple[int, int]) -> str:
    return (
        f"the graph of {backbone} holds for one input size only, as those of many transformers do: "
        f"give `static`, for example {input_hw[0]} {input_hw[1]} 1"
    )


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
