"""Check for the packages that the export needs."""

from __future__ import annotations

from DOTA_devkit.errors import InputError


def require_onnx() -> None:
    """Raise InputError if a package of the extra `export` is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"export needs {error.name}: pip install -e '.[export]'") from None
