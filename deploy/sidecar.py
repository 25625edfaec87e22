"""A copy of the metadata of an exported file, as JSON beside it.

Not every runtime gives access to the metadata in a file: ONNX Runtime for JavaScript does not, nor
do most runtimes for phones. So `ship.onnx` has a `ship.onnx.json` with the keys and texts of its
metadata, and with `file_sha256`: the SHA-256 of the file itself as 64 hex digits (of an OpenVINO
model that of the `.xml`), by which a client notices that the two do not belong together.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from deploy.digest import OPENVINO_KEY, onnx_props, openvino_digest
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing

logger = logging.getLogger(__name__)

FILE_KEY = "file_sha256"
"""Entry of the JSON that the metadata in the file do not have."""


def sidecar_path(file: Path) -> Path:
    """Return the path of the JSON that belongs to an exported file."""
    return file.with_name(f"{file.name}.json")


def write_sidecar(file: Path, props: Mapping[str, str]) -> None:
    """Write the JSON of an exported file.

    Args:
        file: The file, which is written already.
        props: Key -> text of its metadata; its digest is added.
    """
    if file.suffix.lower() == ".onnx":
        props = onnx_props(file)
    elif file.suffix.lower() == ".xml":
        props = {**props, OPENVINO_KEY: openvino_digest(file)}
    content = {**props, FILE_KEY: hashlib.sha256(file.read_bytes()).hexdigest()}
    with replacing(sidecar_path(file)) as target:
        json.dump(content, target, ensure_ascii=False, indent=1)
        target.write("\n")


def refuse_foreign_sidecar(file: Path) -> None:
    """Check before the work that no other file is where the JSON of an exported file belongs.

    Raises:
        InputError: There is one, which is not the JSON of an exported file, or is damaged.
    """
    path = sidecar_path(file)
    if not path.exists():
        return
    try:
        _read(path)
    except ValueError as error:
        raise InputError(
            f"output {file} would replace {path}, which is not the metadata of an exported file "
            f"({error}): move that file, or choose another name"
        ) from None


def warn_of_mismatch(file: Path, props: Mapping[str, str]) -> None:
    """Log a warning if the JSON beside an exported file is damaged or belongs to another file.

    This program does not need it, but the clients that do would misread what the file outputs.

    Args:
        file: The file. It may have no JSON, as those of earlier versions.
        props: Key -> text of the metadata in it, with its digest.
    """
    path = sidecar_path(file)
    if not path.is_file():
        return
    try:
        content = _read(path)
        wrong = [key for key, text in props.items() if content.get(key) != text]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} differ{'s' if len(wrong) == 1 else ''}")
    except ValueError as error:
        logger.warning(
            "%s: damaged, or not the metadata of %s (%s): clients that read it may misread what "
            "the file outputs. Copy both again, or export the file again", path, file, error,
        )  # fmt: skip


def _read(path: Path) -> dict[str, str]:
    """Return the content of the JSON of an exported file, or raise a ValueError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if not isinstance(content, dict) or not {"bbavectors", FILE_KEY} <= content.keys():
        raise ValueError(f"an object with bbavectors and {FILE_KEY} is expected")
    return content
