"""`lists`: divide the images of a folder into train.txt, val.txt and test.txt."""

from __future__ import annotations

import argparse
from pathlib import Path

from DOTA_devkit.commands.arguments import add_overwrite, fraction
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import folder_hint
from DOTA_devkit.images import find_images, guess_image_folder
from DOTA_devkit.lists import count_objects, lists_table, split_ids, write_lists


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of the command."""
    parser = subparsers.add_parser(
        "lists",
        help="divide the images of a folder into train, val and test lists",
        description="Divide the images of a folder at random into train.txt, val.txt and test.txt. "
        "All patches of a source image go into the same list, so that no image content is used for "
        "both training and evaluation.",
        epilog="example: lists data --val 0.1 --test 0.2 --seed 1",
    )
    parser.add_argument("data_dir", type=Path, help="folder that contains images/ (and labelTxt/)")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the images (default: images or AllImages in DATA_DIR, or DATA_DIR itself)",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help="folder of the labels, to count objects (default: DATA_DIR/labelTxt)",
    )
    parser.add_argument(
        "--val",
        type=fraction,
        default=0.1,
        metavar="SHARE",
        help="share of val.txt, 0 for none (default: 0.1)",
    )
    parser.add_argument(
        "--test",
        type=fraction,
        default=0.1,
        metavar="SHARE",
        help="share of test.txt, 0 for none (default: 0.1); train.txt gets the rest",
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder of the lists (default: DATA_DIR)"
    )
    add_overwrite(parser, "lists")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    data_dir = arguments.data_dir
    folder = (
        arguments.images
        or guess_image_folder(data_dir / "labelTxt")
        or (data_dir if data_dir.is_dir() and find_images(data_dir) else None)
    )
    if folder is None:
        raise InputError(
            f"{data_dir}: contains no folder of images{folder_hint(data_dir) or '; give --images'}"
        )
    images = find_images(folder)
    if not images:
        raise InputError(f"{folder}: no images in this folder")
    shares = {
        "train": 1 - arguments.val - arguments.test,
        "val": arguments.val,
        "test": arguments.test,
    }
    lists = split_ids(images, shares, arguments.seed)
    labels = arguments.labels or data_dir / "labelTxt"
    objects = count_objects(lists, labels) if labels.is_dir() else None
    write_lists(lists, arguments.output or data_dir, arguments.overwrite)
    print(lists_table(lists, objects))
