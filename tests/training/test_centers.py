"""Boxes that are shifted to where the labels of a set have them."""

import numpy as np
import pytest
import torch
from torch import nn

from datasets.images import UnreadableImage
from DOTA_devkit.errors import InputError
from training.centers import AlignedCenters, center_shift

CELLS = (6, 8)


class GivenCenters(nn.Module):
    """A network whose head `reg` gives the same offset at all cells."""

    def __init__(self, x=0.5, y=0.5):
        super().__init__()
        self.reg = nn.Sequential(nn.Conv2d(3, 2, 1))
        nn.init.zeros_(self.reg[0].weight)
        self.reg[0].bias.data = torch.tensor([x, y])
        self.center_shift = (0.0, 0.0)

    def forward(self, x):
        return {"reg": self.reg(x[:, :, ::4, ::4])}


class Labels:
    """Images with objects in random cells, whose centers lie beside (0.5, 0.5) of their cell."""

    input_h, input_w = 4 * CELLS[0], 4 * CELLS[1]

    def __init__(self, beside, spread=0.1, images=50, objects=4, unreadable=()):
        self.rng = np.random.default_rng(1)
        self.errors = self.rng.normal(beside, spread, (images, objects, 2)) + 0.5
        self.unreadable = unreadable

    def __len__(self):
        return len(self.errors)

    def source_image(self, index):
        if index in self.unreadable:
            raise UnreadableImage("broken")
        return np.zeros((self.input_h, self.input_w, 3), np.uint8)

    def processing_test(self, image, height, width):
        return torch.zeros(1, 3, height, width)

    def whole_image_targets(self, index, size_wh):
        count = self.errors.shape[1]
        taught = np.arange(count + 2) < count  # two slots without an object, of other values
        return {
            "reg_mask": taught.astype(np.uint8),
            "ind": np.where(taught, self.rng.integers(0, CELLS[0] * CELLS[1], count + 2), 0),
            "reg": np.concatenate([self.errors[index], np.full((2, 2), 9.0)]),
        }


def test_the_median_is_found_where_it_is_significant():
    right, down = center_shift(GivenCenters(), Labels((0.12, 0.0)))
    assert right == pytest.approx(0.12, abs=0.02) and down == 0


@pytest.mark.parametrize(
    "labels",
    [
        Labels((0.0, 0.0)),
        Labels((0.1, -0.1), spread=1.0),  # may be chance
        Labels((0.2, 0.2), images=7),  # 28 objects
        Labels((0.2, 0.2), images=0),
        Labels((0.2, 0.2), objects=0),
        Labels((0.2, 0.2), unreadable=range(50)),
    ],
)
def test_no_shift(labels):
    assert center_shift(GivenCenters(), labels) is None


def test_unreadable_images_and_the_mode_of_the_network_do_not_matter():
    model = GivenCenters().train()
    labels = Labels((-0.2, 0.3), unreadable=range(0, 50, 2))
    assert center_shift(model, labels) == pytest.approx((-0.2, 0.3), abs=0.03)
    assert model.training


def test_shift_and_back():
    model = GivenCenters(0.4, 0.7)
    centers = AlignedCenters(model, Labels((0.0, 0.0), spread=0.01))
    plain = model.reg[-1].bias.clone()
    assert centers.entry() == {}
    for _ in range(2):  # the second time, there is nothing left to shift
        centers.align()
        assert model.reg[-1].bias.tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert center_shift(model, centers._dataset) is None
    assert model.center_shift == pytest.approx((0.1, -0.2), abs=0.01)
    stored = centers.entry()

    other = GivenCenters(*model.reg[-1].bias.tolist())
    other.center_shift = model.center_shift
    AlignedCenters(other, Labels((0.0, 0.0))).resume({"step": 3, **stored}, None)
    centers.restore()
    for one in (model, other):
        assert torch.equal(one.reg[-1].bias, plain) and one.center_shift == (0.0, 0.0)
    assert centers.entry() == {}


def test_checkpoints_without_a_shift_and_damaged_ones(tmp_path):
    model = GivenCenters(0.4, 0.7)
    centers = AlignedCenters(model, Labels((0.0, 0.0)))
    centers.resume({"step": 3}, tmp_path)
    assert model.reg[-1].bias.tolist() == pytest.approx([0.4, 0.7])
    for damaged in ({"center_bias_x": 0.5}, {"center_bias_x": 0.5, "center_bias_y": float("nan")}):
        with pytest.raises(InputError, match="the bias of its centers"):
            centers.resume(damaged, tmp_path)
