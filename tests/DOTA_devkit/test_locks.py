"""The lock of a folder: one process at a time, and none is left behind."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from DOTA_devkit.errors import InputError
from DOTA_devkit.locks import LOCK_FILE, locked
from helpers.paths import ROOT

pytest.importorskip("fcntl")


def holder(folder):
    """Another process that holds the lock until it is killed."""
    script = f"""
        import time
        from pathlib import Path
        from DOTA_devkit.locks import locked
        with locked(Path({str(folder)!r})):
            print("held", flush=True)
            time.sleep(600)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    return process


def test_second_process_is_refused_and_killed_one_leaves_no_lock(tmp_path):
    folder = tmp_path / "run"
    with holder(folder) as process:
        owner = rf"run is in use by process {process.pid} on {socket.gethostname()} since 2\d{{3}}-"
        with pytest.raises(InputError, match=owner), locked(folder):
            pass
        process.send_signal(signal.SIGKILL)
    assert os.listdir(folder) == [LOCK_FILE]
    with locked(folder):
        assert os.listdir(folder) == [LOCK_FILE]
    assert os.listdir(folder) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_does_not_hold_the_lock_of_a_killed_one(tmp_path):
    """Data loader workers outlive a killed process for some seconds."""
    script = f"""
        import os, signal, time
        from pathlib import Path
        from DOTA_devkit.locks import locked
        with locked(Path({str(tmp_path / "run")!r})):
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            print(child, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, stdout=subprocess.PIPE
    )
    child = int(process.stdout.readline())
    process.wait()
    deadline = time.monotonic() + 20  # for the child to get to run at all; it lives longer
    try:
        while True:
            try:
                with locked(tmp_path / "run"):
                    break
            except InputError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_a_folder_that_stays_empty_is_removed(tmp_path):
    with locked(tmp_path / "a" / "b"):
        pass
    assert os.listdir(tmp_path) == []
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert os.listdir(tmp_path / "a" / "b") == ["file"]
    (tmp_path / "empty").mkdir()
    with locked(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious.txt").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK_FILE).symlink_to(tmp_path / "precious.txt")
    with pytest.raises(OSError), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "precious.txt").read_text() == "precious"
