"""What a resumed run takes from its checkpoint besides the weights.

Native code reads and writes these tensors without looking at their shape, so nothing of a file
reaches it unless it was checked here, in memory of its own.
"""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from DOTA_devkit.errors import InputError
from DOTA_devkit.torch_files import is_dense, refuse_non_finite
from models import Checkpoint
from models.schema import brief, check_weights

TRAINED_STATE = "train_state_dict"
"""Key of the weights that the optimizer works on, where the others are their average."""

_MOMENTS = ("exp_avg", "exp_avg_sq")


def load_optimizer_state(optimizer: torch.optim.Optimizer, resume: Checkpoint) -> None:
    """Load the optimizer's state of a checkpoint.

    Every tensor is checked and then copied into memory that is laid out as its parameter: the fused
    Adam of PyTorch compares neither shapes nor strides, and would write beyond a smaller one. Of
    the settings in the file those that shape a step are taken (betas, eps, weight decay, amsgrad);
    the learning rate is set at each step, and how it is computed stays as it is in `optimizer`.

    Args:
        optimizer: An Adam or AdamW.
        resume: The checkpoint.

    Raises:
        InputError: The state belongs to other parameters, or is not one of Adam.
    """
    try:
        optimizer.load_state_dict(_checked_state(optimizer, resume.optimizer_state))
    except ValueError as error:
        raise InputError(
            f"{resume.path}: its optimizer state is not that of these parameters ({error}); to "
            "start over with its weights use finetune"
        ) from error


def _checked_state(optimizer: torch.optim.Optimizer, content: object) -> dict[str, Any]:
    """Return a state for `optimizer.load_state_dict`, with tensors of its own.

    Raises:
        ValueError: Something in `content` is missing, or not what Adam expects.
    """
    own = optimizer.state_dict()["param_groups"]
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    states = _entry(content, "state", Mapping)
    groups = _entry(content, "param_groups", Sequence)
    if len(groups) != len(own):
        expected = "1 group" if len(own) == 1 else f"{len(own)} groups"
        raise ValueError(f"{expected} of parameters must be there, but it has {len(groups)}")
    settings = [_checked_settings(group) for group in groups]
    index_of: dict[int, int] = {}
    moments_of: list[tuple[str, ...]] = []
    for group, expected, values in zip(groups, own, settings, strict=True):
        numbers = _entry(group, "params", Sequence)
        count = len(expected["params"])
        if len(numbers) != count or not all(isinstance(n, int) for n in numbers):
            raise ValueError(f"{count} parameters are expected, but it lists {len(numbers)}")
        index_of |= {number: len(moments_of) + index for index, number in enumerate(numbers)}
        moments = (*_MOMENTS, "max_exp_avg_sq") if values["amsgrad"] else _MOMENTS
        moments_of += [moments] * count
    state = {}
    for number, entries in states.items():
        index = index_of.get(number) if isinstance(number, int) else None
        if index is None:
            raise ValueError(
                f"it has a state of the parameter {brief(number)}, which it does not list"
            )
        where = f"parameter {index}"
        state[index] = {"step": _checked_step(_entry(entries, "step", object, where), where)} | {
            name: _checked_moment(
                _entry(entries, name, Tensor, where), parameters[index], f"{name} of {where}"
            )
            for name in moments_of[index]
        }
    return {
        "state": state,
        "param_groups": [one | values for one, values in zip(own, settings, strict=True)],
    }


def _entry(content: object, name: str, kind: type, where: str = "") -> Any:
    """Return `content[name]`, which must be of a kind."""
    of = f" of {where}" if where else ""
    if not isinstance(content, Mapping) or name not in content:
        raise ValueError(f"{name}{of} is missing")
    value = content[name]
    if not isinstance(value, kind) or isinstance(value, (str, bytes)):
        raise ValueError(f"{name}{of} is a {type(value).__name__}")
    return value


