"""Who may import whom: imports run one way, from `main` down to `DOTA_devkit`."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.paths import ROOT

# Each room may import itself and those that are named, in the code and in annotations alike.
DEVKIT, STRUCTURES = {"DOTA_devkit"}, {"DOTA_devkit", "structures"}
LEARNING = STRUCTURES | {"datasets", "models", "processes"}
INFERENCE = LEARNING | {"decoder", "inference"}
ALLOWED = {
    "DOTA_devkit": set(),
    "structures": DEVKIT,
    "processes": DEVKIT,
    "datasets": STRUCTURES,
    "models": STRUCTURES | {"processes"},
    "decoder": STRUCTURES,
    "inference": LEARNING | {"decoder"},
    "training": LEARNING,
    "train": INFERENCE | {"training"},
    "test": INFERENCE,
    "eval": INFERENCE,
    "deploy": INFERENCE,
    "detector": {"deploy"},  # the former place of deploy.Detector
    "cli": INFERENCE | {"training", "train", "test", "eval", "deploy"},
    "main": {"cli", "processes", "DOTA_devkit"},
    "benchmarks": INFERENCE | {"training", "train", "deploy", "cli", "main"},
}

FLOORS = {
    # Within deploy, from the ground up.
    "deploy": ("metadata", "runtimes", "detector", "predict", "benchmark"),
}


def code_files() -> list[Path]:
    files = [*ROOT.glob("*.py"), *(p for room in ALLOWED for p in (ROOT / room).rglob("*.py"))]
    assert len(files) > 100
    return files


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in code_files()}


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports_of(path: Path) -> Iterator[str]:
    """Modules of the project that a file imports anywhere, `if TYPE_CHECKING` included."""
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES:
                    yield inner
                elif node.module in MODULES:
                    yield node.module


def test_every_room_has_a_row():
    assert {name.partition(".")[0] for name in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_downwards(room):
    against = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        if name.partition(".")[0] == room
        for other in imports_of(path)
        if other.partition(".")[0] not in ALLOWED[room] | {room}
    ]
    assert not against


def test_the_table_itself_has_no_circle():
    done: set[str] = set()
    while len(done) < len(ALLOWED):
        ready = {room for room, below in ALLOWED.items() if room not in done and below <= done}
        assert ready, f"a circle among {set(ALLOWED) - done}"
        done |= ready


def test_no_two_modules_import_each_other():
    """No circle of modules of any length. A package's `__init__` may import its own modules."""
    below = {
        name: {other for other in imports_of(path) if other != name}
        for name, path in MODULES.items()
    }
    for package in MODULES:
        below[package] = {other for other in below[package] if not other.startswith(f"{package}.")}
    left = dict(below)
    while left:
        free = {name for name, others in left.items() if not others & left.keys()}
        assert free, f"circles among {sorted(left)}"
        left = {name: others for name, others in left.items() if name not in free}


@pytest.mark.parametrize("room", FLOORS)
def test_floors_within_a_room(room):
    order = FLOORS[room]
    for name, path in MODULES.items():
        parts = name.split(".")
        if len(parts) < 2 or parts[0] != room or parts[1] not in order:
            continue
        above = order[order.index(parts[1]) + 1 :]
        against = [m for m in imports_of(path) if m.startswith(tuple(f"{room}.{a}" for a in above))]
        assert not against, name


def test_names_below_the_command_line_are_not_flags():
    """A library error names its parameter; only `cli` and the devkit's commands know flags."""
    told = []
    for name, path in MODULES.items():
        if name.startswith(("cli", "main", "benchmarks", "DOTA_devkit.commands")):
            continue
        for node in nodes_of(path):
            if isinstance(node, (ast.Raise, ast.Call)) and _is_message(node):
                told += [
                    f"{name}:{text.lineno}: {text.value!r}"
                    for text in ast.walk(node)
                    if isinstance(text, ast.Constant) and isinstance(text.value, str)
                    and "--" in text.value.replace("---", "")
                ]  # fmt: skip
    assert not told, "\n".join(told)


def _is_message(node: ast.Raise | ast.Call) -> bool:
    if isinstance(node, ast.Raise):
        return True
    levels = ("debug", "info", "warning", "error")
    return isinstance(node.func, ast.Attribute) and node.func.attr in levels
