"""Tuning of malloc: keep the memory of freed arrays in the process."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
_KEPT_BYTES = 256 << 20
_MMAP_BYTES = 32 << 20  # the largest threshold that glibc accepts


@cache
def keep_freed_memory() -> None:
    """Make glibc keep up to 256 MB of freed memory instead of returning it to the system.

    A sample allocates and frees about 10 MB in arrays above malloc's default threshold, and getting
    fresh pages for them each time is slow. Measured with `benchmarks.dataset` on DOTA patches
    (608 x 608 input, five alternating runs on a virtual machine): a median of 9 to 12 ms of CPU
    time per sample instead of 19 to 22 ms, and a fifth of the page faults. On 640 x 512 images it
    is 7 to 9 ms instead of 6 to 18 ms, depending on how glibc has adapted its threshold so far.
    With another C library this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc, but for example musl
        return
    mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
