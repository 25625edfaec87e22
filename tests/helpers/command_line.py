"""Commands run through `main.main`: their output, their errors, and a disk that is full."""

import shlex
import signal
from contextlib import contextmanager
from dataclasses import dataclass

import main

TINY_TRAINING = shlex.split(
    "--backbone mobilenetv2 --pretrained none --epochs 1 --batch_size 3 --input_h 64 --input_w 64 "
    "--head_conv 8 --num_workers 0"
)
"""Flags of a training run that takes about a second."""


@dataclass
class CommandResult:
    """The exit code of a command and what it printed.

    Attributes:
        code: exit code.
        out: text on standard output.
        err: text on standard error.
    """

    code: int
    out: str
    err: str


def run_main(capsys, words):
    """Run `main.main` with these words and return its result, also where argparse exits."""
    capsys.readouterr()
    try:
        code = main.main([str(word) for word in words])
    except SystemExit as stopped:  # argparse
        code = stopped.code
    printed = capsys.readouterr()
    return CommandResult(code, printed.out, printed.err)


def assert_refused(result, *parts, code=2):
    """Check that a command failed with one message that holds all parts, without a traceback."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err + result.out
    for part in parts:
        assert str(part) in result.err
    assert result.err.count("error: ") == 1


@contextmanager
def limit_file_size(size):
    """Let no file grow beyond `size` bytes, as on a disk that is full by then."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
