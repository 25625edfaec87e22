"""Keep the memory of freed arrays in the process."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_KEPT_BYTES = 256 << 20
_LARGEST_BYTES = 32 << 20  # the most that glibc takes


@cache
def keep_freed_memory() -> None:
    """Let glibc keep up to 256 MB that was freed, instead of returning it to the system at once.

    A sample allocates and frees some 10 MB in arrays above malloc's usual limit, and getting
    fresh pages for them costs 2 to 3 ms a sample, a quarter of its time. Elsewhere than under
    glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
