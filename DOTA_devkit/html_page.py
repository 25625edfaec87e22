"""Self-contained HTML pages: no scripts, and no fonts or pictures from a network.

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


# Classes for the content of pages: a `section` may be `error`, `warning`, `note` or `good`, and a
# `div` a `bar` of a chart; `key` is a color of a legend.
_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --bar: #3b82c4;
  --error: #c62828; --warning: #b26a00; --note: #1565c0; --good: #2e7d32; }
@media (prefers-color-scheme: dark) {
  :root { --error: #ef5350; --warning: #ffa726; --note: #42a5f5; --good: #66bb6a; }
}
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: anywhere; }
h1, h2 { line-height: 1.2; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.2rem; margin-top: 2rem; }
section { border: 1px solid var(--line); border-left: .4rem solid var(--line);
  border-radius: .4rem; padding: .6rem .8rem; margin: 1rem 0; }
section h2 { margin: .2rem 0; }
section.error { border-left-color: var(--error); }
section.warning { border-left-color: var(--warning); }
section.note { border-left-color: var(--note); }
section.good { border-left-color: var(--good); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
td, tbody th { white-space: nowrap; }
th:first-child { text-align: left; }
thead th { vertical-align: bottom; }
tbody th { font-weight: normal; }
tbody tr:hover { background: var(--soft); }
.prose { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 12rem; }
figure { margin: 1.5rem 0; }
figcaption { font-size: .9rem; }
img { display: block; max-width: 100%; height: auto; border-radius: .2rem; }
.gallery { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
.gallery figure { margin: 0; }
.gallery img { width: 100%; max-height: 36rem; object-fit: contain; object-position: left; }
ul { padding-left: 1.2rem; margin: .3rem 0; }
summary { cursor: pointer; padding: .4rem 0; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line); border-radius: .3rem; }
.bar { background: var(--bar); height: .8rem; min-width: 1px; }
.key { display: inline-block; width: .9em; height: .9em; border: 1px solid; }
"""

# The policy is a second lock beside the escapes: no script runs, whatever a name contains.
_META = Html(
    '<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
)


def piece(content: object) -> Html:
    """Return a text escaped, with its control characters shown, and a piece of a page as it is."""
    if isinstance(content, Html):
        return content
    text = visible(str(content)).encode("utf-8", "backslashreplace").decode()
    return Html(html.escape(text))


def element(tag: str, *content: object, **attributes: object) -> Html:
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
    inner = element("table", element("thead", head), element("tbody", _lines(body)))
    return element("div", inner, class_="scroll")


def prose(text: object) -> Html:
    """Build the content of a cell that is aligned left and may take several lines."""
    return element("div", text, class_="prose")


def picture(
    data: bytes, description: str, kind: str = "jpeg", size_wh: tuple[int, int] | None = None
) -> Html:
    """Embed an encoded picture.

    Args:
        data: the bytes of an image file.
        description: shown where pictures are not.
        kind: of the file, "jpeg" or "png".
        size_wh: width and height in pixels, if they are known: the browser keeps the room free.
    """
    size = {} if size_wh is None else {"width": size_wh[0], "height": size_wh[1]}
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return element("img", src=source, alt=description, **size)


def figure(image: Html, caption: str) -> Html:
    """Put a caption below a picture."""
    return element("figure", image, element("figcaption", caption))


def gallery(figures: Iterable[Html]) -> Html:
    """Put figures side by side, as many as there is room for."""
    return element("div", _lines(figures), class_="gallery")


def folded(summary: str, *content: object, opened: bool = False) -> Html:
    """Build content that is shown or hidden by a click on its summary.

    Args:
        summary: text that always shows.
        *content: texts and pieces.
        opened: whether the content shows at first.
    """
    state = {"open": ""} if opened else {}
    return element("details", element("summary", summary), *content, **state)


def page(title: str, *content: object) -> Html:
    """Build a whole page.

    Args:
        title: shown in the browser's bar and above the content.
        *content: texts and pieces.
    """
    head = element("head", _META, element("title", title), element("style", Html(_STYLE)))
    body = element("body", _lines([element("h1", title), *content]))
    return Html(f"<!doctype html>\n{element('html', head, body, lang='en')}\n")


def write_page(path: Path | str, title: str, *content: object) -> None:
    """Write a page.

    Args:
        path: the file to create or replace.
        title: shown in the browser's bar and above the content.
        *content: texts and pieces.
    """
    text = page(title, *content)
    with replacing(path) as file:
        file.write(text)


def _lines(contents: Iterable[object]) -> Html:
    """Join blocks with line breaks, which the browser ignores, for those who read the source."""
    return Html("\n".join(map(piece, contents)))
