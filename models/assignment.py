"""Which cells of the maps learn which object."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.heads_at_cells import EMPTY


def object_cells(targets: Mapping[str, Tensor]) -> Tensor:
    """Return the cells [B, K] of the objects in the targets of a batch, `EMPTY` in other slots."""
    return torch.where(targets["reg_mask"] != 0, targets["ind"], EMPTY)


# Over 60 lines because it computes one set of indices, from which every target is gathered.
def spread_over_neighbors(targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Assign each object to the 3x3 cells around its center, instead of one cell.

    The peak of the heat map may be in a cell next to the center, so that cell should learn the box
    as well. A cell near several objects learns the one whose center is nearest.

    Args:
        targets: Of a batch, see `models.losses.DetectionLoss.forward`.

    Returns:
        The targets with one slot for each of these cells (as many as in the image with most of
        them): `ind`, `reg_mask`, `wh`, `reg` (the offset of the center from that cell, so -1 to 2)
        and `cls_theta`; `cell_weight` [B, K], the cells of an object having 1 together; and
        `objects`, the number of objects.
    """
    height, width = targets["hm"].shape[2:]
    image, slot = targets["reg_mask"].nonzero(as_tuple=True)
    objects = len(image)
    own = targets["ind"][image, slot]
    offset = targets["reg"][image, slot]
    steps = torch.arange(-1, 2, device=own.device)
    step_y, step_x = (step.flatten() for step in torch.meshgrid(steps, steps, indexing="ij"))
    y = torch.div(own, width, rounding_mode="floor")[:, None] + step_y
    x = (own % width)[:, None] + step_x
    distance = (offset[:, :1] - step_x - 0.5) ** 2 + (offset[:, 1:] - step_y - 0.5) ** 2
    key = (image[:, None] * height + y) * width + x
    owner = torch.arange(objects, device=own.device)[:, None].expand(-1, 9)
    step = torch.arange(9, device=own.device).expand(objects, -1)

    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    key, owner, step, distance = (one[inside] for one in (key, owner, step, distance))
    # By cell, and within a cell by distance: the first of each cell is the nearest object's.
    order = torch.argsort(distance, stable=True)
    order = order[torch.argsort(key[order], stable=True)]
    key, owner, step = key[order], owner[order], step[order]
    first = torch.ones_like(key, dtype=torch.bool)
    first[1:] = key[1:] != key[:-1]
    key, owner, step = key[first], owner[first], step[first]

    share = 1 / torch.bincount(owner, minlength=objects).to(offset.dtype)
    of_image = image[owner]
    counts = torch.bincount(of_image, minlength=len(targets["hm"]))
    place = torch.arange(len(key), device=own.device) - (counts.cumsum(0) - counts)[of_image]
    slots = (of_image, place)
    most = int(counts.max()) if len(counts) else 0  # a process may have no image of a batch

    def filled(values: Tensor) -> Tensor:
        empty = values.new_zeros(len(counts), most, *values.shape[1:])
        return empty.index_put(slots, values)

    beside = torch.stack([step_x[step], step_y[step]], dim=1).to(offset.dtype)
    source = (image[owner], slot[owner])
    return {
        **targets,
        "ind": filled(key - of_image * height * width),
        "reg_mask": filled(torch.ones_like(of_image, dtype=targets["reg_mask"].dtype)),
        "wh": filled(targets["wh"][source]),
        "reg": filled(offset[owner] - beside),
        "cls_theta": filled(targets["cls_theta"][source]),
        "cell_weight": filled(share[owner]),
        "objects": torch.tensor(float(objects), device=own.device),
    }
