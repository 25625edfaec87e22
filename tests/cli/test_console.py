"""The message of an error, which depends on the phase that it ends."""

import pytest
import torch

from cli.console import explain
from cli.phases import PHASES
from DOTA_devkit.errors import InputError

OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
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
def test_explain_out_of_memory(error, phase, parts):
    message = explain(error, PHASES[phase].advice, str)
    assert message.startswith("out of memory: use ") and len(message.splitlines()) == 1
    assert [part for part in parts if part not in message] == []


WORKER_TRACEBACK = "Caught InputError in DataLoader worker process 0.\nOriginal Traceback:\n"


@pytest.mark.parametrize("phase", PHASES)
def test_only_messages_of_train_mention_epochs(phase):
    errors = [
        *OUT_OF_MEMORY,
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
    ]
    advice = PHASES[phase].advice
    messages = [advice.kept, *(explain(error, advice, str) for error in errors)]
    assert {"epoch" in text for text in messages} == {phase == "train"}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("a.txt:3: no number"), "a.txt:3: no number"),
        (FileNotFoundError(2, "No such file", "a.png"), "a.png: No such file"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (InputError(f"{WORKER_TRACEBACK}InputError: a.png: cut off"), "a.png: cut off"),
        (RuntimeError("a bug"), None),
    ],
)
def test_explain_other_errors(error, message):
    assert explain(error, PHASES["predict"].advice, str) == message


def test_verbose_shows_the_traceback(run_cli, data):
    with pytest.raises(InputError):
        run_cli("--verbose", "--phase", "eval", "--data_dir", data)
