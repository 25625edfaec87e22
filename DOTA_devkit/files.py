"""Output files that are either complete or absent, and never overwrite a user's files silently."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from DOTA_devkit.errors import InputError


@contextmanager
def replacing(path: Path | str, mode: str = "w") -> Iterator[IO]:
    """Write a file atomically: to a temporary file beside `path`, then renamed to `path`.

    An exception inside the block (a full disk, Ctrl-C) leaves `path` as it was. A missing folder
    is created; text is UTF-8 with Unix line ends.

    Args:
        path: the file to create or replace.
        mode: "w" for text, "wb" for bytes.

    Yields:
        The open temporary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, not the process id, which another machine on a shared disk may have as well.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text) as file:
            yield file
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # the error of a failed write names no file
        raise


def remedy(error: OSError) -> str:
    """Return what the user has to do about a failed write: "make room" or "make it writable"."""
    no_room = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "make room" if error.errno in no_room else "make it writable"


def refuse_unwritable(folder: Path, parameter: str = "output") -> None:
    """Check before the work starts that files can be written into `folder`.

    Args:
        folder: the output folder, which need not exist yet.
        parameter: the name of the parameter that holds the folder, for the message.

    Raises:
        InputError: `folder` cannot be created, or no file can be written into it.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise InputError(f"{parameter} {folder}: {existing} is a file, and a folder is expected")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{parameter} {folder}: nothing can be written in {existing}")


def refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    """Check that no output file exists already.

    Args:
        paths: the files about to be written.
        overwrite: skip the check, as the caller wants them replaced.

    Raises:
        InputError: files exist and `overwrite` is false.
    """
    if overwrite:
        return
    existing = [path for path in paths if path.exists()]
    if existing:
        others = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise InputError(
            f"{existing[0]}{others} would be replaced; choose another place, or give `overwrite`"
        )
