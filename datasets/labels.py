"""All labels of a list, read before training starts and kept in a file for the next time."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import Labels
from DOTA_devkit.progress import progress

logger = logging.getLogger(__name__)

SHOWN_FAULTS = 20
_CACHE_VERSION = 1
_BLOCK = 512  # files that are read together


def raise_faults(faults: Sequence[str], what: str, remedy: str = "") -> None:
    """One InputError that lists the first faults and counts the others; nothing where none."""
    if not faults:
        return
    shown = list(faults[:SHOWN_FAULTS])
    if len(faults) > SHOWN_FAULTS:
        shown.append(f"and {len(faults) - SHOWN_FAULTS} more")
    lines = [f"{len(faults)} {what}:", *(f"  {fault}" for fault in shown)]
    raise InputError("\n".join([*lines, remedy] if remedy else lines))


def collect_labels(
    paths: Sequence[Path],
    read: Callable[[Sequence[Path]], Iterable[Labels]],
    cache: Path | None = None,
) -> tuple[list[Labels | None], list[str]]:
    """The labels of each file, None where it cannot be used, and a line about each such file.

    `read` gives the labels of several files, in their order. Files whose time stamp and size are
    those of the last reading come out of `cache`, an npz file without pickles that may be deleted
    at any time. Where it cannot be written it is not.
    """
    entries = _load_cache(cache) if cache is not None else {}
    stamps = {path: _stamp(path) for path in paths}
    changed = [
        path
        for path, stamp in stamps.items()
        if stamp is not None and (path.name not in entries or entries[path.name].stamp != stamp)
    ]
    faults = [
        f"{path}: no such label file (an image without objects has an empty one)"
        for path, stamp in stamps.items()
        if stamp is None
    ]
    unusable = {path for path, stamp in stamps.items() if stamp is None}
    blocks = [changed[k : k + _BLOCK] for k in range(0, len(changed), _BLOCK)]
    for block in progress(blocks, "labels", len(blocks)):
        for path, labels in zip(block, _read_block(block, read), strict=True):
            if isinstance(labels, Exception):
                faults.append(str(labels))
                unusable.add(path)
            else:
                entries[path.name] = _Entry(stamps[path], labels)
    if len(changed) > len(unusable) and cache is not None:
        _save_cache(cache, entries)
    found = [None if path in unusable else entries[path.name].labels for path in paths]
    return found, faults


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (status.st_mtime_ns, status.st_size)


def _read_block(
    paths: Sequence[Path], read: Callable[[Sequence[Path]], Iterable[Labels]]
) -> list[Labels | Exception]:
    """The labels of each file, or what is wrong with it."""
    try:
        return list(read(paths))
    except (InputError, OSError) as error:
        if len(paths) == 1:
            return [error]
    return [labels for path in paths for labels in _read_block([path], read)]


@dataclass(frozen=True)
class _Entry:
    stamp: tuple[int, int]
    """Time of the last change in ns, and size in bytes."""
    labels: Labels


def _load_cache(path: Path) -> dict[str, _Entry]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if int(arrays["version"]) != _CACHE_VERSION:
                return {}
            files, stamps = arrays["files"].tolist(), arrays["stamps"].tolist()
            ends = np.cumsum(arrays["counts"])
            vocabulary = arrays["vocabulary"].tolist()
            names = [vocabulary[code] for code in arrays["codes"].tolist()]
            corners, difficult = arrays["corners"], arrays["difficult"]
            lines = arrays["lines"]
        starts = (ends - np.diff(ends, prepend=0)).tolist()
        return {
            file: _Entry(
                (stamp[0], stamp[1]),
                Labels(corners[a:b], tuple(names[a:b]), difficult[a:b], lines[a:b]),
            )
            for file, stamp, a, b in zip(files, stamps, starts, ends.tolist(), strict=True)
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        logger.info("%s is not used: %s", path, error)
        return {}


def _save_cache(path: Path, entries: dict[str, _Entry]) -> None:
    labels = [entry.labels for entry in entries.values()]
    names = [name for item in labels for name in item.names]
    vocabulary, codes = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    arrays = {
        "version": np.int64(_CACHE_VERSION),
        "files": np.array(list(entries), dtype=np.str_),
        "stamps": np.array([entry.stamp for entry in entries.values()], np.int64).reshape(-1, 2),
        "counts": np.array([len(item.names) for item in labels], np.int64),
        "vocabulary": vocabulary,
        "codes": codes.astype(np.int64),
        "corners": np.concatenate([item.corners for item in labels]),
        "difficult": np.concatenate([item.difficult for item in labels]),
        "lines": np.concatenate([item.lines for item in labels]),
    }
    try:
        with replacing(path, "wb") as file:
            np.savez(file, **arrays)
    except OSError as error:  # a folder that may not be written to, a full disk
        logger.debug("no label cache at %s: %s", path, error)


@dataclass(frozen=True)
class LabelSummary:
    """What the labels of a list hold, and what of it is not taught."""

    images: int
    empty_images: int
    """Images without any object that is taught."""
    objects: dict[str, int]
    """Class name -> objects that are taught."""
    too_small: int
    without_area: int
    beyond_max: int
    min_size: float
    max_objs: int

    @property
    def mean_objects(self) -> float:
        """Taught objects an image."""
        return sum(self.objects.values()) / max(self.images, 1)

    @property
    def left_out(self) -> int:
        return self.too_small + self.without_area + self.beyond_max

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count}" for name, count in self.objects.items() if count)
        absent = [name for name, count in self.objects.items() if not count]
        text = (
            f"{self.images} images ({self.empty_images} without objects), "
            f"{sum(self.objects.values())} objects: {counts or 'none'}"
        )
        if absent:
            text += f"; none of {', '.join(absent)}"
        reasons = [
            f"{count} {reason}"
            for count, reason in (
                (self.too_small, f"with a longer side below {self.min_size:g} px (--min_size)"),
                (self.without_area, "without area"),
                (self.beyond_max, f"beyond {self.max_objs} an image (--max_objs)"),
            )
            if count
        ]
        if reasons:
            text += f"; {self.left_out} are left out, neither taught nor held to be background: "
            text += ", ".join(reasons)
        return text
