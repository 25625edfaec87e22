"""Datasets by name, and user-defined classes by file."""

import pytest
import torch

from datasets import DOTA, HRSC, DataOptions, collate, find_dataset, open_dataset
from DOTA_devkit.errors import InputError
from helpers.data_folders import line, make_dota, make_hrsc

OWN = """
import os
import numpy as np
from datasets.base import BaseDataset
from datasets.dataset_dota import DOTA

class Own(BaseDataset):
    def __init__(self, data_dir, phase, input_h=None, input_w=None, down_ratio=None):
        super(Own, self).__init__(data_dir, phase, input_h, input_w, down_ratio)
        self.category = ["box"]
        self.num_classes = 1
        self.cat_ids = {"box": 0}
        self.img_ids = self.load_img_ids()

    def load_img_ids(self):
        path = os.path.join(self.data_dir, self.phase + ".txt")
        assert os.path.exists(path), "Path does not exist: {}".format(path)
        return open(path).read().split()

    def load_image(self, index):
        return np.full((40, 60, 3), 90, np.uint8)

    def load_annotation(self, index):
        pts = np.array([[[10, 10], [50, 10], [50, 30], [10, 30]]], np.float32)
        return {"pts": pts, "cat": np.array([0]), "dif": np.array([0])}

class OwnDota(DOTA):
    def __init__(self, data_dir, phase, input_h=None, input_w=None, down_ratio=None):
        super().__init__(data_dir, phase, input_h, input_w, down_ratio)
        self.category = ["boat"]
        self.num_classes = 1
        self.cat_ids = {"boat": 0}

class Empty(Own):
    def load_img_ids(self):
        return []

class Uneven(Own):
    def __init__(self, *args):
        super().__init__(*args)
        self.num_classes = 2

class Helper:
    pass

number = 3
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own_data.py"
    path.write_text(OWN)
    (tmp_path / "train.txt").write_text("x\ny\n")
    return path


def test_open_dataset_by_name(tmp_path):
    assert find_dataset("dota") is DOTA and find_dataset("HRSC") is HRSC
    make_dota(tmp_path / "d", {"a": []}, train="a")
    make_hrsc(tmp_path / "h", {"a": []}, test="a")
    dota = open_dataset("dota", tmp_path / "d", "train", (64, 96), DataOptions(max_objs=7))
    assert type(dota) is DOTA and (dota.input_h, dota.input_w, dota.max_objs) == (64, 96, 7)
    assert type(open_dataset("hrsc", tmp_path / "h", "test", (64, 96))) is HRSC


def test_no_validation_list(tmp_path, own):
    make_dota(tmp_path, {"a": []}, train="a")
    assert open_dataset("dota", tmp_path, "val", (64, 64)) is None
    assert open_dataset(f"{own}:Own", tmp_path, "val", (64, 64)) is None
    with pytest.raises(InputError, match=r"^val_list"):
        open_dataset("dota", tmp_path, "val", (64, 64), DataOptions(val_list="nowhere.txt"))


def test_class_in_a_file(tmp_path, own):
    options = DataOptions(max_objs=9, augment=False)
    dataset = open_dataset(f"{own}:Own", tmp_path, "train", (64, 96), options)
    assert len(dataset) == 2 and dataset.max_objs == 9
    loader = torch.utils.data.DataLoader(dataset, 2, num_workers=1, collate_fn=collate)
    (batch,) = loader
    assert batch["reg_mask"].tolist() == [[1] + [0] * 8] * 2
    assert dataset.check_labels().objects == {"box": 2}


@pytest.mark.slow
def test_class_in_a_file_with_spawned_workers(tmp_path, own):
    dataset = open_dataset(f"{own}:Own", tmp_path, "train", (64, 96))
    dataset.set_epoch(1, 2)
    loader = torch.utils.data.DataLoader(
        dataset, 2, num_workers=1, collate_fn=collate, multiprocessing_context="spawn"
    )
    (batch,) = loader
    assert batch["index"].tolist() == [0, 1]
    assert torch.equal(batch["input"][1], torch.from_numpy(dataset[1]["input"]))


def test_subclass_of_dota_in_a_file(tmp_path, own):
    """Its constructor accepts no options, but the options apply to it."""
    make_dota(tmp_path, {"a": [], "b": [line(10, 10, 60, 40, "boat")]}, train="a", mine="b")
    options = DataOptions(min_size=70, augment=False, train_list="mine.txt")
    dataset = open_dataset(f"{own}:OwnDota", tmp_path, "train", (64, 96), options)
    assert dataset.options is options and dataset.img_ids == ["b"]
    assert dataset.check_labels().too_small == 1
    assert DOTA(tmp_path, "train").options == DataOptions(), "other datasets are unaffected"


def test_list_option_without_effect_warns(tmp_path, own, caplog):
    open_dataset(f"{own}:Own", tmp_path, "train", (64, 96), DataOptions(train_list="mine.txt"))
    assert "train_list has no effect" in caplog.text


@pytest.mark.parametrize("spec, message", [
    ("coco", "choose from dota, hrsc, or name your own class"),
    ("own_data.py", "choose from dota, hrsc, or name your own class"),
    ("{}/nowhere.py:Own", "there is no file"),
    ("{}/loop.py:Own", "there is no file"),
    ("{}/own_data.py:Missing", "classes are Own, OwnDota, Empty, Uneven, Helper"),
    ("{}/own_data.py:number", "no class 'number'"),
    ("{}/own_data.py:Helper", "not a subclass of datasets.base.BaseDataset"),
    ("{}/broken.py:Own", r"broken\.py: cannot be imported: SyntaxError"),
    ("{}/own_data.py:Empty", "lists no images"),
    ("{}/own_data.py:Own", "Own: Path does not exist"),  # there is no test.txt
])  # fmt: skip
def test_datasets_that_cannot_be_opened(tmp_path, own, spec, message):
    (tmp_path / "broken.py").write_text("class Own(:\n")
    (tmp_path / "loop.py").symlink_to("loop.py")
    with pytest.raises(InputError, match=message):
        open_dataset(spec.format(tmp_path), tmp_path, "test", (64, 64))


def test_inconsistent_number_of_classes(tmp_path, own):
    with pytest.raises(InputError, match="num_classes is 2, but category names 1"):
        open_dataset(f"{own}:Uneven", tmp_path, "train", (64, 64))


def test_missing_data_folder(tmp_path):
    with pytest.raises(InputError, match="no such data folder"):
        open_dataset("dota", tmp_path / "nowhere", "train", (64, 64))
