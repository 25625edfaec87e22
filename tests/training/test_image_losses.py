"""The losses of single images: those of a training batch of that image alone."""

import numpy as np
import pytest
import torch

from datasets import DataOptions, collate, open_dataset
from helpers.data_folders import CLASSES, line, make_dota
from inference import InferenceSettings, run_over
from models import CTRBOX, DetectionLoss
from models.assignment import object_cells
from models.losses import gather_cells
from models.rectangle_loss import RectangleLoss
from structures.boxes import HEAD_CHANNELS
from training.image_losses import ImageLosses

SIZE_HW = (64, 96)
CPU = torch.device("cpu")


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
    """Return heads as they are trained."""
    generator = torch.Generator().manual_seed(batch)
    channels = {"hm": len(CLASSES), **HEAD_CHANNELS}
    shape = (SIZE_HW[0] // 4, SIZE_HW[1] // 4)
    return {n: torch.randn(batch, c, *shape, generator=generator) for n, c in channels.items()}


@pytest.mark.parametrize("loss", [DetectionLoss, RectangleLoss])
def test_losses_are_those_of_a_batch_of_one_image(data, loss):
    """Also where the images come in two batches."""
    options = DataOptions(augment=False, allow_overlap=True)
    train_set = open_dataset("dota", data, "train", SIZE_HW, options)
    val_set = open_dataset("dota", data, "val", SIZE_HW, DataOptions(allow_overlap=True))
    sizes = [(120, 90)] * 3
    maps = random_maps(3)
    criterion = loss(train_set.mean_objects(1))
    measure = ImageLosses(val_set, criterion)
    found = measure({n: one[:2] for n, one in maps.items()}, 0, sizes[:2])
    found += measure({n: one[2:] for n, one in maps.items()}, 2, sizes[2:])
    for index, losses in enumerate(found):
        batch = collate([train_set[index]])
        targets = {name: batch[name] for name in batch if name not in ("input", "index", "ignored")}
        targets = criterion.assign(targets)
        cells = object_cells(targets).clamp(min=0)
        own = {n: one[index : index + 1] for n, one in maps.items()}
        own = {n: one if n == "hm" else gather_cells(one, cells) for n, one in own.items()}
        expected = criterion(own, targets, logits=True)
        assert losses == {name: value.item() for name, value in expected.items()}
    assert {"angle", "fit"} <= set(found[0]) or loss is DetectionLoss
    assert found[1]["wh"] == 0 and found[1]["hm"] > 0  # without objects
    assert found[0]["hm"] != found[2]["hm"]


def test_losses_are_those_of_the_network_in_training(data):
    """The validation computes them from the heads that it decodes: there is no other pass."""
    val_set = open_dataset("dota", data, "val", SIZE_HW, DataOptions(allow_overlap=True))
    heads = {"hm": len(CLASSES), **HEAD_CHANNELS}
    model = CTRBOX(heads, None, 4, 3, 8, "resnet18", True, box_coding="rectangle").eval()
    criterion = RectangleLoss(val_set.mean_objects(1))
    settings = InferenceSettings(batch_size=2, num_workers=0)
    measured = list(
        run_over(model, val_set, settings, CPU, measure=ImageLosses(val_set, criterion))
    )
    plain = list(run_over(model, val_set, settings, CPU))
    for index, (one, other) in enumerate(zip(measured, plain, strict=True)):
        np.testing.assert_array_equal(one.detections.corners, other.detections.corners)
        targets = val_set.whole_image_targets(index, (120, 90))
        targets = criterion.assign({n: torch.from_numpy(v)[None] for n, v in targets.items()})
        with torch.no_grad():
            image = val_set[index]["image"]
            maps = model(image, logits=True, cells=object_cells(targets))
            expected = criterion(maps, targets)
        assert one.losses == pytest.approx(
            {name: value.item() for name, value in expected.items()}, rel=1e-4, abs=1e-6
        )


class CountedObjects:
    """A criterion that counts the objects."""

    def assign(self, targets):
        return targets

    def __call__(self, maps, targets, logits):
        assert logits
        return {"objects": targets["reg_mask"].sum().float()}


def test_another_criterion(data):
    val_set = open_dataset("dota", data, "val", SIZE_HW, DataOptions(allow_overlap=True))
    measure = ImageLosses(val_set, CountedObjects())
    assert measure(random_maps(2), 1, [(120, 90)] * 2) == [{"objects": 0.0}, {"objects": 1.0}]
