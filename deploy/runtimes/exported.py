"""What the runtimes of exported files have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from deploy.metadata import OUTPUTS, ModelMetadata
from deploy.runtimes.base import DetectorSettings, first_given
from DOTA_devkit.class_thresholds import (
    lowest_threshold,
    thresholds_by_label,
    thresholds_text,
)
from DOTA_devkit.errors import InputError
from structures.defaults import INPUT_HW
from structures.detections import Detections
from structures.letterbox import normalize
from structures.views import View, parse_views


class ExportedRuntime:
    """Base of the runtimes of exported files.

    Those hold the decoder and perhaps NMS as well, except in the layout "heads".
    """

    def __init__(
        self,
        path: Path,
        metadata: ModelMetadata,
        input_shape: Sequence[int | None],
        output_names: Iterable[str],
        takes_conf: bool,
        settings: DetectorSettings,
    ):
        """Check an open model against the settings.

        Args:
            path: The file, for errors.
            metadata: What the file says about itself.
            input_shape: Shape of its input, with None for a free dimension.
            output_names: Names of its outputs.
            takes_conf: Whether `conf_thresh` is an input of it.
            settings: How it is run.

        Raises:
            InputError: The outputs have another layout, or the settings contradict the file.
        """
        _check_settings(path, metadata, settings, takes_conf)
        missing = set(metadata.outputs) - set(output_names)
        if metadata.layout == "light-fork" or missing:
            raise InputError(
                f"{path}: outputs in the layout {metadata.layout!r}, but a detector needs corners, "
                "scores and labels: export it again in the default layout"
            )
        self.path = path
        self.metadata = metadata
        self.classes = metadata.classes
        self.conf_thresh = settings.conf_thresh_of(metadata.classes, metadata.conf_thresh)
        self.theta_thresh = first_given(settings.theta_thresh, metadata.theta_thresh)
        self.K = first_given(settings.K, metadata.K)
        self.nms_thresh = metadata.nms_thresh
        self.reading = metadata.reading
        self.train_scale = metadata.train_scale
        self.box_coding = metadata.box_coding
        self.fixed_hw = metadata.input_size is not None
        sizes = (metadata.input_size, metadata.default_size, metadata.trained_size)
        self.input_hw = first_given(*sizes, INPUT_HW)
        self.squash = metadata.squash
        self._views = parse_views(settings.tta)
        if len(self._views) > 1:
            _check_views(path, metadata, self._views)
        self._batch_size = input_shape[0]  # None if it is free
        self._takes_conf = takes_conf

    def prepare(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the file's input of images [H, W, 3] uint8 BGR of one size.

        Returns:
            [B, H, W, 3] uint8 or [B, 3, H, W] float32, as the file takes it.
        """
        if self.metadata.color == "RGB":
            images = [np.ascontiguousarray(image[:, :, ::-1]) for image in images]
        if self.metadata.input_type == "uint8":
            return np.stack(images)
        return np.stack([normalize(image) for image in images])

    def network(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Run the file on a batch, with test-time augmentation if the settings ask for it.

        Returns:
            Name of the output -> its rows [B, K, ...] or its map [B, C, H / 4, W / 4].
        """
        if len(self._views) == 1:
            return self._run_parts(batch)
        import torch  # not needed for files that hold the decoder

        from models.tta import augmented_maps

        def maps_of(images: torch.Tensor) -> dict[str, torch.Tensor]:
            outputs = self._run_parts(images.numpy())
            return {name: torch.from_numpy(values) for name, values in outputs.items()}

        images, shift = torch.from_numpy(batch), self.metadata.center_shift
        maps = augmented_maps(maps_of, images, self._views, shift)
        return {name: values.numpy() for name, values in maps.items()}

    def _run_parts(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Run a batch, which is cut and filled up if the file has a fixed batch size."""
        if self._batch_size in (None, len(batch)):
            return self._run(batch)
        parts = []
        for start in range(0, len(batch), self._batch_size):
            part = batch[start : start + self._batch_size]
            filler = np.zeros((self._batch_size - len(part), *batch.shape[1:]), batch.dtype)
            outputs = self._run(np.concatenate([part, filler]))
            parts.append({name: rows[: len(part)] for name, rows in outputs.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def decode(self, outputs: dict[str, np.ndarray]) -> list[Detections]:
        """Return the detections of each image in input pixels."""
        if self.metadata.layout == "heads":
            return self._decode_maps(outputs)
        found = []
        lowest = lowest_threshold(self.conf_thresh)
        by_label = np.array(thresholds_by_label(self.conf_thresh), np.float32)
        rows = (outputs[name] for name in OUTPUTS)
        for corners, scores, labels in zip(*rows, strict=True):
            filled = (labels >= 0) & (scores > lowest)
            keep = filled & (scores > by_label[labels]) if by_label.ndim else filled
            found.append(
                Detections(
                    corners[keep].astype(np.float32, copy=False),
                    scores[keep].astype(np.float32, copy=False),
                    labels[keep].astype(np.int64, copy=False),
                    # NMS in the file frees rows, so with it this cannot be known
                    complete=not filled[-1],
                )
            )
        return found

    def _decode_maps(self, maps: dict[str, np.ndarray]) -> list[Detections]:
        import torch  # not needed for files that hold the decoder

        from decoder import DecDecoder

        conf_thresh = thresholds_by_label(self.conf_thresh)
        decoder = DecDecoder(self.K, conf_thresh, len(self.classes), self.theta_thresh)
        return decoder.decode({name: torch.from_numpy(values) for name, values in maps.items()})

    def _inputs(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        inputs = {"input": batch}
        if self._takes_conf:
            inputs["conf_thresh"] = np.array(lowest_threshold(self.conf_thresh), np.float32)
        return inputs


def _check_settings(
    path: Path, metadata: ModelMetadata, settings: DetectorSettings, takes_conf: bool
) -> None:
    """Raise an InputError if the settings ask for something that the file has fixed otherwise."""
    nms = settings.nms_thresh
    faults = []
    if settings.classes is not None and tuple(settings.classes) != metadata.classes:
        faults.append(
            f"classes {', '.join(settings.classes)}: it has {', '.join(metadata.classes)}"
        )
    if settings.backbone not in (None, metadata.backbone):
        faults.append(f"backbone {settings.backbone}: it has {metadata.backbone}")
    lowest = 0 if takes_conf else first_given(metadata.min_conf_thresh, metadata.conf_thresh)
    if settings.conf_thresh is not None:
        asked = settings.conf_thresh_of(metadata.classes, metadata.conf_thresh)
        if lowest_threshold(asked) < lowest:
            if isinstance(asked, Mapping):
                asked = {name: value for name, value in asked.items() if value < lowest}
            faults.append(
                f"conf_thresh {thresholds_text(asked)}: it outputs scores above {lowest:g}"
            )
    if metadata.layout == "heads":  # decoded here, so as the settings say
        settings = replace(settings, theta_thresh=None, K=None)
    if settings.theta_thresh not in (None, metadata.theta_thresh):
        faults.append(f"theta_thresh {settings.theta_thresh:g}: it has {metadata.theta_thresh:g}")
    if settings.K not in (None, metadata.K):
        faults.append(f"K {settings.K}: it has {metadata.K}")
    if None not in (nms, metadata.nms_thresh) and nms > metadata.nms_thresh:
        faults.append(f"nms_thresh {nms:g}: it suppresses above {metadata.nms_thresh:g} already")
    if faults:
        raise InputError(
            f"{path} was exported with other settings: {'; '.join(faults)}. Leave that out, or "
            "export it again"
        )


def _check_views(path: Path, metadata: ModelMetadata, views: Sequence[View]) -> None:
    """Raise an InputError if the maps of views cannot be had from a file."""
    if metadata.layout != "heads":
        raise InputError(
            f"{path} holds the decoder, but test-time augmentation (`tta`) averages the maps that "
            "it decodes: use the checkpoint, or export it in the layout heads"
        )
    size_hw = metadata.input_size
    if size_hw is None:
        return
    if any(view.scale != 1 for view in views):
        raise InputError(
            f"{path} only takes inputs of {size_hw[0]}x{size_hw[1]} (height x width): leave the "
            "scale factors of `tta` out, or use the checkpoint"
        )
    if size_hw[0] != size_hw[1] and any(view.transposed for view in views):
        raise InputError(
            f"{path} only takes inputs of {size_hw[0]}x{size_hw[1]} (height x width), but right "
            "angles exchange height and width: leave the turns of `tta` out, or use the checkpoint"
        )


@contextmanager
def translate_run_errors(
    runtime: str, path: Path, cause: Callable[[Exception], str]
) -> Iterator[None]:
    """Raise a MemoryError if a runtime is out of memory, and an InputError if a file does not run.

    Args:
        runtime: Name of the runtime.
        path: The file.
        cause: Returns what an error of the runtime says in one line.
    """
    try:
        with translate_out_of_memory():
            yield
    except MemoryError:
        raise
    except Exception as error:  # runtimes have an error class for each fault of a file
        raise InputError(
            f"{path}: {runtime} cannot run it ({cause(error)}). The file is damaged, or another "
            "tool has changed it: copy it again, or export it again"
        ) from None


@contextmanager
def translate_out_of_memory() -> Iterator[None]:
    """Raise a MemoryError if a runtime is out of memory, for which each has its own error."""
    try:
        yield
    except Exception as error:
        if any(text in str(error) for text in _OUT_OF_MEMORY):
            raise MemoryError(str(error)) from error
        raise


_OUT_OF_MEMORY = ("Failed to allocate", "bad_alloc", "bad allocation")
"""Texts in such errors of ONNX Runtime and OpenVINO."""
