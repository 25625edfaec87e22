"""The formats of exported files; what builds a file is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ExportFormat:
    """One format.

    Attributes:
        suffix: Of its file.
        builder: Module and name of the function that builds it, which takes an `ExportJob` and
            returns a `BuiltModel`, see `deploy.export.job`.
        needs_onnx: Whether building or checking it takes the packages of the extra `export`.
        has_metadata: Whether it holds the contract of `deploy.metadata`, which then stands in a
            JSON beside it as well.
        second_suffix: Of a second file that belongs to it, None without one.
        name_ending: What the name of the checkpoint gets in the name of the file, unless that is
            given.
    """

    suffix: str
    builder: str
    needs_onnx: bool = True
    has_metadata: bool = True
    second_suffix: str | None = None
    name_ending: str = ""

    @property
    def build(self) -> Callable[..., Any]:
        """The function that builds it."""
        module, _, name = self.builder.rpartition(".")
        return getattr(import_module(module), name)

    def files_of(self, output: Path) -> list[Path]:
        """Return the file, and the second one if there is one."""
        second = [] if self.second_suffix is None else [output.with_suffix(self.second_suffix)]
        return [output, *second]


EXPORT_FORMATS = {
    "onnx": ExportFormat(".onnx", "deploy.export.builders.build_onnx"),
    "torch": ExportFormat(".pt2", "deploy.export.builders.build_torch"),
    "openvino": ExportFormat(".xml", "deploy.export.builders.build_openvino", second_suffix=".bin"),
    "tensorrt": ExportFormat(".onnx", "deploy.export.builders.build_tensorrt"),
    "checkpoint": ExportFormat(
        ".pth",
        "deploy.export.checkpoint_file.build_checkpoint",
        needs_onnx=False,
        has_metadata=False,
        name_ending="_weights",
    ),
}
"""Name -> format; the names are the choices of `--format`."""
