"""Test-time augmentation: the head maps of several views of an image, as those of the image.

Each view goes through the network, its maps are brought back into the frame of the image, and
their mean takes the place of the network's output. So the decoder, NMS and all that follows work as
without it.

Flips and right angles map cells onto cells, as the sides of an input are multiples of 32: a point
`i + o`, the offset o from the left border of cell i of W, is `(W - 1 - i) + (1 - o)` after a flip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from models.box_coding import TINY, code_rectangles, rectangle_vectors
from structures.boxes import WH
from structures.views import View

BLACK = -0.5
"""Value of a black pixel in the network's input."""

SIDE_MULTIPLE = 32
"""The sides of the network's input are multiples of it."""

RIGHT_ANGLE = 0.01
"""Largest error, relative to its sides, of a box that counts as a rectangle."""

Network = Callable[[Tensor], Mapping[str, Tensor]]
"""Images [B, 3, H, W] -> the head maps that `models.CTRBOX` returns."""


def augmented_maps(
    network: Network,
    images: Tensor,
    views: Sequence[View],
    center_shift: tuple[float, float] = (0.0, 0.0),
) -> Mapping[str, Tensor]:
    """Compute the mean head maps of several views of images.

    Args:
        network: The network, which is called once for each view.
        images: [B, 3, H, W] its input, as for `models.CTRBOX`.
        views: The views, of which the first is `PLAIN`, as `parse_views` returns them.
        center_shift: Of the network, see `models.CTRBOX`.

    Returns:
        The maps in the frame of `images`, in the meaning that `models.CTRBOX` gives them. The
        output of the network itself, if there is no view but `PLAIN`.
    """
    plain = network(images)
    if len(views) == 1:
        return plain
    mean = _MeanMaps(plain)
    for view in views[1:]:
        maps = network(see(images, view))
        mean.add(maps_of_image(maps, view, plain["hm"].shape[2:], center_shift))
    return mean.maps()


def see(images: Tensor, view: View) -> Tensor:
    """Return a view of images [B, 3, H, W]; scaled ones are padded to a usable size."""
    memory_format = torch.contiguous_format
    if images.is_contiguous(memory_format=torch.channels_last):
        memory_format = torch.channels_last
    if view.scale != 1:
        images = F.interpolate(
            images, scale_factor=view.scale, mode="bilinear", recompute_scale_factor=False
        )
        height, width = images.shape[2:]
        padding = (0, -width % SIDE_MULTIPLE, 0, -height % SIDE_MULTIPLE)
        images = F.pad(images, padding, value=BLACK)
    if view.transposed:
        images = images.transpose(2, 3)
    if flipped := _flipped_dims(view):
        images = images.flip(flipped)
    return images.contiguous(memory_format=memory_format)


def maps_of_image(
    maps: Mapping[str, Tensor],
    view: View,
    size_hw: Sequence[int],
    center_shift: tuple[float, float] = (0.0, 0.0),
) -> dict[str, Tensor]:
    """Bring the head maps of a view back into the frame of the image.

    Args:
        maps: `hm`, `wh`, `reg` and `cls_theta` of the view.
        view: The view.
        size_hw: Height and width of the maps of the image itself.
        center_shift: See `augmented_maps`.
    """
    shift = maps["reg"].new_tensor(center_shift)[:, None, None]
    maps = {**maps, "reg": maps["reg"] - shift}
    maps = {name: values.flip(_flipped_dims(view)) for name, values in maps.items()}
    x, y = maps["reg"].unbind(1)
    reg = torch.stack([1 - x if view.flip_x else x, 1 - y if view.flip_y else y], dim=1)
    signs = maps["wh"].new_tensor([-1 if view.flip_x else 1, -1 if view.flip_y else 1])
    vectors = {name: maps["wh"][:, WH[name]] * signs[:, None, None] for name in "trbl"}
    size = maps["wh"][:, WH["size"]]
    if view.transposed:
        maps = {name: values.transpose(2, 3) for name, values in maps.items()}
        reg, size = (pair.transpose(2, 3).flip(1) for pair in (reg, size))
        vectors = {name: pair.transpose(2, 3).flip(1) for name, pair in vectors.items()}
    if view.mirrored:  # they run clockwise again
        vectors["r"], vectors["l"] = vectors["l"], vectors["r"]
    maps = {**maps, "reg": reg, "wh": torch.cat([*vectors.values(), size], dim=1)}
    if view.scale != 1:
        maps = _resize(maps, view.scale, size_hw)
    return {**maps, "reg": maps["reg"] + shift}


def _flipped_dims(view: View) -> list[int]:
    return [dim for dim, flip in ((3, view.flip_x), (2, view.flip_y)) if flip]


