"""Control characters of names and files: never obeyed by a terminal, nor written into lines."""

import logging

import cv2
import numpy as np
import pytest

from cli.console import fail, set_up_logging
from DOTA_devkit.commands import main
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import write_task1
from DOTA_devkit.lists import write_lists
from DOTA_devkit.splitting import split_folder
from DOTA_devkit.tables import format_table
from DOTA_devkit.terminal import visible

TITLE = "\x1b]0;owned\x07"
SHOWN = r"\x1b]0;owned\x07"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 船 é\tx\ny", "plain 船 é\tx\ny"),
        (TITLE, SHOWN),
        ("a\rb\x7f\x9b2J", r"a\rb\x7f\x9b2J"),
        ("a\u202eb\u2028c", r"a\u202eb\u2028c"),
    ],
)
def test_visible(text, shown):
    assert visible(text) == shown


def test_names_take_one_line():
    assert visible("a\n\tb", one_line=True) == r"a\n\tb"
    assert format_table([[f"x\n{TITLE}", 1], ["y", 22]]).splitlines() == [
        rf"x\n{SHOWN}   1",
        "y" + " " * (len(rf"x\n{SHOWN}") + 1) + "22",
    ]


def test_log_lines_and_errors(capsys):
    set_up_logging(verbose=False, name_flags=str)
    logging.getLogger("x").info("read %s", TITLE)
    fail(f"{TITLE}: no image", 2)
    out, err = capsys.readouterr()
    assert out == f"read {SHOWN}\n" and err == f"error: {SHOWN}: no image\n"


def test_errors_of_the_devkit(tmp_path, capsys):
    assert main(["merge", str(tmp_path / TITLE), str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert SHOWN in err and "\x1b" not in err


@pytest.mark.parametrize("name", ["a\nfake 0.99 1 1 9 1 9 9 1 9", TITLE, "\x9b2J", "a\udcff"])
def test_ids_that_break_lines_are_not_written(tmp_path, name):
    box = np.array([[[0, 0], [9, 0], [9, 9], [0, 9]]])
    with pytest.raises(InputError, match="rename the image"):
        write_task1(tmp_path / "Task1_ship.txt", ["a", name], np.ones(2), box.repeat(2, axis=0))
    with pytest.raises(InputError, match="rename the image"):
        write_lists({"train": ["a"], "val": [name]}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_split_refuses_them_before_it_starts(tmp_path):
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/a\nb.png"), np.zeros((50, 50, 3), np.uint8))
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "labelTxt/a\nb.txt").write_text("")
    with pytest.raises(InputError, match="rename the image"):
        split_folder(tmp_path, tmp_path / "out")
    assert not list(tmp_path.glob("out/*/*"))
