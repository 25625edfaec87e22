"""Label files read together, the cache between runs, and how faults are told."""

import os

import numpy as np
import pytest

from datasets.labels import SHOWN_FAULTS, LabelSummary, collect_labels, raise_faults
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_labels
from helpers.data_folders import line


class Reader:
    """`read_labels` of several files, noting which."""

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


def test_labels_come_out_of_the_cache_as_they_went_in(tmp_path):
    paths = [
        write(tmp_path, "a.txt", "gsd:", line(1.5, -2, 30, 20, "ship", 1), line(0, 0, 9, 9, "ä b")),
        write(tmp_path, "b.txt"),
        write(tmp_path, "c.txt", line(4, 5, 60, 70, "ship", 2)),
    ]
    cache, reader = tmp_path / "cache.npz", Reader()
    first, faults = collect_labels(paths, reader, cache)
    assert not faults and reader.read == ["a.txt", "b.txt", "c.txt"]
    again, _ = collect_labels(paths, reader, cache)
    assert len(reader.read) == 3, "nothing is read twice"
    for before, after in zip(first, again, strict=True):
        assert after.names == before.names
        for key in ("corners", "difficult", "lines"):
            np.testing.assert_array_equal(getattr(after, key), getattr(before, key))


def test_changed_and_new_files_are_read_again(tmp_path):
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


def test_another_list_keeps_what_is_known(tmp_path):
    paths = [write(tmp_path, f"{n}.txt") for n in "ab"]
    cache = tmp_path / "cache.npz"
    for path in paths:
        collect_labels([path], Reader(), cache)
    reader = Reader()
    collect_labels(paths, reader, cache)
    assert reader.read == []


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 half a zip"])
def test_a_broken_cache_is_replaced(tmp_path, content):
    path, cache, reader = write(tmp_path, "a.txt"), tmp_path / "cache.npz", Reader()
    cache.write_bytes(content)
    collect_labels([path], reader, cache)
    collect_labels([path], reader, cache)
    assert reader.read == ["a.txt"]


def test_a_cache_with_pickles_is_not_opened(tmp_path):
    path, cache, reader = write(tmp_path, "a.txt"), tmp_path / "cache.npz", Reader()
    np.savez(cache, version=np.array([{"an": "object"}], dtype=object))
    collect_labels([path], reader, cache)
    assert reader.read == ["a.txt"]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    path = write(tmp_path, "a.txt")
    (tmp_path / "file").touch()
    labels, faults = collect_labels([path], Reader(), tmp_path / "file" / "cache.npz")
    assert len(labels) == 1 and not faults
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "file"]


def test_faults_of_all_files(tmp_path):
    paths = [
        write(tmp_path, "a.txt", line(0, 0, 9, 9, "ship"), "1 2 3"),
        tmp_path / "missing.txt",
        write(tmp_path, "b.txt", line(0, 0, 9, 9, "ship")),
        write(tmp_path, "c.txt", "0 0 nine 0 9 9 0 9 ship"),
    ]
    labels, faults = collect_labels(paths, Reader())
    assert [item is None for item in labels] == [True, True, False, True]
    assert "missing.txt" in faults[0] and "empty one" in faults[0]
    assert "a.txt:2" in faults[1] and "c.txt:1" in faults[2]


def test_many_faults_are_cut_short_and_counted():
    raise_faults([], "nothing")
    count = SHOWN_FAULTS + 7
    with pytest.raises(InputError) as caught:
        raise_faults([f"fault {k}" for k in range(count)], "faults", "Do this.")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{count} faults:"
    assert lines[-2:] == ["  and 7 more", "Do this."]
    assert len(lines) == SHOWN_FAULTS + 3


def test_summary():
    summary = LabelSummary(4, 1, {"ship": 3, "plane": 0}, 2, 0, 1, 10, 500)
    assert summary.mean_objects == 0.75
    text = str(summary)
    assert "4 images (1 without objects), 3 objects: ship 3; none of plane;" in text
    assert "3 are left out" in text and "2 with a longer side below 10 px (--min_size)" in text
    assert "without area" not in text
