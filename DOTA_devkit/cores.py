"""How many CPU cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return the number of cores that this process may use, at least 1.

    It is that of its CPU affinity where the system has one (as `taskset` and job schedulers set
    it), or less where the container has a quota (`docker run --cpus 2`), which PyTorch and the
    other runtimes do not know about: threads beyond a quota only wait for one another.

    Args:
        cgroup: Folder of the control group of this process, as a container sees it.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _quota(cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Return the cores' worth of time that a control group gets, None for no limit."""
    try:
        if (cgroup / "cpu.max").is_file():  # version 2: "200000 100000" or "max 100000"
            limit, period = (cgroup / "cpu.max").read_text().split()
        else:  # version 1, where -1 stands for no limit
            limit = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        quota = float(limit) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
        return None
    return quota if quota > 0 else None
