"""Checkpoint files: reading, writing, loading a model and fine-tuning; plain types only.

A file is a dict with the keys of the original (`epoch`, `model_state_dict`,
`optimizer_state_dict`), so that the original can load it. Everything else has keys of its own
beside them: the architecture, the classes, the input size, and whatever the writer adds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions
from DOTA_devkit.torch_files import (
    read_torch_file,
    refuse_non_finite,
    split_state,
    write_torch_file,
)
from models.architecture import Architecture, recognize
from models.backbones import is_timm
from models.ctrbox_net import CTRBOX
from models.image_entries import reading_in, train_scale_in
from models.schema import brief, check_weights, checked_entries
from models.state_keys import canonical_state
from structures.boxes import BOX_CODINGS, HEAD_CHANNELS, VECTORS

logger = logging.getLogger(__name__)

EXPORTED_SUFFIXES = (".onnx", ".xml", ".pt2")
"""Suffixes of the files that the export phase makes from a checkpoint."""


@dataclass
class Checkpoint:
    """A saved model, with everything needed to resume its training.

    Attributes:
        model_state: Weights under the names of `CTRBOX`.
        architecture: Backbone, heads, `head_conv`, `head_bn`, `neck` and `box_coding`.
        classes: Class names in the order of the channels of `hm`, or None if the file has none.
        input_size: (height, width) of training, or None.
        epoch: Number of the last completed epoch.
        optimizer_state: `optimizer.state_dict()`, or None.
        history: One dict of numbers per epoch.
        random_state: States of random generators.
        extras: Further values; each is a top-level key of the file. Whatever else an exact resume
            needs (a scaler, a schedule, averaged weights) belongs here.
        path: The file it was read from.
    """

    model_state: dict[str, Tensor]
    architecture: Architecture
    classes: tuple[str, ...] | None = None
    input_size: tuple[int, int] | None = None
    epoch: int = 0
    optimizer_state: dict[str, Any] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    random_state: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def of(
        cls,
        model: nn.Module,
        *,
        epoch: int = 0,
        optimizer: torch.optim.Optimizer | None = None,
        history: Sequence[Mapping[str, Any]] = (),
        random_state: Mapping[str, Any] | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> Checkpoint:
        """Make a checkpoint of a `CTRBOX`, wrapped for several devices or compiled or not.

        Args:
            model: The model; the checkpoint shares its tensors.
            epoch: See the attributes, as for all further arguments.
            optimizer: The optimizer whose state is kept, or None.
            history: See the attributes.
            random_state: See the attributes.
            extras: See the attributes.

        Returns:
            The checkpoint, with no `path`.
        """
        while not isinstance(model, CTRBOX):
            model = model.module if hasattr(model, "module") else model._orig_mod
        right, down = model.center_shift
        shift = {"center_shift": {"right": right, "down": down}} if right or down else {}
        return cls(
            model_state=model.state_dict(),
            architecture=Architecture.of(model),
            classes=model.classes,
            input_size=model.input_size,
            epoch=epoch,
            optimizer_state=None if optimizer is None else optimizer.state_dict(),
            history=[dict(row) for row in history],
            random_state=dict(random_state or {}),
            extras=dict(extras or {}) | shift,
        )

    @property
    def reading(self) -> ReadOptions | None:
        """How the images of the training were read, or None if the file does not say."""
        return reading_in(self.extras.get("data"))

    @property
    def train_scale(self) -> float | None:
        """Input pixels per pixel of the training images (median); None if the file has none."""
        return train_scale_in(self.extras.get("data"))

    def to_file(self) -> dict[str, Any]:
        """Return the content of the checkpoint's file.

        Raises:
            ValueError: An extra has the name of a key that the format itself uses.
        """
        architecture = self.architecture
        content = {
            "epoch": self.epoch,
            "model_state_dict": self.model_state,
            "backbone": architecture.backbone,
            "heads": architecture.heads,
            "final_kernel": architecture.final_kernel,
            "head_conv": architecture.head_conv,
            "head_bn": architecture.head_bn,
            "classes": None if self.classes is None else list(self.classes),
            "input_size": None if self.input_size is None else list(self.input_size),
            "history": self.history,
            "random_state": self.random_state,
        }
        if architecture.neck is not None:
            content["neck"] = architecture.neck
        if architecture.box_coding != VECTORS:
            content["box_coding"] = architecture.box_coding
        if self.optimizer_state is not None:
            content["optimizer_state_dict"] = self.optimizer_state
        if reserved := content.keys() & self.extras.keys():
            raise ValueError(f"extras may not be named {', '.join(sorted(reserved))}")
        return content | self.extras

    @classmethod
    def from_file(cls, content: object, path: Path) -> Checkpoint:
        """Interpret a file's content: ours, the original's, the light fork's, or bare weights.

        Args:
            content: What `torch.load` returned.
            path: The file, for error messages and the `path` attribute.

        Raises:
            InputError: This is not a checkpoint of this detector.
        """
        state, rest = split_state(content, path)
        state = canonical_state(state)
        backbone, box_coding = rest.pop("backbone", None), rest.pop("box_coding", VECTORS)
        if box_coding not in BOX_CODINGS:
            raise InputError(
                f"{path}: its box_coding is {brief(box_coding)}, but one of "
                f"{', '.join(BOX_CODINGS)} is expected"
            )
        try:
            architecture = recognize(
                state, backbone if isinstance(backbone, str) else None, box_coding
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        check_weights(state, path)
        rest = checked_entries(rest, architecture.heads["hm"], path)
        for key in ("heads", "final_kernel", "head_conv", "head_bn", "neck"):
            rest.pop(key, None)  # read from the weights instead
        classes, input_size = rest.pop("classes"), rest.pop("input_size")
        return cls(
            model_state=state,
            architecture=architecture,
            classes=None if classes is None else tuple(classes),
            input_size=None if input_size is None else tuple(input_size),
            epoch=rest.pop("epoch"),
            optimizer_state=rest.pop("optimizer_state_dict"),
            history=[dict(row) for row in rest.pop("history")],
            random_state=dict(rest.pop("random_state")),
            extras=rest,
            path=path,
        )

    def require(
        self,
        *,
        backbone: str | None = None,
        classes: Sequence[str] | None = None,
        head_conv: int | None = None,
        head_bn: bool | None = None,
        neck: int | None = None,
    ) -> None:
        """Check that the checkpoint is what was asked for.

        Args:
            backbone: Expected name, or None to accept any; None means that for every argument.
            classes: Expected class names. A file without names only has to have as many channels.
            head_conv: Expected hidden channels of the heads.
            head_bn: Whether the heads are expected to have BatchNorm.
            neck: Expected channels of the merges.

        Raises:
            InputError: The checkpoint differs; the message lists every difference.
        """
        saved = self.architecture
        faults = []
        if backbone not in (None, saved.backbone):
            faults.append(f"backbone is {backbone}, but the file has {saved.backbone}")
        if head_conv not in (None, saved.head_conv):
            faults.append(f"head_conv is {head_conv}, but the file has {saved.head_conv}")
        if head_bn not in (None, saved.head_bn):
            having = "has" if saved.head_bn else "has no"
            faults.append(f"head_bn is {head_bn}, but the file {having} BatchNorm in its heads")
        if neck not in (None, saved.neck):
            widths = "the backbone's widths" if saved.neck is None else saved.neck
            faults.append(f"neck is {neck}, but the file has {widths}")
        if classes is not None:
            known, number = self.classes, saved.heads["hm"]
            if len(classes) != number or known not in (None, tuple(classes)):
                names = f" ({', '.join(known)})" if known else ""
                faults.append(
                    f"classes has {len(classes)} names ({', '.join(classes)}), but the file has "
                    f"{number}{names}"
                )
        if faults:
            raise InputError(
                f"{self.path} does not match the options: {'; '.join(faults)}. Leave these options "
                "out to use what the checkpoint has; to train another network from it use finetune"
            )


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: a failed write leaves an existing file unchanged.

    Raises:
        InputError: The file cannot be written, for example because the disk is full.
        TypeError: An extra is not of a plain type.
    """
    write_torch_file(path, checkpoint.to_file())


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this project, of the original or of the light fork, to the CPU.

    Raises:
        InputError: The file is missing, empty, damaged, unsafe to load, not a checkpoint of this
            detector, or its weights are not finite.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() in EXPORTED_SUFFIXES:
        raise InputError(
            f"{path}: this is an exported file, but a checkpoint (.pth) is expected here; exported "
            "files are run by the phases predict and benchmark"
        )
    checkpoint = Checkpoint.from_file(read_torch_file(path), path)
    refuse_non_finite(checkpoint.model_state, path)
    return checkpoint


