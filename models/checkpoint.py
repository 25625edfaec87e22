"""Checkpoint files: one way to write them, one way to read them, plain types only.

A file is a dict with the keys of the original (`epoch`, `model_state_dict`,
`optimizer_state_dict`), so that the original loads it. Everything else stands beside them in keys
of its own: how the network is built, its classes, its input size, and whatever the writer adds.
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
from models.architecture import Architecture, recognise
from models.ctrbox_net import CTRBOX
from models.state_keys import canonical_state
from models.torch_files import read_torch_file, split_state, write_torch_file

logger = logging.getLogger(__name__)

EXPORTED = (".onnx", ".xml", ".pt2")
"""Suffixes of files that --phase export makes of a checkpoint."""


@dataclass
class Checkpoint:
    """A model on file, with all that training needs to go on with it.

    Attributes:
        model_state: weights under the names of `CTRBOX`.
        architecture: backbone, heads, `head_conv`, `head_bn`.
        classes: names in the order of `hm`'s channels, or None where the file does not say.
        input_size: (height, width) of training, or None.
        epoch: the last one that is done.
        optimizer_state: `optimizer.state_dict()`, or None.
        history: one dict of numbers an epoch.
        random_state: states of random generators.
        extras: further values; each is a top-level key of the file. (Where exact resume needs
            more, say a scaler, a schedule or averaged weights, this is the place.)
        path: where it was read from.
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
        """Of a `CTRBOX`, also one wrapped for several devices. The tensors are shared with it."""
        while not isinstance(model, CTRBOX):
            model = model.module if hasattr(model, "module") else model._orig_mod
        return cls(
            model_state=model.state_dict(),
            architecture=Architecture.of(model),
            classes=model.classes,
            input_size=model.input_size,
            epoch=epoch,
            optimizer_state=None if optimizer is None else optimizer.state_dict(),
            history=[dict(row) for row in history],
            random_state=dict(random_state or {}),
            extras=dict(extras or {}),
        )

    def to_file(self) -> dict[str, Any]:
        """The content of its file."""
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
        if self.optimizer_state is not None:
            content["optimizer_state_dict"] = self.optimizer_state
        if twice := content.keys() & self.extras.keys():
            raise ValueError(f"extras may not be named {', '.join(sorted(twice))}")
        return content | self.extras

    @classmethod
    def from_file(cls, content: object, path: Path) -> Checkpoint:
        """Of the content of a file: ours, the original's, the light fork's, or bare weights.

        Raises:
            InputError: that is no checkpoint of this detector.
        """
        state, rest = split_state(content, path)
        state = canonical_state(state)
        backbone = rest.pop("backbone", None)
        try:
            architecture = recognise(state, backbone if isinstance(backbone, str) else None)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        for key in ("heads", "final_kernel", "head_conv", "head_bn"):
            rest.pop(key, None)  # the weights have said it
        epoch = rest.pop("epoch", 0)
        return cls(
            model_state=state,
            architecture=architecture,
            classes=_tuple_of(str, rest.pop("classes", None), architecture.heads["hm"]),
            input_size=_tuple_of(int, rest.pop("input_size", None), 2),
            epoch=epoch if isinstance(epoch, int) else 0,
            optimizer_state=rest.pop("optimizer_state_dict", None),
            history=rest.pop("history", []),
            random_state=rest.pop("random_state", {}),
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
    ) -> None:
        """InputError where the file contradicts what was asked for; None asks for nothing."""
        there = self.architecture
        faults = []
        if backbone not in (None, there.backbone):
            faults.append(f"--backbone says {backbone}, the file has {there.backbone}")
        if head_conv not in (None, there.head_conv):
            faults.append(f"--head_conv says {head_conv}, the file has {there.head_conv}")
        if head_bn not in (None, there.head_bn):
            having = "has" if there.head_bn else "has no"
            faults.append(f"the file {having} BatchNorm in its heads (--head_bn)")
        if classes is not None:
            known, number = self.classes, there.heads["hm"]
            if len(classes) != number or known not in (None, tuple(classes)):
                names = f" ({', '.join(known)})" if known else ""
                faults.append(
                    f"--classes says {len(classes)} ({', '.join(classes)}), the file has "
                    f"{number}{names}"
                )
        if faults:
            raise InputError(
                f"{self.path} is not what the flags say: {'; '.join(faults)}. Without these flags "
                "the checkpoint decides; to train another network from it use --finetune"
            )


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, all or not at all.

    Raises:
        InputError: it cannot be written, say for a full disk. What was there is unchanged.
        TypeError: an extra is not of plain type.
    """
    write_torch_file(path, checkpoint.to_file())


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this project, of the original or of the light fork, on the CPU.

    Raises:
        InputError: no such file, an empty, damaged or unsafe one, or not of this detector.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() in EXPORTED:
        raise InputError(
            f"{path}: an exported file, and a checkpoint (.pth) is expected here; predict and "
            "benchmark are the phases that run exported ones"
        )
    return Checkpoint.from_file(read_torch_file(path), path)


def _tuple_of(kind: type, value: object, length: int) -> tuple | None:
    """`value` as a tuple if it is so many of `kind`; other tools may use the key otherwise."""
    if not isinstance(value, (list, tuple)) or len(value) != length:
        return None
    return tuple(value) if all(isinstance(item, kind) for item in value) else None


def load_model(
    path: str | Path,
    device: str | torch.device = "cpu",
    *,
    backbone: str | None = None,
    classes: Sequence[str] | None = None,
    head_conv: int | None = None,
    head_bn: bool | None = None,
) -> CTRBOX:
    """The detector of a checkpoint, in eval mode.

    What it is built like is read from the file: `.backbone`, `.head_conv`, `.head_bn`; `.classes`
    and `.input_size` (height, width) are None where the file does not say. Files of the original
    and of the light fork load as they are.

    Args:
        backbone, classes, head_conv, head_bn: what must hold; None takes what the file has. Where
            the file has no names of classes, those asked for become the model's.

    Raises:
        InputError: no such file, an unsafe, damaged or foreign one, or one that contradicts.
    """
    checkpoint = read_checkpoint(path)
    checkpoint.require(backbone=backbone, classes=classes, head_conv=head_conv, head_bn=head_bn)
    if checkpoint.classes is None and classes is not None:
        checkpoint.classes = tuple(classes)
    return build_model(checkpoint, device)


def build_model(checkpoint: Checkpoint, device: str | torch.device = "cpu") -> CTRBOX:
    """The detector of a checkpoint that is read already, in eval mode."""
    with torch.device("meta"):  # the weights come from the file: none are drawn
        model = checkpoint.architecture.build(checkpoint.classes, checkpoint.input_size)
    state = {key: value.clone() for key, value in checkpoint.model_state.items()}
    model.load_state_dict(state, assign=True)
    return model.to(device).eval()


def finetune(model: CTRBOX, path: str | Path) -> list[str]:
    """Begin with the weights of a detector that was trained for something else.

    Layers that are the same there are taken over. Those that differ start new: the heat map's last
    one for other classes, or the heads for another `head_conv` or `head_bn`.

    Returns:
        Names of the layers that start new, `hm.2` for example.

    Raises:
        InputError: no such file, an unsafe, damaged or foreign one, or one of another backbone.
    """
    checkpoint = read_checkpoint(path)
    there = checkpoint.architecture.backbone
    if there != model.backbone:
        raise InputError(
            f"{path}: a checkpoint of {there}, from which no {model.backbone} can begin: give "
            f"--backbone {there}"
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
        new = [*new, last] if last not in new else new  # as many classes, but others
    taken = {key: state[key] for layer, keys in layers.items() if layer not in new for key in keys}
    model.load_state_dict(own | taken)
    logger.info("fine-tuning from %s; layers that start new: %s", path, ", ".join(new) or "none")
    return new
