"""The flags that were given, unchanged or converted."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from DOTA_devkit.class_lists import parse_class_list
from DOTA_devkit.class_thresholds import thresholds_text
from DOTA_devkit.errors import InputError
from structures.defaults import NMS_THRESH


def given(**flags: Any) -> dict[str, Any]:
    """Keep the flags that were given (not None); the others are left to the defaults."""
    return {name: value for name, value in flags.items() if value is not None}


def reading_flags(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `ReadOptions` that the flags set."""
    return given(
        depth=args.depth,
        bands=args.bands,
        max_pixels=args.max_pixels,
        allow_remote=args.allow_remote,
    )


def nms_thresh(args: argparse.Namespace) -> float:
    """IoU of the suppression."""
    return NMS_THRESH if args.nms_thresh is None else args.nms_thresh


def one_conf_thresh(args: argparse.Namespace) -> float | None:
    """Score threshold of a phase that has one for all classes, None if it was not given."""
    if isinstance(args.conf_thresh, Mapping):
        raise InputError(
            f"--phase {args.phase} takes one --conf_thresh for all classes, a number from 0 to 1, "
            f"got {thresholds_text(args.conf_thresh)}"
        )
    return args.conf_thresh


def asked_classes(args: argparse.Namespace) -> tuple[str, ...] | None:
    """Class names that were given, None without any."""
    return None if args.classes is None else parse_class_list(args.classes)
