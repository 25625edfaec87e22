"""Ctrl-C that is not lost on the way.

Python turns Ctrl-C into a KeyboardInterrupt, wherever the program is just then. Where that is code
that clears exceptions (a hook of a fork, a destructor, C++ that asks whether an object has an
attribute), nobody hears of it and the work goes on. So it is remembered here, and long work asks.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_pressed = threading.Event()


@contextmanager
def remembered() -> Iterator[None]:
    """Within it, and there alone, `pressed` knows of a Ctrl-C, which raises KeyboardInterrupt as it
    does without.

    A handler that the caller has set stays, and threads other than the main one have none.
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
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
    """Whether Ctrl-C was pressed within `remembered`."""
    return _pressed.is_set()


def stop_if_pressed() -> None:
    """KeyboardInterrupt once Ctrl-C was pressed, whatever became of its first one."""
    if _pressed.is_set():
        raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[None]:
    """Ctrl-C waits until the end of the block; processes that are made in it pay no heed to it."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting = []
    signal.signal(signal.SIGINT, lambda *call: waiting.append(call))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if waiting:
        handler(*waiting[0])
