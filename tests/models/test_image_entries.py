"""How images were read, as checkpoints store it."""

import pytest

from DOTA_devkit.imaging import ReadOptions
from models.image_entries import image_entries, reading_in, train_scale_in


@pytest.mark.parametrize(
    ("reading", "scale", "entries"),
    [
        (None, None, {}),
        (ReadOptions("stretch"), None, {"depth": "stretch", "bands": ""}),
        (ReadOptions("high_byte", (3, 2, 1)), 0.65,
         {"depth": "high_byte", "bands": "3,2,1", "scale": 0.65}),
    ],
)  # fmt: skip
def test_entries_are_read_as_they_were_written(reading, scale, entries):
    """Their names and values are those of the checkpoints that people have."""
    assert image_entries(reading, scale) == entries
    assert reading_in(entries) == reading and train_scale_in(entries) == scale


@pytest.mark.parametrize(
    "data",
    [None, "data", [], 3, {"depth": "evil", "bands": ""}, {"depth": "stretch", "bands": "9,9"},
     {"depth": "stretch", "bands": 3}, {"depth": "stretch", "scale": -1},
     {"depth": [], "bands": "", "scale": float("nan")}],
)  # fmt: skip
def test_entries_of_other_programs_are_ignored(data):
    assert reading_in(data) is None and train_scale_in(data) is None
