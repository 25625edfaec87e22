"""Checkpoints in PyTorch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from datasets.batching import to_device
from decoder import DecDecoder
from deploy.runtimes.base import DetectorSettings, first_given
from DOTA_devkit.class_thresholds import thresholds_by_label
from DOTA_devkit.errors import InputError
from models import build_model, read_checkpoint
from models.folding import fold_batch_norms
from models.tta import augmented_maps
from structures.boxes import STRIDE
from structures.defaults import CONF_THRESH, INPUT_HW, THETA_THRESH, K
from structures.detections import Detections
from structures.letterbox import normalize
from structures.views import parse_views


class TorchRuntime:
    """A checkpoint in PyTorch, see `deploy.runtimes.base.Runtime`."""

    name = "PyTorch"
    memory_format = torch.channels_last
    folded = True
    fixed_hw = False
    nms_thresh = None
    squash = None

    def __init__(self, path: Path, settings: DetectorSettings):
        """Load a checkpoint; an InputError says why it cannot be used with the settings."""
        classes = None if settings.classes is None else tuple(settings.classes)
        checkpoint = read_checkpoint(path)
        checkpoint.require(backbone=settings.backbone, classes=classes)
        checkpoint.classes = checkpoint.classes or classes
        if checkpoint.classes is None:
            raise InputError(
                f"{path} does not name its {checkpoint.architecture.heads['hm']} classes: give "
                "their names as classes"
            )
        self.classes = checkpoint.classes
        self.reading = checkpoint.reading
        self.train_scale = checkpoint.train_scale
        self.box_coding = checkpoint.architecture.box_coding
        self.input_hw = checkpoint.input_size or INPUT_HW
        self.conf_thresh = settings.conf_thresh_of(self.classes, CONF_THRESH)
        self.K = first_given(settings.K, K)
        self._reference_cells = math.prod(settings.input_hw or self.input_hw) // STRIDE**2
        self.theta_thresh = first_given(settings.theta_thresh, THETA_THRESH)
        self._views = parse_views(settings.tta)
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self._device = _device(settings.device)
        self._model = build_model(checkpoint, self._device)
        if self.folded:
            fold_batch_norms(self._model)
        self._model.to(memory_format=self.memory_format)

    def prepare(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Return the network's input [B, 3, H, W] of images [H, W, 3] uint8 BGR of one size."""
        batch = torch.from_numpy(np.stack([normalize(image) for image in images]))
        return to_device(batch, self._device, self.memory_format)

    @torch.inference_mode()
    def network(self, batch: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """Return the head maps of a batch, once they are computed."""
        maps = augmented_maps(self._model, batch, self._views, self._model.center_shift)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return maps

    @torch.inference_mode()
    def decode(self, outputs: Mapping[str, torch.Tensor]) -> list[Detections]:
        """Return the detections of each image in input pixels, before NMS."""
        # an input larger than the model's, such as a whole image, may hold more in proportion
        ratio = max(1.0, math.prod(outputs["hm"].shape[2:]) / self._reference_cells)
        decoder = DecDecoder(
            math.ceil(self.K * ratio),
            thresholds_by_label(self.conf_thresh),
            len(self.classes),
            self.theta_thresh,
        )
        return decoder.decode(outputs)


def _device(device: torch.device | str) -> torch.device:
    try:
        return torch.device(device)
    except RuntimeError:
        raise InputError(f"device must be cpu, cuda or cuda:N, got {device!r}") from None
