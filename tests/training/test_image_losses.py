"""The losses of single images: those of a training batch of that image alone."""

import pytest
import torch

from datasets import DataOptions, collate, open_dataset
from helpers.data_folders import CLASSES, line, make_dota
from models import DetectionLoss
from structures.boxes import HEAD_CHANNELS
from training.image_losses import ImageLosses

SIZE_HW = (64, 96)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images that are not of the network's shape; the second has no objects, the third a small."""
    labels = {
        "a": [line(10, 12, 40, 30, "ship"), line(60, 50, 30, 30, "plane", 1)],
        "b": [],
        "c": [line(20, 20, 5, 5, "ship"), line(40, 40, 30, 20, "ship")],
    }
    folder = make_dota(tmp_path_factory.mktemp("data"), labels, train="abc", val="abc")
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    return folder


def random_maps(batch):
    """Return head maps as after the sigmoid."""
    generator = torch.Generator().manual_seed(batch)
    channels = {"hm": len(CLASSES), **HEAD_CHANNELS}
    shape = (SIZE_HW[0] // 4, SIZE_HW[1] // 4)
    maps = {n: torch.rand(batch, c, *shape, generator=generator) for n, c in channels.items()}
    return maps | {"hm": 0.01 + 0.98 * maps["hm"]}


def test_losses_are_those_of_a_batch_of_one_image(data):
    """Also where the images come in two batches."""
    options = DataOptions(augment=False, allow_overlap=True)
    train_set = open_dataset("dota", data, "train", SIZE_HW, options)
    val_set = open_dataset("dota", data, "val", SIZE_HW, DataOptions(allow_overlap=True))
    sizes = [(120, 90)] * 3
    maps = random_maps(3)
    criterion = DetectionLoss(train_set.mean_objects(1))
    measure = ImageLosses(val_set)
    found = measure({n: one[:2] for n, one in maps.items()}, 0, sizes[:2])
    found += measure({n: one[2:] for n, one in maps.items()}, 2, sizes[2:])
    for index, losses in enumerate(found):
        batch = collate([train_set[index]])
        targets = {name: batch[name] for name in batch if name not in ("input", "index", "ignored")}
        expected = criterion({n: one[index : index + 1] for n, one in maps.items()}, targets)
        assert losses == {name: value.item() for name, value in expected.items()}
    assert found[1]["wh"] == 0 and found[1]["hm"] > 0  # without objects
    assert found[0]["hm"] != found[2]["hm"]


def test_rectangles_have_no_loss_of_the_rotation(data):
    val_set = open_dataset("dota", data, "val", SIZE_HW, DataOptions(allow_overlap=True))
    maps, sizes = random_maps(1), [(120, 90)]
    (vectors,) = ImageLosses(val_set)(maps, 0, sizes)
    (rectangles,) = ImageLosses(val_set, box_coding="rectangle")(maps, 0, sizes)
    assert vectors.pop("cls_theta") > 0 and rectangles == vectors


def test_another_criterion(data):
    val_set = open_dataset("dota", data, "val", SIZE_HW, DataOptions(allow_overlap=True))

    def objects(maps, targets):
        return {"objects": targets["reg_mask"].sum().float()}

    assert ImageLosses(val_set, objects)(random_maps(2), 1, [(120, 90)] * 2) == [
        {"objects": 0.0}, {"objects": 1.0}
    ]  # fmt: skip
