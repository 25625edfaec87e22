"""Boxes where the labels of a data set have them, all by the same fraction of a pixel.

Annotation tools count pixels from their corners or from their middles, or cut off fractions, so
that all labels of a set may lie half a pixel beside their objects. A network that learns from
flipped and turned images cannot see that, as it averages out, and the boxes of small objects lose
much of their overlap. So it is measured on images that are not augmented, after each epoch, and
added to the bias of the head that gives the centers: the network that is scored and saved has it,
and the one that is trained does not.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets import BaseDataset
from datasets.images import UnreadableImage
from DOTA_devkit.errors import InputError
from models import CTRBOX
from processes.group import agreed, from_first, is_first
from structures.boxes import STRIDE

logger = logging.getLogger(__name__)

OBJECTS = 400
"""The error is measured with so many objects, if there are."""
_LEAST_OBJECTS = 30
_MOST_IMAGES = 200
SIGNIFICANCE = 4.0
"""A shift is made if it is so many times its standard error; a smaller one may be chance."""
_PLAIN = ("center_bias_x", "center_bias_y")


class AlignedCenters:
    """Shifts the boxes of a network to where the labels are, and back again.

    Args:
        model: The network that is scored and saved.
        dataset: Images of the phase 'train' to measure with.
    """

    def __init__(self, model: CTRBOX, dataset: BaseDataset) -> None:
        self._model, self._dataset = model, dataset
        self._plain: Tensor | None = None  # the bias of the network without the shift

    @property
    def _bias(self) -> Tensor:
        return self._model.reg[-1].bias.data

    def align(self) -> None:
        """Shift the boxes at the end of an epoch; all processes or none of them."""
        shift = None
        with agreed():
            if is_first():
                shift = center_shift(self._model, self._dataset)
        shift = from_first(shift)
        if shift is not None and self._plain is None:
            self._plain = self._bias.clone()
            self._bias.add_(torch.tensor(shift).to(self._bias))
            self._model.center_shift = shift

    def restore(self) -> None:
        """Undo the shift before the next step."""
        if self._plain is not None:
            self._bias.copy_(self._plain)
            self._model.center_shift = (0.0, 0.0)
            self._plain = None

    def entry(self) -> dict[str, float]:
        """Return what a checkpoint stores, so that a resumed run can undo the shift."""
        return {} if self._plain is None else dict(zip(_PLAIN, self._plain.tolist(), strict=True))

    def resume(self, entry: Mapping[str, float], path: Path | None) -> None:
        """Undo the shift in the weights of a checkpoint.

        Args:
            entry: What `entry` returned, and other numbers.
            path: The file, for errors.

        Raises:
            InputError: The numbers cannot be a bias.
        """
        plain = [entry.get(name) for name in _PLAIN]
        if plain == [None, None]:
            return
        if None in plain or not all(map(math.isfinite, plain)):
            raise InputError(f"{path}: the bias of its centers, {plain}, is damaged")
        self._plain = torch.tensor(plain).to(self._bias)
        self.restore()


def center_shift(model: CTRBOX, dataset: BaseDataset) -> tuple[float, float] | None:
    """Measure by how much the labels of a set lie beside the centers that a network finds.

    Args:
        model: The network, in any mode, which stays.
        dataset: Labeled images.

    Returns:
        The median in cells, right and down, 0 where it is not significant; None if it is 0 in both
        directions, or there are too few objects.
    """
    training = model.training
    model.eval()
    try:
        errors = _center_errors(model, dataset)
    finally:
        model.train(training)
    if len(errors) < _LEAST_OBJECTS:
        return None
    low, median, high = np.quantile(errors, (0.25, 0.5, 0.75), axis=0)
    # The standard error of a median is 1.253 sigma / sqrt(n), and sigma (high - low) / 1.349.
    error = 1.253 / 1.349 * (high - low) / math.sqrt(len(errors))
    shift = np.where(np.abs(median) > SIGNIFICANCE * error, median, 0.0)
    if not shift.any():
        return None
    right, down = (shift * STRIDE).tolist()
    logger.info(
        "labels lie %.2f px right and %.2f px down of the network's centers (input pixels, %d "
        "objects): its boxes are shifted there",
        right, down, len(errors),
    )  # fmt: skip
    return tuple(shift.tolist())


@torch.inference_mode()
def _center_errors(model: CTRBOX, dataset: BaseDataset) -> np.ndarray:
    """Return label minus prediction in cells [N, 2], at the cells of the labeled centers."""
    parameter = next(model.parameters())
    found, count = [np.empty((0, 2), np.float32)], 0
    for index in np.random.default_rng(0).permutation(len(dataset))[:_MOST_IMAGES].tolist():
        try:
            image = dataset.source_image(index)
        except UnreadableImage:
            continue  # the training tells of it
        targets = dataset.whole_image_targets(index, image.shape[1::-1])
        taught = np.asarray(targets["reg_mask"]) != 0
        if not taught.any():
            continue
        view = dataset.processing_test(image, dataset.input_h, dataset.input_w)
        view = view.to(parameter, memory_format=torch.channels_last)
        centers = model(view)["reg"][0].flatten(1)[:, torch.from_numpy(targets["ind"][taught])]
        found.append(targets["reg"][taught] - centers.T.cpu().numpy())
        count += len(found[-1])
        if count >= OBJECTS:
            break
    return np.concatenate(found)
