"""The loss of each image of a validation, by which the hardest ones are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from datasets import BaseDataset
from models import DetectionLoss
from structures.boxes import VECTORS


class ImageLosses:
    """Computes the losses of whole images from the head maps that a validation makes anyway.

    Each image counts as a batch of its own: its losses are means over its own objects, as in
    training, but it is letterboxed and not augmented, and the network is in eval mode. There is
    no further forward pass.

    Args:
        dataset: labeled images, in any phase.
        criterion: head maps after the sigmoid and targets -> losses by name; by default that of
            the original, whatever the network was trained with.
        box_coding: of the network; with rectangles `cls_theta` is 1 everywhere, and has no loss.
    """

    def __init__(
        self,
        dataset: BaseDataset,
        criterion: DetectionLoss | None = None,
        box_coding: str = VECTORS,
    ):
        self._dataset = dataset
        self._learns_theta = box_coding == VECTORS
        self._criterion = criterion or DetectionLoss(dataset.mean_objects(1))

    @torch.no_grad()
    def __call__(
        self, maps: Mapping[str, Tensor], first: int, sizes_wh: Sequence[tuple[int, int]]
    ) -> list[dict[str, float]]:
        """Compute the losses of the images of a batch.

        Args:
            maps: `hm` [B, C, H, W] after the sigmoid, and the other heads.
            first: index of the first image of the batch in the data set.
            sizes_wh: width and height of the source of each image.

        Returns:
            The losses by name of each image.
        """
        found = []
        for place, size_wh in enumerate(sizes_wh):
            own = {name: one[place : place + 1] for name, one in maps.items()}
            found.append(self._losses(own, first + place, size_wh))
        return found

    def _losses(
        self, maps: dict[str, Tensor], index: int, size_wh: tuple[int, int]
    ) -> dict[str, float]:
        device = maps["hm"].device
        targets = self._dataset.whole_image_targets(index, size_wh)
        on_device = {
            name: torch.from_numpy(value)[None].to(device) for name, value in targets.items()
        }
        losses = self._criterion(maps, on_device)
        if not self._learns_theta:
            del losses["cls_theta"]
        values = torch.stack(list(losses.values())).tolist()
        return dict(zip(losses, values, strict=True))