def load_model(
    path: str | Path,
    device: str | torch.device = "cpu",
    *,
    backbone: str | None = None,
    classes: Sequence[str] | None = None,
    head_conv: int | None = None,
    head_bn: bool | None = None,
    neck: int | None = None,
) -> CTRBOX:
    """Load the detector of a checkpoint, in eval mode.

    The architecture is read from the file: `.backbone`, `.head_conv`, `.head_bn`, `.neck`.
    `.classes` and `.input_size` (height, width) are None if the file does not have them. Files of
    the original and of the light fork load as they are.

    Args:
        path: The checkpoint.
        device: Where the model goes.
        backbone: Expected backbone, or None to take what the file has; the same holds below.
        classes: Expected class names. If the file has none, these become the model's.
        head_conv: Expected hidden channels of the heads.
        head_bn: Whether the heads are expected to have BatchNorm.
        neck: Expected channels of the merges.

    Raises:
        InputError: The file is missing, damaged, unsafe to load, not a checkpoint of this
            detector, or differs from what is expected.
    """
    checkpoint = read_checkpoint(path)
    checkpoint.require(
        backbone=backbone, classes=classes, head_conv=head_conv, head_bn=head_bn, neck=neck
    )
    if checkpoint.classes is None and classes is not None:
        checkpoint.classes = tuple(classes)
    return build_model(checkpoint, device)


