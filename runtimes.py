"""What runs a model file: input images -> head maps or boxes -> detections, for each runtime.

All of them are used alike, so that the detector, the phases and the benchmark need not know which
one they have: `prepare`, `network` and `decode`, one after the other. They keep no state between
calls, and several threads may call one runtime at a time.
"""

from __future__ import annotations

import importlib
import math
import queue
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import openvino_files
from decoder import DecDecoder
from deploy_metadata import OUTPUTS, ModelMetadata, read_onnx_metadata
from DOTA_devkit.errors import InputError
from inference import to_device
from models import build_model, read_checkpoint
from openvino_files import own_name
from structures.boxes import STRIDE
from structures.defaults import CONF_THRESH, INPUT_HW, THETA_THRESH, K
from structures.detections import Detections
from structures.letterbox import normalize


@dataclass(frozen=True)
class DetectorSettings:
    """How a detector is run; None takes what the file says, or else the default in brackets.

    device: where PyTorch and ONNX Runtime run. classes: names, for a checkpoint that has none.
    backbone: what the file must have (any). input_hw: height and width of the network's input
    (608, 608). conf_thresh: scores above it are kept (0.18). nms_thresh: an IoU above it
    suppresses (0.1). theta_thresh: of `cls_theta` (0.8). K: most detections an image (500); an
    input larger than the model's, which `predict` may use, holds more in proportion, but for an
    exported file. squash: stretch images to the input as the original does, instead of padding.
    runtime: a name of `RUNTIMES` (by the kind of file). batch_size: images that go through the
    network together. threads: of ONNX Runtime and OpenVINO (as many as PyTorch uses, which
    `torch.set_num_threads` says for the whole process).
    """

    device: torch.device | str = "cpu"
    classes: Sequence[str] | None = None
    backbone: str | None = None
    input_hw: tuple[int, int] | None = None
    conf_thresh: float | None = None
    nms_thresh: float | None = None
    theta_thresh: float | None = None
    K: int | None = None
    squash: bool = False
    runtime: str | None = None
    batch_size: int = 8
    threads: int | None = None

    def used_threads(self) -> int:
        return torch.get_num_threads() if self.threads is None else self.threads


class Runtime(Protocol):
    """A model that is ready to run."""

    name: str
    classes: tuple[str, ...]
    input_hw: tuple[int, int]
    """Height and width that it was trained or exported at."""
    fixed_hw: bool
    """Whether it takes that size alone."""
    conf_thresh: float
    theta_thresh: float
    K: int
    nms_thresh: float | None
    """Of the NMS in the file, None where there is none in it."""

    def prepare(self, images: Sequence[np.ndarray]) -> Any:
        """Images [H, W, 3] uint8 BGR of one size -> what the network takes."""

    def network(self, batch: Any) -> Any:
        """The network; returns when it is done. Of an exported file this includes the decoder."""

    def decode(self, outputs: Any) -> list[Detections]:
        """Detections of each image in input pixels with scores above `conf_thresh`, by falling
        score, before any NMS that is not in the file."""


