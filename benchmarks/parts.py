"""Run main.py with one part of the recipe `rectangle` left out.

python -m benchmarks.parts bhattacharyya --phase train --data_dir mydata --backbone resnet18

The first word is one of `PARTS`, the others are flags of main.py. `benchmarks.recipes --without`
trains and scores without each part, and compares that with the whole recipe.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

import main as program
from cli import processes, recipes
from DOTA_devkit.errors import InputError, did_you_mean
from models import box_coding, rectangle_loss
from structures.boxes import VECTORS, WH

RECIPE = recipes.RECIPES[recipes.DEFAULT]
_whole_losses = rectangle_loss.box_losses


@dataclass(frozen=True)
class Part:
    """A part of the recipe.

    Attributes:
        about: What takes its place.
        patches: What to change, as `unittest.mock.patch` makes it.
        trained: Whether the training differs without it, and not just the detection.
    """

    about: str
    patches: tuple[Any, ...]
    trained: bool = True


def _recipe(**changes: Any) -> tuple[Any, ...]:
    """Change attributes of the recipe."""
    return (patch.dict(recipes.RECIPES, {recipes.DEFAULT: replace(RECIPE, **changes)}),)


def _settings(**changes: Any) -> tuple[Any, ...]:
    """Change some settings of the recipe."""
    return _recipe(settings={**RECIPE.settings, **changes})


def _losses_in_cells(
    wh: Tensor, reg: Tensor, true_wh: Tensor, true_reg: Tensor, share: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Compute `rectangle_loss.box_losses` with `wh` and `off` as the paper weighs its errors.

    They are the smooth L1 of errors in cells, whatever the size of the object.
    """
    losses, distance = _whole_losses(wh, reg, true_wh, true_reg, share)
    true_code = box_coding.code_rectangles(true_wh[:, : WH["size"].start])

    def mean_error(error: Tensor) -> Tensor:
        errors = F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none")
        return (errors.mean(dim=1) * share).sum()

    found, true = (torch.stack(box_coding.symmetric_matrix(one), 1) for one in (wh, true_code))
    return {**losses, "wh": mean_error(found - true), "off": mean_error(reg - true_reg)}, distance


def _center_cells(
    loss: rectangle_loss.RectangleLoss, targets: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Take the place of `RectangleLoss.assign`: an object is learned by its center's cell alone."""
    objects = (targets["reg_mask"] != 0).float()
    return {**targets, "cell_weight": objects, "objects": objects.sum()}


PARTS = {
    "coding": Part("boundary vectors and their losses", _recipe(box_coding=VECTORS)),
    "relative_errors": Part(
        "errors in cells", (patch.object(rectangle_loss, "box_losses", _losses_in_cells),)
    ),
    "bhattacharyya": Part(
        "no Bhattacharyya distance", (patch.object(rectangle_loss, "FAR_WEIGHT", 0.0),)
    ),
    "gaussians": Part(
        "no distances of Gaussians",
        (patch.object(rectangle_loss, "FAR_WEIGHT", 0.0),
         patch.object(rectangle_loss, "OVERLAP_WEIGHT", 0.0)),
    ),
    "neighbors": Part(
        "boxes are learned by the cell of the center alone",
        (patch.object(rectangle_loss.RectangleLoss, "assign", _center_cells),),
    ),
    "head_bn": Part("heads without BatchNorm", _recipe(head_bn=False)),
    "kernels": Part("1x1 last convolutions", _recipe(final_kernel=1)),
    "beta2": Part("AdamW's usual beta2 of 0.999", _settings(beta2=0.999)),
    "average": Part("the weights of the last step", _settings(ema_decay=0.0)),
    "mosaic": Part("views of single images", _settings(mosaic=0.0)),
    "shift": Part("centers as the network finds them", _settings(align_centers=False)),
    "mean": Part(
        "each cell's own box", (patch.object(box_coding, "agreeing_mean", lambda cells: cells[4]),),
        trained=False,
    ),
    "ranking": Part(
        "scores of the heat map alone",
        (patch.object(box_coding, "fitting_score", lambda heatmap, fit: heatmap),),
        trained=False,
    ),
}  # fmt: skip
"""Name -> a part of the recipe."""


def check_part(name: str) -> str:
    """Return the name of a part.

    Raises:
        InputError: There is no such part.
    """
    if name not in PARTS:
        raise InputError(
            f"the recipe has no part {name!r}{did_you_mean(name, PARTS)}; choose from "
            f"{', '.join(PARTS)}"
        )
    return name


def _refuse_processes(*_: object) -> int:
    """Take the place of the start of further processes, in which the part would not be left out.

    Raises:
        InputError: Always.
    """
    raise InputError(
        "a part of the recipe can only be left out in a single process: give --ngpus 1"
    )


@contextmanager
def left_out(name: str) -> Iterator[None]:
    """Leave out a part for a block.

    Raises:
        InputError: There is no such part.
    """
    with ExitStack() as changes:
        for change in PARTS[check_part(name)].patches:
            changes.enter_context(change)
        yield


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        print("\n".join(f"{name:16} {part.about}" for name, part in PARTS.items()))
        return 0 if words else 2
    try:
        with left_out(words[0]), patch.object(processes, "run_processes", _refuse_processes):
            return program.main(words[1:])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