def _checked_settings(group: object) -> dict[str, Any]:
    """Return the settings in a group of parameters that shape a step."""
    betas = _entry(group, "betas", Sequence)
    if len(betas) != 2 or not all(_is_number(beta) and 0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be two numbers of [0, 1), but it has {brief(betas)}")
    settings: dict[str, Any] = {"betas": tuple(map(float, betas))}
    for name in ("eps", "weight_decay"):
        value = _entry(group, name, object)
        if not (_is_number(value) and value >= 0):
            raise ValueError(f"{name} must be a number of at least 0, but it has {brief(value)}")
        settings[name] = float(value)
    amsgrad = group.get("amsgrad", False)  # older PyTorch has no such setting
    if not isinstance(amsgrad, bool):
        raise ValueError(f"amsgrad must be true or false, but it has {brief(amsgrad)}")
    return settings | {"amsgrad": amsgrad}


def _is_number(value: object) -> bool:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return plain and math.isfinite(value)


def _checked_step(value: object, where: str) -> Tensor:
    """Return the number of steps that a parameter has seen, a scalar [] of float32."""
    if isinstance(value, Tensor):
        value = value.item() if value.numel() == 1 and is_dense(value) else None
    if not (_is_number(value) and 0 <= value < 2**53):
        raise ValueError(f"step of {where} is not a number of steps")
    return torch.tensor(float(value), dtype=torch.float32)


def _checked_moment(value: Tensor, parameter: nn.Parameter, name: str) -> Tensor:
    """Return a copy of a moment, laid out in memory as its parameter."""
    if value.shape != parameter.shape:
        raise ValueError(
            f"the shapes differ: {list(parameter.shape)} is expected for {name}, but it has "
            f"{list(value.shape)}"
        )
    if not (is_dense(value) and value.is_floating_point()):
        raise ValueError(f"{name} must hold plain floats, but it holds {value.dtype}")
    if not torch.isfinite(value).all() or (name.partition(" ")[0] != "exp_avg" and value.min() < 0):
        raise ValueError(f"{name} holds values that no training gives")
    copy = torch.empty_like(parameter, memory_format=torch.preserve_format, requires_grad=False)
    return copy.copy_(value)


def load_trained_state(model: nn.Module, resume: Checkpoint) -> None:
    """Load the weights of training, which a run with averaged weights stores beside these.

    Args:
        model: The network, which has the averaged ones.
        resume: The checkpoint.

    Raises:
        InputError: They are missing, or are not those of the model.
    """
    state, own = resume.extras.get(TRAINED_STATE), model.state_dict()
    fits = state is not None and state.keys() == own.keys()
    if not fits or any(
        not is_dense(state[name]) or state[name].shape != value.shape for name, value in own.items()
    ):
        raise InputError(
            f"{resume.path}: its {TRAINED_STATE} is missing or damaged, so that its run cannot go "
            "on; to start over with its weights use finetune"
        )
    check_weights(state, resume.path)
    refuse_non_finite(state, resume.path)
    model.load_state_dict(state)


def seed_all(seed: int) -> None:
    """Seed the global random states of Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state(loader: Tensor | None = None) -> dict[str, Tensor]:
    """Return the states of all random generators of this process.

    Args:
        loader: State of the generator of the batches' order and the workers' seeds.

    Returns:
        PyTorch's by device ("cpu", "cuda:0", ...), "python" and "numpy" as [627] int64 (see
        `_packed`), and "loader" if it was given.
    """
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state |= {f"cuda:{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    _, (*words, position), gauss = random.getstate()
    state["python"] = _packed(words, position, gauss)
    _, words, position, has_gauss, gauss = np.random.get_state()
    state["numpy"] = _packed(words.tolist(), position, gauss if has_gauss else None)
    return state if loader is None else state | {"loader": loader}


def restore_random_state(resume: Checkpoint) -> Tensor | None:
    """Set what `random_state` returned; devices that no longer exist are skipped.

    Returns:
        The state of the loader's generator, if there is one.

    Raises:
        InputError: It is no state of a generator.
    """
    cuda = (f"cuda:{index}" for index in range(torch.cuda.device_count()))
    for name in ("cpu", *cuda, "python", "numpy", "loader"):
        state = resume.random_state.get(name)
        if state is None:
            continue
        try:
            _restore_one(name, state)
        except (ValueError, RuntimeError, TypeError) as error:
            raise InputError(
                f"{resume.path}: its random_state of {name} is damaged ({error}); to start over "
                "with its weights use finetune"
            ) from error
    loader = resume.random_state.get("loader")
    return None if loader is None else loader.contiguous()


def _restore_one(name: str, state: object) -> None:
    """Set the state of one generator; that of the loader is only tried.

    Raises:
        ValueError, RuntimeError, TypeError: It is no state of this generator.
    """
    plain = isinstance(state, Tensor) and is_dense(state)
    if name in ("python", "numpy"):
        if not (plain and state.dtype == torch.int64 and state.shape == (_WORDS + 3,)):
            raise ValueError(f"{_WORDS + 3} whole numbers are expected")
        words, position, gauss = _unpacked(state)
        if name == "python":
            random.setstate((3, (*words, position), gauss))
        else:
            key = np.array(words, np.uint32)
            np.random.set_state(("MT19937", key, position, int(gauss is not None), gauss or 0.0))
        return
    if not (plain and state.dtype == torch.uint8):
        raise ValueError("a tensor of bytes is expected")
    # a copy: the generators read it as a block of memory
    copy = state.clone(memory_format=torch.contiguous_format)
    if name == "cpu":
        torch.set_rng_state(copy)
    elif name == "loader":
        torch.Generator().set_state(copy)
    else:
        torch.cuda.set_rng_state(copy, name)


_WORDS = 624
"""Words of 32 bits in the state of a Mersenne Twister, the generator of Python and of NumPy."""


def _packed(words: Sequence[int], position: int, gauss: float | None) -> Tensor:
    """Pack the state of a Mersenne Twister into a tensor, as versions before this one expect.

    Returns:
        [627] int64: the words, the position in them, 1 if half of a pair of normally distributed
        numbers is left over, and the bits of that.
    """
    bits = struct.unpack("<q", struct.pack("<d", gauss or 0.0))[0]
    return torch.tensor([*words, position, int(gauss is not None), bits], dtype=torch.int64)


def _unpacked(state: Tensor) -> tuple[list[int], int, float | None]:
    """Return what `_packed` got.

    Raises:
        ValueError: The numbers are out of their ranges.
    """
    *words, position, has_gauss, bits = state.tolist()
    gauss = struct.unpack("<d", struct.pack("<q", bits))[0]
    in_range = all(0 <= word < 2**32 for word in words) and 0 <= position <= _WORDS
    if not in_range or has_gauss not in (0, 1) or not math.isfinite(gauss):
        raise ValueError("a number in it is out of its range")
    return words, position, gauss if has_gauss else None
