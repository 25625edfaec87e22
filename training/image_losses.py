"""The loss of each image of a validation, by which the hardest ones are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from datasets import BaseDataset
from models import DetectionLoss
from models.losses import gather_cells


class ImageLosses:
    """Computes the losses of whole images from the heads that a validation computes anyway.

    Each image counts as a batch of its own: its losses are means over its own objects, as in
    training, but it is letterboxed and not augmented, and the network is in eval mode. There is
    no further forward pass.

    Args:
        dataset: labeled images, in any phase.
        criterion: the losses that the network is trained with.
    """

    def __init__(self, dataset: BaseDataset, criterion: DetectionLoss):
        self._dataset = dataset
        self._criterion = criterion

    @torch.no_grad()
    def __call__(
        self, maps: Mapping[str, Tensor], first: int, sizes_wh: Sequence[tuple[int, int]]
    ) -> list[dict[str, float]]:
        """Compute the losses of the images of a batch.

        Args:
            maps: The heads [B, channels, H, W] of a batch, from `model(x, logits=True)`.
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
        assigned = self._criterion.assign(on_device)
        at_cells = {
            name: one if name == "hm" else gather_cells(one, assigned["ind"])
            for name, one in maps.items()
        }
        losses = self._criterion(at_cells, assigned, logits=True)
        values = torch.stack(list(losses.values())).tolist()
        return dict(zip(losses, values, strict=True))