def build_model(checkpoint: Checkpoint, device: str | torch.device = "cpu") -> CTRBOX:
    """Build the detector of a checkpoint that has been read, in eval mode."""
    # The weights come from the file, so that the random initialization can be skipped; but modules
    # of timm may hold tensors that are not in its state.
    with torch.device("cpu" if is_timm(checkpoint.architecture.backbone) else "meta"):
        model = checkpoint.architecture.build(checkpoint.classes, checkpoint.input_size)
    state = {key: value.clone() for key, value in checkpoint.model_state.items()}
    model.load_state_dict(state, assign=True)
    model.center_shift = _center_shift(checkpoint)
    return model.to(device).eval()


def _center_shift(checkpoint: Checkpoint) -> tuple[float, float]:
    shift = checkpoint.extras.get("center_shift")
    return (float(shift["right"]), float(shift["down"])) if shift else (0.0, 0.0)


def finetune(model: CTRBOX, path: str | Path) -> list[str]:
    """Initialize a model with the weights of a detector that was trained on other data.

    Layers of the same shape are copied. The others keep their new weights: the last layer of the
    heat map if the classes differ, those of the boxes if `box_coding` differs, the heads if
    `head_conv` or `head_bn` differ, or the merges and the heads if `neck` differs.

    Args:
        model: The model to initialize, in place.
        path: The checkpoint to start from.

    Returns:
        Names of the layers that keep their new weights, `hm.2` for example.

    Raises:
        InputError: The file is missing, damaged, unsafe to load, not a checkpoint of this
            detector, or has another backbone.
    """
    checkpoint = read_checkpoint(path)
    backbone = checkpoint.architecture.backbone
    if backbone != model.backbone:
        raise InputError(
            f"{path}: this is a checkpoint of {backbone}, from which {model.backbone} cannot be "
            f"fine-tuned: set backbone={backbone}"
        )
    own, state = model.state_dict(), checkpoint.model_state
    layers: dict[str, list[str]] = {}
    for key in own:
        layers.setdefault(key.rpartition(".")[0], []).append(key)
    new = [
        layer
        for layer, keys in layers.items()
        if any(key not in state or state[key].shape != own[key].shape for key in keys)
    ]
    last = f"hm.{3 if model.head_bn else 2}"
    if model.classes and checkpoint.classes and model.classes != checkpoint.classes:
        new = [*new, last] if last not in new else new  # as many classes, but different ones
    if model.box_coding != checkpoint.architecture.box_coding:  # these mean something else
        coded = (layer for layer in layers if layer.split(".")[0] in HEAD_CHANNELS)
        new = list(dict.fromkeys([*new, *(layer for layer in coded if layer.endswith(last[2:]))]))
    copied = {key: state[key] for layer, keys in layers.items() if layer not in new for key in keys}
    model.load_state_dict(own | copied)
    if f"reg.{last[3:]}" not in new:
        model.center_shift = _center_shift(checkpoint)
        model.remove_center_shift()
    logger.info("fine-tuning from %s; newly initialized layers: %s", path, ", ".join(new) or "none")
    return new
