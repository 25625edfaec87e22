"""Which list a phase reads, and overlapping lists."""

import logging

import pytest

from datasets.lists import check_overlap, find_list, read_list
from datasets.options import DataOptions
from DOTA_devkit.errors import InputError

TRAIN, VAL, TRAINVAL, TEST = "train.txt", "val.txt", "trainval.txt", "test.txt"


@pytest.mark.parametrize("files, train, val, test", [
    ([], None, None, None),
    ([TRAIN], TRAIN, None, None),
    ([TRAINVAL], TRAINVAL, None, None),
    ([TRAIN, TRAINVAL], TRAIN, None, None),
    ([TRAIN, TRAINVAL, TEST], TRAIN, None, TEST),
    ([TRAIN, VAL], TRAIN, VAL, VAL),
    ([TRAIN, VAL, TRAINVAL, TEST], TRAIN, VAL, TEST),
    ([TRAINVAL, TEST], TRAINVAL, None, TEST),
    ([TRAINVAL, VAL], TRAINVAL, VAL, VAL),
    ([VAL], None, VAL, VAL),
])  # fmt: skip
def test_find_list_default_names(tmp_path, files, train, val, test):
    for name in files:
        (tmp_path / name).touch()
    for phase, expected in {"train": train, "val": val, "test": test}.items():
        found = find_list(tmp_path, phase, DataOptions())
        assert (found and found.name) == expected, phase


def test_find_list_from_options(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere.txt"
    data.mkdir()
    elsewhere.touch()
    for name in (TRAIN, TRAINVAL, VAL, "mine.txt"):
        (data / name).touch()
    options = DataOptions(train_list="mine.txt", test_list=str(elsewhere))
    assert find_list(data, "train", options) == data / "mine.txt"
    assert find_list(data, "test", options) == elsewhere
    assert find_list(data, "val", options) == data / VAL


@pytest.mark.parametrize("phase", ["train", "val", "test"])
def test_find_list_missing_file(tmp_path, phase):
    with pytest.raises(InputError, match=rf"^{phase}_list: .*nowhere\.txt"):
        find_list(tmp_path, phase, DataOptions(**{f"{phase}_list": "nowhere.txt"}))


def test_read_list(tmp_path):
    path = tmp_path / TRAIN
    path.write_bytes(b"P1\r\n\r\n P2.png \n")
    assert read_list(path) == ["P1", "P2.png"]
    path.write_text("\n\n")
    with pytest.raises(InputError, match="empty"):
        read_list(path)


@pytest.mark.parametrize("train, val, message", [
    (["a", "b"], ["c"], None),
    (["a", "b", "c"], ["b", "c", "d", "b"], r"2 of 3 validation images .* \(b, c\)"),
    (["a__1__0___0"], ["a__1__500___0", "b"], r"patches of 1 images .* \(a\)"),
    (["a__0.5__0___0"], ["a"], r"patches of 1 images"),
    (["a__b__1__0___0"], ["a__c__1__0___0"], None),  # a name may contain two underscores
])  # fmt: skip
def test_check_overlap(train, val, message, caplog):
    if message is None:
        check_overlap(train, val)
        return
    with pytest.raises(InputError, match=message + r".*set allow_overlap"):
        check_overlap(train, val)
    with caplog.at_level(logging.WARNING):
        check_overlap(train, val, allow=True)
    assert len(caplog.records) == 1


def test_check_overlap_names_the_list():
    with pytest.raises(InputError, match=r"1 of 1 test images"):
        check_overlap(["a"], ["a"], name="test")
