"""Patch ids, including unusual ones."""

import pytest

from DOTA_devkit.errors import InputError
from DOTA_devkit.patches import PatchId, parse_patch_id, source_name


@pytest.mark.parametrize(
    ("image_id", "parts"),
    [
        ("P0706__1__0___500", ("P0706", 1, 0, 500)),
        ("P0706__0.5__100___0", ("P0706", 0.5, 100, 0)),
        ("P0706__1.0__0___0", ("P0706", 1, 0, 0)),
        ("P0861__1024__0___1648", ("P0861", 1, 0, 1648)),  # a patch size instead of the rate
        ("P0861__16__0___0", ("P0861", 16, 0, 0)),  # the largest rate
        ("a__b__0.5__10___20", ("a__b", 0.5, 10, 20)),  # "__" in the name
        ("a__1__0___0__2__5___6", ("a__1__0___0", 2, 5, 6)),  # a patch of a patch
        ("my image.v2__1__0___0", ("my image.v2", 1, 0, 0)),
        ("__1__0___0", None),  # no name
        ("P0706", None),
        ("P0706__1__0__500", None),
        ("P0706__x__0___500", None),
        ("P0706__0__0___500", None),  # a rate cannot be 0
        ("P0706__1__0___500.png", None),
        ("", None),
    ],
)
def test_parse_patch_id(image_id, parts):
    patch = parse_patch_id(image_id)
    assert patch == (parts and PatchId(*parts))
    assert source_name(image_id) == (parts[0] if parts else image_id)


@pytest.mark.parametrize("name", ["P1__1__0___0", "P1__0.5__500___582", "a__b__2__0___7"])
def test_patch_id_text_round_trip(name):
    assert str(parse_patch_id(name)) == name


def test_patch_id_writes_an_integral_rate_without_point():
    assert str(PatchId("P1", 1.0, 0, 500)) == "P1__1__0___500"


@pytest.mark.parametrize(
    "image_id",
    [
        "a__" + "1" * 300_000,
        "a__1." + "1" * 300_000,
        "a__1__" + "1" * 300_000,
        "a" + "__1" * 100_000,
    ],
)
def test_long_ids_that_are_not_patch_ids(image_id):
    """With two ways to match the same digits, one of these would take half an hour."""
    assert parse_patch_id(image_id) is None


def test_long_numbers_of_a_patch():
    assert parse_patch_id(f"a__1__{'0' * 5000}7___-{'0' * 5000}8") == PatchId("a", 1, 7, -8)
    with pytest.raises(InputError, match="for the y of a patch, got 11111"):
        parse_patch_id("a__1__0___" + "1" * 5000)
