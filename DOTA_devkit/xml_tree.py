"""XML with line numbers, as forgiving about the bytes around the document as annotation tools need.

The standard tree knows no lines, and stops at a blank before the XML declaration, at a byte order
mark behind a blank, and at the GBK text that Chinese editors write; all three are found in real
annotation folders.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from DOTA_devkit.errors import InputError

_DECLARED_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")


class XmlElement:
    """One element: `tag`, stripped `text`, `children`, and the `line` where its tag opens."""

    __slots__ = ("children", "line", "path", "tag", "text")

    def __init__(self, path: Path, tag: str, line: int) -> None:
        self.path = path
        self.tag = tag
        self.line = line
        self.text = ""
        self.children: list[XmlElement] = []

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"

    def find(self, tag: str) -> XmlElement | None:
        """The first child called `tag`, None where there is none."""
        return next((child for child in self.children if child.tag == tag), None)

    def iter(self, tag: str) -> Iterator[XmlElement]:
        """Every element called `tag` at any depth below this one, in document order."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.iter(tag)

    def required(self, tag: str) -> XmlElement:
        """The first child called `tag`; InputError with file and line where there is none."""
        child = self.find(tag)
        if child is None:
            raise InputError(f"{self.where}: <{self.tag}> has no <{tag}>")
        return child

    def required_text(self, tag: str) -> str:
        child = self.required(tag)
        if not child.text:
            raise InputError(f"{child.where}: <{tag}> is empty")
        return child.text

    def number(self, tag: str, default: float | None = None) -> float:
        """The finite number in the child `tag`; `default` where the child is absent or empty."""
        child = self.find(tag)
        if default is not None and (child is None or not child.text):
            return default
        text = self.required_text(tag)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{self.required(tag).where}: <{tag}> is {text!r}, not a number")
        return value


def read_xml(path: Path | str) -> XmlElement:
    """The root element of an XML file. Raises InputError with the line where it is broken."""
    path = Path(path)
    text = _decode(path.read_bytes(), path)
    body = text.lstrip("\ufeff \t\r\n")
    if not body:
        raise InputError(f"{path}: the file is empty, expected an XML document")
    skipped_lines = text[: len(text) - len(body)].count("\n")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    document = XmlElement(path, "document", 0)
    open_elements = [document]

    def start(tag: str, _attributes: dict[str, str]) -> None:
        element = XmlElement(path, tag, parser.CurrentLineNumber + skipped_lines)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_tag: str) -> None:
        closed = open_elements.pop()
        closed.text = closed.text.strip()

    def characters(data: str) -> None:
        open_elements[-1].text += data

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        line = error.lineno + skipped_lines
        raise InputError(
            f"{path}:{line}: not well-formed XML ({expat.ErrorString(error.code)})"
        ) from None
    return document.children[0]


def _decode(data: bytes, path: Path) -> str:
    """Text of an XML file: by its byte order mark, its declaration, as UTF-8, else as GB 18030."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    declared = _DECLARED_ENCODING.search(data[:400])
    encodings = [declared.group(1).decode("ascii")] if declared else []
    for encoding in [*encodings, "utf-8", "gb18030"]:
        try:
            return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    raise InputError(f"{path}: the text is neither UTF-8 nor GB 18030, nor what it declares to be")
