"""The recipes of `--recipe`: how boxes are coded, and with which settings a network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.defaults import Defaults
from structures.boxes import RECTANGLE, VECTORS


@dataclass(frozen=True)
class Recipe:
    """A way to train, of which flags may change parts.

    Attributes:
        box_coding: One of `structures.boxes.BOX_CODINGS`.
        head_bn: Whether the heads have BatchNorm.
        final_kernel: Kernel size of the last convolution of each head.
        settings: Name in `training.settings.TrainSettings` -> value.
    """

    box_coding: str
    head_bn: bool
    final_kernel: int
    settings: Mapping[str, Any] = field(default_factory=dict)


DEFAULT = "rectangle"

RECIPES = {
    DEFAULT: Recipe(
        RECTANGLE,
        head_bn=True,
        final_kernel=3,
        settings={
            "optimizer": "adamw",
            "weight_decay": 0.01,
            "beta2": 0.98,
            "ema_decay": 0.998,
            "align_centers": True,
            "mosaic": 1.0,
            "lr": 2e-3,
            "schedule": "cosine",
            "warmup_steps": 30,
        },
    ),
    "paper": Recipe(
        VECTORS,
        head_bn=False,
        final_kernel=1,  # but 3 of `wh`, as in all networks
        settings={"lr": 1.25e-4, "schedule": "exponential"},
    ),
}
"""Name for `--recipe` -> recipe."""


def recipe_of(box_coding: str) -> str:
    """Return the name of the recipe that trains networks with a coding of boxes."""
    return next(name for name, recipe in RECIPES.items() if recipe.box_coding == box_coding)


def recipe_settings(name: str, defaults: Defaults) -> dict[str, Any]:
    """Return the settings of a recipe for some data."""
    return {**RECIPES[name].settings, **defaults.recipe_settings.get(name, {})}
