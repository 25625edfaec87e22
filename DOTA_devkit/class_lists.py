"""Lists of class names, in files and as comma-separated text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import check_class_name
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import DOTA_CLASSES
from DOTA_devkit.formats.text import read_lines

CLASS_FILE = "classes.txt"
"""Name of the file with the class names of a data folder, one per line."""

DATA_YAML = "data.yaml"
"""Name of the file in which Ultralytics and Roboflow keep the class names and more."""

_YAML = (".yaml", ".yml")
_OTHER_FORMATS = (".json", ".xml", ".csv")


def parse_class_list(text: str) -> tuple[str, ...]:
    """Return the class names that a text lists or refers to.

    Args:
        text: names with commas between them ("a,b"), a file with one name per line, a data.yaml, or
            a release of DOTA ("dota1.0").

    Raises:
        InputError: the file does not exist, or there are no names, repeated or too long ones.
        OSError: the file cannot be read.
    """
    release = text.lower().removeprefix("dota")
    if text.lower().startswith("dota") and release in DOTA_CLASSES:
        return tuple(DOTA_CLASSES[release])
    if os.path.isfile(text):  # unlike Path, takes a text that is too long for a path
        return read_class_file(text)
    if text.lower().endswith((".txt", *_YAML, *_OTHER_FORMATS)):
        raise InputError(f"{text}: no such file of class names")
    names = [name.strip() for name in text.split(",") if name.strip()]
    for number, name in enumerate(names, 1):
        check_class_name(name, f"class {number} of {len(names)}")
    return _without_repeats(names, repr(text))


def read_class_file(path: Path | str) -> tuple[str, ...]:
    """Read class names: one per line, blank lines are ignored, or the `names` of a data.yaml.

    Raises:
        InputError: the file has no names, repeated or too long ones, is not a list of names, or has
            no known encoding. Also for a data.yaml if PyYAML is not installed.
        OSError: the file cannot be read.
    """
    if Path(path).suffix.lower() in _YAML:
        return _without_repeats(_names_of_yaml(Path(path)), str(path))
    if Path(path).suffix.lower() in _OTHER_FORMATS:
        raise InputError(
            f"{path}: expected a list of class names, one per line, got a file of another format; "
            f"write the names, in the order of their numbers, into a {CLASS_FILE}"
        )
    lines = [line.strip() for line in read_lines(path)]
    for number, name in enumerate(lines, 1):
        check_class_name(name, f"{path}:{number}")
    return _without_repeats([name for name in lines if name], str(path))


def write_class_file(path: Path, names: Iterable[str]) -> None:
    """Write class names, one per line.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as file:
        file.writelines(f"{name}\n" for name in names)


def find_class_file(label_path: Path) -> Path | None:
    """Find the class file of some labels.

    Args:
        label_path: a folder of labels, or one label file.

    Returns:
        `classes.txt` in the folder of the labels, else the one beside that folder, else None.
    """
    folder = label_path if label_path.is_dir() else label_path.parent
    candidates = (folder / CLASS_FILE, folder.parent / CLASS_FILE)
    return next((path for path in candidates if path.is_file()), None)


def find_dota_files(folder: Path) -> dict[str, Path]:
    """Return the label files of a folder by the ids of their images, sorted.

    A class file is none, nor are hidden files, such as those that macOS puts beside others.
    """
    return {
        path.stem: path
        for path in sorted(folder.glob("*.txt"))
        if path.name != CLASS_FILE and not path.name.startswith(".")
    }


def find_data_yaml(label_path: Path) -> Path | None:
    """Find the data.yaml of a YOLO dataset: with its labels, or in up to three folders above."""
    for folder in (label_path.absolute(), *label_path.absolute().parents[:3]):
        for path in (folder / DATA_YAML, folder / "data.yml"):
            if path.is_file():
                return path
    return None


def find_numbered_classes(label_path: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Find the names of the classes of labels that store numbers.

    A `classes.txt` beside the folder may be another list than theirs: `convert --write_classes`
    writes one for the labels that it makes. So a data.yaml comes first, and both must agree.

    Args:
        label_path: a folder of labels, or one label file.

    Returns:
        The file and its names: `classes.txt` in the folder of the labels, else a data.yaml, else
        the `classes.txt` beside that folder. None if there is none of them.

    Raises:
        InputError: data.yaml and the `classes.txt` beside the labels differ, or a file is damaged.
    """
    beside = find_class_file(label_path)
    folder = label_path if label_path.is_dir() else label_path.parent
    if beside is not None and beside.parent == folder:
        return beside, read_class_file(beside)
    data_yaml = find_data_yaml(label_path)
    if beside is None or data_yaml is None:
        found = beside or data_yaml
        return None if found is None else (found, read_class_file(found))
    classes, others = read_class_file(data_yaml), read_class_file(beside)
    if classes != others:
        raise InputError(
            f"{label_path}: the labels have class numbers, and {data_yaml} and {beside} name them "
            "differently; name the right file with `classes`"
        )
    return data_yaml, classes


def _names_of_yaml(path: Path) -> list[str]:
    """Return the `names` of a data.yaml, a list or a map from number to name."""
    try:
        import yaml
    except ImportError:
        raise InputError(
            f"{path}: reading class names from YAML needs PyYAML (pip install pyyaml); or write "
            f"them, in the order of their numbers, into a {CLASS_FILE}"
        ) from None
    try:
        # This loader makes texts of all values: names such as "no" and "1e3" stay as they are.
        document = yaml.load("\n".join(read_lines(path)), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(f"{where}: expected YAML, got damaged text") from None
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, dict):
        numbers = [str(number) for number in range(len(names))]
        if set(names) != set(numbers):
            raise InputError(
                f"{path}: expected 'names' with the numbers 0 to {len(names) - 1}, got "
                f"{', '.join(map(str, names))[:80]}"
            )
        names = [names[number] for number in numbers]
    if not isinstance(names, list) or not all(isinstance(n, str) and n.strip() for n in names):
        raise InputError(f"{path}: expected class names under 'names', a list or a map")
    return [name.strip() for name in names]


def _without_repeats(names: Sequence[str], source: str) -> tuple[str, ...]:
    if not names:
        raise InputError(f"{source}: has no class names")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"{source}: has {', '.join(repeated)} more than once")
    return tuple(names)
