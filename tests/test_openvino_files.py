"""Files that OpenVINO reads: what is asked of them, and what is said of those that are none."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from known_rows import onnx_file
from sharp_exports import CLASSES, export

from DOTA_devkit.errors import InputError

pytest.importorskip("openvino")
pytest.importorskip("onnxscript")

import openvino_files


def inputs(model):
    return sorted(openvino_files.own_name(port) for port in model.inputs)


def test_the_threshold_is_an_input_where_it_is_one_in_the_file(sharp_folder):
    """In the ONNX file it has a default value; OpenVINO's own has to be fed."""
    for name, flags in (("free.onnx", ()), ("free.xml", ("--format", "openvino"))):
        model, metadata = openvino_files.read(export(sharp_folder, name, *flags))
        assert inputs(model) == ["conf_thresh", "input"] and metadata.classes == CLASSES
    fixed = export(sharp_folder, "nms.onnx", "--nms", "graph", "--fix_conf")
    assert inputs(openvino_files.read(fixed)[0]) == ["input"]


def spoil(kind, sharp_folder, path):
    """A broken file of a kind, perhaps with weights beside it."""
    whole = export(sharp_folder, "free.xml", "--format", "openvino")
    graph, weights = whole.read_bytes(), whole.with_suffix(".bin").read_bytes()
    if kind == "bytes":
        graph = np.random.default_rng(0).bytes(5000)
    elif kind == "empty":
        graph = b""
    elif kind == "cut off":
        graph = graph[: len(graph) // 2]
    elif kind == "cut weights":
        weights = weights[: len(weights) // 2]
    path.write_bytes(graph)
    if kind != "no weights":
        path.with_suffix(".bin").write_bytes(weights)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("bytes", "no model of OpenVINO: it does not begin with <net"),
        ("empty", "no model of OpenVINO: it does not begin with <net"),
        ("cut off", r"no model that OpenVINO can read \(.+\)"),  # where it is cut decides
        ("no weights", r"no model that OpenVINO can read \(.*weights data in bin file"),
        ("cut weights", r"no model that OpenVINO can read \(.*weights in bin file"),
    ],
)
def test_files_that_are_no_model(tmp_path, sharp_folder, capfd, kind, message):
    path = spoil(kind, sharp_folder, tmp_path / "a.xml")
    capfd.readouterr()
    with pytest.raises(InputError, match=rf"a\.xml: {message}"):
        openvino_files.read(path)
    assert capfd.readouterr().err == ""  # nothing of OpenVINO's own


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\x07\xff" * 99, "not an ONNX file"), (b"", "without this project's metadata")],
)
def test_onnx_files_that_are_none(tmp_path, capfd, content, message):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.onnx: .*{message}"):
        openvino_files.read(tmp_path / "a.onnx")
    assert capfd.readouterr().err == ""


def test_an_onnx_file_of_another_project(tmp_path):
    with pytest.raises(InputError, match="without this project's metadata"):
        openvino_files.read(onnx_file(tmp_path / "a.onnx", {}))


TWO_MODELS = """
import os, signal, sys
from pathlib import Path
from runtimes import DetectorSettings, OpenVino

signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
first, second = (OpenVino(Path(sys.argv[1]), DetectorSettings(threads=1)) for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no stacks for signals there")
def test_a_signal_after_models_that_were_closed_in_the_order_of_their_opening(sharp_folder):
    """Each core of OpenVINO has a stack for signals, and brought back the one of a closed core."""
    path = export(sharp_folder, "free.xml", "--format", "openvino")
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", TWO_MODELS, str(path)], cwd=root, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()) == (0, ["heard", "alive"]), done.stderr
