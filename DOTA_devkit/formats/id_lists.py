"""Lists of image ids, such as train.txt and test.txt."""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit.formats.text import checked_utf8


def read_ids(path: Path | str) -> list[str]:
    """Read a list of image ids, one per line; the suffix of a file name in it is kept.

    Raises:
        InputError: the text is not UTF-8.
        OSError: the file cannot be read.
    """
    text = checked_utf8(Path(path).read_bytes(), path).decode()
    return [line.strip() for line in text.splitlines() if line.strip()]
