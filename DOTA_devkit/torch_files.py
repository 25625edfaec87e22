"""Files of tensors and plain types: atomic writing, and reading that never runs code."""

from __future__ import annotations

import mmap
import os
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import model_hint
from DOTA_devkit.files import replacing

_TIMES_SHARED = 4
"""How often the tensors of a file may share memory, on average."""

_STATE_KEYS = ("model_state_dict", "state_dict", "model")


def write_torch_file(path: str | Path, content: Any) -> None:
    """Write with `torch.save`, complete or not at all (`DOTA_devkit.files.replacing`).

    A reader never sees a partial file, and a failed write leaves an existing file unchanged.

    Raises:
        InputError: The file cannot be written, for example because the disk is full.
        TypeError: Something in the content is not of a plain type.
    """
    path = Path(path)
    content = to_plain(content)
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: No such directory: {path.parent}")
    try:
        with replacing(path, "wb") as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        cause = _os_error(error)
        if cause is None:
            raise
        kept = "; the existing file is unchanged" if path.is_file() else ""
        raise InputError(f"cannot write {path}: {cause.strerror or cause}{kept}") from error


def _os_error(error: BaseException | None) -> OSError | None:
    """Find the OSError behind an error; torch's writer wraps it in a RuntimeError."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def read_torch_file(path: str | Path) -> object:
    """Read a file of `torch.save` with tensors and plain types, without running code in it.

    Raises:
        InputError: The file is missing, empty, damaged or holds Python objects.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder, not a file" if path.is_dir() else "no such file"
        raise InputError(f"{path}: {kind}{model_hint(path)}")
    if path.stat().st_size == 0:
        raise InputError(
            f"{path}: the file is empty (0 bytes); was a copy or download interrupted?"
        )
    with open(path, "rb") as file:  # once: another process may replace the file meanwhile
        size = os.fstat(file.fileno()).st_size
        _check_archive(file, path, size)
        _refuse_bytearray(file, path)
        content = _load(file, path)
    _check_tensors(content, path, size)
    return content


def _load(file: BinaryIO, path: Path) -> object:
    file.seek(0)
    try:
        with warnings.catch_warnings():
            # bytes that are not a pickle can look like one of an unknown protocol
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch.load passes on whatever its parsers raise
        if match := re.search(r"GLOBAL (\S+)", str(error)):
            if match[1].startswith(("ultralytics.", "models.yolo.")):
                raise InputError(
                    f"{path}: it holds a model of Ultralytics or YOLOv5 ({match[1]}), whose "
                    "network is another one; a checkpoint of this project or of BBAVectors is "
                    "expected"
                ) from error
            raise InputError(
                f"{path}: refused, because it holds a Python object ({match[1]}) beside tensors "
                "and plain values, and loading it could run code. Save only the state_dict again "
                "where the file comes from"
            ) from error
        raise InputError(
            f"{path}: not a file of torch.save with weights, or truncated or damaged "
            f"({type(error).__name__}){model_hint(path)}"
        ) from error


