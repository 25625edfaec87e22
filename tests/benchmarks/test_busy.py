"""The benchmark with busy cores: one row per runtime and number of threads."""

import os
import re
import sys

import pytest

from benchmarks import busy
from DOTA_devkit.cores import network_threads
from helpers import forked_python
from helpers.fixed_output_onnx import onnx_file
from helpers.paths import ROOT


@pytest.mark.slow  # starts a process for each row
def test_rows_and_medians(tmp_path):
    for package in ("onnxruntime", "openvino"):
        pytest.importorskip(package)
    onnx_file(tmp_path / "a.onnx")
    done = forked_python.run(
        [sys.executable, "-m", "benchmarks.busy", "a.onnx", "--turns", "1"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, header, *rows = done.stdout.splitlines()
    assert f"{os.cpu_count()} cores, load " in first and first.endswith("--burners 1")
    columns = re.split(r"  +", header)
    assert columns == ["model", "runtime", "threads", "waits", "alone ms", "with burners ms"]
    found = [re.split(r"  +", row) for row in rows]
    assert [row[1:3] for row in found] == [
        [runtime, str(threads)]
        for runtime in ("onnxruntime", "openvino")
        for threads in sorted({1, network_threads()})
    ]
    assert all(float(cell) > 0 for row in found for cell in row[-2:])


def test_missing_file(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["busy", "gone.onnx"])
    with pytest.raises(SystemExit) as stopped:
        busy.main()
    assert stopped.value.code == 2
    assert "gone.onnx: no such file" in capsys.readouterr().err
