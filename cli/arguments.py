"""Types of command line arguments: each names the values that it expects."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from deploy.predict.settings import FORMATS, LABEL_FORMATS, Shard
from DOTA_devkit.class_thresholds import DEFAULT, Thresholds, parse_thresholds
from DOTA_devkit.errors import InputError, did_you_mean
from DOTA_devkit.imaging.options import ReadOptions
from models.backbones import BACKBONES, TIMM, is_timm, known_backbones
from structures.views import parse_views


def number(kind: type, allowed: Callable[[float], bool], expected: str) -> Callable[[str], float]:
    """Make a type for numbers of a range.

    Args:
        kind: int or float.
        allowed: whether a number lies in the range.
        expected: the range in words, for the error.
    """

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not allowed(value):
            raise argparse.ArgumentTypeError(f"{expected} expected, got {text!r}")
        return value

    return parse


positive = number(int, lambda value: value > 0, "a whole number above 0")
channels = number(int, lambda value: 0 < value <= 4096, "a whole number from 1 to 4096")
natural = number(int, lambda value: value >= 0, "a whole number of 0 or more")
seed = number(int, lambda value: 0 <= value < 2**40, "a whole number from 0 to 2^40 - 1")
nonnegative_float = number(float, lambda value: 0 <= value < float("inf"), "a number of 0 or more")
positive_float = number(float, lambda value: 0 < value < float("inf"), "a number above 0")
decay = number(float, lambda value: 0 <= value < 1, "a number from 0 to below 1")
share = number(float, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def backbone(text: str) -> str:
    """Type of a name of the backbone table or of timm, which knows its own names."""
    if text not in BACKBONES and (not is_timm(text) or text == TIMM):
        raise argparse.ArgumentTypeError(
            f"{known_backbones()} expected, got {text!r}{did_you_mean(text, BACKBONES)}"
        )
    return text


def thresholds(text: str) -> Thresholds:
    """A number from 0 to 1, or CLASS=number for single classes, separated by commas."""
    try:
        found = parse_thresholds(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return found[DEFAULT] if found.keys() == {DEFAULT} else found


def scales(text: str) -> tuple[float, ...]:
    """Numbers above 0, separated by commas."""
    return tuple(positive_float(part) for part in text.split(","))


def views(text: str) -> str:
    """The views of test-time augmentation."""
    try:
        parse_views(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def formats(text: str) -> tuple[str, ...]:
    """Output formats of `predict`, separated by commas."""
    asked = tuple(part.strip() for part in text.split(","))
    known = (*FORMATS, *LABEL_FORMATS)
    if unknown := [name for name in asked if name not in known]:
        raise argparse.ArgumentTypeError(
            f"{', '.join(known)} expected, got {unknown[0]!r}{did_you_mean(unknown[0], known)}"
        )
    return asked


def shard(text: str) -> Shard:
    """A part of the work, `i/n`."""
    try:
        return Shard.parse(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def device(text: str) -> str:
    """A device that is present on this machine."""
    if text == "cpu":
        return text
    import torch  # only now: it takes seconds

    try:
        chosen = torch.device(text)
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"cpu, cuda or cuda:N expected, got {text!r}") from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(
            f"{text} is not available: PyTorch sees {torch.cuda.device_count()} CUDA devices"
        )
    return str(chosen)


def bands(text: str) -> tuple[int, ...] | None:
    """Numbers of three bands or one, separated by commas."""
    try:
        return ReadOptions.parse_bands(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
