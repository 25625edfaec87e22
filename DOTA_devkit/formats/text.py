"""What text files have in common: their encoding, and errors that quote a line."""

from __future__ import annotations

import codecs
import logging
import os
import re
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.terminal import visible
from DOTA_devkit.text_table import TextTable

logger = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
"""Bytes of text parsed at once: few enough for the cache, enough for array operations."""

UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# Control bytes that are no white space. They come from damage, or from UTF-16 without a byte order
# mark, and would part a number in two if they were taken for white space.
_CONTROL = bytes(set(range(0x20)) - set(b"\t\n\v\f\r"))
_FIRST_CONTROL = re.compile(b"[" + re.escape(_CONTROL) + b"]")
# Folders whose encoding has been logged; a data set has thousands of files.
_TOLD_OF: set[str] = set()
_LINE_END = re.compile("\r?\n")


def utf8_of(data: bytes, path: Path | str) -> bytes:
    """Return text as UTF-8 without a byte order mark; carriage returns alone become line breaks.

    UTF-16 is known by its byte order mark. What is not UTF-8 is read as GB 18030 (GBK and GB 2312
    are parts of it), the code page of Chinese Windows, and the log says so once for each folder.

    Args:
        data: the bytes of a file, or whole lines of it.
        path: the file, for errors and the log.

    Raises:
        InputError: the text has none of these encodings; the message has `path` and line.
    """
    if data.startswith(UTF16_BOMS):
        try:
            return _with_line_breaks(data.decode("utf-16").encode())
        except UnicodeError:
            raise InputError(
                f"{os.fspath(path)}:1: expected UTF-16 text after its byte order mark, got damaged "
                "text; save the file as UTF-8"
            ) from None
    data = _with_line_breaks(data.removeprefix(codecs.BOM_UTF8))
    if data.isascii():
        return data
    try:
        data.decode()
        return data
    except UnicodeDecodeError as error:
        fault = error
    try:
        text = data.decode("gb18030").encode()
    except UnicodeError:
        line = data[: fault.start].count(b"\n") + 1
        raise InputError(
            f"{os.fspath(path)}:{line}: expected UTF-8 text (or UTF-16 with a byte order mark, or "
            f"GB 18030), got the byte {data[fault.start]:#x}; save the file as UTF-8"
        ) from None
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in _TOLD_OF:
        _TOLD_OF.add(folder)
        logger.warning("%s: the text is not UTF-8 and is read as GB 18030 (GBK)", path)
    return text


def _with_line_breaks(data: bytes) -> bytes:
    """Turn the line ends of old Macs into those of Unix; those of Windows stay."""
    if data.count(b"\r") == data.count(b"\r\n"):
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def read_utf8(path: Path | str) -> bytes:
    """Read a text file as UTF-8, see `utf8_of`.

    Raises:
        InputError: the text has no known encoding; the message has file and line.
        OSError: the file cannot be read.
    """
    return utf8_of(Path(path).read_bytes(), path)


def read_lines(path: Path | str) -> list[str]:
    """Read the lines of a text file, without their ends.

    Raises:
        InputError: the text has no known encoding, or control characters; the message has file
            and line.
        OSError: the file cannot be read.
    """
    data = read_utf8(path)
    refuse_control_bytes(data, path)
    return _LINE_END.split(data.decode())


def refuse_control_bytes(data: bytes, source: Path | str, first_line: int = 1) -> None:
    """Check that text has no control characters but white space.

    Args:
        data: UTF-8 text.
        source: the name of the text, for the error.
        first_line: line number in the file of the first line of `data`.

    Raises:
        InputError: it has one; the message has `source` and line.
    """
    if len(data.translate(None, _CONTROL)) == len(data):  # several times as fast as the search
        return
    found = _FIRST_CONTROL.search(data)
    line = data[: found.start()].count(b"\n")
    hint = " (is it UTF-16 without a byte order mark?)" if found[0] == b"\0" else ""
    raise InputError(
        f"{source}:{first_line + line}: expected text, got the control byte "
        f"{found[0][0]:#04x}{hint} in: {shorten_line(data.split(bytes([10]))[line])}"
    )


def text_table(data: bytes, source: Path | str, first_line: int = 1) -> TextTable:
    """Find the fields of a text.

    Args:
        data: UTF-8 text.
        source: the name of the text, for errors.
        first_line: line number in the file of the first line of `data`.

    Raises:
        InputError: there is a control character; the message has `source` and line.
    """
    refuse_control_bytes(data, source, first_line)
    return TextTable(data)


def not_a_number_error(
    table: TextTable, source: Path | str, token: int, first_line: int = 1
) -> InputError:
    """Build the error for a field of `table` that is not a number.

    Args:
        table: the parsed text.
        source: the name of the text, for the message.
        token: index of the field in `table`.
        first_line: line number in the file of the first line of `table`.
    """
    line = int(np.searchsorted(table.first + table.count, token, "right"))
    return InputError(
        f"{source}:{first_line + line}: expected a number, got {table.field(token)[:40]!r} in: "
        f"{shorten_line(table.data.split(bytes([10]))[line])}"
    )


def shorten_line(line: bytes, limit: int = 80) -> str:
    """Return a line for an error message: cut to `limit` characters, control ones escaped."""
    text = visible(line.decode(errors="replace").strip())
    return text if len(text) <= limit else text[: limit - 3] + "..."
