"""Arguments that several commands share, and the argparse types that parse them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection
from pathlib import Path

from DOTA_devkit.class_lists import parse_class_list
from DOTA_devkit.class_thresholds import parse_thresholds
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_ids
from DOTA_devkit.images import find_images, guess_image_folder, image_id_of
from DOTA_devkit.imaging import DEPTHS, STRETCH, ReadOptions
from DOTA_devkit.imaging.options import MAX_PIXELS


class HelpFormatter(argparse.HelpFormatter):
    """Keeps the line breaks of texts with several lines, such as examples; wraps other texts."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class CommandParser(argparse.ArgumentParser):
    """A parser whose positional arguments may stand before, between and after the options."""

    _in_pass = False

    def parse_known_args(self, args=None, namespace=None):
        """Parse the options first and the positional arguments from what is left."""
        if self._in_pass:  # of the method below, which calls this one
            return super().parse_known_args(args, namespace)
        self._in_pass = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._in_pass = False


def class_list(text: str) -> tuple[str, ...]:
    """Parse `--classes`, see `parse_class_list`."""
    try:
        return parse_class_list(text)
    except (InputError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def name_set(text: str) -> frozenset[str]:
    """Parse names with commas between them."""
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def renames(text: str) -> dict[str, str]:
    """Parse OLD=NEW,OLD=NEW into old name -> new name."""
    pairs = {}
    for part in filter(None, map(str.strip, text.split(","))):
        old, equals, new = part.partition("=")
        if not (equals and old.strip() and new.strip()):
            raise argparse.ArgumentTypeError(f"{part!r} is not of the form OLD=NEW")
        pairs[old.strip()] = new.strip()
    return pairs


def non_negative_int(text: str) -> int:
    """Parse a count, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 0 or more")
    return int(text)


def fraction(text: str) -> float:
    """Parse a share or an IoU, 0 to 1."""
    return _number(text, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def length(text: str) -> float:
    """Parse a length, 0 or more."""
    return _number(text, lambda value: 0 <= value < float("inf"), "a number of 0 or more")


def _number(text: str, allowed: Callable[[float], bool], expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not allowed(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return value


def class_thresholds(text: str) -> dict[str, float]:
    """Parse 0.1,ship=0.2 into class -> threshold, see `parse_thresholds`."""
    try:
        return parse_thresholds(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive_numbers(text: str) -> tuple[float, ...]:
    """Parse positive numbers with commas between them."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (0.0,)
    if not all(0 < value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers above 0, such as 0.5,1"
        )
    return values


def iou_thresholds(text: str) -> tuple[float, ...]:
    """Parse IoU thresholds with commas between them, each above 0 and below 1."""
    values = positive_numbers(text)
    if max(values) >= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers above 0 and below 1, such as 0.5,0.75"
        )
    return values


def add_classes(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add `--classes`; `purpose` begins its help text."""
    parser.add_argument(
        "--classes",
        type=class_list,
        metavar="LIST",
        help=f"{purpose}: names with commas between them (a,b), a file with one per line, a "
        "data.yaml, or dota1.0, dota1.5, dota2.0",
    )


def add_training_limits(parser: argparse.ArgumentParser) -> None:
    """Add `--min_size` and `--max_objs`: what training leaves out."""
    parser.add_argument(
        "--min_size",
        type=length,
        default=10.0,
        metavar="PIXELS",
        help="longer side below which training ignores an object (default: 10)",
    )
    parser.add_argument(
        "--max_objs",
        type=non_negative_int,
        default=500,
        metavar="N",
        help="objects of an image that training uses at most (default: 500)",
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add `--workers`; 0 stands for one process per core."""
    parser.add_argument(
        "--workers",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="number of processes (default: one per core)",
    )


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `read_options` turns into settings."""
    parser.add_argument(
        "--depth",
        choices=DEPTHS,
        default=STRETCH,
        help="conversion of 16 bits to 8: a contrast stretch of each band, or the upper 8 bits "
        "(default: stretch)",
    )
    parser.add_argument(
        "--bands",
        type=bands,
        metavar="R,G,B",
        help="numbers of the red, green and blue bands of TIFFs, such as 3,2,1 (default: by the "
        "files' own names and colors)",
    )
    parser.add_argument(
        "--max_pixels",
        type=non_negative_int,
        default=MAX_PIXELS,
        metavar="N",
        help="refuse images whose header says that they have more pixels (default: %(default)s)",
    )
    parser.add_argument(
        "--allow_remote",
        action="store_true",
        help="read virtual images (VRT, WMS), which can refer to other files and servers",
    )


def bands(text: str) -> tuple[int, ...] | None:
    """Parse `--bands`: numbers of three bands or one, with commas between them."""
    try:
        return ReadOptions.parse_bands(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def read_options(arguments: argparse.Namespace) -> ReadOptions:
    """Return how images are read, by the arguments of `add_reading`."""
    return ReadOptions(
        arguments.depth, arguments.bands, arguments.max_pixels, arguments.allow_remote
    )


def add_overwrite(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--overwrite`; `what` names the replaced files in its help text."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help=f"replace existing {what} (otherwise an error)",
    )


def images_of_labels(given: Path | None, labels: Path) -> dict[str, Path]:
    """Find the images of some labels.

    Args:
        given: the folder of `--images`.
        labels: a folder of labels or one label file.

    Returns:
        Image id -> file, of `given`, else of the folder that belongs to the labels; empty if there
        is none.
    """
    folder = given or guess_image_folder(labels)  # beside a folder, or beside a file of all images
    if folder is None and not labels.is_dir():
        folder = guess_image_folder(labels.parent)
    return {} if folder is None else find_images(folder)


def label_folder(path: Path) -> Path:
    """Return the folder of labels, `labelTxt` if the folder around it is given."""
    inner = path / "labelTxt"
    return inner if inner.is_dir() else path


def listed_ids(path: Path, known: Collection[str] = ()) -> list[str]:
    """Read the image ids of a list, whose lines may be file names of images.

    Args:
        path: the list.
        known: see `image_id_of`.
    """
    return [image_id_of(Path(line).name, known) for line in read_ids(path)]


def name_flags(message: str, parameters: Collection[str]) -> str:
    """Replace the parameters that an error names in backticks by the flags of the command.

    Args:
        message: the message of an `InputError`, such as "... give `overwrite`".
        parameters: names of the parameters that are flags of the command.

    Returns:
        The message for the command line, such as "... give --overwrite".
    """
    return re.sub(
        r"`(\w+)`", lambda match: f"--{match[1]}" if match[1] in parameters else match[0], message
    )
