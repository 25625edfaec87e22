"""The digest of a dataset: what counts as the same data, and how a change is told."""

import pytest
import torch

from datasets import DataOptions, open_dataset
from datasets.digest import changes, digest_dataset
from DOTA_devkit.errors import InputError
from helpers.data_folders import make_small_dota


@pytest.fixture
def folder(tmp_path):
    return make_small_dota(tmp_path, train=4, val=1)


def opened(folder):
    dataset = open_dataset("dota", folder, "train", (64, 64), DataOptions())
    dataset.check_labels()
    return dataset


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def rename_list(folder):
    (folder / "train.txt").write_text("im0.png\nim1\n\nim2\nim3")


def reformat_label(folder):
    rewrite(folder / "labelTxt" / "im1.txt", " ", "  ")


def move_object(folder):
    rewrite(folder / "labelTxt" / "im1.txt", "9.0", "9.5")


def change_class(folder):
    rewrite(folder / "labelTxt" / "im1.txt", "ship", "plane")


def change_difficulty(folder):
    rewrite(folder / "labelTxt" / "im1.txt", "ship 0", "ship 1")


def empty_two(folder):
    for name in ("im0", "im2"):
        (folder / "labelTxt" / f"{name}.txt").write_text("")


def add(folder):
    (folder / "train.txt").write_text("im0\nim1\nim2\nim3\nim4\n")
    (folder / "val.txt").unlink()


def remove(folder):
    (folder / "train.txt").write_text("im0\nim3\n")


def reorder(folder):
    (folder / "train.txt").write_text("im1\nim0\nim2\nim3\n")


def repeat(folder):
    (folder / "train.txt").write_text("im0\nim1\nim2\nim3\nim3\n")


LABELED = "1 image was labeled anew: {}/labelTxt/im1.txt"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: None, []),
        (rename_list, []),
        (reformat_label, []),
        (move_object, [LABELED]),
        (change_class, [LABELED]),
        (change_difficulty, [LABELED]),
        (empty_two, ["2 images were labeled anew: {0}/labelTxt/im0.txt, {0}/labelTxt/im2.txt"]),
        (add, ["1 image was added to its list: im4"]),
        (remove, ["2 images were removed from its list, at position 2, 3"]),
        (reorder, ["its list has another order, or other repetitions"]),
        (repeat, ["its list has another order, or other repetitions"]),
    ],
)
def test_changes(folder, change, expected):
    before = digest_dataset(opened(folder))
    change(folder)
    assert changes(before, opened(folder)) == [text.format(folder) for text in expected]


def test_many_images_are_not_all_named(tmp_path):
    folder = make_small_dota(tmp_path, train=9, val=1)
    before = digest_dataset(opened(folder))
    for path in (folder / "labelTxt").iterdir():
        path.write_text("")
    (told,) = changes(before, opened(folder))  # the last image had none before
    assert told.startswith("8 images were labeled anew: ") and told.endswith("im4.txt, ...")


@pytest.mark.parametrize(
    "before",
    [
        {},
        {"ids": torch.zeros(4, dtype=torch.int64), "labels": None},
        {"ids": torch.zeros(4, dtype=torch.int64), "labels": torch.zeros(3, dtype=torch.int64)},
        {"ids": torch.zeros(4), "labels": torch.zeros(4)},
        {"ids": torch.zeros(2, 2, dtype=torch.int64), "labels": torch.zeros(4, dtype=torch.int64)},
    ],
)
def test_malformed_digest_in_checkpoint(folder, before):
    with pytest.raises(InputError, match="the digest of the data in the checkpoint is damaged"):
        changes(before, opened(folder))
