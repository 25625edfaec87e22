"""Images through the network and back: what the training's AP, `test` and `eval` share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from datasets import BaseDataset, collate
from datasets.batching import iterate_loader
from decoder import DecDecoder, to_source
from DOTA_devkit import interrupts
from structures.boxes import STRIDE
from structures.defaults import NMS_THRESH, THETA_THRESH, K
from structures.detections import Detections
from structures.letterbox import Letterbox


@dataclass(frozen=True)
class InferenceSettings:
    """How a trained network is run over a list of images."""

    conf_thresh: float = 0.01
    nms_thresh: float = NMS_THRESH
    theta_thresh: float = THETA_THRESH
    K: int = K
    batch_size: int = 8
    num_workers: int = 0
    squash: bool = False


@dataclass
class Timing:
    """Seconds spent in each stage, and the images that went through.

    The first batch warms up caches and memory and is left out where there are others.
    """

    images: int = 0
    network: float = 0.0
    postprocess: float = 0.0
    total: float = 0.0
    _warm: bool = field(default=False, repr=False)

    def add(self, images: int, network: float, postprocess: float, total: float) -> None:
        if not self._warm and self.images:
            self.images, self.network, self.postprocess, self.total = 0, 0.0, 0.0, 0.0
            self._warm = True
        self.images += images
        self.network += network
        self.postprocess += postprocess
        self.total += total

    def __str__(self) -> str:
        if not self.images:
            return "no image was timed"
        network, post, total = (
            1000 * seconds / self.images for seconds in (self.network, self.postprocess, self.total)
        )
        return (
            f"network {network:.1f} ms, decode and NMS {post:.1f} ms, end to end {total:.1f} ms "
            f"an image ({1000 / total:.1f} images/s, mean of {self.images})"
        )


class Found(NamedTuple):
    """What was found in one image."""

    image_id: str
    detections: Detections
    """In source pixels, after NMS."""
    source: np.ndarray | None
    """The image [H, W, 3] BGR where the dataset keeps it (`DataOptions.keep_source`)."""


def run_over(
    model: nn.Module,
    dataset: BaseDataset,
    settings: InferenceSettings,
    device: torch.device,
    timing: Timing | None = None,
    description: str = "detect",
) -> Iterator[Found]:
    """Detect on each image of `dataset`, in its order.

    `dataset` gives samples of the phase 'test'. The model is put into eval mode and left there.
    timing: end to end is reading, network, decoding and NMS; what the caller does is not in it.
    """
    timing = timing if timing is not None else Timing()
    decoder = DecDecoder(
        settings.K, settings.conf_thresh, dataset.num_classes, settings.theta_thresh
    )
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
    )
    model.eval()
    with tqdm(total=len(dataset), desc=description, unit="image", disable=None) as bar:
        begin = time.perf_counter()
        for batch in iterate_loader(loader):
            read = time.perf_counter()
            with torch.no_grad():
                maps = model(to_device(batch["image"], device))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            through = time.perf_counter()
            sizes_wh = list(
                zip(map(int, batch["image_w"]), map(int, batch["image_h"]), strict=True)
            )
            detections = postprocess(maps, sizes_wh, decoder, settings)
            end = time.perf_counter()
            timing.add(len(detections), through - read, end - through, end - begin)
            bar.update(len(detections))
            interrupts.stop_if_pressed()
            sources = batch.get("source") or [None] * len(detections)
            yield from map(Found, batch["img_id"], detections, sources)
            begin = time.perf_counter()


def to_device(
    images: torch.Tensor,
    device: torch.device,
    memory_format: torch.memory_format = torch.channels_last,
) -> torch.Tensor:
    """A batch where the network runs, channels last, which its convolutions take faster."""
    return images.to(device, non_blocking=True, memory_format=memory_format)


def postprocess(
    maps: Mapping[str, torch.Tensor],
    sizes_wh: Sequence[tuple[int, int]],
    decoder: DecDecoder,
    settings: InferenceSettings,
) -> list[Detections]:
    """Head maps of a batch -> detections of each image in source pixels, after NMS.

    sizes_wh: of the source images, from which the batch was letterboxed.
    """
    height, width = maps["hm"].shape[2:]
    input_wh = (width * STRIDE, height * STRIDE)
    boxes = (Letterbox.fit(size_wh, input_wh, squash=settings.squash) for size_wh in sizes_wh)
    return [
        to_source(detections, box).nms(settings.nms_thresh)
        for detections, box in zip(decoder.decode(maps), boxes, strict=True)
    ]
