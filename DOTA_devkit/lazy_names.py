"""Packages whose names are imported where they are first used.

A package that offers the names of modules that import PyTorch says so in its `__init__`, three
times, as tools that read the code must find the names as well:

    if TYPE_CHECKING:
        from models.ctrbox_net import CTRBOX

    __all__ = ["CTRBOX"]

    __getattr__, __dir__ = lazy_names(__name__, {"ctrbox_net": ("CTRBOX",)})

`from models import CTRBOX` then imports `models.ctrbox_net`, and `import models` does not.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the functions `__getattr__` and `__dir__` of a package (PEP 562).

    Args:
        package: Name of the package.
        modules: Module of the package -> the names that the package takes from it. The modules
            themselves are attributes of the package as well, as they are after an import.

    Returns:
        `__getattr__`, which imports the module of a name and keeps what it found, and `__dir__`.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def find(name: str) -> object:
        if name in module_of:
            value = getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
            setattr(sys.modules[package], name, value)
            return value
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of, *modules})

    return find, names
