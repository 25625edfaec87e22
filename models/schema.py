"""What the entries of a checkpoint beside its weights must be, read before anything is built."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import MAX_CLASS_NAME
from structures.model_values import LARGEST_SIDE, are_classes, is_shift, is_size

_OWN_KEYS = {"heads", "head_conv", "head_bn"}
"""Keys that this project alone writes."""


@dataclass(frozen=True)
class _Entry:
    """The type of an entry, in words and as a test, and the value that replaces a missing one."""

    expected: str
    fits: Callable[[Any], bool]
    missing: Any = None
    optional: bool = False
    """The entry may be missing, but must not be None."""


def _is_history(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_are_numbers, value))


def _are_tensors(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(state, Tensor) for name, state in value.items()
    )


def _are_numbers(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and type(one) in (int, float) for name, one in value.items()
    )


def _are_options(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and (one is None or isinstance(one, (bool, int, float, str)))
        for name, one in value.items()
    )


def _is_shift(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and value.keys() == {"right", "down"}
        and is_shift(tuple(value.values()))
    )


_ENTRIES = {
    "epoch": _Entry(
        "a whole number of 0 or more", lambda v: type(v) is int and 0 <= v < 2**31, missing=0
    ),
    "classes": _Entry(
        f"a list with a name of at most {MAX_CLASS_NAME} bytes for each class of the weights, each "
        "once", are_classes
    ),
    "input_size": _Entry(
        f"(height, width), multiples of 32 up to {LARGEST_SIDE}", is_size
    ),
    "history": _Entry("a list with a dict of numbers an epoch", _is_history, missing=[]),
    "random_state": _Entry("a dict of tensors", _are_tensors, missing={}),
    "optimizer_state_dict": _Entry("a dict", lambda v: isinstance(v, Mapping)),
    "dataset": _Entry("a text", lambda v: isinstance(v, str), optional=True),
    "train": _Entry("a dict of settings", _are_options, optional=True),
    "data": _Entry("a dict of options", _are_options, optional=True),
    "validation": _Entry("a dict of settings", _are_options, optional=True),
    "progress": _Entry("a dict of numbers", _are_numbers, optional=True),
    "train_state_dict": _Entry("a dict of tensors", _are_tensors, optional=True),
    "scaler_state_dict": _Entry("a dict of numbers", _are_numbers, optional=True),
    "data_digest": _Entry("a dict of tensors", _are_tensors, optional=True),
    "speed": _Entry("a list with a dict of numbers an epoch", _is_history, optional=True),
    "run": _Entry("a dict of settings", _are_options, optional=True),
    "center_shift": _Entry("a dict of the numbers right and down", _is_shift, optional=True),
}  # fmt: skip


def checked_entries(entries: Mapping[Any, Any], class_count: int, path: Path) -> dict[str, Any]:
    """Check the entries of a checkpoint beside its weights.

    Other tools use the same keys for other things. In a file that is not of this project, what does
    not fit is left out, except for `epoch` where there is an optimizer's state to resume with.

    Args:
        entries: Key -> value.
        class_count: Number of classes that the weights have.
        path: The file, for errors.

    Returns:
        The entries that fit, with a value for those of the format that are missing.

    Raises:
        InputError: An entry is not what this project writes.
    """
    own = entries.keys() >= _OWN_KEYS
    resumable = isinstance(entries.get("optimizer_state_dict"), Mapping)
    found = {key: value for key, value in entries.items() if isinstance(key, str)}
    for name, entry in _ENTRIES.items():
        present = name in found and (found[name] is not None or entry.optional)
        fits = present and entry.fits(found[name])
        if fits and name == "classes":
            fits = len(found[name]) == class_count
        if present and not fits:
            if own or (name == "epoch" and resumable):
                raise InputError(
                    f"{path}: its {name} is {brief(found[name])}, but {entry.expected} is expected"
                )
            present = False
        if not present:
            found.pop(name, None)
            if not entry.optional:
                found[name] = entry.missing
    return found


def check_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Check that the weights are real floating point numbers, and the counters whole numbers.

    Raises:
        InputError: They are not.
    """
    for name, value in state.items():
        counter = name.endswith(".num_batches_tracked")
        whole = not (value.is_floating_point() or value.is_complex() or value.dtype is torch.bool)
        if not (value.is_floating_point() or (counter and whole)):
            raise InputError(
                f"{path}: {name} holds {str(value.dtype).removeprefix('torch.')}, but weights are "
                "floating point numbers"
            )


def brief(value: object) -> str:
    """Return a value of a file as text of one short line, however deeply it is nested."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    text = " ".join(_SHORT.repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
