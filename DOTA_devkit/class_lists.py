"""Lists of class names, as files and as text on a command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import DOTA_CLASSES

CLASS_FILE = "classes.txt"


def parse_class_list(text: str) -> tuple[str, ...]:
    """Class names from `a,b`, from a file with one a line, or of a release: `dota1.0`."""
    release = text.lower().removeprefix("dota")
    if text.lower().startswith("dota") and release in DOTA_CLASSES:
        return tuple(DOTA_CLASSES[release])
    if Path(text).is_file():
        return read_class_file(text)
    if text.lower().endswith(".txt"):
        raise InputError(f"{text}: no such file of class names")
    return _checked([name.strip() for name in text.split(",") if name.strip()], repr(text))


def read_class_file(path: Path | str) -> tuple[str, ...]:
    """Class names, one a line; blank lines do not count."""
    lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    return _checked([line.strip() for line in lines if line.strip()], str(path))


def find_class_file(label_path: Path) -> Path | None:
    """`classes.txt` in the folder of the labels or beside it; None where there is none."""
    folder = label_path if label_path.is_dir() else label_path.parent
    candidates = (folder / CLASS_FILE, folder.parent / CLASS_FILE)
    return next((path for path in candidates if path.is_file()), None)


def _checked(names: Sequence[str], source: str) -> tuple[str, ...]:
    if not names:
        raise InputError(f"{source}: holds no class names")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"{source}: holds {', '.join(repeated)} more than once")
    return tuple(names)
