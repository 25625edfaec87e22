"""Output files that are either complete or absent, and never overwrite a user's files silently."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from DOTA_devkit.errors import InputError


@contextmanager
def replacing(path: Path | str, mode: str = "w", *, sync: bool = True) -> Iterator[IO]:
    """Write a file atomically: to a temporary file beside `path`, then renamed to `path`.

    An exception inside the block (a full disk, Ctrl-C) leaves `path` as it was. The content is on
    the disk before the file gets its name, so that after a power failure the old or the new one is
    there. A missing folder is created; text is UTF-8 with Unix line ends.

    Args:
        path: the file to create or replace.
        mode: "w" for text, "wb" for bytes.
        sync: wait until the content is on the disk; False for one of thousands of small files, for
            which that would take longer than making them.

    Yields:
        The open temporary file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, not the process id, which another machine on a shared disk may have as well.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        # Exclusive: a link of that name is not followed.
        with open(temporary, mode.replace("w", "x"), **text) as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # the error of a failed write names no file
        raise


def appending(path: Path) -> IO[bytes]:
    """Open a file of our own to read it and to append to it; it is made if it does not exist.

    Raises:
        OSError: It cannot be written, or is a link, behind which another file would grow.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.fdopen(os.open(path, flags, 0o666), "a+b")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "a link, where a file is expected", str(path)) from None
        raise


def sweep_leftovers(folder: Path) -> None:
    """Delete the temporary files of `replacing` that killed processes have left in a folder.

    No other process may be writing into the folder at the time.
    """
    for path in folder.glob(".*.tmp"):
        if _LEFTOVER.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def remedy(error: OSError) -> str:
    """Return what the user can do about a failed write: "make room" or "make it writable"."""
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