def _resize(maps: Mapping[str, Tensor], scale: float, size_hw: Sequence[int]) -> dict[str, Tensor]:
    """Bring the maps of a scaled image to the cells of the image itself.

    Between four cells, the box is their mean by distance and score: a cell without an object says
    nothing about the box beside it.
    """
    hm = maps["hm"]
    height, width = hm.shape[2:]

    def places(count: int, cells: int) -> Tensor:
        """Centers of the image's cells in the view, -1 to 1 from border to border."""
        centers = torch.arange(count, device=hm.device, dtype=torch.float32) + 0.5
        return 2 * scale * centers / cells - 1

    y, x = torch.meshgrid(places(size_hw[0], height), places(size_hw[1], width), indexing="ij")
    grid = torch.stack([x, y], dim=-1).to(hm.dtype).expand(len(hm), -1, -1, -1)

    def sample(values: Tensor) -> Tensor:
        return F.grid_sample(values, grid, padding_mode="border", align_corners=False)

    weight = _score(hm)
    boxes = [maps["wh"] / scale, (maps["reg"] + _cells(hm)) / scale, maps["cls_theta"]]
    sampled = sample(torch.cat([weight, *(weight * part for part in boxes)], dim=1))
    wh, center, theta = (sampled[:, 1:] / sampled[:, :1]).split([10, 2, 1], dim=1)
    hm = sample(hm)
    return {"hm": hm, "wh": wh, "reg": center - _cells(hm), "cls_theta": theta}


def _score(hm: Tensor) -> Tensor:
    """Return how surely cells hold the center of an object of any class, [B, 1, H, W] above 0."""
    return hm.amax(dim=1, keepdim=True) + TINY


def _cells(hm: Tensor) -> Tensor:
    """Return x and y of the cells of a map, [2, H, W]."""
    rows, columns = (torch.arange(n, device=hm.device, dtype=hm.dtype) for n in hm.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y])


class _MeanMaps:
    """The mean of head maps in one frame; the boxes of a cell are weighted by their scores.

    Views may disagree by quarter turns on which vector is the upper one, as the order of the
    vectors jumps where a box turns through the axes. So the vectors of each view take the order
    that is nearest to those of the first. Where all views have a rectangle, they are averaged in
    the coding of rectangles instead, which has no order, and whose mean is a rectangle again.
    """

    def __init__(self, maps: Mapping[str, Tensor]):
        self._first = _vectors(maps["wh"])
        self._count = 1
        self._sums = self._summands(maps)
        self._rectangles = _are_rectangles(self._first)

    def add(self, maps: Mapping[str, Tensor]) -> None:
        """Count the maps of one more view."""
        for total, part in zip(self._sums, self._summands(maps), strict=True):
            total += part
        self._rectangles &= _are_rectangles(_vectors(maps["wh"]))
        self._count += 1

    def _summands(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        """Return what is summed over the views: scores, weights, and the weighted boxes."""
        vectors, size, weight = _vectors(maps["wh"]), maps["wh"][:, WH["size"]], _score(maps["hm"])
        boxes = [nearest_order(vectors, self._first), size, code_rectangles(vectors),
                 maps["reg"], maps["cls_theta"]]  # fmt: skip
        return [maps["hm"].clone(), weight, *(weight * box for box in boxes)]

    def maps(self) -> dict[str, Tensor]:
        """Return the mean."""
        hm, weight, *boxes = self._sums
        vectors, size, coded, reg, theta = (box / weight for box in boxes)
        rectangles = _vectors(rectangle_vectors(coded))
        vectors = torch.where(self._rectangles, rectangles, vectors)
        wh = torch.cat([vectors, size], dim=1)
        return {"hm": hm / self._count, "wh": wh, "reg": reg, "cls_theta": theta}


def _vectors(wh: Tensor) -> Tensor:
    return wh[:, : WH["size"].start]


def nearest_order(vectors: Tensor, reference: Tensor) -> Tensor:
    """Turn the order t, r, b, l of vectors by the quarter turns that bring them nearest to others.

    Args:
        vectors: [B, 8, ...], clockwise.
        reference: [B, 8, ...], clockwise.
    """
    turned = torch.stack([vectors.roll(2 * turn, dims=1) for turn in range(4)])
    # of all turns, the vectors have the same length: the nearest has the largest product
    best = (turned * reference).sum(dim=2, keepdim=True).argmax(dim=0, keepdim=True)
    return turned.take_along_dim(best, dim=0)[0]


def _are_rectangles(vectors: Tensor) -> Tensor:
    """Return whether vectors [B, 8, ...] are those of rectangles, [B, 1, ...]."""
    t, r, b, left = (vectors[:, WH[name]] for name in "trbl")

    def length(values: Tensor) -> Tensor:
        return torch.linalg.vector_norm(values, dim=1, keepdim=True)

    up, right = length(t), length(r)
    straight = (t * r).sum(dim=1, keepdim=True).abs() <= RIGHT_ANGLE * up * right
    even = (length(t + b) <= RIGHT_ANGLE * up) & (length(r + left) <= RIGHT_ANGLE * right)
    return straight & even
