"""Lists of image ids, such as train.txt and test.txt."""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit.file_names import check_image_id
from DOTA_devkit.formats.text import read_lines


def read_ids(path: Path | str) -> list[str]:
    """Read a list of image ids, one per line; the suffix of a file name in it is kept.

    Raises:
        InputError: the text has no known encoding or control characters, or an id is too long.
        OSError: the file cannot be read.
    """
    lines = [line.strip() for line in read_lines(path)]
    for number, image_id in enumerate(lines, 1):
        check_image_id(image_id, f"{path}:{number}")
    return [image_id for image_id in lines if image_id]
