"""A page of HTML in one file: text is escaped, pictures are in it, and nothing is loaded."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

import numpy as np

from DOTA_devkit.imaging import import_cv2
from DOTA_devkit.terminal import visible

_STYLE = """
:root{color-scheme:light dark;--line:#8885;--soft:#8881;--error:#c62828;--warning:#b26a00;
--note:#1565c0;--good:#2e7d32}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;
overflow-wrap:anywhere}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin:.2rem 0}
section{border:1px solid var(--line);border-left:.4rem solid var(--line);border-radius:.4rem;
padding:.6rem .8rem;margin:1rem 0}
section.error{border-left-color:var(--error)}section.warning{border-left-color:var(--warning)}
section.note{border-left-color:var(--note)}section.good{border-left-color:var(--good)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
th,td{border-bottom:1px solid var(--line);padding:.2rem .6rem;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.pictures{display:flex;flex-wrap:wrap;gap:.6rem}figure{margin:0;max-width:100%}
img{max-width:100%;height:auto;border-radius:.2rem;display:block}
figcaption{font-size:.8rem;max-width:20rem}
code{background:var(--soft);padding:0 .2rem}ul{padding-left:1.2rem;margin:.3rem 0}
"""


def page(title: str, body: str) -> str:
    """Return a whole page.

    Args:
        title: Text of the title, which is also the first heading.
        body: HTML of the rest.
    """
    # The policy is a second lock beside the escapes: no script runs, whatever a name contains.
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none';img-src data:;style-src 'unsafe-inline'\">"
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escaped(title)}</h1>\n{body}\n</body></html>\n"
    )


def escaped(text: object) -> str:
    """Return text as HTML; control characters are shown as escapes."""
    return html.escape(visible(str(text)).encode("utf-8", "backslashreplace").decode())


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of texts, whose first column is aligned left and which scrolls sideways."""
    head = "".join(f"<th>{escaped(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>\n{body}</table></div>'


def listing(items: Iterable[object]) -> str:
    """Return a list of texts."""
    return "<ul>" + "".join(f"<li>{escaped(item)}</li>" for item in items) + "</ul>"


def picture(image: np.ndarray, caption: str) -> str:
    """Return an embedded picture with a caption.

    Args:
        image: uint8 ``[H, W, 3]`` in BGR.
        caption: Text below it, which also stands for it where it cannot be seen.
    """
    cv2 = import_cv2()
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    source = base64.b64encode(data.tobytes()).decode()
    height, width = image.shape[:2]
    text = escaped(caption)
    return (
        f'<figure><img src="data:image/jpeg;base64,{source}" alt="{text}" width="{width}" '
        f'height="{height}"><figcaption>{text}</figcaption></figure>'
    )
