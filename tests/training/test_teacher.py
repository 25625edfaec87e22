"""A trained network as teacher: which ones are taken, and what a run with one does."""

import logging
from pathlib import Path

import pytest
import torch

from DOTA_devkit.errors import InputError
from helpers.data_folders import CLASSES
from helpers.networks import tiny_model
from training.teacher import Teacher, check_teacher


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": CLASSES[::-1]}, "a teacher has the classes of the data"),
        ({"classes": (*CLASSES, "kite")}, "this one has .*kite"),
        ({"box_coding": "rectangle"}, "codes boxes as rectangle, and this run as vectors"),
    ],
)
def test_teachers_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message) as raised:
        check_teacher(Path("teacher.pth"), tiny_model(**options), tiny_model())
    assert str(raised.value).startswith("teacher.pth: ")


def test_the_shift_of_a_teacher_is_not_taught():
    teacher = tiny_model(box_coding="rectangle")
    plain = teacher.reg[-1].bias.data.clone()
    teacher.reg[-1].bias.data += torch.tensor([0.125, -0.25])
    teacher.center_shift = (0.125, -0.25)
    Teacher(teacher, torch.device("cpu"), 1.0)
    torch.testing.assert_close(teacher.reg[-1].bias.data, plain)
    assert teacher.center_shift == (0.0, 0.0)


def test_a_teacher_without_names_has_as_many_classes():
    teacher = tiny_model()
    teacher.classes = None
    check_teacher(Path("teacher.pth"), teacher, tiny_model())
    with pytest.raises(InputError, match="this one has 2 without names"):
        check_teacher(Path("teacher.pth"), teacher, tiny_model(classes=("a", "b", "c")))


def test_backbone_and_heads_of_a_teacher_are_its_own(caplog):
    caplog.set_level(logging.WARNING)
    teacher = tiny_model(backbone="resnet18", head_conv=16, neck=8)
    check_teacher(Path("teacher.pth"), teacher, tiny_model())
    assert not caplog.records


def test_warning_about_teacher_of_another_input_size(caplog):
    caplog.set_level(logging.WARNING)
    check_teacher(Path("teacher.pth"), tiny_model(size=96), tiny_model())
    assert "the teacher was trained at 96x96, and this run is at 64x64" in caplog.text
