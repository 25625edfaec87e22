"""Importing classes from a user's file, such that worker processes can unpickle their objects."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from DOTA_devkit.errors import InputError

_FILE = "__user_file__"


def import_file(path: Path | str) -> ModuleType:
    """Import a file as a module, once.

    Raises:
        InputError: The file is missing or cannot be imported.
    """
    path = Path(os.path.realpath(path))  # unlike resolve(), does not fail for a link to itself
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    # Not under its own name, which may be train.py.
    name = f"user_file_{path.stem}_{hashlib.sha1(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    setattr(module, _FILE, str(path))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    return module


def file_of(cls: type) -> str | None:
    """Return the file from which `import_file` imported a class; None for any other class."""
    return getattr(sys.modules.get(cls.__module__), _FILE, None)


def rebuild(path: str, class_name: str, state: dict) -> object:
    """Rebuild an object of a class in a file from its attributes, when it is unpickled."""
    cls = getattr(import_file(path), class_name)
    instance = cls.__new__(cls)
    instance.__dict__.update(state)
    return instance
