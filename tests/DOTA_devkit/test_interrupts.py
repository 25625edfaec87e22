"""Ctrl-C that is recorded or deferred; signal handlers are restored."""

import contextlib
import os
import signal
import sys
import threading
import time

import pytest

from DOTA_devkit import interrupts


@pytest.fixture(autouse=True)
def handler():
    """Check that the handler after the test is the one before it."""
    before = signal.getsignal(signal.SIGINT)
    yield before
    assert signal.getsignal(signal.SIGINT) is before


def press():
    signal.raise_signal(signal.SIGINT)


def test_remembered_raises_and_records_ctrl_c():
    with pytest.raises(KeyboardInterrupt), interrupts.remembered():
        assert not interrupts.pressed()
        interrupts.stop_if_pressed()
        try:
            press()
        finally:
            assert interrupts.pressed()


def test_sigterm_ends_like_ctrl_c():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interrupts.remembered():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            assert interrupts.pressed() and interrupts.cause() == ("SIGTERM", 143)
    assert signal.getsignal(signal.SIGTERM) is before
    assert interrupts.cause() == ("Ctrl-C", 130)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks there")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_sigterm_ends_a_forked_process_at_once():
    with interrupts.remembered():
        child = os.fork()
        if child == 0:
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(60)
            os._exit(7)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGTERM
        assert not interrupts.pressed()


def test_remembered_forgets_at_the_end_of_the_block():
    with contextlib.suppress(KeyboardInterrupt), interrupts.remembered():
        press()
    assert not interrupts.pressed()
    interrupts.stop_if_pressed()  # later work of this process is not affected


def test_remembered_records_a_swallowed_ctrl_c():
    with interrupts.remembered():
        with contextlib.suppress(KeyboardInterrupt):
            press()
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                interrupts.stop_if_pressed()
    with interrupts.remembered():  # a later block has no record of it
        assert not interrupts.pressed()
        interrupts.stop_if_pressed()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_a_destructor_prints_no_traceback(capfd, monkeypatch, signum):
    """Python discards what a destructor raises, and prints it; other errors there are printed."""
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)

    class Interrupted:
        def __del__(self):
            signal.raise_signal(signum)

    class Failing:
        def __del__(self):
            raise ZeroDivisionError

    with interrupts.remembered():
        Failing()
        Interrupted()
        with pytest.raises(KeyboardInterrupt):
            interrupts.stop_if_pressed()
    err = capfd.readouterr().err
    assert "ZeroDivisionError" in err and "KeyboardInterrupt" not in err
    assert sys.unraisablehook is sys.__unraisablehook__


def test_handler_of_the_caller_stays(handler):
    calls = []
    signal.signal(signal.SIGINT, lambda *call: calls.append(call))
    try:
        own = signal.getsignal(signal.SIGINT)
        with interrupts.remembered():
            press()
            assert signal.getsignal(signal.SIGINT) is own
            with interrupts.deferred():
                press()
                assert len(calls) == 1
            assert len(calls) == 2
        assert not interrupts.pressed()
    finally:
        signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize("remembered", [False, True])
def test_deferred_ctrl_c_arrives_at_the_end_of_the_block(remembered):
    steps = []
    with interrupts.remembered() if remembered else contextlib.nullcontext():
        with pytest.raises(KeyboardInterrupt), interrupts.deferred():
            press()
            press()
            steps.append("continued")
        assert interrupts.pressed() == remembered
    assert steps == ["continued"]


def test_deferred_ctrl_c_gives_way_to_an_error():
    """It is recorded all the same."""
    with interrupts.remembered():
        with pytest.raises(ZeroDivisionError), interrupts.deferred():
            press()
            raise ZeroDivisionError
        assert interrupts.pressed()


def test_sigterm_is_deferred_as_well():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interrupts.remembered():
        with interrupts.deferred(), interrupts.deferred():
            signal.raise_signal(signal.SIGTERM)
            assert not interrupts.pressed()
        pytest.fail("the block is left with an error")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks there")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_worker_outlives_the_first_sigterm_alone():
    child = os.fork()
    if child == 0:
        interrupts.end_quietly()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        os.kill(os.getppid(), 0)  # still there
        signal.raise_signal(signal.SIGTERM)
        os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("block", [interrupts.remembered, interrupts.deferred])
def test_blocks_work_in_other_threads(block):
    """signal.signal raises an error in them."""
    finished = []

    def work():
        with block():
            finished.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert finished == [True]


def test_ignored_signal_stays_ignored(handler):
    """A shell starts background processes with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.remembered(), interrupts.deferred():
            press()
        assert not interrupts.pressed()
    finally:
        signal.signal(signal.SIGINT, handler)
