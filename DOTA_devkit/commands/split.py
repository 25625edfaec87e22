"""`split` and `split-images`: cut large images into patches, with or without labels."""

from __future__ import annotations

import argparse
from pathlib import Path

from DOTA_devkit.commands.arguments import (
    HelpFormatter,
    add_reading,
    add_workers,
    fraction,
    listed_ids,
    non_negative_int,
    positive_numbers,
    read_options,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import folder_hint
from DOTA_devkit.images import find_images, guess_image_folder
from DOTA_devkit.splitting import SplitOptions, SplitSummary, split_images

SPLIT_EXAMPLES = """
examples:
  split data patches --size 600 --gap 100 --rates 0.5,1
  split data patches --list data/train.txt data/val.txt --keep_empty 0.2
"""
SPLIT_IMAGES_EXAMPLES = """
examples:
  split-images data/images patches/images --size 1024 --gap 200 --list_file patches/test.txt
  split-images huge.tif patches/images
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the parsers of both commands."""
    _add_split(subparsers)
    _add_split_images(subparsers)


def _add_split(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "split",
        help="cut large images and their labels into patches",
        description="Cut images and labels into overlapping patches NAME__RATE__X___Y. The part of "
        "an object inside a patch becomes its label there; if 70% or less of the object is left, "
        "its difficulty is 2. A split that was interrupted continues where it stopped.",
        epilog=SPLIT_EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("data_dir", type=Path, help="folder that contains images/ and labelTxt/")
    parser.add_argument(
        "target", type=Path, help="folder to write into: images/, labelTxt/ and lists"
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the images (default: images or AllImages in DATA_DIR)",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help="folder of the labels (default: DATA_DIR/labelTxt)",
    )
    parser.add_argument(
        "--list",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="split the images of these lists only, and write a list of the same name for each "
        "(default: all images, list trainval.txt)",
    )
    _add_label_options(parser)
    _add_common(parser)
    parser.set_defaults(run=run_split)


def _add_label_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--min_share",
        type=fraction,
        default=0.7,
        metavar="SHARE",
        help="share of an object that must be left for it to stay a normal object (default: 0.7)",
    )
    parser.add_argument(
        "--whole_pixels",
        action="store_true",
        help="truncate label coordinates to whole pixels, and drop cut objects of which neither "
        "four nor five corners are left, as the original devkit does",
    )
    parser.add_argument(
        "--keep_empty",
        type=fraction,
        default=1.0,
        metavar="SHARE",
        help="share of the patches without objects to keep (default: 1)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="random seed of the choice among patches without objects (default: 0)",
    )


def _add_split_images(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "split-images",
        help="cut large images without labels into patches",
        description="Cut images into overlapping patches NAME__RATE__X___Y, as for a test set.",
        epilog=SPLIT_IMAGES_EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("images", type=Path, help="folder of images, or one image")
    parser.add_argument("target", type=Path, help="folder to write the patches into")
    parser.add_argument(
        "--list", type=Path, metavar="FILE", help="split the images of this list only"
    )
    parser.add_argument(
        "--list_file", type=Path, metavar="FILE", help="write the ids of the patches to this file"
    )
    _add_common(parser)
    parser.set_defaults(run=run_split_images)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--size",
        type=non_negative_int,
        default=600,
        metavar="PIXELS",
        help="side of a patch (default: 600)",
    )
    parser.add_argument(
        "--gap",
        type=non_negative_int,
        default=100,
        metavar="PIXELS",
        help="overlap of neighboring patches (default: 100)",
    )
    parser.add_argument(
        "--rates",
        type=positive_numbers,
        default=(1.0,),
        metavar="R,R",
        help="factors by which the images are resized first (default: 1)",
    )
    parser.add_argument(
        "--format",
        choices=("png", "jpg"),
        default="png",
        help="format of the patches: png is lossless, jpg a tenth of the size (default: png)",
    )
    parser.add_argument(
        "--pad", action="store_true", help="pad patches of small images with black to the full size"
    )
    add_reading(parser)
    add_workers(parser)
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write existing patches again (otherwise they are kept, and a folder that was split "
        "with other options is an error)",
    )


def run_split(arguments: argparse.Namespace) -> None:
    """Run the command `split`."""
    data_dir = arguments.data_dir
    labels = arguments.labels or data_dir / "labelTxt"
    folder = arguments.images or guess_image_folder(data_dir / "labelTxt")
    if folder is None:
        raise InputError(
            f"{data_dir}: contains no folder of images{folder_hint(data_dir) or '; give --images'}"
        )
    images = find_images(folder)
    options = _options(
        arguments,
        min_share=arguments.min_share,
        whole_pixels=arguments.whole_pixels,
        keep_empty=arguments.keep_empty,
        seed=arguments.seed,
    )
    for path in arguments.list or [None]:
        summary = split_images(
            images if path is None else _select_listed(images, path),
            arguments.target / "images",
            options,
            label_dir=labels,
            output_label_dir=arguments.target / "labelTxt",
            list_dir=arguments.target,
            list_name="trainval.txt" if path is None else path.name,
            workers=arguments.workers or None,
            overwrite=arguments.overwrite,
        )
        _report(summary, arguments.target, "" if path is None else f"{path.name}: ")


def run_split_images(arguments: argparse.Namespace) -> None:
    """Run the command `split-images`."""
    source = arguments.images
    images = {source.stem: source} if source.is_file() else find_images(source)
    if not images:
        raise InputError(f"{source}: no images in this folder")
    list_file = arguments.list_file
    summary = split_images(
        _select_listed(images, arguments.list) if arguments.list else images,
        arguments.target,
        _options(arguments),
        list_dir=list_file.parent if list_file else None,
        list_name=list_file.name if list_file else "test.txt",
        workers=arguments.workers or None,
        overwrite=arguments.overwrite,
    )
    _report(summary, arguments.target)


def _options(arguments: argparse.Namespace, **others: float | bool) -> SplitOptions:
    return SplitOptions(
        size=arguments.size,
        gap=arguments.gap,
        rates=arguments.rates,
        suffix=f".{arguments.format}",
        pad=arguments.pad,
        reading=read_options(arguments),
        **others,
    )


def _select_listed(images: dict[str, Path], list_file: Path) -> dict[str, Path]:
    """Return the images of a list; an id without an image is an InputError."""
    ids = listed_ids(list_file, images)
    missing = [image_id for image_id in ids if image_id not in images]
    if missing:
        raise InputError(
            f"{list_file}: {len(missing)} of {len(ids)} ids have no image (first: {missing[0]})"
        )
    return {image_id: images[image_id] for image_id in ids}


def _report(summary: SplitSummary, target: Path, title: str = "") -> None:
    notes = [f"{len(summary.patch_ids)} patches of {summary.images} images -> {target}"]
    if summary.present:
        notes.append(f"{summary.present} of them existed already")
    if summary.objects:
        notes.append(f"{summary.objects} objects")
    if summary.empty_dropped:
        notes.append(f"{summary.empty_dropped} patches without objects dropped")
    print(title + "; ".join(notes))
