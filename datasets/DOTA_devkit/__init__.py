"""The devkit under its path in the original code: an alias of the package `DOTA_devkit`.

``datasets.DOTA_devkit.X`` and ``DOTA_devkit.X`` are one module object, so that a threshold set
or a class compared under one name is the same under the other.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_REAL = "DOTA_devkit"


class _AliasFinder(MetaPathFinder, Loader):
    """Answers imports below this package with the modules of the real one."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(__name__ + ".") or find_spec(_real_name(name)) is None:
            return None
        return ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_real_name(spec.name))
        # The import system is about to replace the spec of what it takes for a new module.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = module.__spec__.loader_state


def _real_name(name: str) -> str:
    return _REAL + name.removeprefix(__name__)


def __getattr__(name: str) -> ModuleType:
    """``datasets.DOTA_devkit.X`` as an attribute, without an import statement for X."""
    if find_spec(f"{_REAL}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


if not any(isinstance(finder, _AliasFinder) for finder in sys.meta_path):
    sys.meta_path.insert(0, _AliasFinder())
