"""How OpenVINO reads this project's files, and what it says about others."""

import sys

import numpy as np
import pytest

from deploy.metadata import ModelMetadata
from DOTA_devkit.errors import InputError
from helpers import forked_python
from helpers.fixed_output_onnx import onnx_file
from helpers.paths import ROOT
from helpers.small_exports import CLASSES, export

pytest.importorskip("openvino")
pytest.importorskip("onnxscript")

from deploy.runtimes import openvino_files

pytestmark = pytest.mark.slow  # exports networks or runs exported files


def inputs(model):
    return sorted(openvino_files.own_name(port) for port in model.inputs)


def test_conf_thresh_is_an_input_if_the_file_has_it(tiny_folder):
    for name, flags in (("conf.onnx", ()), ("conf.xml", ("--format", "openvino"))):
        model, metadata = openvino_files.read(export(tiny_folder, name, "--conf_input", *flags))
        assert inputs(model) == ["conf_thresh", "input"] and metadata.classes == CLASSES
    for name, flags in (("free.onnx", ()), ("nms.onnx", ("--nms", "graph", "--fix_conf"))):
        assert inputs(openvino_files.read(export(tiny_folder, name, *flags))[0]) == ["input"]


@pytest.mark.parametrize("count", [5, 50, 500])
@pytest.mark.parametrize("converted", [False, True])
def test_equal_scores_keep_the_order_of_the_map(tmp_path, count, converted):
    """OpenVINO's own TopK takes cells of equal score in any order."""
    import onnx

    from deploy.export import openvino as openvino_model
    from deploy.export.graph.builder import Graph
    from deploy.export.graph.decode import find_peaks

    graph = Graph()
    peaks = find_peaks(graph, graph.input("hm", np.float32, ["B", "C", "H", "W"]), count)
    values = (peaks.scores, peaks.labels, peaks.cells)
    names = ("scores", "labels", "cells")
    model = graph.model(
        [(graph.rename(v, n), ["B", count]) for n, v in zip(names, values, strict=True)]
    )
    if converted:
        path = tmp_path / "a.xml"
        openvino_model.convert(model, ModelMetadata(("a",), "resnet18", 0.1, 0.8, count), path)
        ready = openvino_files.core().read_model(path)
    else:
        path = tmp_path / "a.onnx"
        onnx.save(model, path)
        ready = openvino_files.read_onnx(path)
    compiled = openvino_files.core().compile_model(ready, "CPU")
    level = np.full((1, 1, 16, 24), 0.5, np.float32)
    few = np.random.default_rng(0).integers(1, 4, (2, 3, 40, 24)).astype(np.float32) / 4
    for heatmap in (level, few):
        around = np.pad(heatmap, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(2, 3))
        maxima = np.where(heatmap == windows.max(axis=(4, 5)), heatmap, 0).reshape(len(heatmap), -1)
        order = np.argsort(-maxima, axis=1, kind="stable")[:, :count]
        there = np.take_along_axis(maxima, order, axis=1) > 0
        found = compiled({"hm": heatmap})
        area = heatmap[0, 0].size
        for name, expected in (("labels", order // area), ("cells", order % area)):
            np.testing.assert_array_equal(found[name][:, : order.shape[1]][there], expected[there])


def spoil(kind, tiny_folder, path):
    """Write a broken file of a kind, perhaps with weights beside it."""
    whole = export(tiny_folder, "free.xml", "--format", "openvino")
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
        ("bytes", "not an OpenVINO model: it does not begin with <net"),
        ("empty", "not an OpenVINO model: it does not begin with <net"),
        ("cut off", r"not a model that OpenVINO can read \(.+\)"),  # depends on where it is cut
        ("no weights", r"its weights are missing: expected the bin file"),
        ("cut weights", r"its network is not the one that was exported"),
    ],
)
def test_broken_files_are_refused(tmp_path, tiny_folder, capfd, kind, message):
    path = spoil(kind, tiny_folder, tmp_path / "a.xml")
    capfd.readouterr()
    with pytest.raises(InputError, match=rf"a\.xml: {message}"):
        openvino_files.read(path)
    assert capfd.readouterr().err == ""  # OpenVINO itself prints nothing


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\x07\xff" * 99, "not an ONNX file"), (b"", "without this project's metadata")],
)
def test_broken_onnx_files_are_refused(tmp_path, capfd, content, message):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.onnx: .*{message}"):
        openvino_files.read(tmp_path / "a.onnx")
    assert capfd.readouterr().err == ""


def test_onnx_file_of_another_project_is_refused(tmp_path):
    with pytest.raises(InputError, match="without this project's metadata"):
        openvino_files.read(onnx_file(tmp_path / "a.onnx", {}))


TWO_MODELS = """
import os, signal, sys
from pathlib import Path
from deploy.runtimes import DetectorSettings
from deploy.runtimes.openvino import OpenVino

signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
first, second = (OpenVino(Path(sys.argv[1]), DetectorSettings(threads=1)) for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGTERM)
print("alive")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signal stacks there")
def test_signal_after_models_closed_in_order_of_opening(tiny_folder):
    """A second core of OpenVINO would restore the signal stack of a core that is gone."""
    path = export(tiny_folder, "free.xml", "--format", "openvino")
    done = forked_python.run([sys.executable, "-c", TWO_MODELS, path], cwd=ROOT)
    assert (done.returncode, done.stdout.split()) == (0, ["heard", "alive"]), done.stderr
