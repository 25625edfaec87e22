"""Pages that need nothing but their own file: no script, no font and no picture of a network.

Texts are escaped where they are put in, so that the name of a class or an image never becomes
part of the page's code.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from DOTA_devkit.files import replacing
from DOTA_devkit.terminal import visible


class Html(str):
    """A piece of a page; any other text is escaped when it becomes part of one."""

    __slots__ = ()


_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --bar: #3b82c4; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
thead th { vertical-align: bottom; }
tbody tr:hover { background: var(--soft); }
figure { margin: 1.5rem 0; } figcaption { overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; display: block; }
summary { cursor: pointer; padding: .4rem 0; }
.bar { background: var(--bar); height: .8rem; min-width: 1px; }
.key { display: inline-block; width: .9em; height: .9em; border: 1px solid #000; }
"""


def piece(content: object) -> Html:
    """Return a text escaped, with its control characters shown, and a piece of a page as it is."""
    if isinstance(content, Html):
        return content
    text = visible(str(content)).encode("utf-8", "backslashreplace").decode()
    return Html(html.escape(text))


def element(tag: str, *content: object, **attributes: str) -> Html:
    """Build an element.

    Args:
        tag: its name.
        *content: texts, which are escaped, and pieces.
        **attributes: its attributes; a trailing underscore of a name is dropped (`class_`).
    """
    opening = "".join(f' {name.rstrip("_")}="{piece(value)}"' for name, value in attributes.items())
    inside = "".join(map(piece, content))
    return Html(f"<{tag}{opening}>{inside}" + ("" if tag in ("img", "br") else f"</{tag}>"))


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> Html:
    """Build a table that scrolls sideways on a narrow screen.

    Args:
        header: names of the columns.
        rows: cells, texts or pieces; the first one of a row is its name.
    """
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = [
        element("tr", element("th", name, scope="row"), *(element("td", cell) for cell in cells))
        for name, *cells in rows
    ]
    inner = element("table", element("thead", head), element("tbody", *body))
    return element("div", inner, class_="scroll")


def picture(data: bytes, description: str, kind: str = "jpeg") -> Html:
    """Embed an encoded picture.

    Args:
        data: the bytes of an image file.
        description: shown where pictures are not.
        kind: of the file, "jpeg" or "png".
    """
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return element("img", src=source, alt=description)


def write_page(path: Path | str, title: str, *content: object) -> None:
    """Write a page.

    Args:
        path: the file to create or replace.
        title: shown in the browser's bar and above the content.
        *content: texts and pieces.
    """
    head = element(
        "head",
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", Html(_STYLE)),
    )
    body = element("body", element("h1", title), *content)
    with replacing(path) as file:
        file.write("<!doctype html>\n" + element("html", head, body, lang="en") + "\n")
