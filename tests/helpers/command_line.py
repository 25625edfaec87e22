"""Calls of `main.main` as from a command line, what they say, and a disk that is full for them."""

import signal
from contextlib import contextmanager

import main


class Ran:
    """What a command said."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


def run_main(capsys, words):
    """What `main.main` says, argparse's refusals included."""
    capsys.readouterr()
    try:
        code = main.main([str(word) for word in words])
    except SystemExit as stopped:  # argparse
        code = stopped.code
    said = capsys.readouterr()
    return Ran(code, said.out, said.err)


def assert_refused(ran, *parts, code=2):
    """A message that holds all parts, an exit code, and no traceback."""
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err + ran.out
    for part in parts:
        assert str(part) in ran.err
    assert ran.err.count("error: ") == 1


@contextmanager
def files_of_at_most(size):
    """No file can grow beyond so many bytes, as on a disk that is full then."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
