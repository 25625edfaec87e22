"""Images through the network and back: what validation, `test` and `eval` share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from datasets import BaseDataset, collate
from datasets.batching import iterate_loader, prepare_worker
from decoder import DecDecoder, to_source
from DOTA_devkit.class_thresholds import Thresholds, resolve_thresholds, thresholds_by_label
from DOTA_devkit.progress import progress_bar
from models.tta import augmented_maps
from structures.boxes import STRIDE
from structures.defaults import EVAL_CONF_THRESH, NMS_THRESH, THETA_THRESH, K
from structures.detections import Detections
from structures.letterbox import Letterbox
from structures.views import parse_views


@dataclass(frozen=True)
class InferenceSettings:
    """How a trained network is run over a list of images.

    Attributes:
        conf_thresh: detections with a higher score are kept; a mapping has the thresholds of
            single classes, see `DOTA_devkit.class_thresholds`.
        nms_thresh: a higher IoU suppresses.
        theta_thresh: with a higher `cls_theta` a box is rotated.
        K: most detections of an image.
        batch_size: images of a batch.
        num_workers: processes that read images.
        squash: images are stretched to the input instead of being padded.
        tta: the views of test-time augmentation, see `structures.views.parse_views`; None for none.
    """

    conf_thresh: Thresholds = EVAL_CONF_THRESH
    nms_thresh: float = NMS_THRESH
    theta_thresh: float = THETA_THRESH
    K: int = K
    batch_size: int = 8
    num_workers: int = 0
    squash: bool = False
    tta: str | None = None


@dataclass
class Timing:
    """Seconds spent in each stage, and the number of images.

    The first batch warms up caches and memory; it is not counted if others follow.
    """

    images: int = 0
    network: float = 0.0
    postprocess: float = 0.0
    total: float = 0.0
    _warm: bool = field(default=False, repr=False)

    def add(self, images: int, network: float, postprocess: float, total: float) -> None:
        """Count a batch: its images, and the seconds of each stage."""
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
            f"per image ({1000 / total:.1f} images/s, mean of {self.images})"
        )


class ImageDetections(NamedTuple):
    """The detections of one image of a data set."""

    image_id: str
    detections: Detections
    """In source pixels, after NMS."""
    source: np.ndarray | None
    """The image [H, W, 3] BGR if the data set keeps it (`DataOptions.keep_source`)."""
    losses: Mapping[str, float] | None = None
    """What `measure` of `run_over` returned for it."""


Measure = Callable[
    [Mapping[str, torch.Tensor], int, Sequence[tuple[int, int]]], Sequence[Mapping[str, float]]
]
"""Head maps of a batch, index of its first image, source sizes (w, h) -> losses of each image."""


def run_over(
    model: nn.Module,
    dataset: BaseDataset,
    settings: InferenceSettings,
    device: torch.device,
    timing: Timing | None = None,
    description: str = "detect",
    measure: Measure | None = None,
) -> Iterator[ImageDetections]:
    """Detect on each image of a data set, in its order.

    Args:
        model: the network; it is put into eval mode and left there.
        dataset: samples of the phase 'test'.
        settings: how to detect.
        device: where the model is.
        timing: is filled. End to end covers reading, network, decoding and NMS, but not what the
            caller does with a result.
        description: title of the progress bar.
        measure: computes the losses of each image; None computes none.
    """
    timing = timing if timing is not None else Timing()
    conf_thresh = resolve_thresholds(
        settings.conf_thresh, dataset.category, EVAL_CONF_THRESH, "conf_thresh"
    )
    decoder = DecDecoder(
        settings.K,
        thresholds_by_label(conf_thresh),
        dataset.num_classes,
        settings.theta_thresh,
    )
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        collate_fn=collate,
        worker_init_fn=prepare_worker,
        pin_memory=device.type == "cuda",
    )
    views = parse_views(settings.tta)
    model.eval()
    with progress_bar(description, len(dataset), unit="image", leave=True) as bar:
        first = 0
        begin = time.perf_counter()
        for batch in iterate_loader(loader):
            read = time.perf_counter()
            with torch.no_grad():
                maps = augmented_maps(model, to_device(batch["image"], device), views)
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
            nothing = [None] * len(detections)
            losses = nothing if measure is None else measure(maps, first, sizes_wh)
            first += len(detections)
            sources = batch.get("source") or nothing
            yield from map(ImageDetections, batch["img_id"], detections, sources, losses)
            begin = time.perf_counter()


def to_device(
    images: torch.Tensor,
    device: torch.device,
    memory_format: torch.memory_format = torch.channels_last,
) -> torch.Tensor:
    """Move a batch to the device, channels last, which is faster for convolutions."""
    return images.to(device, non_blocking=True, memory_format=memory_format)


@torch.no_grad()
def network_ms(
    model: nn.Module, input_hw: tuple[int, int], device: torch.device, runs: int
) -> float:
    """Time the network alone: the median milliseconds for one image, after a run to warm up.

    Args:
        model: the network; it is put into eval mode, moved to the device and left there.
        input_hw: height and width of its input.
        device: where it runs.
        runs: timed runs.
    """
    model.eval().to(device, memory_format=torch.channels_last)
    image = to_device(torch.rand(1, 3, *input_hw) - 0.5, device)
    times = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        model(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times[1:])


def postprocess(
    maps: Mapping[str, torch.Tensor],
    sizes_wh: Sequence[tuple[int, int]],
    decoder: DecDecoder,
    settings: InferenceSettings,
) -> list[Detections]:
    """Turn the head maps of a batch into detections of each image in source pixels, after NMS.

    Args:
        maps: hm [B, C, H, W] and the other heads.
        sizes_wh: width and height of the source images that the batch was letterboxed from.
        decoder: head maps -> detections in input pixels.
        settings: threshold of the NMS, and whether images were squashed.
    """
    height, width = maps["hm"].shape[2:]
    input_wh = (width * STRIDE, height * STRIDE)
    boxes = (Letterbox.fit(size_wh, input_wh, squash=settings.squash) for size_wh in sizes_wh)
    return [
        to_source(detections, box).nms(settings.nms_thresh)
        for detections, box in zip(decoder.decode(maps), boxes, strict=True)
    ]
