"""Why a training ends before its last epoch."""

from __future__ import annotations


class TrainingStopped(RuntimeError):
    """Training cannot continue; the message says why and where the last good checkpoint is."""
