"""Progress bars: what they pass on, when they are silent, and that they notice Ctrl-C."""

import contextlib
import queue
import re
import signal
import sys
import threading
from contextlib import redirect_stderr

import pytest

from DOTA_devkit import interrupts
from DOTA_devkit import progress as progress_module
from DOTA_devkit.progress import line_shown, progress, progress_bar


class FakeTerminal:
    """A stderr that claims to be a terminal and keeps what is written to it."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.fixture(params=[True, False], ids=["tqdm", "no tqdm"])
def with_or_without_tqdm(request, monkeypatch):
    if not request.param:
        monkeypatch.setitem(sys.modules, "tqdm", None)


@pytest.mark.usefixtures("with_or_without_tqdm")
@pytest.mark.parametrize("items", [[], ["a", "b", "c"]])
def test_progress_yields_the_items_unchanged(items):
    assert list(progress(items, "work")) == items
    assert list(progress(iter(items), "work", total=len(items), unit="file", initial=1)) == items


def test_progress_without_a_terminal_prints_nothing(capsys):
    assert list(progress(range(5), "work")) == [0, 1, 2, 3, 4]
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_progress_shows_title_count_and_unit():
    with redirect_stderr(FakeTerminal()) as terminal:
        for _ in progress(range(4), "reading", unit="image", leave=True):
            pass
    last = terminal.text.splitlines()[-1]
    assert last.startswith("reading: 100%") and "4/4" in last and "image/s" in last


def test_progress_removes_the_bar_unless_leave():
    with redirect_stderr(FakeTerminal()) as terminal:
        assert list(progress(range(4), "reading")) == [0, 1, 2, 3]
    assert "0/4" in terminal.text and terminal.text.endswith("\r")


def test_progress_bar_advances_by_several_from_initial():
    with (
        redirect_stderr(FakeTerminal()) as terminal,
        progress_bar("predict", 20, unit="window", initial=10, leave=True) as bar,
    ):
        bar.update(4)
        bar.set_postfix({"loss": "0.5"})
        bar.update(6)
    last = terminal.text.splitlines()[-1]
    assert last.startswith("predict: 100%") and "20/20" in last and "loss=0.5" in last


@pytest.mark.usefixtures("with_or_without_tqdm")
def test_progress_bar_works_without_tqdm_or_a_terminal():
    with progress_bar("work") as bar:
        bar.update(3)
        bar.set_postfix({"loss": 1})


@pytest.mark.usefixtures("with_or_without_tqdm")
def test_a_loop_without_a_terminal_is_logged(caplog, monkeypatch):
    """Even while a single step takes long; the next line waits for the time after any other."""
    lines = queue.Queue()
    monkeypatch.setattr(progress_module, "LINE_SECONDS", 0.05)
    monkeypatch.setattr(progress_module.logger, "info", lambda *args: lines.put(args[1]))
    with progress_bar("epoch 1/2", 9, unit="batch", initial=2) as bar:
        assert lines.get(timeout=30) == "epoch 1/2: 2/9 batch"
        bar.update(4)
        bar.set_postfix({"hm": "0.5"})
        pattern = r"epoch 1/2: 6/9 batch, \S+ batch/s, \d+ (s|min) left, hm 0\.5"
        while not re.fullmatch(pattern, lines.get(timeout=30)):
            pass
    while not lines.empty():
        lines.get()
    assert [thread for thread in threading.enumerate() if thread.name == "progress"] == []


def test_no_line_soon_after_another(monkeypatch):
    monkeypatch.setattr(progress_module, "_last_line", {"at": 0.0})
    line_shown()
    monkeypatch.setattr(progress_module.logger, "info", lambda *args: pytest.fail("a line"))
    assert list(progress(range(3), "work")) == [0, 1, 2]


def test_short_loop_is_not_logged_after_a_long_silence(monkeypatch):
    monkeypatch.setattr(progress_module, "_last_line", {"at": -1e9})
    monkeypatch.setattr(progress_module.logger, "info", lambda *args: pytest.fail("a line"))
    lines = progress_module._Lines("work", 3, "it", 0)
    assert lines._due() == lines._begin + progress_module.LINE_SECONDS / 4
    lines.stop()


def press_and_swallow():
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("with_or_without_tqdm")
def test_progress_stops_after_the_item_with_a_swallowed_ctrl_c():
    finished = []
    with pytest.raises(KeyboardInterrupt), interrupts.remembered():
        for item in progress(range(5), "work"):
            if item == 1:
                press_and_swallow()
            finished.append(item)
    assert finished == [0, 1]


@pytest.mark.usefixtures("with_or_without_tqdm")
def test_progress_notices_a_ctrl_c_at_the_last_item():
    with pytest.raises(KeyboardInterrupt), interrupts.remembered():
        for _ in progress(range(1), "work"):
            press_and_swallow()


@pytest.mark.usefixtures("with_or_without_tqdm")
def test_progress_bar_update_stops_after_a_swallowed_ctrl_c():
    with interrupts.remembered(), progress_bar("work", 2) as bar:
        bar.update()
        press_and_swallow()
        with pytest.raises(KeyboardInterrupt):
            bar.update()


def test_progress_ignores_a_ctrl_c_outside_of_remembered():
    press_and_swallow()
    assert list(progress(range(3), "work")) == [0, 1, 2]


def test_progress_passes_on_errors_of_items_and_body():
    def items():
        yield 1
        raise ValueError("items")

    with pytest.raises(ValueError, match="items"):
        list(progress(items(), "work"))
    with pytest.raises(ZeroDivisionError):
        for _ in progress(range(3), "work"):
            raise ZeroDivisionError
