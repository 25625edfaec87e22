"""Reading label files together, the cache between runs, and lists of errors."""

import os
import tracemalloc

import numpy as np
import pytest

from datasets.labels import collect_labels, raise_errors
from datasets.summary import LabelSummary
from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import MAX_SHOWN_FAULTS
from DOTA_devkit.formats import Labels, read_labels
from helpers.data_folders import line


class Reader:
    """`read_labels` for several files, which records their names."""

    def __init__(self):
        self.read = []

    def __call__(self, paths):
        for path in paths:
            self.read.append(path.name)
            yield read_labels(path)


def write(folder, name, *lines):
    path = folder / name
    path.write_text("".join(f"{text}\n" for text in lines))
    return path


def test_no_files(tmp_path):
    assert collect_labels([], Reader(), tmp_path / "cache.npz") == ([], [])


def test_cache_round_trip(tmp_path):
    paths = [
        write(tmp_path, "a.txt", "gsd:", line(1.5, -2, 30, 20, "ship", 1), line(0, 0, 9, 9, "ä b")),
        write(tmp_path, "b.txt"),
        write(tmp_path, "c.txt", line(4, 5, 60, 70, "ship", 2)),
    ]
    cache, reader = tmp_path / "cache.npz", Reader()
    first, errors = collect_labels(paths, reader, cache)
    assert not errors and reader.read == ["a.txt", "b.txt", "c.txt"]
    again, _ = collect_labels(paths, reader, cache)
    assert len(reader.read) == 3, "nothing is read twice"
    for before, after in zip(first, again, strict=True):
        assert after.names == before.names
        for key in ("corners", "difficult", "lines"):
            np.testing.assert_array_equal(getattr(after, key), getattr(before, key))


def test_changed_and_new_files_are_read(tmp_path):
    paths = [write(tmp_path, f"{n}.txt", line(0, 0, 9, 9, "ship")) for n in "ab"]
    cache = tmp_path / "cache.npz"
    collect_labels(paths, Reader(), cache)
    write(tmp_path, "a.txt", line(0, 0, 9, 9, "plane"))
    os.utime(paths[0], ns=(1, 1))
    paths.append(write(tmp_path, "c.txt"))
    reader = Reader()
    labels, _ = collect_labels(paths, reader, cache)
    assert reader.read == ["a.txt", "c.txt"]
    assert [item.names for item in labels] == [("plane",), ("ship",), ()]
    reader = Reader()
    collect_labels(paths, reader, cache)
    assert reader.read == []


def test_cache_keeps_files_of_other_lists(tmp_path):
    paths = [write(tmp_path, f"{n}.txt") for n in "ab"]
    cache = tmp_path / "cache.npz"
    for path in paths:
        collect_labels([path], Reader(), cache)
    reader = Reader()
    collect_labels(paths, reader, cache)
    assert reader.read == []


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 half a zip"])
def test_broken_cache_is_replaced(tmp_path, content):
    path, cache, reader = write(tmp_path, "a.txt"), tmp_path / "cache.npz", Reader()
    cache.write_bytes(content)
    collect_labels([path], reader, cache)
    collect_labels([path], reader, cache)
    assert reader.read == ["a.txt"]


@pytest.mark.parametrize(
    "damage",
    [
        {"corners": np.zeros((1, 4, 2), np.float32)},
        {"counts": np.array([7, 1], np.int64)},
        {"version": np.zeros(3, np.int64)},
        {"codes": np.array([5, 5], np.int64)},
        {"checksum": np.zeros(32, np.uint8)},
        {"more": np.zeros(1)},
        "nan",
        "array",
    ],
)
def test_a_cache_whose_parts_do_not_fit_is_made_anew(tmp_path, damage):
    """Its zip file is whole; other labels would be taught in silence."""
    paths = [write(tmp_path, f"{n}.txt", line(5, 6, 30, 20, n)) for n in ("ship", "car")]
    cache, reader = tmp_path / "cache.npz", Reader()
    collect_labels(paths, Reader(), cache)
    arrays = dict(np.load(cache))
    if damage == "nan":
        damage = {"corners": arrays["corners"] * np.nan}
    if damage == "array":
        with open(cache, "wb") as file:
            np.save(file, np.zeros(3))
    else:
        np.savez(cache, **{**arrays, **damage})
    for _ in range(2):  # read anew, then from the new cache
        labels, errors = collect_labels(paths, reader, cache)
        assert [one.names for one in labels] == [("ship",), ("car",)] and not errors
        assert all(np.isfinite(one.corners).all() for one in labels)
    assert reader.read == ["ship.txt", "car.txt"]


def test_cache_with_pickles_is_not_loaded(tmp_path):
    path, cache, reader = write(tmp_path, "a.txt"), tmp_path / "cache.npz", Reader()
    np.savez(cache, version=np.array([{"an": "object"}], dtype=object))
    collect_labels([path], reader, cache)
    assert reader.read == ["a.txt"]


def test_cache_memory_does_not_grow_with_the_longest_name(tmp_path):
    """Readers of others may return any name."""
    path, count = write(tmp_path, "a.txt"), 5000
    names = ("x" * 50_000, *["ship"] * (count - 1))
    numbers = np.arange(count)
    labels = Labels(np.zeros((count, 4, 2)), names, numbers, numbers)
    tracemalloc.start()
    collect_labels([path], lambda _paths: [labels], tmp_path / "cache.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # the file has about 0.8 MB
    (again,), _ = collect_labels([path], None, tmp_path / "cache.npz")
    assert again.names == names


def test_unwritable_cache_is_skipped(tmp_path):
    path = write(tmp_path, "a.txt")
    (tmp_path / "file").touch()
    labels, errors = collect_labels([path], Reader(), tmp_path / "file" / "cache.npz")
    assert len(labels) == 1 and not errors
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "file"]


def test_errors_of_all_files(tmp_path):
    paths = [
        write(tmp_path, "a.txt", line(0, 0, 9, 9, "ship"), "1 2 3"),
        tmp_path / "missing.txt",
        write(tmp_path, "b.txt", line(0, 0, 9, 9, "ship")),
        write(tmp_path, "c.txt", "0 0 nine 0 9 9 0 9 ship"),
    ]
    labels, errors = collect_labels(paths, Reader())
    assert [item is None for item in labels] == [True, True, False, True]
    assert "missing.txt" in errors[0] and "empty one" in errors[0]
    assert "a.txt:2" in errors[1] and "c.txt:1" in errors[2]


def test_raise_errors_lists_the_first_ones():
    raise_errors([], "nothing")
    count = MAX_SHOWN_FAULTS + 7
    with pytest.raises(InputError) as caught:
        raise_errors([f"error {k}" for k in range(count)], "errors", "Do this.")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{count} errors:"
    assert lines[-2:] == ["  and 7 more", "Do this."]
    assert len(lines) == MAX_SHOWN_FAULTS + 3


def test_summary_text():
    summary = LabelSummary(4, 1, {"ship": 3, "plane": 0}, 2, 0, 1, 10, 500)
    assert summary.mean_objects == 0.75
    text = str(summary)
    assert "4 images (1 without objects), 3 objects: ship 3; none of plane;" in text
    assert "3 are ignored" in text and "2 with a longer side below 10 px (min_size)" in text
    assert "without area" not in text
