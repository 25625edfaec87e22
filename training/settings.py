"""How a network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from DOTA_devkit.errors import InputError

SCHEDULES = ("exponential", "cosine")
OPTIMIZERS = ("adam", "adamw")
AMP = ("auto", "bfloat16", "float16", "none")


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained.

    Attributes:
        epochs: passes over the training set.
        batch_size: images of a step.
        accumulate: batches of a step, whose gradients are added up: a step sees
            `batch_size * accumulate` images at the memory of one batch.
        optimizer: "adam", as the original has it, or "adamw".
        beta2: decay, per step, of the mean of squared gradients by which Adam scales its steps.
        weight_decay: of adamw, on the weights of convolutions alone.
        ema_decay: limit of the decay of the averaged weights (see `training.average`), which are
            what is scored and saved for use; 0 for no average.
        align_centers: shift the boxes of the network that is scored and saved to where the labels
            lie on average (see `training.centers`).
        mosaic: probability that a training view is put together from four images, see
            `datasets.mosaic`.
        lr: highest learning rate.
        schedule: "exponential" multiplies the rate by `lr_gamma` after every epoch, as the original
            does; "cosine" lowers it along half a cosine to 1 % of `lr`.
        lr_gamma: factor of the exponential schedule.
        warmup_steps: steps over which the rate rises linearly, one epoch at most.
        clip_norm: largest norm of the gradient.
        save_every: epochs between two `model_<epoch>.pth` that are kept, 0 for none.
        save_minutes: minutes between two saves of `model_last.pth` within an epoch, 0 for none.
        val_every: epochs between two validations; the last epoch always has one.
        num_workers: processes that read images.
        skip_bad_images: leave out images that cannot be read, instead of stopping at the first.
        seed: of order, augmentation and first weights.
        patience: epochs without a better score after which the run ends, 0 for never.
        max_bad_steps: non-finite steps in a row that stop the run.
        pictures: batches of the first epoch that are drawn with their targets.
        val_pictures: images that are drawn at each validation: so many of the highest loss, of the
            lowest loss, and across the list.
        tensorboard: write event files for TensorBoard, too.
        amp: type that the network is trained in: "bfloat16", "float16", "none" for float32, or
            "auto" for the fastest of them on the device (see `training.precision`).
        compile: compile the network (see `training.compiling`).
    """

    epochs: int = 80
    batch_size: int = 16
    accumulate: int = 1
    optimizer: str = "adam"
    beta2: float = 0.999
    weight_decay: float = 0.0
    ema_decay: float = 0.0
    align_centers: bool = False
    mosaic: float = 0.0
    lr: float = 1.25e-4
    schedule: str = "exponential"
    lr_gamma: float = 0.96
    warmup_steps: int = 100
    clip_norm: float = 35.0
    save_every: int = 5
    save_minutes: float = 10.0
    val_every: int = 1
    num_workers: int = 4
    patience: int = 0
    skip_bad_images: bool = False
    seed: int = 317
    max_bad_steps: int = 20
    pictures: int = 2
    val_pictures: int = 4
    tensorboard: bool = False
    amp: str = "none"
    compile: bool = False

    @classmethod
    def checked(cls, values: Mapping[str, object], source: object) -> dict[str, Any]:
        """Check settings that come from a file; names that are no settings are left out.

        Args:
            values: Name -> value.
            source: The file, for errors.

        Raises:
            InputError: A value is of the wrong kind or out of its range.
        """
        found = {}
        for one in fields(cls):
            if one.name not in values:
                continue
            value, low = values[one.name], _LEAST.get(one.name, 0)
            if one.name in _CHOICES:
                choices = _CHOICES[one.name]
                expected, fits = f"one of {', '.join(choices)}", value in choices
            elif one.name in ("beta2", "ema_decay"):
                expected = "a number from 0 to below 1"
                fits = type(value) in (int, float) and 0 <= value < 1
            elif one.name == "mosaic":
                expected = "a number from 0 to 1"
                fits = type(value) in (int, float) and 0 <= value <= 1
            elif isinstance(one.default, bool):
                expected, fits = "true or false", isinstance(value, bool)
            else:
                kinds = (int,) if isinstance(one.default, int) else (int, float)
                whole = "whole " if len(kinds) == 1 else ""
                expected = f"a {whole}number from {low} to below 2^40"
                fits = type(value) in kinds and low <= value < 2**40
            if not fits:
                raise InputError(
                    f"{source}: its setting {one.name} of the training is {value!r}, but "
                    f"{expected} is expected"
                )
            found[one.name] = value
        return found


_CHOICES = {"schedule": SCHEDULES, "optimizer": OPTIMIZERS, "amp": AMP}

_LEAST = {"epochs": 1, "batch_size": 1, "accumulate": 1, "val_every": 1, "max_bad_steps": 1}
"""Least value of the settings for which it is not 0."""
