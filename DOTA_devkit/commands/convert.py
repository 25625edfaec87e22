"""`convert`: labels of other formats to DOTA text, and to COCO and YOLO-OBB."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from pathlib import Path

from DOTA_devkit.class_lists import find_class_file, read_class_file
from DOTA_devkit.commands.arguments import (
    HelpFormatter,
    add_classes,
    add_overwrite,
    images_of_labels,
    name_set,
    non_negative_int,
    renames,
)
from DOTA_devkit.convert import (
    NEEDS_CLASSES,
    READERS,
    WRITERS,
    Source,
    check_image_sizes,
    complete_class_list,
    read_back,
    read_folder,
    with_image_sizes,
    without_flat_boxes,
    write_folder,
)
from DOTA_devkit.converters.annotation import Annotation, ClassMap, count_classes
from DOTA_devkit.converters.hrsc import LEVELS
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.files import refuse_existing
from DOTA_devkit.previews import choose_examples, draw_previews, preview_files
from DOTA_devkit.tables import format_table
from DOTA_devkit.terminal import visible

logger = logging.getLogger(__name__)

EXAMPLES = """
examples:
  roLabelImg XML to DOTA text, with two classes merged, one dropped and four previews to check:
    convert rolabelimg Annotations labelTxt --rename Car=vehicle,Van=vehicle --drop Person \\
        --preview 4
  HRSC2016 XML, four categories instead of "ship":
    convert hrsc Annotations labelTxt --level 2
  DOTA text to COCO json and to YOLO-OBB:
    convert dota labelTxt train.json --to coco --images images
    convert dota labelTxt labels --to yolo --images images --classes classes.txt
  YOLO-OBB to DOTA text:
    convert yolo labels labelTxt --images images --classes classes.txt
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of the command."""
    parser = subparsers.add_parser(
        "convert",
        help="convert labels between DOTA text and other formats",
        description="Convert a folder of labels or one label file. Classes can be renamed and "
        "dropped during the conversion. All errors are reported, with file and line, before "
        "anything is written.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("format", choices=READERS, help="format of the labels")
    parser.add_argument("source", type=Path, help="folder of label files, or one label file")
    parser.add_argument("target", type=Path, help="folder to write into, for coco a .json file")
    parser.add_argument("--to", choices=WRITERS, default="dota", help="new format (default: dota)")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the images (default: images, AllImages or JPEGImages "
        "beside the labels); needed for coco, yolo and previews",
    )
    _add_class_options(parser)
    _add_preview_options(parser)
    add_overwrite(parser, "files")
    parser.set_defaults(run=run)


def _add_class_options(parser: argparse.ArgumentParser) -> None:
    add_classes(parser, "the classes, in order; a number instead of a name is a position in it")
    parser.add_argument(
        "--numbers",
        action="store_true",
        help="write class numbers (positions in --classes) into DOTA text",
    )
    parser.add_argument(
        "--rename",
        type=renames,
        default={},
        metavar="OLD=NEW,...",
        help="rename classes; several may get the same name",
    )
    parser.add_argument(
        "--drop", type=name_set, default=frozenset(), metavar="A,B", help="drop these classes"
    )
    parser.add_argument(
        "--level",
        type=int,
        choices=LEVELS,
        default=1,
        help="classes of hrsc: 1 ship, 2 categories, 3 types (default: 1)",
    )


def _add_preview_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preview",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="draw the labels of N images, read back from the written files",
    )
    parser.add_argument(
        "--preview_dir",
        type=Path,
        metavar="DIR",
        help="folder of the previews (default: TARGET_preview)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.numbers and (arguments.to != "dota" or not arguments.classes):
        raise InputError("--numbers works with --to dota only, and needs --classes")
    source = _source(arguments)
    found = read_folder(source)
    # The classes of YOLO labels name their numbers; they do not restrict the new names.
    class_map = ClassMap(
        arguments.rename, arguments.drop, None if source.format == "yolo" else arguments.classes
    )
    _warn_unused(class_map, found)
    annotations = map_collecting(class_map.apply, found)
    annotations, flat = without_flat_boxes(annotations)

    classes = arguments.classes
    if arguments.to in NEEDS_CLASSES:
        annotations = with_image_sizes(annotations, source.images)
        classes = _target_classes(arguments, source, annotations)
    else:
        check_image_sizes(annotations, source.images)
    examples, preview_dir = _plan_previews(arguments, source, annotations)
    write_folder(
        annotations,
        arguments.target,
        arguments.to,
        classes,
        source.images,
        arguments.numbers,
        arguments.overwrite,
    )
    _report(found, annotations, flat, arguments.target)
    if examples:
        written = read_back(examples, arguments.target, arguments.to, classes)
        draw_previews(written, source.images, preview_dir)
        print(f"{len(examples)} previews in {preview_dir}")


def _source(arguments: argparse.Namespace) -> Source:
    needs_images = arguments.preview or arguments.to in NEEDS_CLASSES or arguments.format == "yolo"
    try:
        images = images_of_labels(arguments.images, arguments.source)
    except InputError as error:
        if needs_images:
            raise
        images = {}
        logger.warning("the sizes of the images are not checked: %s", error)
    classes = arguments.classes
    if arguments.format == "yolo" and classes is None:
        class_file = find_class_file(arguments.source)
        classes = read_class_file(class_file) if class_file else None
    return Source(arguments.source, arguments.format, images, classes, arguments.level)


def _target_classes(
    arguments: argparse.Namespace, source: Source, annotations: list[Annotation]
) -> tuple[str, ...]:
    names_found = count_classes(annotations)
    if source.format == "yolo":
        renamed = [arguments.rename.get(name, name) for name in source.classes or ()]
        return tuple(dict.fromkeys(name for name in renamed if name not in arguments.drop))
    if arguments.classes:
        return arguments.classes
    class_file = find_class_file(arguments.source)
    classes = complete_class_list(names_found, source, class_file)
    logger.info(
        "class numbers by %s: %s", class_file or "the order of the dataset", ", ".join(classes)
    )
    return classes


def _plan_previews(
    arguments: argparse.Namespace, source: Source, annotations: list[Annotation]
) -> tuple[list[Annotation], Path]:
    """Choose which images to draw and where, before anything is written."""
    target = arguments.target
    preview_dir = arguments.preview_dir or target.with_name(f"{target.stem}_preview")
    examples = choose_examples(annotations, source.images, arguments.preview)
    if arguments.preview and not examples:
        raise InputError(
            f"--preview: found no image with objects for {arguments.source}; give --images"
        )
    refuse_existing(preview_files(examples, preview_dir), arguments.overwrite)
    return examples, preview_dir


def _warn_unused(class_map: ClassMap, annotations: list[Annotation]) -> None:
    if unused := class_map.unused(annotations):
        logger.warning(
            "--rename or --drop names classes that no label has: %s (the labels have %s)",
            ", ".join(unused),
            ", ".join(count_classes(annotations)) or "none",
        )


def _report(
    found: list[Annotation], annotations: list[Annotation], flat: list[str], target: Path
) -> None:
    before, after = count_classes(found), count_classes(annotations)
    print(format_table([["class", "objects"], *after.items()]))
    dropped = sum(before.values()) - sum(after.values()) - len(flat)
    notes = [f"{sum(after.values())} objects of {len(annotations)} images -> {target}"]
    if dropped:
        notes.append(f"{dropped} objects of classes in --drop removed")
    if flat:
        notes.append(f"{len(flat)} boxes without area removed (first: {flat[0]})")
    empty = Counter(bool(a.labels.names) for a in annotations)[False]
    if empty:
        notes.append(f"{empty} images without objects")
    print(visible("\n".join(notes)))