class TorchRuntime:
    """A checkpoint in PyTorch."""

    name = "PyTorch"
    memory_format = torch.channels_last
    fixed_hw = False
    nms_thresh = None

    def __init__(self, path: Path, settings: DetectorSettings):
        classes = None if settings.classes is None else tuple(settings.classes)
        checkpoint = read_checkpoint(path)
        checkpoint.require(backbone=settings.backbone, classes=classes)
        checkpoint.classes = checkpoint.classes or classes
        if checkpoint.classes is None:
            raise InputError(
                f"{path} does not name its {checkpoint.architecture.heads['hm']} classes: give "
                "them (--classes A,B or dota1.0; in Python classes=(...))"
            )
        self.classes = checkpoint.classes
        self.input_hw = checkpoint.input_size or INPUT_HW
        self.conf_thresh = _first(settings.conf_thresh, CONF_THRESH)
        self.K = _first(settings.K, K)
        self._cells = math.prod(settings.input_hw or self.input_hw) // STRIDE**2
        self.theta_thresh = _first(settings.theta_thresh, THETA_THRESH)
        self._device = torch.device(settings.device)
        self._model = build_model(checkpoint, self._device)
        self._model.to(memory_format=self.memory_format)

    def prepare(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        batch = torch.from_numpy(np.stack([normalize(image) for image in images]))
        return to_device(batch, self._device, self.memory_format)

    @torch.inference_mode()
    def network(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = self._model(batch)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return maps

    @torch.inference_mode()
    def decode(self, outputs: dict[str, torch.Tensor]) -> list[Detections]:
        # an input larger than the model's, such as a whole image, may hold as much more
        share = max(1.0, math.prod(outputs["hm"].shape[2:]) / self._cells)
        most = math.ceil(self.K * share)
        decoder = DecDecoder(most, self.conf_thresh, len(self.classes), self.theta_thresh)
        return decoder.decode(outputs)


class _ExportedRuntime:
    """What files of the export have in common: the decoder, and perhaps the NMS, is inside."""

    def __init__(
        self,
        path: Path,
        metadata: ModelMetadata,
        input_shape: Sequence[int | None],
        output_names: Iterable[str],
        takes_conf: bool,
        settings: DetectorSettings,
    ):
        _check_asked(path, metadata, settings, takes_conf)
        missing = set(OUTPUTS) - set(output_names)
        if metadata.layout != "corners" or missing:
            raise InputError(
                f"{path}: outputs in the layout {metadata.layout!r}; detect needs corners, scores "
                "and labels, which is what --phase export writes without --layout"
            )
        self.metadata = metadata
        self.classes = metadata.classes
        self.conf_thresh = _first(settings.conf_thresh, metadata.conf_thresh)
        self.theta_thresh = metadata.theta_thresh
        self.K = metadata.K
        self.nms_thresh = metadata.nms_thresh
        self.fixed_hw = metadata.input_size is not None
        self.input_hw = metadata.input_size or metadata.trained_size or INPUT_HW
        self._batch_size = input_shape[0]  # None where it is free
        self._takes_conf = takes_conf

    def prepare(self, images: Sequence[np.ndarray]) -> np.ndarray:
        if self.metadata.color == "RGB":
            images = [np.ascontiguousarray(image[:, :, ::-1]) for image in images]
        if self.metadata.input_type == "uint8":
            return np.stack(images)
        return np.stack([normalize(image) for image in images])

    def network(self, batch: np.ndarray) -> dict[str, np.ndarray]:
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
        found = []
        rows = (outputs[name] for name in OUTPUTS)
        for corners, scores, labels in zip(*rows, strict=True):
            keep = (labels >= 0) & (scores > self.conf_thresh)
            found.append(
                Detections(
                    corners[keep].astype(np.float32, copy=False),
                    scores[keep].astype(np.float32, copy=False),
                    labels[keep].astype(np.int64, copy=False),
                    # a suppression in the file frees rows, and then nothing can be told of it
                    complete=not keep[-1],
                )
            )
        return found

    def _inputs(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        inputs = {"input": batch}
        if self._takes_conf:
            inputs["conf_thresh"] = np.array(self.conf_thresh, np.float32)
        return inputs


class OnnxRuntime(_ExportedRuntime):
    """An ONNX file in ONNX Runtime."""

    name = "ONNX Runtime"

    def __init__(self, path: Path, settings: DetectorSettings):
        try:
            onnxruntime = importlib.import_module("onnxruntime")
        except ImportError:
            raise InputError("this model needs onnxruntime: pip install -e '.[export]'") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; it warns of every input with a default value
        options.intra_op_num_threads = settings.used_threads()
        providers = self._providers(onnxruntime.get_available_providers(), settings.device)
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # each fault of a file has a class of its own in ONNX Runtime
            cause = str(error).splitlines()[0]
            raise InputError(f"{path}: no model that ONNX Runtime can run ({cause})") from None
        metadata = read_onnx_metadata(path, self._session.get_modelmeta().custom_metadata_map)
        # an input with a default value counts as an initializer that may be overridden
        inputs = (*self._session.get_inputs(), *self._session.get_overridable_initializers())
        shapes = {one.name: one.shape for one in inputs}
        self._names = [one.name for one in self._session.get_outputs()]
        shape = [side if isinstance(side, int) else None for side in shapes.get("input", [None])]
        super().__init__(path, metadata, shape, self._names, "conf_thresh" in shapes, settings)

    @staticmethod
    def _providers(available: Sequence[str], device: torch.device | str) -> list[Any]:
        """For `InferenceSession`. On a GPU not run yet: none was at hand."""
        device = torch.device(device)
        if device.type != "cuda":
            return ["CPUExecutionProvider"]
        if "CUDAExecutionProvider" not in available:
            raise InputError(
                f"--device {device}: this ONNX Runtime runs on {', '.join(available)} alone; "
                "onnxruntime-gpu brings CUDA"
            )
        return [
            ("CUDAExecutionProvider", {"device_id": device.index or 0}),
            "CPUExecutionProvider",
        ]

    def _run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        with telling_of_no_memory():
            values = self._session.run(self._names, self._inputs(batch))
        return dict(zip(self._names, values, strict=True))


class OpenVino(_ExportedRuntime):
    """An OpenVINO model, or an ONNX file, in OpenVINO."""

    name = "OpenVINO"

    def __init__(self, path: Path, settings: DetectorSettings):
        model, metadata = openvino_files.read(path)
        # On some processors it computes in bfloat16 unasked, and finds other boxes there.
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": settings.used_threads(),
        }
        self._compiled = openvino_files.core().compile_model(model, "CPU", config)
        # A request is for one caller at a time: each takes one that is free, or makes one.
        self._requests: queue.SimpleQueue = queue.SimpleQueue()
        shapes = {own_name(one): one.get_partial_shape() for one in self._compiled.inputs}
        shape = [side.get_length() if side.is_static else None for side in shapes.get("input", ())]
        self._names = [own_name(one) for one in self._compiled.outputs]
        super().__init__(path, metadata, shape, self._names, "conf_thresh" in shapes, settings)

    def _run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        try:
            request = self._requests.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            with telling_of_no_memory():
                request.infer(self._inputs(batch))
            # copies: the request's own memory is written again by its next caller
            outputs = {name: request.get_tensor(name).data.copy() for name in self._names}
        finally:
            self._requests.put(request)
        if any(len(rows) != len(batch) for rows in outputs.values()):
            # seen where memory was short: it says nothing, and has no rows
            raise MemoryError(f"OpenVINO gave no answers for a batch {batch.shape}")
        return outputs


RUNTIMES = {"pytorch": TorchRuntime, "onnxruntime": OnnxRuntime, "openvino": OpenVino}
_BY_SUFFIX = {".onnx": "onnxruntime", ".xml": "openvino"}
_NOT_RUN = {
    ".pt2": "a program of torch.export runs by torch.export.load alone (docs/deploy.md)",
    ".engine": "an engine of TensorRT runs in TensorRT alone (docs/deploy.md)",
}


def open_runtime(path: Path, settings: DetectorSettings) -> Runtime:
    """The runtime of a model file, by its kind or as the settings say.

    Raises:
        InputError: no such file, not one of this project, or a runtime that cannot read it.
    """
    if reason := _NOT_RUN.get(path.suffix.lower()):
        raise InputError(
            f"{path}: {reason}; a checkpoint, an ONNX file or an OpenVINO model (.xml) is expected"
        )
    model = path.with_suffix(".xml")
    if path.suffix.lower() == ".bin" and model.is_file():
        raise InputError(
            f"{path}: the weights of an OpenVINO model; give {model}, which reads them"
        )
    own = _BY_SUFFIX.get(path.suffix.lower(), "pytorch")
    name = settings.runtime or own
    if name not in RUNTIMES:
        raise InputError(f"runtime {name!r}: expected {', '.join(RUNTIMES)}")
    if name != own and (own, name) != ("onnxruntime", "openvino"):
        raise InputError(f"{path}: {name} cannot run this file, {own} does")
    if not path.is_file():
        raise InputError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    return RUNTIMES[name](path, settings)


def _check_asked(
    path: Path, metadata: ModelMetadata, settings: DetectorSettings, takes_conf: bool
) -> None:
    """InputError where the settings ask for something that the file has settled otherwise."""
    conf, nms = settings.conf_thresh, settings.nms_thresh
    faults = []
    if settings.classes is not None and tuple(settings.classes) != metadata.classes:
        faults.append(
            f"classes {', '.join(settings.classes)}: it has {', '.join(metadata.classes)}"
        )
    if settings.backbone not in (None, metadata.backbone):
        faults.append(f"backbone {settings.backbone}: it has {metadata.backbone}")
    if conf is not None and not takes_conf and conf < metadata.conf_thresh:
        faults.append(f"conf_thresh {conf:g}: it puts out scores above {metadata.conf_thresh:g}")
    if settings.theta_thresh not in (None, metadata.theta_thresh):
        faults.append(f"theta_thresh {settings.theta_thresh:g}: it has {metadata.theta_thresh:g}")
    if settings.K not in (None, metadata.K):
        faults.append(f"K {settings.K}: it has {metadata.K}")
    if None not in (nms, metadata.nms_thresh) and nms > metadata.nms_thresh:
        faults.append(f"nms_thresh {nms:g}: it suppresses above {metadata.nms_thresh:g} already")
    if faults:
        raise InputError(
            f"{path} was exported otherwise: {'; '.join(faults)}. Leave that out, or export it "
            "again"
        )


@contextmanager
def telling_of_no_memory() -> Iterator[None]:
    """MemoryError where a runtime has no memory, for which each has an error of its own."""
    try:
        yield
    except Exception as error:
        if any(sign in str(error) for sign in _NO_MEMORY):
            raise MemoryError(str(error)) from error
        raise


_NO_MEMORY = ("Failed to allocate", "bad_alloc", "bad allocation")
"""Of ONNX Runtime and OpenVINO."""


def _first(asked: Any, otherwise: Any) -> Any:
    return otherwise if asked is None else asked
