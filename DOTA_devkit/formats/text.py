"""What label and result files have in common: their encoding, and errors that quote a line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.text_table import TextTable

BLOCK_BYTES = 1 << 20
"""Bytes of text parsed at once: few enough for the cache, enough for array operations."""

_UTF8_BOM = b"\xef\xbb\xbf"


def checked_utf8(data: bytes, path: Path | str) -> bytes:
    """Return `data` without a byte order mark, after checking that it is UTF-8.

    Raises:
        InputError: the text is not UTF-8; the message names `path` and the line.
    """
    data = data.removeprefix(_UTF8_BOM)
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise InputError(
                f"{os.fspath(path)}:{line}: expected UTF-8 text, got the byte "
                f"{data[error.start]:#x}"
            ) from None
    return data


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
        f"{source}:{first_line + line}: expected a number, got {table.field(token)!r} in: "
        f"{shorten_line(table.data.split(bytes([10]))[line])}"
    )


def shorten_line(line: bytes, limit: int = 80) -> str:
    """Return a line for an error message, cut to `limit` characters."""
    text = line.decode(errors="replace").strip()
    return text if len(text) <= limit else text[: limit - 3] + "..."
