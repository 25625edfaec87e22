"""Pages of HTML in a single file: nothing is loaded from elsewhere, and a phone can show them."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
img { max-width: 100%; height: auto; }
pre { overflow-x: auto; padding: .6rem; border: 1px solid #8886; border-radius: .3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #8886; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0; }
figcaption { font-size: .9rem; overflow-wrap: anywhere; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; }
.gallery figure { margin: 0; }
.gallery img { width: 100%; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole document.

    Args:
        title: of the document, also its heading.
        parts: pieces of HTML, such as the functions below return.
    """
    name = text(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{name}</h1>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """Return text with the characters escaped that mean something in HTML."""
    return html.escape(str(value))


def paragraph(value: object) -> str:
    """Return a paragraph of text."""
    return f"<p>{text(value)}</p>"


def heading(value: object) -> str:
    """Return the heading of a section."""
    return f"<h2>{text(value)}</h2>"


def command(words: object) -> str:
    """Return a command line, which scrolls if it is long."""
    return f"<pre>{text(words)}</pre>"


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table, the first column aligned left and the others right; cells are text."""
    head = "".join(f"<th>{text(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>\n" for row in rows
    )
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n'
        "</table></div>"
    )


def picture(data: bytes, kind: str, caption: str) -> str:
    """Return a picture with its caption; the page itself holds the image file.

    Args:
        data: content of the image file.
        kind: its format, "jpeg" or "png".
        caption: text below it.
    """
    encoded = base64.b64encode(data).decode()
    words = text(caption)
    return (
        f'<figure><img src="data:image/{kind};base64,{encoded}" alt="{words}">'
        f"<figcaption>{words}</figcaption></figure>"
    )


def gallery(pictures: Iterable[str]) -> str:
    """Return pictures side by side, as many as there is room for."""
    return f'<div class="gallery">\n{chr(10).join(pictures)}\n</div>'


def folded(summary: str, content: str) -> str:
    """Return content that is shown after a click on its summary."""
    return f"<details><summary>{text(summary)}</summary>\n{content}\n</details>"
