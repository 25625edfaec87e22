"""Guessing the format of labels from their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from DOTA_devkit.class_lists import CLASS_FILE
from DOTA_devkit.converters.labelimg_obb import HEADER
from DOTA_devkit.converters.table import FORMATS
from DOTA_devkit.converters.ucas_aod import CLASS_FOLDERS, FIELDS
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import folder_hint, kind_of, labels_hint
from DOTA_devkit.formats.text import read_lines
from DOTA_devkit.json_tree import JsonValue, read_json
from DOTA_devkit.xml_tree import XmlElement, read_xml

_LOOKED_AT = 20
"""Files of a folder that are opened, as the first may be of images without objects."""


def label_files(path: Path, suffix: str | None = None) -> list[Path]:
    """Return the label files of a folder, sorted, or the one file.

    Args:
        path: the folder or the file.
        suffix: suffix of the files of a folder; None: those of all formats.

    Raises:
        InputError: there is no such folder or file, or the folder has no label files.
    """
    if path.is_file():
        kind = kind_of(path)
        if kind and path.suffix.lower() not in _suffixes(suffix):
            raise InputError(
                f"{path}: expected a file of labels ({', '.join(_suffixes(suffix))}) or a folder "
                f"of them, got {kind}{labels_hint({path.suffix.lower()})}"
            )
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such folder of labels{folder_hint(path)}")
    suffixes = _suffixes(suffix)
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes)
    files = [p for p in files if p.name != CLASS_FILE and not p.name.startswith(".")]
    if not files:
        hint = labels_hint({file.suffix.lower() for file in path.iterdir()})
        raise InputError(f"{path}: no {', '.join(suffixes)} files in this folder{hint}")
    return files


def _suffixes(suffix: str | None) -> list[str]:
    return sorted({format_.suffix for format_ in FORMATS.values()} if suffix is None else {suffix})


def guess_format(path: Path) -> str:
    """Guess the format of labels from what the first files have in them.

    Args:
        path: a folder of labels, or one label file.

    Returns:
        A name of `FORMATS`.

    Raises:
        InputError: there are no label files, they have several suffixes or formats, or what they
            have is not known; or the first of them cannot be read.
        OSError: a file cannot be read.
    """
    files = label_files(path)
    suffixes = sorted({file.suffix.lower() for file in files})
    if len(suffixes) > 1:
        raise InputError(
            f"{path}: expected label files of one kind, got {' and '.join(suffixes)}; name the "
            "format with `from`"
        )
    guesses = {guess: file for file in reversed(files[:_LOOKED_AT]) if (guess := _guess(file))}
    if len(guesses) == 1:
        return next(iter(guesses))
    found = " and ".join(f"{guess} ({file.name})" for guess, file in guesses.items())
    raise InputError(
        f"{path}: expected label files of one known format, got "
        f"{found or 'none that is known'}; name it with `from` "
        f"({', '.join(FORMATS)})"
    )


def _guess(path: Path) -> str | None:
    """Return the format of one file, None if it cannot be recognized."""
    suffix = path.suffix.lower()
    if suffix == ".geojson":
        return "geojson"
    if suffix == ".xml":
        return _guess_xml(read_xml(path))
    if suffix == ".json":
        return _guess_json(read_json(path))
    lines = [line.split() for line in read_lines(path)]
    return _guess_text(path, [fields for fields in lines if fields])


def _guess_xml(root: XmlElement) -> str | None:
    if root.tag in ("HRSC_Image", "annotations"):
        return {"HRSC_Image": "hrsc", "annotations": "cvat"}[root.tag]
    if root.find("objects") is not None:
        return "fair1m"
    for element in root.iter("object"):
        box = element.find("robndbox")
        if element.find("rotated_bndbox") is not None:
            return "ssdd"
        if box is not None:
            return "dior" if box.find("x_left_top") is not None else "rolabelimg"
    return "voc" if next(root.iter("bndbox"), None) is not None else None


def _guess_json(root: JsonValue) -> str | None:
    if isinstance(root.value, list):
        return "label-studio" if root.value and isinstance(root.value[0], dict) else None
    if not isinstance(root.value, dict):
        return None
    keys = root.value.keys()
    if keys >= {"images", "annotations", "categories"}:
        return "coco"
    if "shapes" in keys:
        return "labelme"
    if root.value.get("type") == "FeatureCollection":
        return "geojson"
    return "label-studio" if "data" in keys else None


def _guess_text(path: Path, lines: Sequence[Sequence[str]]) -> str | None:
    if not lines:
        return None
    if list(lines[0]) == [HEADER]:
        return "labelimg-obb"
    fields = lines[-1]  # a DOTA file begins with headers
    if len(fields) == FIELDS and path.absolute().parent.name.upper() in CLASS_FOLDERS:
        return "ucas-aod"
    numeric = [_is_number(field) for field in fields]
    if len(fields) >= 9 and all(numeric[:8]) and not numeric[8]:
        return "dota"
    if not all(numeric):
        return "ucas-aod" if len(fields) == FIELDS + 1 and all(numeric[1:]) else None
    if len(fields) == 6:
        return "yolo-xywhr"
    normalized = all(-10 <= float(field) <= 10 for field in fields[1:])
    if len(fields) >= 7 and len(fields) % 2 == 1 and normalized:
        return "yolo"
    return "dota" if len(fields) in (9, 10) else None  # with a class number as the name


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
