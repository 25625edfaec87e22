"""Arguments that several commands share, and the types that parse them."""

from __future__ import annotations

import argparse
from pathlib import Path

from DOTA_devkit.class_lists import parse_class_list
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_ids
from DOTA_devkit.images import IMAGE_SUFFIXES, find_images, guess_image_folder


class HelpFormatter(argparse.HelpFormatter):
    """Leaves text that has lines of its own, as examples have, and wraps the rest."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def class_list(text: str) -> tuple[str, ...]:
    """argparse type of `--classes`."""
    try:
        return parse_class_list(text)
    except (InputError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def names(text: str) -> frozenset[str]:
    """argparse type of a comma list."""
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def renames(text: str) -> dict[str, str]:
    """argparse type of OLD=NEW,OLD=NEW."""
    pairs = {}
    for part in filter(None, map(str.strip, text.split(","))):
        old, equals, new = part.partition("=")
        if not (equals and old.strip() and new.strip()):
            raise argparse.ArgumentTypeError(f"{part!r} is not of the form OLD=NEW")
        pairs[old.strip()] = new.strip()
    return pairs


def whole_number(text: str) -> int:
    """argparse type of a count, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def fraction(text: str) -> float:
    """argparse type of a share or an IoU, 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def class_thresholds(text: str) -> dict[str, float]:
    """argparse type of 0.1,ship=0.2: a threshold for all classes ("default") and single ones."""
    thresholds = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, value = part.rpartition("=")
        key = name.strip() if equals else "default"
        if not key or key in thresholds:
            raise argparse.ArgumentTypeError(f"{part!r}: expected one T, and CLASS=T for classes")
        thresholds[key] = fraction(value.strip())
    return thresholds


def numbers(text: str) -> tuple[float, ...]:
    """argparse type of a comma list of positive numbers."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (0.0,)
    if not all(0 < value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers above 0, as 0.5,1")
    return values


def add_classes(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument(
        "--classes",
        type=class_list,
        metavar="LIST",
        help=f"{purpose}: names with commas between (a,b), a file with one a line, or dota1.0, "
        "dota1.5, dota2.0",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=whole_number,
        default=0,
        metavar="N",
        help="processes (default: one a core)",
    )


def add_overwrite(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help=f"replace {what} of the same name that are there (otherwise an error)",
    )


def images_beside(given: Path | None, labels: Path) -> dict[str, Path]:
    """Image id -> file: of `--images`, else of the folder that belongs to the labels, else none."""
    folder = given or guess_image_folder(labels if labels.is_dir() else labels.parent)
    return {} if folder is None else find_images(folder)


def label_folder(path: Path) -> Path:
    """`labelTxt` of a data folder, where that is given in place of the folder of labels."""
    inner = path / "labelTxt"
    return inner if inner.is_dir() else path


def listed_ids(path: Path) -> list[str]:
    """Ids of a list, with or without the suffix of the image."""
    ids = [Path(line) for line in read_ids(path)]
    return [p.stem if p.suffix.lower() in IMAGE_SUFFIXES else p.name for p in ids]
