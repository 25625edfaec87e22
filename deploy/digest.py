"""A digest in each exported file, by which damage to the file is detected.

Neither ONNX nor OpenVINO files have a checksum: a damaged block of weights loads like any other and
gives other detections. The digest is an entry of the metadata and covers the network, not the
metadata, which may be edited. It is of SHA-256, as 64 hex digits:

- `onnx_sha256`: of the bytes of the field `graph` of the ONNX file;
- `openvino_sha256`: of the `.xml` file up to its last `<rt_info>`, followed by the `.bin` file.

Files without the entry, such as those of earlier versions, are read as they are.
"""

from __future__ import annotations

import hashlib
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from DOTA_devkit.errors import InputError

ONNX_KEY = "onnx_sha256"
OPENVINO_KEY = "openvino_sha256"

# Numbers of the fields in onnx.proto.
_GRAPH, _METADATA_PROPS = 7, 14
_PROP_KEY, _PROP_VALUE = 1, 2

_INFORMATION = b"<rt_info>"
_OPENVINO_ENTRY = re.compile(rb'<openvino_sha256 value="([^"]*)"')


def onnx_digest(content: bytes) -> str:
    """Return the digest of a serialized ONNX model.

    Raises:
        ValueError: It is not one.
    """
    return _graph_digest(memoryview(content))


def openvino_digest(xml: Path) -> str:
    """Return the digest of an OpenVINO model, which lies in an `.xml` and a `.bin` file."""
    text = xml.read_bytes()
    end = text.rfind(_INFORMATION)
    digest = hashlib.sha256(text[: end if end >= 0 else None])
    weights = xml.with_suffix(".bin")
    if weights.is_file():
        with _mapped(weights) as content:
            digest.update(content)
    return digest.hexdigest()


def onnx_props(path: Path) -> dict[str, str]:
    """Read the metadata of an ONNX file, and check its digest if it has one.

    Args:
        path: The file.

    Returns:
        Key -> text of the entries in `metadata_props`.

    Raises:
        InputError: There is no such file, it is not an ONNX file, or it is damaged.
    """
    try:
        with _mapped(path) as content:
            props = dict(_props(content))
            if ONNX_KEY in props:
                _compare(path, props[ONNX_KEY], _graph_digest(content))
            return props
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: its metadata are not UTF-8 text ({error})") from None
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: not an ONNX file, or truncated or damaged ({error})") from None


def check_openvino(path: Path) -> None:
    """Check the digest of an OpenVINO model if it has one, before OpenVINO reads it.

    Args:
        path: The `.xml` file.

    Raises:
        InputError: It is damaged.
    """
    text = path.read_bytes()
    entry = _OPENVINO_ENTRY.search(text, max(text.rfind(_INFORMATION), 0))
    if entry is not None:
        _compare(path, entry[1].decode(), openvino_digest(path))


def _compare(path: Path, expected: str, found: str) -> None:
    if expected != found:
        raise InputError(
            f"{path}: its network is not the one that was exported: the file is damaged, or "
            "another tool has changed it. Copy it again, or export it again"
        )


def _graph_digest(content: memoryview) -> str:
    digest = hashlib.sha256()
    for number, value in _fields(content):
        if number == _GRAPH:
            digest.update(value)
    return digest.hexdigest()


def _props(content: memoryview) -> Iterator[tuple[str, str]]:
    for number, value in _fields(content):
        if number == _METADATA_PROPS:
            entry = {inner: str(text, "utf-8") for inner, text in _fields(value)}
            yield entry.get(_PROP_KEY, ""), entry.get(_PROP_VALUE, "")


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and content of each field of a protobuf message that has a length.

    Fields of other kinds (numbers) are passed over.

    Raises:
        ValueError: This is no protobuf message, or it is cut off.
    """
    position = 0
    while position < len(content):
        key, position = _varint(content, position)
        kind, length = key & 7, 0
        if kind == 0:
            _, position = _varint(content, position)
        elif kind == 1:
            length = 8
        elif kind == 2:
            length, position = _varint(content, position)
        elif kind == 5:
            length = 4
        else:
            raise ValueError(f"byte {position}: a field of an unknown kind")
        if length > len(content) - position:
            raise ValueError(f"byte {position}: a field is cut off")
        if kind == 2:
            yield key >> 3, content[position : position + length]
        position += length


def _varint(content: memoryview, position: int) -> tuple[int, int]:
    """Return the number at a position and the position behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            raise ValueError(f"byte {position}: a field is cut off")
        byte = content[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise ValueError(f"byte {position}: a number is too long")


@contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    """Give the content of a file without reading it into memory."""
    with open(path, "rb") as file:
        if path.stat().st_size == 0:
            yield memoryview(b"")
            return
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # not closed here: views in the traceback of an error may still point into it
        yield memoryview(content)
