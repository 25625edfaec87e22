"""`doctor`: everything that is wrong with a data folder, or with results, on one page."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from DOTA_devkit.commands.arguments import (
    add_classes,
    add_overwrite,
    add_reading,
    add_training_limits,
    name_flags,
    read_options,
)
from DOTA_devkit.doctor import (
    CHECKS,
    Paths,
    Settings,
    diagnosis_page,
    examine,
    model_classes,
    read_survey,
)
from DOTA_devkit.doctor.reading import LISTS
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import refuse_existing, refuse_unwritable, replacing
from DOTA_devkit.formats import DOTA_CLASSES
from DOTA_devkit.terminal import visible


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="find what is wrong with a data folder, or with results, and write a page about it",
        description=f"Look for faults in images, labels, lists and classes ({len(CHECKS)} checks), "
        "and write one HTML page with pictures and a JSON file beside it. The exit code is 1 if "
        "there is a finding of severity error.",
        epilog="example: doctor data --input_h 608 --output doctor.html",
    )
    parser.add_argument("folder", type=Path, help="data folder: images/, labelTxt/, lists, classes")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("doctor.html"),
        metavar="FILE",
        help="the page; the JSON file gets the same name with .json (default: doctor.html)",
    )
    _add_places(parser)
    _add_training(parser)
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="compare the classes with a checkpoint's"
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="also judge a folder of Task1_<class>.txt: would a server take it, is the score low "
        "for a usual reason",
    )
    parser.add_argument(
        "--version",
        choices=DOTA_CLASSES,
        help="release of DOTA whose server gets the results",
    )
    parser.add_argument(
        "--headers_only",
        action="store_true",
        help="do not decode the images: fast, but finds no truncated and no duplicate ones",
    )
    add_reading(parser)
    add_overwrite(parser, "files")
    parser.set_defaults(run=run)


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="folder of the images (default: images)"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="PATH",
        help="folder of the labels, in any format that `convert` reads, or one file of all "
        "(default: labelTxt, else Annotations, labels or one JSON file)",
    )
    add_classes(parser, "the class names (default: classes.txt, or a release of DOTA that fits)")
    for name in LISTS:
        parser.add_argument(
            f"--{name}_list",
            type=Path,
            metavar="FILE",
            help=f"id list, in the folder or absolute (default: {name}.txt)",
        )


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input_h",
        type=_side,
        default=Settings.input_hw[0],
        metavar="PIXELS",
        help="height of the input (default: %(default)s)",
    )
    parser.add_argument(
        "--input_w", type=_side, metavar="PIXELS", help="width of the input (default: as high)"
    )
    add_training_limits(parser)


def _side(text: str) -> int:
    """Parse a side of the input, a multiple of 32."""
    if not text.isdecimal() or not 0 < int(text) <= 1 << 14 or int(text) % 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a multiple of 32 from 32 to {1 << 14}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return 1 if any finding is an error."""
    files = _files(arguments)
    if arguments.results is not None and not arguments.results.is_dir():
        raise InputError(f"{arguments.results}: no such folder of results")
    lists = {name: getattr(arguments, f"{name}_list") for name in LISTS}
    height = arguments.input_h
    settings = Settings(
        (height, arguments.input_w or height),
        arguments.min_size,
        arguments.max_objs,
        reading=read_options(arguments),
        pixels=not arguments.headers_only,
    )
    with _silent("DOTA_devkit.formats"):  # the page reports what a log line for each file would
        survey = read_survey(
            arguments.folder,
            Paths(
                arguments.images,
                arguments.labels,
                {name: path for name, path in lists.items() if path is not None},
            ),
            DOTA_CLASSES[arguments.version]
            if arguments.version and not arguments.classes
            else arguments.classes,
            settings,
            model_classes(arguments.weights) if arguments.weights else None,
            arguments.results,
            arguments.version,
        )
    diagnosis = examine(survey).reworded(partial(name_flags, parameters=vars(arguments)))
    for path, content in zip(files, (diagnosis_page(diagnosis), diagnosis.to_json()), strict=True):
        with replacing(path) as file:
            file.write(content)
    print(visible(diagnosis.text()))
    print(visible(f"\npage: {files[0]}\nJSON: {files[1]}"))
    return int(diagnosis.has_errors)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Drop a logger's lines below errors; what runs afterwards in this process logs as before."""
    lines = logging.getLogger(name)
    level = lines.level
    lines.setLevel(logging.ERROR)
    try:
        yield
    finally:
        lines.setLevel(level)


def _files(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """Return page and JSON file, after checking that they can be written."""
    path = arguments.output
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path}: expected a name that ends in .html, for the page")
    files = path, path.with_suffix(".json")
    refuse_existing(files, arguments.overwrite)
    refuse_unwritable(path.parent)
    return files
