"""What is said of an error, which depends on the phase that it ends."""

import pytest
import torch

from cli.console import explain
from cli.phases import PHASES
from DOTA_devkit.errors import InputError

NO_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
]


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("phase", "parts"),
    [
        ("train", ["--batch_size", "--input_h", "--backbone", "last finished epoch"]),
        ("eval", ["--batch_size", "--backbone", "starts over with the first image"]),
        ("predict", ["--batch_size", "--tile", "the same command resumes"]),
        ("benchmark", ["--batch_size", "no times were written"]),
        ("export", ["--source", "--calibrate", "no file was written"]),
    ],
)
def test_out_of_memory(error, phase, parts):
    told = explain(error, PHASES[phase].advice, str)
    assert told.startswith("out of memory: use ") and len(told.splitlines()) == 1
    assert [part for part in parts if part not in told] == []


IN_WORKER = "Caught InputError in DataLoader worker process 0.\nOriginal Traceback:\n"


@pytest.mark.parametrize("phase", PHASES)
def test_epochs_are_told_of_where_there_are_some(phase):
    errors = [*NO_MEMORY, RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")]
    told = [PHASES[phase].advice.kept, *(explain(one, PHASES[phase].advice, str) for one in errors)]
    assert {"epoch" in text for text in told} == {phase == "train"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("a.txt:3: no number"), "a.txt:3: no number"),
        (FileNotFoundError(2, "No such file", "a.png"), "a.png: No such file"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (InputError(f"{IN_WORKER}InputError: a.png: cut off"), "a.png: cut off"),
        (RuntimeError("a bug"), None),
    ],
)
def test_other_errors(error, told):
    assert explain(error, PHASES["predict"].advice, str) == told
