"""Output files that are either whole or not there, and never replace a user's in silence."""

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
    """A file to write, beside `path` until the block ends and then renamed to it.

    An error inside the block (a full disk, Ctrl-C) leaves `path` as it was. The folder is made
    where it is missing; text is UTF-8 with Unix line ends.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # not the process's number, which another machine on a shared disk may have too
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(beside, mode, **text) as file:
            yield file
        os.replace(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # a write that fails does not know its file
        raise


def remedy(error: OSError) -> str:
    """What the user has to do, in two or three words, where a file cannot be written."""
    no_room = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "make room" if error.errno in no_room else "make it writable"


def refuse_unwritable(folder: Path, flag: str = "--output") -> None:
    """InputError where no file can be made in `folder`, or it cannot be made; told before the work.

    flag: which names the folder.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise InputError(f"{flag} {folder}: {there} is a file, and a folder is expected")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{flag} {folder}: nothing can be written in {there}")


def refuse_existing(paths: Iterable[Path], overwrite: bool) -> None:
    """InputError that names `--overwrite` where files are there already and it was not given."""
    if overwrite:
        return
    existing = [path for path in paths if path.exists()]
    if existing:
        others = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise InputError(
            f"{existing[0]}{others} would be replaced; choose another place, or give --overwrite"
        )
