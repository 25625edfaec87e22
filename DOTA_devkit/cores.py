"""CPU cores: how many this process may use, and how its threads share them with other work."""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_SYSTEM = Path("/sys/devices/system/cpu")

_WAITING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
"""Turns (some 100 microseconds) in GNU's OpenMP, milliseconds in LLVM's and Intel's."""


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make OpenMP threads that wait for each other release their core after a short time.

    Without this they keep it for milliseconds, 200 in some implementations. Where other work holds
    a core, the thread that the others wait for does not get it from them, and a network takes
    several times as long. The time is long enough for the gap between two layers, so that nothing
    is lost on a quiet machine.

    OpenMP reads this when it is loaded, so it must come before PyTorch is imported. Whoever has set
    one of the variables keeps what was set.

    Args:
        environment: Environment variables, which are changed.
    """
    if not {"OMP_WAIT_POLICY", *_WAITING} & environment.keys():
        environment.update(_WAITING)


def busy_cores() -> float | None:
    """Return how many cores were in use, or asked for, over the last minute on this machine.

    Returns:
        The load average, None where the system has none.
    """
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return the number of cores that this process may use, at least 1.

    It is that of its CPU affinity where the system has one (as `taskset` and job schedulers set
    it), or less where the container has a quota, see `quota_cores`.

    Args:
        cgroup: Folder of the control group of this process, as a container sees it.
    """
    return quota_cores(cgroup) or _affinity()


def quota_cores(cgroup: Path = _CGROUP) -> int | None:
    """Return the number of cores that the quota of a container amounts to, rounded up.

    PyTorch and the other runtimes do not know about a quota (`docker run --cpus 2`), and threads
    beyond it only wait for one another.

    Args:
        cgroup: As for `usable_cores`.

    Returns:
        None if there is no quota, or if it is no less than the cores that there are.
    """
    try:
        if (cgroup / "cpu.max").is_file():  # version 2: "200000 100000" or "max 100000"
            limit, period = (cgroup / "cpu.max").read_text().split()
        else:  # version 1, where -1 stands for no limit
            limit = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        quota = math.ceil(float(limit) / float(period))
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
        return None
    return quota if 0 < quota < _affinity() else None


def network_threads(cgroup: Path = _CGROUP, system: Path = _SYSTEM) -> int:
    """Return the number of threads with which a network is fastest on an idle machine.

    It is `usable_cores`, with the two hardware threads of a core counted once where the system
    lists them (Linux), as they share the arithmetic units.

    Args:
        cgroup: As for `usable_cores`.
        system: Folder of the system's processors.
    """
    quota = quota_cores(cgroup)
    if not hasattr(os, "sched_getaffinity"):
        return quota or _affinity()
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        try:
            siblings.add((system / f"cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:
            siblings.add(str(cpu))
    return min(quota or len(siblings), len(siblings))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
