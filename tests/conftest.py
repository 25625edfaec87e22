"""What the tests share: the folder of real data and recorded outputs, absent on a bare clone."""

import logging
import os
import signal
from pathlib import Path

import pytest

from helpers.paths import SHARED

# Parallel workers with several threads each wait for one another; this is read when PyTorch and
# OpenCV are imported, here and in the processes that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with fixtures, real images and weights; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no recorded outputs at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def sharp_folder(tmp_path_factory) -> Path:
    """A small checkpoint with images, in which `sharp_exports.export` keeps its files."""
    from helpers.sharp_exports import make_folder

    return make_folder(tmp_path_factory.mktemp("sharp"))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard():
    """A shell starts what runs in its background deaf to Ctrl-C, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logging_of_its_own():
    """What a test's call of `main.main` sets up for the log ends with the test."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in root.handlers[:]:
        if type(handler).__module__ == "cli.console":
            root.removeHandler(handler)
    root.setLevel(level)
