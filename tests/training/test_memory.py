"""The memory of a training, against what the system itself tells."""

import re
from pathlib import Path

import pytest
import torch

from training.memory import peak_memory_mb

STATUS = Path("/proc/self/status")


@pytest.mark.skipif(not STATUS.is_file(), reason="only Linux has it")
def test_peak_memory_is_that_of_the_process():
    peak_kb = int(re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)[1])
    assert peak_memory_mb(torch.device("cpu")) == pytest.approx(peak_kb / 1024, rel=0.05)


def test_memory_is_unknown_where_the_system_does_not_report_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "resource", None)
    assert peak_memory_mb(torch.device("cpu")) is None
