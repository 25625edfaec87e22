"""`stats`: what is in a folder of labels, and what is wrong with it."""

from __future__ import annotations

import argparse
from pathlib import Path

from DOTA_devkit.class_lists import find_class_file, read_class_file
from DOTA_devkit.commands.arguments import (
    add_classes,
    images_beside,
    label_folder,
    whole_number,
)
from DOTA_devkit.files import refuse_existing
from DOTA_devkit.stats import collect_stats, read_set


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "stats",
        help="classes, sizes, angles and faults of a folder of labels",
        description="Tell what a folder of DOTA labels holds: classes, sizes, angles, aspect "
        "ratios, objects an image, what training would leave out, and labels that are most likely "
        "mistakes.",
        epilog="example: stats data/labelTxt --classes data/classes.txt --plot stats.png",
    )
    parser.add_argument("labels", type=Path, help="folder of labels, or one that holds labelTxt/")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the images (default: images beside the labels); without "
        "images nothing is said about labels outside",
    )
    add_classes(
        parser,
        "the classes that are allowed (default: classes.txt in or beside the "
        "folder, if there is one)",
    )
    parser.add_argument(
        "--min_size",
        type=float,
        default=10,
        metavar="PIXELS",
        help="longer side below which training leaves an object out (default: 10)",
    )
    parser.add_argument(
        "--max_objs",
        type=whole_number,
        default=500,
        metavar="N",
        help="objects of an image that training takes (default: 500)",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw a picture (.png, .pdf, .svg)"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the picture if it is there (otherwise an error)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    if arguments.plot:
        refuse_existing([arguments.plot], arguments.overwrite)
    labels = label_folder(arguments.labels)
    classes = arguments.classes
    if classes is None and (class_file := find_class_file(labels)):
        classes = read_class_file(class_file)
    data = read_set(labels, images_beside(arguments.images, labels))
    stats = collect_stats(data, classes, arguments.min_size, arguments.max_objs)
    print(stats.table())
    if arguments.plot:
        stats.plot(arguments.plot)
        print(f"\npicture: {arguments.plot}")
