"""A trained network as teacher: which ones are taken, and what a run with one does."""

import logging

import pytest

from DOTA_devkit.errors import InputError
from helpers.data_folders import CLASSES
from helpers.networks import save_untrained, tiny_model
from training.teacher import read_teacher


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": CLASSES[::-1]}, "a teacher has the classes of the data"),
        ({"classes": (*CLASSES, "kite")}, "this one has .*kite"),
        ({"box_coding": "rectangle"}, "codes boxes as rectangle, and this run as vectors"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(tmp_path, options, message):
    path = save_untrained(tmp_path / "teacher.pth", **options)
    with pytest.raises(InputError, match=message) as raised:
        read_teacher(path, tiny_model())
    assert str(path) in str(raised.value)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "teacher.pth").write_text("not one")
    with pytest.raises(InputError, match=r"teacher\.pth"):
        read_teacher(tmp_path / "teacher.pth", tiny_model())


def test_backbone_and_heads_of_a_teacher_are_its_own(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    path = save_untrained(tmp_path / "teacher.pth", backbone="resnet18", head_conv=16, neck=8)
    assert read_teacher(path, tiny_model()).backbone == "resnet18"
    assert not caplog.records


def test_a_teacher_of_another_size_is_told(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    read_teacher(save_untrained(tmp_path / "teacher.pth", size=96), tiny_model())
    assert "the teacher was trained at 96x96, and this run is at 64x64" in caplog.text
