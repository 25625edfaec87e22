"""Fixtures of all tests."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from DOTA_devkit import progress
from helpers.paths import SHARED

# Parallel workers with several threads each wait for one another; this is read when PyTorch and
# OpenCV are imported, here and in the processes that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Where Python is told to keep no bytecode, as in many containers, each worker would compile all
# tests, and each process that a test starts the whole project, in every run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest tests, so that no worker is left alone with them at the end.

    The first is the training of the README; then come the modules with slow tests. Modules stay
    whole, as their fixtures are shared.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.name != "test_sample_set_commands", item.path not in slow))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of recorded outputs, real images and weights; skip where it is absent.

    A bare clone does not have it.
    """
    if not SHARED.is_dir():
        pytest.skip(f"no recorded outputs at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def traced_once():
    """Trace a network for ONNX files only once; another export of it copies the trace."""
    from helpers.traces import remember_traces

    with pytest.MonkeyPatch.context() as patch:
        remember_traces(patch)
        yield


@pytest.fixture(scope="session")
def sharp_folder(tmp_path_factory, traced_once) -> Path:
    """Return a folder of a small checkpoint and images, where `export` keeps its files."""
    from helpers.small_exports import make_folder

    return make_folder(tmp_path_factory.mktemp("sharp"))


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory, traced_once) -> Iterator[Path]:
    """Return a folder like `sharp_folder` of a network of four convolutions, which is in the table.

    It is for tests to which the network does not matter: it is exported in a fraction of the time.
    """
    from helpers.networks import add_tiny_backbone
    from helpers.small_exports import make_folder

    with pytest.MonkeyPatch.context() as patch:
        add_tiny_backbone(patch)
        yield make_folder(tmp_path_factory.mktemp("tiny"), "tiny")


@pytest.fixture(scope="session", autouse=True)
def default_sigint():
    """Handle SIGINT also where a shell runs the tests in its background.

    There SIGINT is ignored, and child processes inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def restored_logging(monkeypatch):
    """Undo at the end of a test what its calls of `main.main` set up for logging and bars."""
    monkeypatch.setitem(progress._bars, "shown", True)
    root = logging.getLogger()
    level = root.level
    yield
    for handler in root.handlers[:]:
        if type(handler).__module__ == "cli.console":
            root.removeHandler(handler)
    root.setLevel(level)
