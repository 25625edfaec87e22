"""How long functions may be, so that each can be read at a glance."""

import ast

import pytest

from helpers.paths import ROOT

MOST, USUAL = 90, 60
"""Lines of a function: at most, and without a reason in the comment above it."""
REASON = "# Over 60 lines because "


def long_functions(code: str) -> list[str]:
    """Return the functions of a file that are too long, as "line: name (lines)"."""
    lines, found = code.splitlines(), []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            start = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            length = node.end_lineno - node.lineno + 1
            explained = start > 1 and lines[start - 2].lstrip().startswith(REASON)
            if length > (MOST if explained else USUAL):
                found.append(f"{node.lineno}: {node.name} ({length} lines)")
    return found


def function(lines: int, above: str = "") -> str:
    return f"{above}\ndef f():\n" + "    pass\n" * (lines - 1)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("", []),
        (function(60), []),
        (function(61), ["2: f (61 lines)"]),
        (function(61, f"{REASON}it is a table."), []),
        (function(61, "# It is long."), ["2: f (61 lines)"]),
        (function(91, f"{REASON}it is a table."), ["2: f (91 lines)"]),
    ],
)
def test_long_functions_are_found(code, found):
    assert long_functions(code) == found


def test_functions_are_short():
    files = [
        path
        for path in ROOT.rglob("*.py")
        if not {"site-packages", "node_modules"} & set(path.parts)  # an environment in the folder
    ]
    assert len(files) > 200
    found = {
        str(path.relative_to(ROOT)): long
        for path in files
        if (long := long_functions(path.read_text(encoding="utf-8")))
    }
    assert not found
