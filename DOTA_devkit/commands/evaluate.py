"""`evaluate`: average precision of result files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from DOTA_devkit.class_lists import CLASS_FILE, find_class_file, read_class_file
from DOTA_devkit.commands.arguments import (
    HelpFormatter,
    add_classes,
    add_overwrite,
    fraction,
    label_folder,
    positive_numbers,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import folder_hint
from DOTA_devkit.file_names import class_of, find_result_files
from DOTA_devkit.files import refuse_existing
from DOTA_devkit.formats import DOTA_CLASSES, Task1, read_ids
from DOTA_devkit.merging import merge_detections
from DOTA_devkit.patches import parse_patch_id
from DOTA_devkit.progress import progress
from DOTA_devkit.scoring import (
    METRICS,
    Truth,
    evaluate,
    load_detections,
    load_truth,
    plot_evaluation,
)
from DOTA_devkit.terminal import visible

EXAMPLES = """
examples:
  evaluate merged data/labelTxt --list data/test.txt
  evaluate merged data/labelTxt --list data/test.txt --iou 0.5,0.75 --plot curves.png --csv ap.csv
  evaluate merged data/labelTxt --metric coco
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compute the average precision of result files",
        description="Score Task1_<class>.txt (or Task2) against a folder of labels: AP per class, "
        "its mean over the classes that have objects, AP by object size, precision and recall at "
        "the best F1. Results of patches are merged first if the labels are those of whole "
        "images. Difficult objects are ignored.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("results", type=Path, help="folder of Task1_<class>.txt")
    parser.add_argument(
        "labels", type=Path, help="folder of labels, or one that contains labelTxt/"
    )
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="ids of the images to score (default: all that have a label file)",
    )
    add_classes(
        parser,
        "the classes to score (default: classes.txt in or beside the labels, else all that occur)",
    )
    _add_metric_options(parser)
    _add_output_options(parser)
    parser.set_defaults(run=run)


def _add_metric_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task",
        type=int,
        choices=(1, 2),
        default=1,
        help="1: oriented boxes, 2: horizontal boxes in Task2_<class>.txt (default: 1)",
    )
    parser.add_argument(
        "--metric",
        choices=METRICS,
        default="voc07",
        help="voc07: 11-point AP, voc12: area under the curve, coco: 101-point AP (default: voc07)",
    )
    parser.add_argument(
        "--iou",
        type=positive_numbers,
        metavar="T,T",
        help="IoU thresholds (default: 0.5, for coco 0.5 to 0.95)",
    )
    parser.add_argument(
        "--nms_thresh",
        type=fraction,
        default=0.1,
        metavar="T",
        help="IoU threshold of the NMS that merges results of patches (default: 0.1)",
    )


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table as CSV")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the table and the confusion matrix as JSON"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw precision/recall curves and the confusion matrix (.png)",
    )
    add_overwrite(parser, "files")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    outputs = [path for path in (arguments.csv, arguments.json, arguments.plot) if path]
    refuse_existing(outputs, arguments.overwrite)
    labels = label_folder(arguments.labels)
    image_ids = read_ids(arguments.list) if arguments.list else _labeled_ids(labels)
    classes = _classes(arguments, labels, image_ids)
    truth = load_truth(labels, image_ids, classes)
    detections = load_detections(arguments.results, classes, arguments.task)
    detections = _merge_patches(arguments, detections, truth)
    evaluation = evaluate(
        detections, truth, arguments.iou, arguments.metric, rectangles=arguments.task == 2
    )
    thresholds = ", ".join(f"{threshold:g}" for threshold in evaluation.iou_thresholds)
    print(f"{len(truth.image_ids)} images, metric {arguments.metric}, IoU {thresholds}\n")
    print(evaluation.table())
    if arguments.csv:
        evaluation.to_csv(arguments.csv)
    if arguments.json:
        evaluation.to_json(arguments.json)
    if arguments.plot:
        plot_evaluation(evaluation, arguments.plot)
    for path in outputs:
        print(f"written: {path}")


def _labeled_ids(labels: Path) -> list[str]:
    if not labels.is_dir():
        raise InputError(f"{labels}: no such folder of labels{folder_hint(labels)}")
    ids = sorted(path.stem for path in labels.glob("*.txt") if path.name != CLASS_FILE)
    if not ids:
        raise InputError(f"{labels}: no label files (*.txt) in this folder")
    return ids


def _classes(
    arguments: argparse.Namespace, labels: Path, image_ids: Sequence[str]
) -> tuple[str, ...]:
    """Return the classes to score, by default all in the labels and the result files."""
    if arguments.classes:
        return arguments.classes
    if class_file := find_class_file(labels):
        return read_class_file(class_file)
    found = set(map(class_of, find_result_files(arguments.results, f"Task{arguments.task}_*.txt")))
    found |= set(load_truth(labels, image_ids).classes)
    for names in DOTA_CLASSES.values():  # in their usual order
        if found <= set(names):
            return tuple(name for name in names if name in found)
    return tuple(sorted(found))


def _merge_patches(
    arguments: argparse.Namespace, detections: Mapping[str, Task1], truth: Truth
) -> Mapping[str, Task1]:
    """Merge the detections if they are those of patches and the labels are not."""
    labeled = set(truth.image_ids)
    detected = {image_id for found in detections.values() for image_id in found.image_ids}
    patches = sorted(i for i in detected - labeled if parse_patch_id(i))
    if not patches:
        return detections
    print(
        f"{len(patches)} ids are patches ({visible(patches[0])}), the labels are of whole images: "
        f"merging the results first, with an NMS threshold of {arguments.nms_thresh:g}"
    )
    kind = "polygon" if arguments.task == 1 else "rectangle"
    return {
        name: merge_detections(found, arguments.nms_thresh, kind)
        for name, found in progress(detections.items(), "merging")
    }
