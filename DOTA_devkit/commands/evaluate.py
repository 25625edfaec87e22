"""`evaluate`: average precision of result files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from DOTA_devkit.class_lists import find_class_file, find_dota_files, read_class_file
from DOTA_devkit.commands.arguments import (
    HelpFormatter,
    add_classes,
    add_overwrite,
    fraction,
    images_of_labels,
    iou_thresholds,
    label_folder,
    non_negative_int,
)
from DOTA_devkit.error_analysis import (
    RESAMPLES,
    WORST,
    DetectionPool,
    ErrorReport,
    analyze_errors,
    compare_results,
    pool_to_compare,
    read_image_of,
    report_files,
    worst_images,
)
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import folder_hint
from DOTA_devkit.file_names import class_of, find_result_files
from DOTA_devkit.files import refuse_existing
from DOTA_devkit.formats import DOTA_CLASSES, Task1, read_ids
from DOTA_devkit.merging import merge_detections, unlabeled_patches
from DOTA_devkit.progress import progress
from DOTA_devkit.scoring import (
    METRICS,
    Evaluation,
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
  evaluate merged data/labelTxt --list data/test.txt --errors errors.html --against merged_before
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compute the average precision of result files",
        description="Score Task1_<class>.txt (or Task2) against a folder of labels: AP per class, "
        "its mean over the classes that have objects, AP by object size, precision and recall at "
        "the best F1. Results of patches are merged first if the labels are those of whole "
        "images. Difficult objects are ignored. On request, also what AP is lost to, and whether "
        "another result differs by more than chance.",
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
    _add_analysis_options(parser)
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
        type=iou_thresholds,
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


def _add_analysis_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--errors",
        type=Path,
        metavar="FILE",
        help="write a page (.html) about the errors: AP lost to wrong classes, bad localization, "
        "duplicates, background and missed objects, and the worst images; its numbers become a "
        ".json file beside it",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the images for the page (default: images beside the labels)",
    )
    parser.add_argument(
        "--worst",
        type=non_negative_int,
        default=WORST,
        metavar="N",
        help="number of images on the page, those that cost the most AP (default: %(default)s)",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="DIR",
        help="folder of other result files for the same images: show the differences of AP, with "
        "95 %% confidence intervals (paired bootstrap over images)",
    )
    parser.add_argument(
        "--resamples",
        type=non_negative_int,
        default=RESAMPLES,
        metavar="N",
        help="number of draws of the bootstrap (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="seed of the bootstrap (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    outputs = [path for path in (arguments.csv, arguments.json, arguments.plot) if path]
    outputs += report_files(arguments.errors) if arguments.errors else []
    refuse_existing(outputs, arguments.overwrite)
    labels = label_folder(arguments.labels)
    image_ids = read_ids(arguments.list) if arguments.list else _labeled_ids(labels)
    classes = _classes(arguments, labels, image_ids)
    truth = load_truth(labels, image_ids, classes)
    detections = _load(arguments, arguments.results, truth)
    against = None
    if arguments.against:
        tables = _load(arguments, arguments.against, truth)
        against = pool_to_compare(tables, truth, rectangles=arguments.task == 2)
    evaluation = evaluate(
        detections, truth, arguments.iou, arguments.metric, rectangles=arguments.task == 2
    )
    thresholds = ", ".join(f"{threshold:g}" for threshold in evaluation.iou_thresholds)
    print(f"{len(truth.image_ids)} images, metric {arguments.metric}, IoU {thresholds}\n")
    print(evaluation.table())
    _analyze(arguments, detections, against, truth, evaluation)
    if arguments.csv:
        evaluation.to_csv(arguments.csv)
    if arguments.json:
        evaluation.to_json(arguments.json)
    if arguments.plot:
        plot_evaluation(evaluation, arguments.plot)
    for path in outputs:
        print(f"written: {path}")


def _analyze(
    arguments: argparse.Namespace,
    detections: Mapping[str, Task1],
    against: DetectionPool | None,
    truth: Truth,
    evaluation: Evaluation,
) -> None:
    """Compare two results, and write the page about the errors, as far as they are asked for."""
    if against is None and not arguments.errors:
        return
    pool = DetectionPool.of(detections, truth, rectangles=arguments.task == 2)
    comparison = None
    if against is not None:
        comparison = compare_results(
            pool, against, truth, evaluation.headline_thresholds, arguments.metric,
            resamples=arguments.resamples, seed=arguments.seed,
        )  # fmt: skip
        print(f"\nagainst {visible(str(arguments.against))}:\n")
        print(f"{comparison.table()}\n\n{comparison.summary()}")
    if not arguments.errors:
        return
    analysis = analyze_errors(pool, truth, evaluation.iou_thresholds[0], arguments.metric)
    print(f"\nAP lost to each kind of error:\n\n{analysis.table()}")
    images = images_of_labels(arguments.images, label_folder(arguments.labels))
    report = ErrorReport(
        analysis,
        worst_images(analysis, evaluation, arguments.worst),
        comparison,
        str(arguments.against),
    )
    report.write(arguments.errors, read_image_of(images))


def _labeled_ids(labels: Path) -> list[str]:
    if not labels.is_dir():
        raise InputError(f"{labels}: no such folder of labels{folder_hint(labels)}")
    ids = sorted(find_dota_files(labels))
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


def _load(arguments: argparse.Namespace, folder: Path, truth: Truth) -> Mapping[str, Task1]:
    """Read detections, and merge them if they are those of patches and the labels are not."""
    detections = load_detections(folder, truth.classes, arguments.task)
    patches = unlabeled_patches(detections, truth.image_ids)
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
