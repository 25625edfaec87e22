"""Mixed precision: what the setting stands for on each device, and the scale of the losses."""

import logging
import math
import platform
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from DOTA_devkit.errors import InputError
from helpers.networks import tiny_model
from models import Checkpoint
from training import precision
from training.precision import Precision, choose_precision, log_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.parametrize(
    ("amp", "device", "has_bfloat16", "expected"),
    [
        ("none", CPU, True, None),
        ("none", CUDA, True, None),
        ("auto", CPU, True, torch.bfloat16),
        ("auto", CPU, False, None),
        ("auto", CUDA, True, torch.bfloat16),
        ("auto", CUDA, False, torch.float16),
        ("bfloat16", CPU, False, torch.bfloat16),
        ("bfloat16", CUDA, False, torch.bfloat16),
        ("float16", CUDA, True, torch.float16),
    ],
)
def test_precision_of_each_setting(monkeypatch, amp, device, has_bfloat16, expected):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: has_bfloat16)
    assert choose_precision(amp, device).dtype is expected


def test_bfloat16_of_this_cpu():
    """Linux lists the instructions that a processor has."""
    cpu = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpu.is_file():
        pytest.skip("no list of the instructions of an x86 processor")
    assert precision.has_bfloat16(CPU) == ("avx512_bf16" in cpu.read_text().split())


def test_float16_on_a_cpu_is_refused():
    with pytest.raises(InputError, match=r"`amp` float16 needs a GPU.*`amp` bfloat16"):
        choose_precision("float16", CPU)


@pytest.mark.parametrize(
    ("amp", "has_bfloat16", "level", "told"),
    [
        ("none", True, logging.INFO, "has instructions for bfloat16: `amp` would"),
        ("none", False, None, ""),
        ("auto", True, logging.INFO, "trained in bfloat16"),
        ("auto", False, logging.INFO, "no instructions for bfloat16, so that .* in float32"),
        ("bfloat16", True, logging.INFO, "trained in bfloat16"),
        ("bfloat16", False, logging.WARNING, "slower than float32"),
    ],
)
def test_precision_is_logged(monkeypatch, caplog, amp, has_bfloat16, level, told):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: has_bfloat16)
    caplog.set_level(logging.INFO)
    log_precision(choose_precision(amp, CPU), amp, CPU)
    assert max((record.levelno for record in caplog.records), default=None) == level
    assert re.search(told, caplog.text)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_head_maps_are_float32(dtype):
    seen = []

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 2, 1)

        def forward(self, x, scale):
            found = self.layer(x)
            seen.append(found.dtype)
            return {"hm": found * scale}

    maps = Precision(CPU, dtype).forward(Network(), torch.ones(1, 3, 2, 2), scale=2)
    assert seen == [dtype or torch.float32] and maps["hm"].dtype is torch.float32


def checkpoint_with(state):
    return Checkpoint.of(tiny_model(), extras={"scaler_state_dict": state})


def test_scale_is_restored_from_the_checkpoint():
    first, second = Precision(CPU, torch.float16), Precision(CPU, torch.float16)
    state = {**first.state(), "scale": 512.0, "_growth_tracker": 7}
    second.resume(checkpoint_with(state))
    assert second.state() == state and first.state()["scale"] == 65536.0
    # a run that was in float32 until now starts with the usual scale, and one that goes on in
    # float32 needs none
    third, plain = Precision(CPU, torch.float16), Precision(CPU)
    third.resume(checkpoint_with({}))
    plain.resume(checkpoint_with(state))
    assert third.state() == first.state() and plain.state() == {}


@pytest.mark.parametrize(
    "change",
    [{"scale": 0.0}, {"scale": math.nan}, {"scale": 8}, {"_growth_tracker": -1},
     {"_growth_tracker": 0.5}],
)  # fmt: skip
def test_damaged_scale_is_refused(change):
    mixed = Precision(CPU, torch.float16)
    with pytest.raises(InputError, match=r"its scaler_state_dict is .* a positive scale"):
        mixed.resume(checkpoint_with({**mixed.state(), **change}))
