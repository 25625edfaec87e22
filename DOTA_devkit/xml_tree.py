"""An XML reader with line numbers that tolerates what annotation tools write around the document.

`xml.etree` has no line numbers, and it fails at a blank before the XML declaration, at a byte
order mark after a blank, and at the GBK text that Chinese editors write; all three occur in real
annotation folders.
"""

from __future__ import annotations

import codecs
import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats.text import UTF16_BOMS, utf8_of
from DOTA_devkit.number_ranges import COORDINATE, NumberRange

MAX_DEPTH = 100
"""Elements inside of one another; those of annotation tools have about 5."""

# Python has codecs that are no encodings of text files, such as unicode_escape.
_TEXT_ENCODINGS = re.compile(
    "ascii|utf-(8|16|32)(-sig|-[lb]e)?|gb.*|big5.*|hz|shift_jis.*|euc_.*|iso(8859|2022).*|cp[0-9]+|"
    "johab|koi8.*|mac[-_].*|tis-620"
)
_DECLARED_ENCODING = re.compile(rb"""<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")


class XmlElement:
    """One element of a document.

    Attributes:
        path: the file.
        tag: name of the element.
        line: line of its opening tag, starting at 1.
        text: its text, stripped.
        attributes: its attributes.
        children: its child elements in document order.
    """

    __slots__ = ("attributes", "children", "line", "path", "tag", "text")

    def __init__(
        self, path: Path, tag: str, line: int, attributes: dict[str, str] | None = None
    ) -> None:
        self.path = path
        self.tag = tag
        self.line = line
        self.attributes = attributes or {}
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
        waiting = self.children[::-1]
        while waiting:
            element = waiting.pop()
            if element.tag == tag:
                yield element
            waiting += element.children[::-1]

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
        return parse_number(text, f"{self.required(tag).where}: <{tag}>", allowed)

    def attribute(self, name: str) -> str:
        """Return the attribute `name` without the blanks around it.

        Raises:
            InputError: it is absent or blank; the message has file and line.
        """
        text = self.attributes.get(name, "").strip()
        if not text:
            raise InputError(f"{self.where}: <{self.tag}> has no attribute {name!r}")
        return text

    def attribute_number(
        self, name: str, default: float | None = None, allowed: NumberRange = COORDINATE
    ) -> float:
        """Return the number in the attribute `name`.

        Args:
            name: the attribute.
            default: result for an attribute that is absent or blank; None makes that an error.
            allowed: the range of the number.

        Raises:
            InputError: as `number`.
        """
        if default is not None and not self.attributes.get(name, "").strip():
            return default
        return parse_number(
            self.attribute(name), f"{self.where}: {name!r} of <{self.tag}>", allowed
        )


def parse_number(text: str, what: str, allowed: NumberRange = COORDINATE) -> float:
    """Parse a number.

    Args:
        text: its text.
        what: place and name of the number, which begin the error.
        allowed: the range of the number.

    Raises:
        InputError: the text is not a finite number, or one out of the range.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not allowed.holds(value):
        expected = f"expected {allowed}" if math.isfinite(value) else "not a number"
        raise InputError(f"{what} is {text[:40]!r}, {expected}")
    return value


def read_xml(path: Path | str) -> XmlElement:
    """Read an XML file.

    Args:
        path: the file, in the encoding that it declares, UTF-8, UTF-16 or GB 18030.

    Returns:
        The root element.

    Raises:
        InputError: the document is empty, not well-formed, nested too deeply, declares entities, or
            has an encoding that is unknown; the message has file and line.
        OSError: the file cannot be read.
    """
    path = Path(path)
    text = _decode(path.read_bytes(), path)
    body = text.lstrip("\ufeff \t\r\n")
    if not body:
        raise InputError(f"{path}: the file is empty, expected an XML document")
    skipped_lines = text[: len(text) - len(body)].count("\n")

    return _Builder(path, skipped_lines).parse(body)


class _Builder:
    """Builds the elements of one document."""

    def __init__(self, path: Path, skipped_lines: int) -> None:
        self._path, self._skipped_lines = path, skipped_lines
        self._document = XmlElement(path, "document", 0)
        self._open = [self._document]
        self._texts: list[list[str]] = [[]]
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = lambda text: self._texts[-1].append(text)
        self._parser.EntityDeclHandler = self._refuse_entity

    def parse(self, body: str) -> XmlElement:
        """Parse the document and return its root element."""
        try:
            self._parser.Parse(body, True)
        except expat.ExpatError as error:
            raise InputError(
                f"{self._path}:{error.lineno + self._skipped_lines}: not well-formed XML "
                f"({expat.ErrorString(error.code)})"
            ) from None
        return self._document.children[0]

    @property
    def _line(self) -> int:
        return self._parser.CurrentLineNumber + self._skipped_lines

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self._open) > MAX_DEPTH:
            raise InputError(
                f"{self._path}:{self._line}: expected at most {MAX_DEPTH} elements inside of one "
                f"another, got one more, <{tag[:40]}>"
            )
        element = XmlElement(self._path, tag, self._line, attributes)
        self._open[-1].children.append(element)
        self._open.append(element)
        self._texts.append([])

    def _end(self, _tag: str) -> None:
        self._open.pop().text = "".join(self._texts.pop()).strip()

    def _refuse_entity(self, name: str, *_definition: object) -> None:
        # Entities of entities grow to any size, and no annotation tool writes any.
        raise InputError(
            f"{self._path}:{self._line}: expected an annotation, got the declaration of the entity "
            f"{name[:40]!r}, which is not read"
        )


def _decode(data: bytes, path: Path) -> str:
    """Decode by the byte order mark, else the declaration, else UTF-8, else GB 18030."""
    declared = _DECLARED_ENCODING.search(data[:400])
    if declared and not data.startswith(UTF16_BOMS):
        name = declared.group(1).decode("ascii")
        try:
            codec = codecs.lookup(name).name
        except LookupError:
            codec = "utf-8"
        if not _TEXT_ENCODINGS.fullmatch(codec):
            line = data[: declared.start(1)].count(b"\n") + 1
            raise InputError(
                f"{path}:{line}: expected an encoding of text, such as UTF-8 or GB 18030, got "
                f"{name[:40]!r}"
            )
        # A declaration that can be read byte by byte is not in UTF-16 or UTF-32.
        if not codec.startswith(("utf-16", "utf-32")):
            with contextlib.suppress(UnicodeError):
                return data.decode(codec)
    return utf8_of(data, path).decode()
