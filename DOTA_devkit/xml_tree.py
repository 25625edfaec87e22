"""An XML reader with line numbers that tolerates what annotation tools write around the document.

`xml.etree` has no line numbers, and it fails at a blank before the XML declaration, at a byte
order mark after a blank, and at the GBK text that Chinese editors write; all three occur in real
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
from DOTA_devkit.number_ranges import COORDINATE, NumberRange

_DECLARED_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")


class XmlElement:
    """One element of a document.

    Attributes:
        path: the file.
        tag: name of the element.
        line: line of its opening tag, starting at 1.
        text: its text, stripped.
        children: its child elements in document order.
    """

    __slots__ = ("children", "line", "path", "tag", "text")

    def __init__(self, path: Path, tag: str, line: int) -> None:
        self.path = path
        self.tag = tag
        self.line = line
        self.text = ""
        self.children: list[XmlElement] = []

    @property
    def where(self) -> str:
        """``file:line`` of the element, for error messages."""
        return f"{self.path}:{self.line}"

    def find(self, tag: str) -> XmlElement | None:
        """Return the first child called `tag`, None if there is none."""
        return next((child for child in self.children if child.tag == tag), None)

    def iter(self, tag: str) -> Iterator[XmlElement]:
        """Yield every descendant called `tag` in document order."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.iter(tag)

    def required(self, tag: str) -> XmlElement:
        """Return the first child called `tag`.

        Raises:
            InputError: there is none; the message has file and line.
        """
        child = self.find(tag)
        if child is None:
            raise InputError(f"{self.where}: <{self.tag}> has no <{tag}>")
        return child

    def required_text(self, tag: str) -> str:
        """Return the text of the first child called `tag`.

        Raises:
            InputError: there is no such child or it is empty; the message has file and line.
        """
        child = self.required(tag)
        if not child.text:
            raise InputError(f"{child.where}: <{tag}> is empty")
        return child.text

    def number(
        self, tag: str, default: float | None = None, allowed: NumberRange = COORDINATE
    ) -> float:
        """Return the number in the first child called `tag`.

        Args:
            tag: name of the child.
            default: result for a child that is absent or empty; None makes that an error.
            allowed: the range of the number.

        Raises:
            InputError: the text is not a finite number or one out of the range, or a required
                child is absent or empty; the message has file and line.
        """
        child = self.find(tag)
        if default is not None and (child is None or not child.text):
            return default
        text = self.required_text(tag)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not allowed.holds(value):
            expected = f"expected {allowed}" if math.isfinite(value) else "not a number"
            raise InputError(f"{self.required(tag).where}: <{tag}> is {text[:40]!r}, {expected}")
        return value


def read_xml(path: Path | str) -> XmlElement:
    """Read an XML file.

    Args:
        path: the file, in the encoding that it declares, UTF-8, UTF-16 or GB 18030.

    Returns:
        The root element.

    Raises:
        InputError: the document is empty or not well-formed (the message has the line), or its
            encoding is unknown.
        OSError: the file cannot be read.
    """
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
    """Decode by the byte order mark, else the declaration, else UTF-8, else GB 18030."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    declared = _DECLARED_ENCODING.search(data[:400])
    encodings = [declared.group(1).decode("ascii")] if declared else []
    for encoding in [*encodings, "utf-8", "gb18030"]:
        try:
            return data.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    raise InputError(
        f"{path}: the text is neither UTF-8 nor GB 18030, nor the encoding that it declares"
    )
