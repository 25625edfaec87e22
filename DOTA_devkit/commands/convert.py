"""`convert`: labels from any format to any other."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

from DOTA_devkit.class_lists import (
    CLASS_FILE,
    find_class_file,
    find_numbered_classes,
    write_class_file,
)
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
    read_back,
    read_folder,
    target_files,
    without_flat_boxes,
    write_folder,
)
from DOTA_devkit.converters.annotation import Annotation, ClassMap, count_classes
from DOTA_devkit.converters.class_order import complete_class_list
from DOTA_devkit.converters.coco import coco_classes
from DOTA_devkit.converters.datasets import ANGLE_UNITS, Source, Target
from DOTA_devkit.converters.guess import guess_format
from DOTA_devkit.converters.hrsc import LEVELS
from DOTA_devkit.converters.sizes import (
    check_image_sizes,
    refuse_turned_images,
    with_image_sizes,
)
from DOTA_devkit.converters.table import FORMATS, WRITTEN
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.files import refuse_existing, replacing
from DOTA_devkit.previews import choose_examples, draw_previews, preview_files
from DOTA_devkit.tables import format_table
from DOTA_devkit.terminal import visible

logger = logging.getLogger(__name__)

EXAMPLES = """
examples:
  any labels to DOTA text, with four previews to check; the format is detected and printed:
    convert annotations.xml labelTxt --images images --preview 4
  roLabelImg XML to DOTA text, with two classes merged and one dropped:
    convert Annotations labelTxt --from rolabelimg --rename Car=vehicle,Van=vehicle --drop Person
  HRSC2016 XML, four categories instead of "ship":
    convert Annotations labelTxt --from hrsc --level 2
  DOTA text to COCO JSON, to YOLO-OBB and to Label Studio:
    convert labelTxt train.json --to coco --images images
    convert labelTxt labels --to yolo --images images --classes classes.txt
    convert labelTxt tasks.json --to label-studio --images images
  YOLO-OBB to DOTA text:
    convert labels labelTxt --from yolo --images images --classes classes.txt
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of the command."""
    table = "\n".join(
        f"  {name:<25} {format_.title}{'' if format_.write else ' (read only)'}"
        for name, format_ in FORMATS.items()
    )
    parser = subparsers.add_parser(
        "convert",
        help="convert labels from any format to any other",
        description="Convert a folder of labels or one label file. Classes can be renamed and "
        "dropped during the conversion. All errors are reported, with file and place, before "
        "anything is written.",
        usage="%(prog)s [options] [FORMAT] SOURCE TARGET",
        epilog=f"\nformats:\n{table}\n{EXAMPLES}",
        formatter_class=HelpFormatter,
    )
    # The format in front is how it was given before --from; `_words` separates it from the source.
    parser.add_argument(
        "words",
        nargs="+",
        metavar="[FORMAT] SOURCE TARGET",
        help="SOURCE: folder of label files, or one label file; TARGET: folder to write into, or "
        "for a format with one file for all images that file; FORMAT: the same as --from",
    )
    _add_format_options(parser)
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the images (default: images, AllImages or JPEGImages beside the labels); "
        "needed for previews, to read yolo, yolo-xywhr and GeoJSON, and, unless the labels have "
        "the sizes, to write any format but dota and labelimg-obb",
    )
    parser.add_argument(
        "--empty",
        action="store_true",
        help="write empty labels for images that have none",
    )
    parser.add_argument(
        "--write_list",
        type=Path,
        metavar="FILE",
        help="write the image ids into a file, such as train.txt for the labels of train.json",
    )
    _add_class_options(parser)
    _add_reading_options(parser)
    _add_preview_options(parser)
    add_overwrite(parser, "files")
    parser.set_defaults(run=run)


def _add_format_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        choices=FORMATS,
        metavar="FORMAT",
        help="format of the labels (default: detected from the files)",
    )
    parser.add_argument(
        "--to",
        choices=WRITTEN,
        default="dota",
        metavar="FORMAT",
        help="new format (default: dota)",
    )


def _add_class_options(parser: argparse.ArgumentParser) -> None:
    add_classes(parser, "the classes, in order; a number instead of a name is a position in it")
    parser.add_argument(
        "--numbers",
        action="store_true",
        help="write class numbers (positions in --classes) into DOTA text",
    )
    parser.add_argument(
        "--rename",
        "--map",
        type=renames,
        default={},
        metavar="OLD=NEW,...",
        help="rename classes; several may get the same name",
    )
    parser.add_argument(
        "--drop", type=name_set, default=frozenset(), metavar="A,B", help="drop these classes"
    )

    parser.add_argument(
        "--write_classes",
        action="store_true",
        help=f"write the classes into a {CLASS_FILE} beside TARGET, in the order of --classes or "
        "of the numbers in the labels, else by name",
    )


def _add_reading_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--level",
        type=int,
        choices=LEVELS,
        default=1,
        help="classes of hrsc: 1 ship, 2 categories, 3 types (default: 1)",
    )
    parser.add_argument(
        "--angle_unit",
        choices=ANGLE_UNITS,
        help="unit of the angles, which the files do not state, of rolabelimg and yolo-xywhr "
        "(default: radians) and of rotated boxes in coco (degrees are counterclockwise there, "
        "radians clockwise)",
    )
    parser.add_argument(
        "--class_property",
        metavar="NAME",
        help="property of GeoJSON that is the class (default: class, class_name, label, category, "
        "name or type)",
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
    format_name, source_path, target_path = _words(arguments)
    source = _source(arguments, format_name, source_path)
    found = read_folder(source, arguments.empty)
    # The classes of labels with numbers name these; they do not restrict the new names.
    class_map = ClassMap(
        arguments.rename,
        arguments.drop,
        None if _names_numbers(source) else arguments.classes,
    )
    _warn_unused(class_map, found)
    annotations = map_collecting(class_map.apply, found)
    annotations, flat = without_flat_boxes(annotations)

    frame = FORMATS[source.format].frame
    if FORMATS[arguments.to].sizes_to_write:
        annotations = with_image_sizes(annotations, source.images, frame)
    else:
        check_image_sizes(annotations, source.images, frame)
    labeled = [a.image_id for a in annotations if a.labels.names and a.image_id in source.images]
    refuse_turned_images([source.images[image_id] for image_id in labeled], arguments.to)
    target = _target(arguments, source, annotations, target_path)
    examples, preview_dir = _plan_previews(arguments, source, target, annotations)
    class_file = target.path.parent / CLASS_FILE if arguments.write_classes else None
    others = [path for path in (class_file, arguments.write_list) if path]
    refuse_existing([*target_files(annotations, target), *others], arguments.overwrite)
    fitted = write_folder(annotations, target, arguments.overwrite)
    if class_file:
        write_class_file(class_file, _class_order(arguments, source, target, annotations))
    if arguments.write_list:
        with replacing(arguments.write_list) as file:
            file.writelines(f"{annotation.image_id}\n" for annotation in annotations)
    _report(found, annotations, flat, target, fitted)
    if examples:
        draw_previews(read_back(examples, target), source.images, preview_dir)
        print(f"{len(examples)} previews in {preview_dir}")


def _words(arguments: argparse.Namespace) -> tuple[str, Path, Path]:
    """Return format, source and target."""
    words = list(arguments.words)
    named = vars(arguments)["from"]
    if len(words) == 3:
        first = words.pop(0)
        if first not in FORMATS:
            raise InputError(
                f"expected [FORMAT] SOURCE TARGET, got the format {first!r}; formats are "
                f"{', '.join(FORMATS)}"
            )
        if named not in (None, first):
            raise InputError(f"expected one format, got {first} and --from {named}")
        named = first
    if len(words) != 2:
        raise InputError(f"expected SOURCE and TARGET, got {' '.join(arguments.words)!r}")
    source, target = map(Path, words)
    if named is None:
        named = guess_format(source)
        print(f"{visible(str(source))} is read as {FORMATS[named].title} (--from {named})")
    return named, source, target


def _names_numbers(source: Source) -> bool:
    """Return whether the classes given are the names of numbers in the labels of the source."""
    return FORMATS[source.format].numbers and not FORMATS[source.format].one_file


def _source(arguments: argparse.Namespace, format_name: str, path: Path) -> Source:
    needs_images = (
        arguments.preview
        or arguments.empty
        or FORMATS[format_name].sizes_to_read
        or FORMATS[arguments.to].sizes_to_write
    )
    try:
        images = images_of_labels(arguments.images, path)
    except InputError as error:
        if needs_images:
            raise
        images = {}
        logger.warning("the sizes of the images are not checked: %s", error)
    source = Source(
        path,
        format_name,
        images,
        arguments.classes,
        arguments.level,
        arguments.angle_unit,
        arguments.class_property,
    )
    unnamed = _names_numbers(source) and arguments.classes is None
    if unnamed and (found := find_numbered_classes(path)):
        logger.info("class numbers of the labels by %s: %s", found[0], ", ".join(found[1]))
        source = replace(source, classes=found[1])
    return source


def _target(
    arguments: argparse.Namespace, source: Source, annotations: list[Annotation], path: Path
) -> Target:
    classes = None
    if arguments.numbers:
        classes = _numbered_classes(arguments, source) or arguments.classes
    if FORMATS[arguments.to].numbers:
        classes = _target_classes(arguments, source, annotations)
    return Target(path, arguments.to, classes, source.images)


def _class_order(
    arguments: argparse.Namespace, source: Source, target: Target, annotations: list[Annotation]
) -> tuple[str, ...]:
    """Return the classes of the labels written, for a list of them."""
    if target.classes is not None:
        return target.classes
    names = _numbered_classes(arguments, source) or arguments.classes
    return names or tuple(sorted(count_classes(annotations)))


def _numbered_classes(arguments: argparse.Namespace, source: Source) -> tuple[str, ...]:
    """Return the new names of the classes that the source numbers; empty if it numbers none."""
    classes = source.classes if _names_numbers(source) else None
    if classes is None and FORMATS[source.format].read is FORMATS["coco"].read:
        classes = None if arguments.classes or source.path.is_dir() else coco_classes(source.path)
    renamed = [arguments.rename.get(name, name) for name in classes or ()]
    return tuple(dict.fromkeys(name for name in renamed if name not in arguments.drop))


def _target_classes(
    arguments: argparse.Namespace, source: Source, annotations: list[Annotation]
) -> tuple[str, ...]:
    if classes := _numbered_classes(arguments, source):
        return classes
    if arguments.classes:
        return arguments.classes
    class_file = find_class_file(source.path)
    classes = complete_class_list(count_classes(annotations), source, class_file)
    logger.info(
        "class numbers by %s: %s", class_file or "the order of the dataset", ", ".join(classes)
    )
    return classes


def _plan_previews(
    arguments: argparse.Namespace, source: Source, target: Target, annotations: list[Annotation]
) -> tuple[list[Annotation], Path]:
    """Choose which images to draw and where, before anything is written."""
    default_dir = target.path.with_name(f"{target.path.stem}_preview")
    preview_dir = arguments.preview_dir or default_dir
    examples = choose_examples(annotations, source.images, arguments.preview)
    if arguments.preview and not examples:
        raise InputError(f"--preview: found no image with objects for {source.path}; give --images")
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
    found: list[Annotation],
    annotations: list[Annotation],
    flat: list[str],
    target: Target,
    changed: int,
) -> None:
    before, after = count_classes(found), count_classes(annotations)
    print(format_table([["class", "objects"], *after.items()]))
    dropped = sum(before.values()) - sum(after.values()) - len(flat)
    notes = [f"{sum(after.values())} objects of {len(annotations)} images -> {target.path}"]
    if dropped:
        notes.append(f"objects removed, as their class is in --drop: {dropped}")
    if flat:
        notes.append(f"boxes without area removed: {len(flat)} (first: {flat[0]})")
    fitted = [a.place(line) for a in annotations for line in a.fitted.tolist()]
    if fitted:
        notes.append(
            f"{len(fitted)} outlines of other than four points became their smallest rectangle "
            f"(first: {fitted[0]})"
        )
    if changed:
        notes.append(
            f"{changed} boxes that are no rectangles became their smallest one, as {target.format} "
            "has rectangles alone"
        )
    empty = Counter(bool(a.labels.names) for a in annotations)[False]
    if empty:
        notes.append(f"{empty} images without objects")
    print(visible("\n".join(notes)))
