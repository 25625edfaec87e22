"""Memory use of a training."""

from __future__ import annotations

import sys

import torch

_MB = 2**20


def peak_memory_mb(device: torch.device) -> float | None:
    """Return the most memory that this process has taken so far, in MB of 2**20 bytes.

    On a GPU that is what PyTorch has allocated there, on a CPU all memory of the process without
    its workers. None if the system does not report it (Windows).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MB
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MB if sys.platform == "darwin" else peak / 1024
