"""`merge`: results of patches into results of whole images, from one folder or several."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from DOTA_devkit.commands.arguments import (
    HelpFormatter,
    add_overwrite,
    add_workers,
    class_thresholds,
)
from DOTA_devkit.files import refuse_existing
from DOTA_devkit.merging import IOU_THRESHOLD, KINDS, merge_results
from DOTA_devkit.tables import format_table

EXAMPLES = """
examples:
  merge results merged
  merge results merged --nms_thresh 0.1,small-vehicle=0.3,ship=0.2
  merge resnet101 resnet18 ensemble
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the parser of the command."""
    parser = subparsers.add_parser(
        "merge",
        help="merge results of patches into results of whole images",
        description="Map the detections of patches (ids NAME__RATE__X___Y) to their whole images "
        "and remove duplicates by non-maximum suppression. Results of whole images are used as "
        "they are, so several folders make an ensemble.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "results",
        type=Path,
        nargs="+",
        help="folders of Task1_<class>.txt (or Task2); several are combined",
    )
    parser.add_argument("target", type=Path, help="folder to write into")
    parser.add_argument(
        "--nms_thresh",
        type=class_thresholds,
        default=IOU_THRESHOLD,
        metavar="T[,CLASS=T,...]",
        help="IoU above which the box with the lower score is removed, for all classes and for "
        f"single ones (default: {IOU_THRESHOLD})",
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default="polygon",
        help="IoU of the oriented boxes, or of the horizontal boxes around them (default: polygon)",
    )
    add_workers(parser)
    add_overwrite(parser, "result files")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    written = {path.name for folder in arguments.results for path in folder.glob("*.txt")}
    refuse_existing([arguments.target / name for name in sorted(written)], arguments.overwrite)
    counts = merge_results(
        arguments.results,
        arguments.target,
        arguments.nms_thresh,
        arguments.kind,
        workers=arguments.workers or os.cpu_count() or 1,
    )
    rows = [[name, read, kept] for name, (read, kept) in counts.items()]
    if len(rows) > 1:
        rows.append(["all", *(sum(column) for column in zip(*counts.values(), strict=True))])
    print(format_table([["file", "read", "kept"], *rows]))
    print(f"-> {arguments.target}")
