"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass

SCHEDULES = ("exponential", "cosine")


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained.

    Attributes:
        epochs: passes over the training set.
        batch_size: images of a step.
        lr: highest learning rate.
        schedule: "exponential" multiplies the rate by `lr_gamma` after every epoch, as the original
            does; "cosine" lowers it along half a cosine to 1 % of `lr`.
        lr_gamma: factor of the exponential schedule.
        warmup_steps: steps over which the rate rises linearly, one epoch at most.
        clip_norm: largest norm of the gradient.
        save_every: epochs between two `model_<epoch>.pth` that are kept, 0 for none.
        val_every: epochs between two validations; the last epoch always has one.
        num_workers: processes that read images.
        seed: of order, augmentation and first weights.
        max_bad_steps: non-finite steps in a row that stop the run.
        pictures: batches of the first epoch that are drawn with their targets.
    """

    epochs: int = 80
    batch_size: int = 16
    lr: float = 1.25e-4
    schedule: str = "exponential"
    lr_gamma: float = 0.96
    warmup_steps: int = 100
    clip_norm: float = 35.0
    save_every: int = 5
    val_every: int = 1
    num_workers: int = 4
    seed: int = 317
    max_bad_steps: int = 20
    pictures: int = 2
