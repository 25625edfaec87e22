"""Small networks for tests, and one whose detections are given."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.data_folders import CLASSES
from models import BACKBONES, CTRBOX, Checkpoint, load_model, save_checkpoint
from models.backbone_row import Backbone
from structures.boxes import HEAD_CHANNELS, STRIDE


def tiny_model(backbone="mobilenetv2", classes=CLASSES, head_conv=8, size=64, seed=0, **more):
    """Return an untrained network that is small enough to be trained in a test.

    `size` is that of its input, for both sides or (height, width).
    """
    torch.manual_seed(seed)
    size_hw = (size, size) if isinstance(size, int) else size
    return CTRBOX(
        {"hm": len(classes), **HEAD_CHANNELS}, None, 4, 1, head_conv,
        backbone=backbone, classes=classes, input_size=size_hw, **more,
    )  # fmt: skip


class TinyFeatures(nn.Sequential):
    """A backbone of four convolutions with BatchNorm."""

    def __init__(self):
        shapes = [(3, 4, 4), (8, 3, 2), (8, 3, 2), (8, 3, 2)]
        super().__init__(
            *(nn.Sequential(nn.Conv2d(c_in, 8, size, stride, int(size == 3), bias=False),
                            nn.BatchNorm2d(8), nn.ReLU())
              for c_in, size, stride in shapes)
        )  # fmt: skip

    def forward(self, x):
        maps = []
        for stage in self:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


def add_tiny_backbone(monkeypatch):
    """Let `--backbone tiny` be a network whose training takes no time."""
    monkeypatch.setitem(BACKBONES, "tiny", Backbone(TinyFeatures, (8, 8, 8, 8)))


def save_untrained(path, **options):
    """Save a checkpoint of `tiny_model(**options)` and return its path."""
    save_checkpoint(path, Checkpoint.of(tiny_model(**options)))
    return path


def recorded_model(shared: Path) -> CTRBOX:
    """Load the recorded checkpoint of random weights and scale its heads for clear detections.

    The factors are recorded with its outputs. The network then finds rotated and horizontal
    objects of 15 classes everywhere.
    """
    recipe = json.loads(str(np.load(shared / "fixtures/out_sharp_mobilenetv2.npz")["recipe"]))
    model = load_model(shared / "fixtures/model_mobilenetv2.pth")
    theta = recipe["cls_theta.2.weight *="]
    with torch.no_grad():
        model.hm[2].weight *= recipe["hm.2.weight *="]
        model.cls_theta[2].weight *= theta
        model.cls_theta[2].bias.mul_(theta).add_(recipe["cls_theta.2.bias = bias*k +"])
        model.wh[2].weight *= recipe["wh.2.weight,bias *="]
        model.wh[2].bias *= recipe["wh.2.weight,bias *="]
    return model


class FixedBoxesNetwork(nn.Module):
    """Output maps that decode to given horizontal boxes, whatever the images show.

    Attributes:
        boxes: for each image, in the order in which the network gets them, a list of
            (center x, center y, width, height, score, label) in pixels of the input.
        images_seen: number of images so far.
        batch_sizes: number of images in each batch so far.
    """

    def __init__(self, boxes):
        super().__init__()
        self.boxes = list(boxes)
        self.images_seen = 0
        self.batch_sizes = []

    def forward(self, images):
        count, _, height, width = images.shape
        self.batch_sizes.append(count)
        shape = (height // STRIDE, width // STRIDE)
        maps = {"hm": torch.zeros(count, len(CLASSES), *shape)}
        maps |= {name: torch.zeros(count, n, *shape) for name, n in HEAD_CHANNELS.items()}
        for image in range(count):
            for x, y, w, h, score, label in self.boxes[self.images_seen]:
                column, row = int(x / STRIDE), int(y / STRIDE)
                maps["hm"][image, label, row, column] = score
                offset = torch.tensor([x / STRIDE - column, y / STRIDE - row])
                maps["reg"][image, :, row, column] = offset
                maps["wh"][image, 8:, row, column] = torch.tensor([w, h]) / STRIDE
            self.images_seen += 1
        return maps
