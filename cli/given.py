"""The flags that were given, as they are or as what they stand for."""

from __future__ import annotations

import argparse
from typing import Any

from DOTA_devkit.class_lists import parse_class_list
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


def asked_classes(args: argparse.Namespace) -> tuple[str, ...] | None:
    """Class names that were given, None without any."""
    return None if args.classes is None else parse_class_list(args.classes)
