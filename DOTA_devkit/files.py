"""Output files that are either whole or not there, and never replace a user's in silence."""

from __future__ import annotations

import os
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
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
