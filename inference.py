"""Inference on a data set, shared by validation, `test` and `eval`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from datasets import BaseDataset, collate
from datasets.batching import iterate_loader, prepare_worker, to_device
from decoder import DecDecoder, to_source
from DOTA_devkit.class_thresholds import Thresholds, resolve_thresholds, thresholds_by_label
from DOTA_devkit.progress import progress_bar
from models.ctrbox_net import decode_heads
from models.tta import augmented_maps
from processes.group import collect, process_count, process_rank
from processes.numbers import ProcessNumbers
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
        nms_thresh: a higher IoU suppresses, within each class.
        agnostic_nms_thresh: a higher IoU suppresses boxes of other classes as well; None for none.
        theta_thresh: with a higher `cls_theta` a box is rotated.
        K: most detections of an image.
        batch_size: images of a batch.
        num_workers: processes that read images.
        squash: images are stretched to the input instead of being padded.
        tta: the views of test-time augmentation, see `structures.views.parse_views`; None for none.
    """

    conf_thresh: Thresholds = EVAL_CONF_THRESH
    nms_thresh: float = NMS_THRESH
    agnostic_nms_thresh: float | None = None
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
"""Heads of a batch (of `logits=True`), index of its first image, source sizes (w, h) -> losses of
each image."""


# Over 60 lines because its arguments are documented; the body is the loop over the batches.
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

    Of several processes, each does every nth batch (`shared_batches`), and yields its images alone;
    `collect_detections` puts them together.

    Args:
        model: the network; it is put into eval mode and left there.
        dataset: samples of the phase 'test'.
        settings: how to detect.
        device: where the model is.
        timing: is filled. End to end covers reading, network, decoding and NMS, but not what the
            caller does with a result.
        description: title of the progress bar.
        measure: computes the losses of each image from the heads as they are trained, for a
            `models.CTRBOX` and without `settings.tta`; None computes none.
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
    batches = shared_batches(len(dataset), settings.batch_size)
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=-(-settings.num_workers // ProcessNumbers.of().local_count),
        collate_fn=collate,
        worker_init_fn=prepare_worker,
        pin_memory=device.type == "cuda",
    )
    views = parse_views(settings.tta)
    shift = getattr(model, "center_shift", (0.0, 0.0))
    model.eval()
    with progress_bar(description, sum(map(len, batches)), unit="image", leave=True) as bar:
        begin = time.perf_counter()
        for indices, batch in zip(batches, iterate_loader(loader), strict=True):
            read = time.perf_counter()
            with torch.no_grad():
                images = to_device(batch["image"], device)
                if measure is None:
                    maps = augmented_maps(model, images, views, shift)
                else:
                    heads = model(images, logits=True)
                    maps = decode_heads(heads, model.box_coding)
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
            losses = nothing if measure is None else measure(heads, indices[0], sizes_wh)
            sources = batch.get("source") or nothing
            yield from map(ImageDetections, batch["img_id"], detections, sources, losses)
            begin = time.perf_counter()


def shared_batches(images: int, batch_size: int) -> list[range]:
    """Return the batches that this process does, as ranges of indices.

    They are whole batches, which have the same images as with a single process: the results of a
    network for an image may depend on the others of its batch in the last digit.

    Args:
        images: Number of images of the data set.
        batch_size: Images of a batch.
    """
    return _batches_of(images, batch_size, process_rank())


def _batches_of(images: int, batch_size: int, rank: int) -> list[range]:
    firsts = range(rank * batch_size, images, batch_size * process_count())
    return [range(first, min(first + batch_size, images)) for first in firsts]


def collect_detections(
    found: Sequence[ImageDetections], images: int, batch_size: int
) -> list[ImageDetections] | None:
    """Collect the detections of all processes in the first one, in the order of the data set.

    Args:
        found: All that `run_over` has yielded in this process.
        images: Number of images of the data set.
        batch_size: That of `run_over`.

    Returns:
        None in the other processes.
    """
    parts = collect(list(found))
    if parts is None or len(parts) == 1:
        return None if parts is None else parts[0]
    placed = {
        index: one
        for rank, part in enumerate(parts)
        for index, one in zip(
            chain.from_iterable(_batches_of(images, batch_size, rank)), part, strict=True
        )
    }
    return [placed[index] for index in range(images)]


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
        settings: thresholds of the NMS, and whether images were squashed.
    """
    height, width = maps["hm"].shape[2:]
    input_wh = (width * STRIDE, height * STRIDE)
    boxes = (Letterbox.fit(size_wh, input_wh, squash=settings.squash) for size_wh in sizes_wh)
    return [
        to_source(detections, box)
        .nms(settings.nms_thresh)
        .agnostic_nms(settings.agnostic_nms_thresh)
        for detections, box in zip(decoder.decode(maps), boxes, strict=True)
    ]
