"""The device and the number of CPU threads of a phase."""

import argparse
from pathlib import Path

import pytest
import torch

from cli import devices


@pytest.mark.parametrize(
    ("threads", "load", "cores", "told"),
    [
        (2, 0.1, 2, None),
        (2, 0.9, 2, None),  # half a core away
        (2, 1.0, 2, "--threads 1 may be faster than 2"),
        (2, 11.0, 2, "--threads 1 may"),
        (1, 11.0, 2, None),  # one thread waits for no other
        (8, 5.0, 16, None),
        (8, 12.5, 16, "--threads 3 may be faster than 8"),
        (2, None, 2, None),  # a system that does not tell
        (2, 9.0, None, None),
    ],
)
def test_busy_cores_are_logged(monkeypatch, caplog, threads, load, cores, told):
    monkeypatch.setattr(devices, "busy_cores", lambda: load)
    monkeypatch.setattr(devices.os, "cpu_count", lambda: cores)
    devices.warn_if_busy(threads)
    assert (caplog.text == "") if told is None else (told in caplog.text)


@pytest.mark.parametrize(
    ("asked", "variable", "quota", "threads"),
    [
        (None, None, None, None),
        (3, None, 2, 3),
        (None, None, 2, 2),
        (None, "4", 2, None),  # the variable is what the runtimes take
        (3, "4", 2, 3),
    ],
)
def test_asked_threads(monkeypatch, asked, variable, quota, threads):
    monkeypatch.setattr(devices, "quota_cores", lambda: quota)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert devices.asked_threads(argparse.Namespace(threads=asked)) == threads


@pytest.mark.parametrize(
    ("file", "runtime", "device"),
    [
        ("a.pth", None, "cuda"),
        ("a.xml", None, "cpu"),
        ("a.onnx", "openvino", "cpu"),
        ("a.onnx", None, "cpu"),  # ONNX Runtime without the provider of GPUs
    ],
)
def test_gpus_are_looked_for_where_the_runtime_can_use_one(monkeypatch, file, runtime, device):
    entry = devices.RUNTIMES["onnxruntime"]
    monkeypatch.setitem(devices.RUNTIMES, "onnxruntime", entry._replace(uses_gpu=lambda: False))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    args = argparse.Namespace(device=None, runtime=runtime)
    assert devices.model_file_device(args, [Path(file)]) == device
    args.device = "cuda:1"
    assert devices.model_file_device(args, [Path(file)]) == "cuda:1"
