"""The views of test-time augmentation that a text asks for."""

import numpy as np
import pytest

from DOTA_devkit.errors import InputError
from structures.views import GROUPS, PLAIN, View, parse_views

VIEWS = {
    None: 1, "flips": 4, "turns": 4, "flips,turns": 8, "turns, flips": 8, "0.5": 2, "0.8,1.25": 3,
    "flips,0.8,1.25": 12, "flips,flips": 4, "1": 1, "2,2.0": 2, "turns,flips,0.25,4": 24,
}  # fmt: skip
"""Text -> number of views."""


def seen(view: View, image: np.ndarray) -> bytes:
    """An image as a view shows it, by NumPy."""
    image = image.T if view.transposed else image
    image = image[:, ::-1] if view.flip_x else image
    image = image[::-1] if view.flip_y else image
    return np.ascontiguousarray(image).tobytes()


@pytest.mark.parametrize("text", VIEWS)
def test_number_of_views(text):
    views = parse_views(text)
    assert views[0] == PLAIN and len(set(views)) == len(views) == VIEWS[text]


IMAGE = np.arange(9).reshape(3, 3)


def test_flips_turns_and_both_are_the_symmetries_of_a_square():
    turned = {np.ascontiguousarray(np.rot90(IMAGE, k)).tobytes() for k in range(4)}
    mirrored = {np.ascontiguousarray(np.rot90(IMAGE.T, k)).tobytes() for k in range(4)}
    assert {seen(view, IMAGE) for view in parse_views("turns")} == turned
    assert {seen(view, IMAGE) for view in parse_views("flips,turns")} == turned | mirrored
    flips = {side.tobytes() for side in (IMAGE, IMAGE[:, ::-1], IMAGE[::-1], IMAGE[::-1, ::-1])}
    assert {seen(view, IMAGE) for view in parse_views("flips")} == flips


def test_mirrored_property_of_every_view():
    for view in parse_views("flips,turns"):
        turned = {np.ascontiguousarray(np.rot90(IMAGE, k)).tobytes() for k in range(4)}
        assert view.mirrored == (seen(view, IMAGE) not in turned)


@pytest.mark.parametrize("text", ["flip", "", "flips,", "x", "0", "-1", "0.2", "5", "nan", "inf"])
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match=r"takes flips, turns and scale factors from 0\.25 to 4,"):
        parse_views(text)


def test_error_suggests_the_intended_name():
    with pytest.raises(InputError, match=r"got 'flip' \(did you mean flips\?\)"):
        parse_views("turns,flip")


@pytest.mark.parametrize("value", [True, 4, ("flips",)])
def test_other_values_are_refused(value):
    with pytest.raises(InputError, match='tta must be a text such as "flips", got'):
        parse_views(value)


def test_groups_hold_the_plain_image_first():
    assert all(View(1.0, *group[0]) == PLAIN for group in GROUPS.values())
