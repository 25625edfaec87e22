"""What a resumed run takes from its checkpoint besides the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from DOTA_devkit.errors import InputError
from models import Checkpoint


def load_optimizer_state(optimizer: torch.optim.Optimizer, resume: Checkpoint) -> None:
    """Load the optimizer's state of a checkpoint.

    Raises:
        InputError: the state belongs to other parameters. `load_state_dict` compares only their
            number, and the first step would fail.
    """
    optimizer_state = resume.optimizer_state
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    try:
        shapes = {i: s["exp_avg"].shape for i, s in optimizer_state["state"].items()}
        if any(parameters[i].shape != shape for i, shape in shapes.items()):
            raise ValueError("the shapes differ")
        optimizer.load_state_dict(optimizer_state)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{resume.path}: its optimizer state is not that of these parameters ({error}); to "
            "start over with its weights use finetune"
        ) from error


def random_state() -> dict[str, torch.Tensor]:
    """Return the states of torch's random generators, by device."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state |= {f"cuda:{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return state


def restore_random_state(state: Mapping[str, torch.Tensor]) -> None:
    """Set what `random_state` returned; devices that no longer exist are skipped."""
    if "cpu" in state:
        torch.set_rng_state(state["cpu"])
    for index in range(torch.cuda.device_count()):
        if f"cuda:{index}" in state:
            torch.cuda.set_rng_state(state[f"cuda:{index}"], index)
