"""Reading all label files of a list before training starts, with a cache for the next start."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import shorten_faults
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import Labels
from DOTA_devkit.progress import progress

logger = logging.getLogger(__name__)

_CACHE_VERSION = 2
_FILES_PER_BLOCK = 512


def raise_errors(errors: Sequence[str], what: str, remedy: str = "") -> None:
    """Raise one InputError for a list of errors, if there are any.

    Args:
        errors: One line each; `shorten_faults` says how many of them are listed.
        what: What is counted, for the first line: "3 {what}:".
        remedy: Last line of the message.
    """
    if not errors:
        return
    lines = [f"{len(errors)} {what}:", *(f"  {error}" for error in shorten_faults(errors))]
    raise InputError("\n".join([*lines, remedy] if remedy else lines))


def collect_labels(
    paths: Sequence[Path],
    read: Callable[[Sequence[Path]], Iterable[Labels]],
    cache: Path | None = None,
) -> tuple[list[Labels | None], list[str]]:
    """Read label files, using a cache for those that have not changed.

    Args:
        paths: The label files.
        read: Reads several files and returns their labels in the same order.
        cache: An npz file without pickles, which may be deleted at any time, or None. Files whose
            modification time and size are unchanged are taken from it. If it cannot be written,
            there is no cache.

    Returns:
        The labels of each file, None if it cannot be used, and one line per such file.
    """
    entries = _load_cache(cache) if cache is not None else {}
    stamps = {path: _stamp(path) for path in paths}
    changed = [
        path
        for path, stamp in stamps.items()
        if stamp is not None and (path.name not in entries or entries[path.name].stamp != stamp)
    ]
    errors = [
        f"{path}: no such label file (an image without objects has an empty one)"
        for path, stamp in stamps.items()
        if stamp is None
    ]
    unusable = {path for path, stamp in stamps.items() if stamp is None}
    starts = range(0, len(changed), _FILES_PER_BLOCK)
    blocks = [changed[start : start + _FILES_PER_BLOCK] for start in starts]
    for block in progress(blocks, "labels", len(blocks)):
        for path, labels in zip(block, _read_block(block, read), strict=True):
            if isinstance(labels, Exception):
                errors.append(str(labels))
                unusable.add(path)
            else:
                entries[path.name] = _Entry(stamps[path], labels)
    if len(changed) > len(unusable) and cache is not None:
        _save_cache(cache, entries)
    found = [None if path in unusable else entries[path.name].labels for path in paths]
    return found, errors


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (status.st_mtime_ns, status.st_size)


def _read_block(
    paths: Sequence[Path], read: Callable[[Sequence[Path]], Iterable[Labels]]
) -> list[Labels | Exception]:
    """Return the labels of each file, or the exception that it raised."""
    try:
        return list(read(paths))
    except (InputError, OSError) as error:
        if len(paths) == 1:
            return [error]
    return [labels for path in paths for labels in _read_block([path], read)]


@dataclass(frozen=True)
class _Entry:
    stamp: tuple[int, int]  # modification time in ns, size in bytes
    labels: Labels


def _load_cache(path: Path) -> dict[str, _Entry]:
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = dict(content)
        if arrays.pop("checksum").tobytes() != _checksum(arrays):
            raise ValueError("its checksum is wrong")
        if int(arrays["version"]) != _CACHE_VERSION:
            return {}
        files, stamps = arrays["files"].tolist(), arrays["stamps"].tolist()
        ends = np.cumsum(arrays["counts"])
        vocabulary = arrays["vocabulary"].tolist()
        names = [vocabulary[code] for code in arrays["codes"].tolist()]
        corners, difficult = arrays["corners"], arrays["difficult"]
        lines, crossing = arrays["lines"], arrays["crossing"]
        starts = (ends - np.diff(ends, prepend=0)).tolist()
        return {
            file: _Entry(
                (stamp[0], stamp[1]),
                Labels(
                    corners[a:b],
                    tuple(names[a:b]),
                    difficult[a:b],
                    lines[a:b],
                    lines[a:b][crossing[a:b]],
                ),
            )
            for file, stamp, a, b in zip(files, stamps, starts, ends.tolist(), strict=True)
        }
    except FileNotFoundError:
        return {}
    except Exception as error:  # NumPy and zipfile pass on whatever their parsers raise
        logger.info("the label cache %s is not used: %s", path, error)
        return {}


def _checksum(arrays: dict[str, np.ndarray]) -> bytes:
    """Return a digest of names, types, shapes and values: the zip's own covers each array alone."""
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape} ".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.digest()


def _save_cache(path: Path, entries: dict[str, _Entry]) -> None:
    labels = [entry.labels for entry in entries.values()]
    names = [name for item in labels for name in item.names]
    # Not `np.unique`: an array of all names has the longest one's length for each of them.
    vocabulary: dict[str, int] = {}
    codes = [vocabulary.setdefault(name, len(vocabulary)) for name in names]
    arrays = {
        "version": np.int64(_CACHE_VERSION),
        "files": np.array(list(entries), dtype=np.str_),
        "stamps": np.array([entry.stamp for entry in entries.values()], np.int64).reshape(-1, 2),
        "counts": np.array([len(item.names) for item in labels], np.int64),
        "vocabulary": np.array(list(vocabulary), dtype=np.str_),
        "codes": np.array(codes, np.int64),
        "corners": np.concatenate([item.corners for item in labels]),
        "difficult": np.concatenate([item.difficult for item in labels]),
        "lines": np.concatenate([item.lines for item in labels]),
        "crossing": np.concatenate([np.isin(item.lines, item.crossing) for item in labels]),
    }
    checksum = np.frombuffer(_checksum(arrays), np.uint8)
    try:
        with replacing(path, "wb") as file:
            np.savez(file, **arrays, checksum=checksum)
    except OSError as error:  # a read-only folder, a full disk
        logger.debug("no label cache at %s: %s", path, error)
