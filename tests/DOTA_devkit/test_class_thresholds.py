"""Thresholds of single classes: parsed, checked, and completed for a list of classes."""

import math

import pytest

from DOTA_devkit.class_thresholds import (
    check_thresholds,
    lowest_threshold,
    parse_thresholds,
    resolve_thresholds,
    thresholds_by_label,
    thresholds_of_classes,
    thresholds_text,
)
from DOTA_devkit.errors import InputError

CLASSES = ("ship", "plane", "大 车")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "got ''"),
        ("0.1,", "got ''"),
        ("nan", "got 'nan'"),
        ("ship=-0.1", "got 'ship=-0.1'"),
        ("=0.1", "got '=0.1'"),
        ("ship", "got 'ship'"),
        ("ship=0.1, ship=0.2", "'ship=0.2': one threshold of a class expected, got two"),
        ("0.1,0.2", "'0.2': one threshold of a class expected, got two"),
    ],
)
def test_invalid_thresholds(text, told):
    with pytest.raises(InputError) as error:
        parse_thresholds(text)
    assert told in str(error.value)


def test_name_with_an_equals_sign():
    assert parse_thresholds("a=b=0.5") == {"a=b": 0.5}


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (None, [0.5, 0.5, 0.5]),
        (0.3, [0.3, 0.3, 0.3]),
        ({}, [0.5, 0.5, 0.5]),
        ({"plane": 0}, [0.5, 0, 0.5]),
        ({"plane": 1, "default": 0.2}, [0.2, 1, 0.2]),
    ],
)
def test_every_class_has_a_threshold(thresholds, expected):
    found = thresholds_of_classes(thresholds, CLASSES, 0.5, "conf_thresh")
    assert found == dict(zip(CLASSES, expected, strict=True)) and tuple(found) == CLASSES
    one = resolve_thresholds(thresholds, CLASSES, 0.5, "conf_thresh")
    assert one == (expected[0] if len(set(expected)) == 1 else found)
    assert lowest_threshold(one) == min(expected)
    assert thresholds_by_label(one) in (expected, expected[0])


@pytest.mark.parametrize(
    ("thresholds", "told"),
    [
        ({"plan": 0.3}, r"^conf_thresh is given for plan \(did you mean plane\?\), but there "
         "are only the classes ship, plane, 大 车$"),
        ({3: 0.3}, "^conf_thresh is given for 3, but"),
        ({"ship": 2}, "^conf_thresh of ship must be a number from 0 to 1, got 2$"),
        ({"ship": "0.3"}, "^conf_thresh of ship must be .* got '0.3'$"),
        ({"ship": True}, "^conf_thresh of ship must be .* got True$"),
        ({"default": math.nan}, "^conf_thresh of default must be .* got nan$"),
        ([0.3, 0.4, 0.5], r"^conf_thresh must be .* got \[0.3, 0.4, 0.5\]$"),
    ],
)  # fmt: skip
def test_thresholds_that_cannot_be_used(thresholds, told):
    with pytest.raises(InputError, match=told):
        thresholds_of_classes(thresholds, CLASSES, 0.5, "conf_thresh")


def test_names_are_not_checked_without_classes():
    check_thresholds({"anything": 0.5}, "conf_thresh")
    assert resolve_thresholds(0.3, (), 0.5, "conf_thresh") == 0.3
    assert resolve_thresholds(None, (), 0.5, "conf_thresh") == 0.5


def test_text_of_thresholds():
    assert thresholds_text(0.30) == "0.3"
    assert thresholds_text({"plane": 0.4, "ship": 1.0}) == "plane 0.4, ship 1"
