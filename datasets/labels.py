"""All labels of a list, read before training starts and kept in a file for the next time."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Sequence
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


def raise_faults(faults: Sequence[str], what: str, remedy: str = "") -> None:
    """One InputError that lists the first faults and counts the others; nothing where none."""
    if not faults:
        return
    shown = list(faults[:SHOWN_FAULTS])
    if len(faults) > SHOWN_FAULTS:
        shown.append(f"and {len(faults) - SHOWN_FAULTS} more")
    lines = [f"{len(faults)} {what}:", *(f"  {fault}" for fault in shown)]
    raise InputError("\n".join([*lines, remedy] if remedy else lines))


def read_label_files(
    paths: Sequence[Path], read: Callable[[Path], Labels], cache: Path | None = None
) -> tuple[list[Labels | None], list[str]]:
    """The labels of each file, None where it cannot be used, and a line about each such file.

    Files whose time stamp and size are those of the last reading come out of `cache`, an npz file
    without pickles that may be deleted at any time. Where it cannot be written it is not.
    """
    known = _load_cache(cache) if cache is not None else {}
    fresh: dict[str, _Entry] = {}
    result: list[Labels | None] = []
    faults: list[str] = []
    for path in progress(paths, "labels", len(paths)):
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            entry = known.get(path.name)
            if entry is None or entry.stamp != stamp:
                entry = fresh[path.name] = _Entry(stamp, read(path))
            result.append(entry.labels)
        except FileNotFoundError:
            faults.append(f"{path}: no such label file (an image without objects has an empty one)")
            result.append(None)
        except (InputError, OSError) as error:
            faults.append(str(error))
            result.append(None)
    if fresh and cache is not None:
        _save_cache(cache, {**known, **fresh})
    return result, faults


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
        counts = ", ".join(f"{name} {count}" for name, count in self.objects.items())
        text = (
            f"{self.images} images ({self.empty_images} without objects), "
            f"{sum(self.objects.values())} objects: {counts}"
        )
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