def _refuse_bytearray(file: BinaryIO, path: Path) -> None:
    """Refuse a `bytearray`, which takes any amount of memory for a few bytes of the file.

    It is the only type that safe loading builds from a number alone and fills; torch.save of
    tensors and plain values writes none.

    Raises:
        InputError: The file holds one.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"\nbytearray\n") >= 0:
            raise InputError(
                f"{path}: refused, because it holds a bytearray beside tensors and plain values. "
                "Save only the state_dict again where the file comes from"
            )


def _check_tensors(content: object, path: Path, size: int) -> None:
    """Check that all tensors are dense, and together not larger than the file explains.

    A tensor that is expanded from one element takes its whole size as soon as it is copied.

    Raises:
        InputError: A tensor is of another kind, or they unpack to more than the file holds.
    """
    total, seen, waiting = 0, set(), [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            if not is_dense(value):
                kind = "quantized" if value.is_quantized else f"{value.layout} {value.device}"
                raise InputError(
                    f"{path}: it holds a tensor that is not a plain one ({kind}); save the "
                    "weights again as dense tensors with their values"
                )
            total += value.numel() * value.element_size()
        elif isinstance(value, (Mapping, list, tuple, set)) and id(value) not in seen:
            seen.add(id(value))  # a list may hold another one a thousand times
            waiting.extend(value)
            waiting.extend(value.values() if isinstance(value, Mapping) else ())
    if total > _TIMES_SHARED * size + (1 << 20):
        raise InputError(
            f"{path}: its tensors unpack to {total / 1e9:.1f} GB, far more than the file holds"
        )


def is_dense(value: Tensor) -> bool:
    """Return whether the values of a tensor can be read: one block of numbers on the CPU."""
    strided = value.layout is torch.strided and not value.is_nested
    return strided and not value.is_quantized and value.device.type == "cpu"


def _check_archive(file: BinaryIO, path: Path, size: int) -> None:
    """Check what PyTorch's reader does not: the checksums in a zip file, and the sizes in it.

    A file whose checksums are all wrong was written without them
    (`torch.serialization.set_crc32_options(False)`). Files of PyTorch before 1.6 are no zip files.

    Raises:
        InputError: A part of the file is damaged, or unpacks to more than the file holds.
    """
    if not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            parts = [part for part in archive.infolist() if part.file_size]
            packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
            if packed or sum(part.file_size for part in parts) > size:
                raise InputError(
                    f"{path}: not a file of torch.save: parts of it unpack to more than it holds"
                )
            damaged = [part.filename for part in parts if not _is_whole(archive, part)]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: not a file of torch.save with weights, or truncated or damaged ({error})"
        ) from error
    if 0 < len(damaged) < len(parts):
        raise InputError(
            f"{path}: the file is damaged: the checksum of {damaged[0]} in it is wrong. Copy or "
            "download it again, or take an earlier checkpoint"
        )


def _is_whole(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    with archive.open(part) as file:
        try:
            while file.read(1 << 20):
                pass
        except zipfile.BadZipFile:  # raised at its end if the checksum is wrong
            return False
    return True


def refuse_non_finite(state: Mapping[str, Tensor], source: object) -> None:
    """Check weights for values that no computation survives.

    Args:
        state: The weights by name.
        source: Where they come from, for the error.

    Raises:
        InputError: One of them is NaN or infinite.
    """
    for name, values in state.items():
        if not torch.isfinite(values).all():
            raise InputError(
                f"{source} finds nothing: {name} holds values that are not finite, as after a "
                "training run that diverged"
            )


def split_state(content: object, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split the content of a file into its weights and the other keys beside them.

    Raises:
        InputError: There are no weights.
    """
    if isinstance(content, Mapping):
        if _is_state(content):
            return dict(content), {}
        for key in _STATE_KEYS:
            if _is_state(content.get(key)):
                return dict(content[key]), {k: v for k, v in content.items() if k != key}
        found = f"a dict with {', '.join(map(str, list(content)[:6])) or 'nothing in it'}"
    else:
        found = f"a {type(content).__name__}"
    raise InputError(
        f"{path}: no weights found; expected a dict of tensors, alone or under "
        f"model_state_dict, but the file holds {found}"
    )


def _is_state(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def to_plain(value: Any, where: str = "content") -> Any:
    """Convert NumPy numbers to Python's and paths to text; raise TypeError for other objects.

    Only plain types and tensors can be loaded safely again, which must not be discovered as late
    as the next load.
    """
    if value is None or type(value) in (bool, int, float, str, bytes, Tensor):
        return value
    if isinstance(value, Tensor):  # such as a Parameter
        return value.detach()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        items = ((to_plain(k, where), to_plain(v, f"{where}[{k!r}]")) for k, v in value.items())
        return OrderedDict(items) if isinstance(value, OrderedDict) else dict(items)
    if isinstance(value, (list, tuple)):
        items = [to_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    raise TypeError(f"{where} is a {type(value).__name__}, which cannot be loaded safely again")
