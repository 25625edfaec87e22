"""Ctrl-C that ends a long run even if a library swallows it.

Python turns Ctrl-C into a KeyboardInterrupt, raised in whatever code the main thread runs at that
moment. Some code discards every exception: a hook of `os.fork`, a destructor (`__del__`), C++ that
asks whether a Python object has an attribute. If Ctrl-C arrives there, the exception disappears
and the program goes on as if nothing had happened. So `remembered` records each Ctrl-C, and
long-running loops ask for it with `stop_if_pressed`; those under a bar of `DOTA_devkit.progress`
do so already.

SIGTERM, by which Slurm, Kubernetes and Docker stop a program, ends it in the same way.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

_pressed = threading.Event()
_cause = {"signal": signal.SIGINT}


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM after which the work was saved; the message says what is kept and where."""


@contextmanager
def remembered() -> Iterator[None]:
    """Record each Ctrl-C inside the block, so that `pressed` and `stop_if_pressed` know of it.

    Ctrl-C raises KeyboardInterrupt as usual, and so does SIGTERM; the record is cleared at the end
    of the block. Nothing is recorded of a signal for which the caller has installed a handler of
    its own, which stays in place, or in a thread other than the main one, as Python allows no
    signal handlers there. A KeyboardInterrupt that Python discards, in a destructor for example, is
    not printed with a traceback on the terminal: nothing of it is lost.
    """
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    ours = [number for number, default in defaults.items() if signal.getsignal(number) == default]
    if not ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def remember(signum: int, frame: object) -> None:
        if signum == signal.SIGTERM and os.getpid() != owner:  # a forked process, to be ended
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        _cause["signal"] = signum
        _pressed.set()
        raise KeyboardInterrupt

    report = sys.unraisablehook

    def report_others(unraisable: sys.UnraisableHookArgs) -> None:
        if not (_pressed.is_set() and issubclass(unraisable.exc_type, KeyboardInterrupt)):
            report(unraisable)

    for number in ours:
        signal.signal(number, remember)
    sys.unraisablehook = report_others
    try:
        yield
    finally:
        sys.unraisablehook = report
        for number in ours:
            signal.signal(number, defaults[number])
        _pressed.clear()


def cause() -> tuple[str, int]:
    """Return what stopped the program, in words, and the exit code that shells expect for it."""
    if _cause["signal"] == signal.SIGTERM and pressed():
        return "SIGTERM", 128 + signal.SIGTERM
    return "Ctrl-C", 128 + signal.SIGINT


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
def deferred() -> Iterator[list[tuple[int, object]]]:
    """Defer Ctrl-C and SIGTERM to the end of the block; processes started inside it ignore both.

    If the block raises an error of its own, that is raised, and the signal is only recorded.

    Yields:
        The signals that have come so far: number, and stack frame.
    """
    calls: list[tuple[int, object]] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}
    if not handlers or threading.current_thread() is not threading.main_thread():
        yield calls
        return
    for number in handlers:
        signal.signal(number, lambda *call: calls.append(call))
    failed = True
    try:
        yield calls
        failed = False
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for signum, frame in calls[:1]:
            with suppress(KeyboardInterrupt) if failed else nullcontext():
                handlers[signum](signum, frame)


def stop_for(signum: int) -> None:
    """Stop as if a signal had come that another process of this run has got.

    Raises:
        KeyboardInterrupt: Always.
    """
    _cause["signal"] = signum
    _pressed.set()
    raise KeyboardInterrupt


def end_quietly() -> None:
    """Let a worker process ignore Ctrl-C and the first SIGTERM, which its parent may get, too.

    A cluster sends SIGTERM to all processes of a job at once, and the main process still needs the
    workers until it has saved its work. It ends them itself; a second SIGTERM does in any case.
    """
    seen = []

    def end(signum: int, frame: object) -> None:
        if seen:
            os._exit(0)
        seen.append(signum)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
