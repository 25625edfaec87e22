"""From a checkpoint to a file that runtimes outside Python run whole.

The parts of a file, in the order of its graph: `letterbox_graph`, `network` (which `network_onnx`
makes a graph), `decode_graph`, `nms_graph`; `onnx_model` puts them together and `parity` compares
the result with the checkpoint.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from DOTA_devkit.errors import InputError


class Picture(NamedTuple):
    """An image [H, W, 3] BGR of the report."""

    name: str
    pixels: np.ndarray
    truth: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    """Corners in its pixels, labels as the model counts them, and difficulties."""
    made_up: bool = False
    """Black, say: whether something is found on level ground is a matter of rounding."""


def require_onnx() -> None:
    """InputError where a package of the extra is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"export needs {error.name}: pip install -e '.[export]'") from None
