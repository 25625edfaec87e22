"""`submit`: check results against the rules of the DOTA server, and zip them."""

from __future__ import annotations

import argparse
from pathlib import Path

from DOTA_devkit.commands.arguments import (
    add_classes,
    add_overwrite,
    fraction,
    listed_ids,
    non_negative_int,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import refuse_existing
from DOTA_devkit.formats import DOTA_CLASSES
from DOTA_devkit.submit import TEST_IMAGES, check_submission, write_submission


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of the command."""
    parser = subparsers.add_parser(
        "submit",
        help="check merged results and zip them for the DOTA server",
        description="Check a folder of Task1_<class>.txt against what the DOTA server expects (its "
        "15, 16 or 18 files, ids of whole images, all test images) and write the zip.",
        epilog="example: submit merged submission.zip --version 1.0 --list test.txt",
    )
    parser.add_argument("results", type=Path, help="folder of merged Task1_<class>.txt")
    parser.add_argument(
        "zip", type=Path, nargs="?", help="zip to write; without it, the results are only checked"
    )
    parser.add_argument(
        "--version",
        choices=DOTA_CLASSES,
        default="1.0",
        help="release of DOTA: 15, 16 or 18 classes (default: 1.0)",
    )
    add_classes(parser, "classes other than those of DOTA, for another server")
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="ids of the test images, one per line; without it, only their number is checked",
    )
    parser.add_argument(
        "--expected_images",
        type=non_negative_int,
        metavar="N",
        help="number of test images if there is no list (default: "
        + ", ".join(f"{n} for {v}" for v, n in TEST_IMAGES.items())
        + ")",
    )
    parser.add_argument(
        "--min_images",
        type=fraction,
        default=0.9,
        metavar="SHARE",
        help="share of the test images that must have a detection (default: 0.9)",
    )
    add_overwrite(parser, "files")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.zip:
        refuse_existing([arguments.zip], arguments.overwrite)
    classes = arguments.classes or DOTA_CLASSES[arguments.version]
    expected = arguments.expected_images
    if expected is None and not arguments.classes:
        expected = TEST_IMAGES[arguments.version]
    report = check_submission(
        arguments.results,
        classes,
        image_ids=listed_ids(arguments.list) if arguments.list else None,
        expected_images=expected,
        min_images=arguments.min_images,
    )
    print(report.table())
    if report.problems:
        raise InputError("\n  ".join(["the results are not ready to submit:", *report.problems]))
    if arguments.zip is None:
        print("ready to submit")
        return
    path = write_submission(arguments.results, arguments.zip, classes)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
