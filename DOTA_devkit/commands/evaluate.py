"""`evaluate`: AP of result files against labels."""

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
    numbers,
)
from DOTA_devkit.errors import InputError
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

EXAMPLES = """
examples:
  evaluate merged data/labelTxt --list data/test.txt
  evaluate merged data/labelTxt --list data/test.txt --iou 0.5,0.75 --plot curves.png --csv ap.csv
  evaluate merged data/labelTxt --metric coco
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="AP of result files against labels",
        description="Score Task1_<class>.txt (or Task2) against a folder of labels: AP per class "
        "and mean over the classes that have objects, AP by size, precision and recall at the "
        "best F1. Results of patches are merged first where the labels are of whole images. "
        "Objects marked difficult count neither way.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("results", type=Path, help="folder of Task1_<class>.txt")
    parser.add_argument("labels", type=Path, help="folder of labels, or one that holds labelTxt/")
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
    parser.add_argument(
        "--task",
        type=int,
        choices=(1, 2),
        default=1,
        help="1: oriented boxes, 2: upright rectangles, Task2_<class>.txt (default: 1)",
    )
    parser.add_argument(
        "--metric",
        choices=METRICS,
        default="voc07",
        help="voc07: 11 points; voc12: area; coco: 101 points (default: voc07)",
    )
    parser.add_argument(
        "--iou",
        type=numbers,
        metavar="T,T",
        help="IoU thresholds (default: 0.5, for coco 0.5 to 0.95)",
    )
    parser.add_argument(
        "--nms_thresh",
        type=fraction,
        default=0.1,
        metavar="T",
        help="IoU of the NMS where results of patches are merged (default: 0.1)",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the table and the confusion matrix"
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw precision/recall curves and the confusion matrix (.png)",
    )
    add_overwrite(parser, "files")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    outputs = [path for path in (arguments.csv, arguments.json, arguments.plot) if path]
    refuse_existing(outputs, arguments.overwrite)
    labels = label_folder(arguments.labels)
    image_ids = read_ids(arguments.list) if arguments.list else _labelled_ids(labels)
    classes = _classes(arguments, labels, image_ids)
    truth = load_truth(labels, image_ids, classes)
    detections = load_detections(arguments.results, classes, arguments.task)
    detections = _whole_images(arguments, detections, truth)
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


def _labelled_ids(labels: Path) -> list[str]:
    if not labels.is_dir():
        raise InputError(f"{labels}: no such folder of labels")
    ids = sorted(path.stem for path in labels.glob("*.txt") if path.name != CLASS_FILE)
    if not ids:
        raise InputError(f"{labels}: no label files (*.txt) in this folder")
    return ids


def _classes(
    arguments: argparse.Namespace, labels: Path, image_ids: Sequence[str]
) -> tuple[str, ...]:
    """The classes to score; where nobody names them, all of the labels and of the result files."""
    if arguments.classes:
        return arguments.classes
    if class_file := find_class_file(labels):
        return read_class_file(class_file)
    prefix = f"Task{arguments.task}_"
    found = {path.stem.removeprefix(prefix) for path in arguments.results.glob(f"{prefix}*.txt")}
    found |= set(load_truth(labels, image_ids).classes)
    for names in DOTA_CLASSES.values():  # in the order that everybody prints
        if found <= set(names):
            return tuple(name for name in names if name in found)
    return tuple(sorted(found))


def _whole_images(
    arguments: argparse.Namespace, detections: Mapping[str, Task1], truth: Truth
) -> Mapping[str, Task1]:
    """The detections, merged if they are of patches and the labels are not."""
    labelled = set(truth.image_ids)
    detected = {image_id for found in detections.values() for image_id in found.image_ids}
    patches = sorted(i for i in detected - labelled if parse_patch_id(i))
    if not patches:
        return detections
    print(
        f"{len(patches)} ids are patches ({patches[0]}), the labels are of whole images: "
        f"merging at NMS {arguments.nms_thresh:g} before scoring"
    )
    kind = "polygon" if arguments.task == 1 else "rectangle"
    return {
        name: merge_detections(found, arguments.nms_thresh, kind)
        for name, found in progress(detections.items(), "merging")
    }
