"""Lists of image ids, such as train.txt and test.txt."""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit.formats.text import read_lines


def read_ids(path: Path | str) -> list[str]:
    """Read a list of image ids, one per line; the suffix of a file name in it is kept.

    Raises:
        InputError: the text has no known encoding, or control characters.
        OSError: the file cannot be read.
    """
    return [line.strip() for line in read_lines(path) if line.strip()]
