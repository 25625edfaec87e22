"""Ctrl-C: remembered where it is lost, held back where it must not come, handlers left as found."""

import contextlib
import signal
import threading

import pytest

from DOTA_devkit import interrupts


@pytest.fixture(autouse=True)
def handler():
    """The handler is in the end what it was before."""
    before = signal.getsignal(signal.SIGINT)
    yield before
    assert signal.getsignal(signal.SIGINT) is before


def press():
    signal.raise_signal(signal.SIGINT)


def test_it_comes_as_an_exception_and_is_known():
    with pytest.raises(KeyboardInterrupt), interrupts.remembered():
        assert not interrupts.pressed()
        interrupts.stop_if_pressed()
        try:
            press()
        finally:
            assert interrupts.pressed()


def test_it_is_forgotten_behind():
    with contextlib.suppress(KeyboardInterrupt), interrupts.remembered():
        press()
    assert not interrupts.pressed()
    interrupts.stop_if_pressed()  # the next work of this process goes on


def test_it_is_known_although_something_swallows_it():
    with interrupts.remembered():
        with contextlib.suppress(KeyboardInterrupt):
            press()
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                interrupts.stop_if_pressed()
    with interrupts.remembered():  # another run knows nothing of it
        assert not interrupts.pressed()
        interrupts.stop_if_pressed()


def test_a_handler_of_the_caller_stays(handler):
    heard = []
    signal.signal(signal.SIGINT, lambda *call: heard.append(call))
    try:
        own = signal.getsignal(signal.SIGINT)
        with interrupts.remembered():
            press()
            assert signal.getsignal(signal.SIGINT) is own
            with interrupts.deferred():
                press()
                assert len(heard) == 1
            assert len(heard) == 2
        assert not interrupts.pressed()
    finally:
        signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize("remembered", [False, True])
def test_it_waits_for_the_end_of_the_block(remembered):
    steps = []
    with interrupts.remembered() if remembered else contextlib.nullcontext():
        with pytest.raises(KeyboardInterrupt), interrupts.deferred():
            press()
            press()
            steps.append("went on")
        assert interrupts.pressed() == remembered
    assert steps == ["went on"]


def test_an_error_in_the_block_goes_before():
    with pytest.raises(ZeroDivisionError), interrupts.deferred():
        press()
        raise ZeroDivisionError


@pytest.mark.parametrize("block", [interrupts.remembered, interrupts.deferred])
def test_threads_have_no_handlers(block):
    """signal.signal raises in them."""
    went = []

    def work():
        with block():
            went.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert went == [True]


def test_deaf_to_it_stays_deaf(handler):
    """As what a shell starts in its background is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.remembered(), interrupts.deferred():
            press()
        assert not interrupts.pressed()
    finally:
        signal.signal(signal.SIGINT, handler)
