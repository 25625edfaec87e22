"""The benchmark of training steps: one row per network and input size, and equal losses."""

import os
import re
import sys

import pytest

from helpers import forked_python
from helpers.paths import ROOT


@pytest.mark.slow  # starts a process
def test_both_loops_have_the_same_loss(tmp_path):
    done = forked_python.run(
        [sys.executable, "-m", "benchmarks.training", "--backbones", "mobilenetv2", "--sizes",
         "64,96", "--batch_size", "2", "--head_conv", "8", "--turns", "1", "--threads", "1"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, header, *rows = done.stdout.splitlines()
    assert "1 threads" in first and header.split()[:2] == ["backbone", "input"]
    assert [re.split(r"  +", row)[1] for row in rows] == ["64x64", "96x96"]
    assert all(float(row.split()[-1]) < 1e-3 for row in rows)
