"""Networks and folders whose detections are known by hand."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from helpers.data_folders import make_dota
from models import CTRBOX, load_model
from structures.boxes import HEAD_CHANNELS, STRIDE

CLASSES = ("ship", "plane")


def tiny_model(backbone="mobilenetv2", classes=CLASSES, head_conv=8, size=64, seed=0, **more):
    """A network that a test can afford to train."""
    torch.manual_seed(seed)
    return CTRBOX(
        {"hm": len(classes), **HEAD_CHANNELS}, None, 4, 1, head_conv,
        backbone=backbone, classes=classes, input_size=(size, size), **more,
    )  # fmt: skip


def recorded_model(shared: Path) -> CTRBOX:
    """The recorded checkpoint of random weights, made sharp by the recipe of its outputs: it finds
    something everywhere, turned and upright, of 15 classes."""
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


class Known(nn.Module):
    """A 'network' that finds the same upright boxes in the n-th image that it sees.

    found: for each image a list of (centre x, centre y, width, height, score, label), in pixels of
    the input.
    """

    def __init__(self, found):
        super().__init__()
        self.found = list(found)
        self.seen = 0
        self.batches = []

    def forward(self, images):
        count, _, height, width = images.shape
        self.batches.append(count)
        shape = (height // STRIDE, width // STRIDE)
        maps = {"hm": torch.zeros(count, len(CLASSES), *shape)}
        maps |= {name: torch.zeros(count, n, *shape) for name, n in HEAD_CHANNELS.items()}
        for image in range(count):
            for x, y, w, h, score, label in self.found[self.seen]:
                column, row = int(x / STRIDE), int(y / STRIDE)
                maps["hm"][image, label, row, column] = score
                offset = torch.tensor([x / STRIDE - column, y / STRIDE - row])
                maps["reg"][image, :, row, column] = offset
                maps["wh"][image, 8:, row, column] = torch.tensor([w, h]) / STRIDE
            self.seen += 1
        return maps


def upright(x, y, w, h, name, difficult=0):
    """A label line of a box by its centre and size."""
    left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    corners = (left, top, right, top, right, bottom, left, bottom)
    return " ".join(map(str, (*corners, name, difficult)))


def small_set(root, train=6, val=2, size=(64, 64)):
    """Images with a large object or two, one without any; train, val and test lists, classes."""
    ids = [f"im{k}" for k in range(train + val)]
    lines = [
        [upright(20 + k, 24, 24, 16, "ship"), upright(44, 46, 18, 18 + k, "plane")]
        for k in range(train + val)
    ]
    lines[train - 1] = []
    labels = dict(zip(ids, lines, strict=True))
    make_dota(root, labels, size=size, train=ids[:train], val=ids[train:], test=ids[train:])
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return root
