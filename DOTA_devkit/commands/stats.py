"""`stats`: statistics of a folder of labels, and likely mistakes in it."""

from __future__ import annotations

import argparse
from pathlib import Path

from DOTA_devkit.class_lists import find_class_file, read_class_file
from DOTA_devkit.commands.arguments import (
    add_classes,
    add_overwrite,
    add_training_limits,
    images_of_labels,
    label_folder,
)
from DOTA_devkit.files import refuse_existing
from DOTA_devkit.stats import collect_stats, plot_stats, read_label_set
from DOTA_devkit.terminal import visible


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of the command."""
    parser = subparsers.add_parser(
        "stats",
        help="show classes, sizes, angles and likely mistakes in a folder of labels",
        description="Print statistics of a folder of DOTA labels: classes, sizes, angles, aspect "
        "ratios, objects per image, what training would ignore, and labels that are most likely "
        "mistakes.",
        epilog="example: stats data/labelTxt --classes data/classes.txt --plot stats.png",
    )
    parser.add_argument(
        "labels", type=Path, help="folder of labels, or one that contains labelTxt/"
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the images (default: images beside the labels); without images, labels "
        "outside of them are not found",
    )
    add_classes(
        parser,
        "the allowed classes (default: classes.txt in or beside the folder, if there is one)",
    )
    add_training_limits(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a plot (.png, .pdf, .svg)")
    add_overwrite(parser, "files")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.plot:
        refuse_existing([arguments.plot], arguments.overwrite)
    labels = label_folder(arguments.labels)
    classes = arguments.classes
    if classes is None and (class_file := find_class_file(labels)):
        classes = read_class_file(class_file)
    data = read_label_set(labels, images_of_labels(arguments.images, labels))
    stats = collect_stats(data, classes, arguments.min_size, arguments.max_objs)
    print(visible(stats.table()))
    if arguments.plot:
        plot_stats(stats, arguments.plot)
        print(f"\nplot: {arguments.plot}")
