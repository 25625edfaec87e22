"""One process at a time in a folder: two would replace each other's files."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from DOTA_devkit.errors import InputError

LOCK_FILE = ".lock"

_held: set[int] = set()
"""Descriptors of the locks of this process."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it does not exist.

    The operating system gives the lock back when the process ends, however it ends: the lock file
    of a killed one is taken over. Where there are no such locks (Windows, some network disks) there
    is no protection. A folder that was made here and stays empty is removed again.

    Args:
        folder: The folder.

    Raises:
        InputError: Another process holds the lock; the message names it and its host.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_FILE
    _keep_from_children()
    descriptor = _acquire(path)
    _held.add(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        owner = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')}"
        os.write(descriptor, owner.encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        if descriptor in _held:
            _held.remove(descriptor)
            os.close(descriptor)
        with suppress(OSError):
            for one in made:
                one.rmdir()


@cache
def _keep_from_children() -> None:
    """Close the locks in forked processes, which outlive a killed parent for some seconds."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_close_held)


def _close_held() -> None:
    while _held:
        os.close(_held.pop())


def _acquire(path: Path) -> int:
    """Open the lock file and lock it; return its descriptor."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            _lock(descriptor)
        except BlockingIOError:
            owner = os.read(descriptor, 200).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise InputError(
                f"{path.parent} is in use by {owner}: wait until it ends, or choose another folder"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)  # its owner removed it between opening and locking: once more


def _lock(descriptor: int) -> None:
    """Lock an open file, or raise a BlockingIOError."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            raise
