"""Ctrl-C that ends a long run even if a library swallows it.

Python turns Ctrl-C into a KeyboardInterrupt, raised in whatever code the main thread runs at that
moment. Some code discards every exception: a hook of `os.fork`, a destructor (`__del__`), C++ that
asks whether a Python object has an attribute. If Ctrl-C arrives there, the exception disappears
and the program goes on as if nothing had happened. So `remembered` records each Ctrl-C, and
long-running loops ask for it with `stop_if_pressed`; those under a bar of `DOTA_devkit.progress`
do so already.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_pressed = threading.Event()


@contextmanager
def remembered() -> Iterator[None]:
    """Record each Ctrl-C inside the block, so that `pressed` and `stop_if_pressed` know of it.

    Ctrl-C raises KeyboardInterrupt as usual; the record is cleared at the end of the block. Nothing
    is recorded if the caller has installed a handler of its own, which stays in place, or in a
    thread other than the main one, as Python allows no signal handlers there.
    """
    default_handler = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not default_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _pressed.clear()


def _remember(signum: int, frame: object) -> None:
    _pressed.set()
    raise KeyboardInterrupt


def pressed() -> bool:
    """Whether Ctrl-C was pressed inside the current `remembered` block."""
    return _pressed.is_set()


def stop_if_pressed() -> None:
    """Raise the KeyboardInterrupt again if Ctrl-C was pressed and something swallowed it.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed inside the current `remembered` block.
    """
    if pressed():
        raise KeyboardInterrupt


@contextmanager
def deferred() -> Iterator[None]:
    """Defer Ctrl-C to the end of the block; processes started inside the block ignore it.

    A block that raises an error of its own discards the deferred Ctrl-C.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    calls = []
    signal.signal(signal.SIGINT, lambda *call: calls.append(call))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if calls:
        handler(*calls[0])
