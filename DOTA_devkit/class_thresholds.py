"""Thresholds that may differ between classes: one number, or class name -> number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

from DOTA_devkit.errors import InputError, did_you_mean

DEFAULT = "default"
"""Key of the threshold of all classes that are not named."""

Thresholds = float | Mapping[str, float]
"""One threshold for all classes, or class name -> threshold; see `DEFAULT`."""


def parse_thresholds(text: str) -> dict[str, float]:
    """Parse 0.1,ship=0.2 into class -> threshold; `DEFAULT` is the key of a bare number.

    Raises:
        InputError: a part is neither a number from 0 to 1 nor CLASS=number, or there twice.
    """
    thresholds: dict[str, float] = {}
    for part in map(str.strip, text.split(",")):
        name, equals, value = part.rpartition("=")
        key = name.strip() if equals else DEFAULT
        number = _number(value)
        if not key or number is None:
            raise InputError(
                f"a number from 0 to 1 expected, and CLASS=number for single classes, got {part!r}"
            )
        if key in thresholds:
            raise InputError(f"{part!r}: one threshold of a class expected, got two")
        thresholds[key] = number
    return thresholds


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def check_thresholds(thresholds: Thresholds, parameter: str) -> None:
    """Check that all thresholds are numbers from 0 to 1.

    Args:
        thresholds: one for all classes, or class name -> threshold.
        parameter: name of the parameter that holds them, for the error.

    Raises:
        InputError: one is something else.
    """
    by_class = thresholds if isinstance(thresholds, Mapping) else {None: thresholds}
    for name, value in by_class.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value <= 1:
            of_class = "" if name is None else f" of {name}"
            raise InputError(f"{parameter}{of_class} must be a number from 0 to 1, got {value!r}")


def thresholds_of_classes(
    thresholds: Thresholds | None, classes: Sequence[str], default: float, parameter: str
) -> dict[str, float]:
    """Return the threshold of every class.

    Args:
        thresholds: one for all classes, or class name -> threshold, None for none.
        classes: all class names.
        default: threshold of classes that are not named, unless `thresholds` has a `DEFAULT`.
        parameter: name of the parameter that holds the thresholds, for the error.

    Returns:
        Class name -> threshold, in the order of `classes`.

    Raises:
        InputError: a threshold is not a number from 0 to 1, or of a class that there is not.
    """
    if thresholds is None:
        thresholds = {}
    check_thresholds(thresholds, parameter)
    if not isinstance(thresholds, Mapping):
        thresholds = {DEFAULT: thresholds}
    for name in thresholds:
        if name != DEFAULT and name not in classes:
            raise InputError(
                f"{parameter} is given for {name}{did_you_mean(str(name), classes)}, but there "
                f"are only the classes {', '.join(classes)}"
            )
    default = thresholds.get(DEFAULT, default)
    return {name: float(thresholds.get(name, default)) for name in classes}


def resolve_thresholds(
    thresholds: Thresholds | None, classes: Sequence[str], default: float, parameter: str
) -> Thresholds:
    """Return the threshold that all classes share as one number, else that of every class.

    Arguments and errors are those of `thresholds_of_classes`.
    """
    by_class = thresholds_of_classes(thresholds, classes, default, parameter)
    if isinstance(thresholds, Mapping):
        return by_class if len(set(by_class.values())) > 1 else next(iter(by_class.values()))
    return default if thresholds is None else float(thresholds)


def lowest_threshold(thresholds: Thresholds) -> float:
    """Return the lowest threshold of any class."""
    return min(thresholds.values()) if isinstance(thresholds, Mapping) else thresholds


def thresholds_by_label(thresholds: Thresholds) -> float | list[float]:
    """Return the one threshold, or a list of those of the classes in their order."""
    return list(thresholds.values()) if isinstance(thresholds, Mapping) else thresholds


def thresholds_text(thresholds: Thresholds) -> str:
    """Return the thresholds as text: "0.3", or "plane 0.4, ship 0.2"."""
    if not isinstance(thresholds, Mapping):
        return f"{thresholds:g}"
    return ", ".join(f"{name} {value:g}" for name, value in thresholds.items())
