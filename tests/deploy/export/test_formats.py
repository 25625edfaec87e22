"""The export phase: formats other than ONNX, checks of rounded files, and errors."""

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest
import torch

from decoder import DecDecoder
from deploy.detector import Detector
from deploy.metadata import ModelMetadata
from deploy.runtimes import openvino_files
from DOTA_devkit.errors import InputError
from helpers.command_line import limit_file_size
from helpers.networks import add_tiny_backbone
from helpers.paths import ROOT
from helpers.small_exports import CLASSES, CONF, SIZE_HW, K, export, sharp_model
from main import main
from models import load_model
from structures.detections import Detections

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx

from deploy.export import tensorrt, torch_program
from deploy.export.formats import EXPORT_FORMATS
from deploy.export.graph import decode as decode_graph
from deploy.export.graph import opset
from deploy.export.network import ExportNetwork
from deploy.export.parity.comparison import ParityComparison
from deploy.export.parity.model_pair import ModelPair, Thresholds
from deploy.export.parity.reference import Reference
from deploy.export.parity.rows import outputs_to_detections
from deploy.export.parity.tolerance import TOLERANCES
from deploy.export.parity.verdict import judge
from deploy.export.settings import MIN_CONF_THRESH, UNSUPPORTED, ExportSettings
from deploy.export.tensorrt_limits import OPSETS
from deploy.export.types import CheckImage, InputShape
from deploy.runtimes.onnx_runtime import open_session

pytestmark = pytest.mark.slow  # exports networks or runs exported files


STATIC = {"torch": ("--static", *map(str, SIZE_HW), "1")}
"""Flags by format with which it is exported faster, where the size does not matter."""


@pytest.fixture(scope="module")
def folder(tiny_folder):
    """Return the checkpoint and its images."""
    return tiny_folder


def run_main(folder, output, *flags):
    """Export the folder's checkpoint and return the exit code."""
    return main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"),
                 "--source", str(folder / "images"), "--K", str(K), "--conf_thresh", str(CONF),
                 "--output", str(output), *flags])  # fmt: skip


def eager(folder, images, conf=CONF):
    with torch.no_grad():
        maps = load_model(folder / "checkpoint.pth")(torch.from_numpy(images))
    return DecDecoder(K, conf, 3, 0.8).decode(maps)


def inputs(batch, height, width):
    rng = np.random.default_rng(height)
    return rng.random((batch, 3, height, width), np.float32) - np.float32(0.5)


def assert_near(rows, expected):
    """Compare the rows of a batch with detections; all further rows must be empty."""
    assert [value.shape for value in rows] == [(len(expected), K, 4, 2)] + [(len(expected), K)] * 2
    assert [value.dtype for value in rows] == [np.float32, np.float32, np.int64]
    for number, one in enumerate(expected):
        corners, scores, labels = (value[number] for value in rows)
        count = len(one)
        np.testing.assert_array_equal(labels[:count], one.labels)
        np.testing.assert_allclose(scores[:count], one.scores, atol=1e-4)
        np.testing.assert_allclose(corners[:count], one.corners, atol=0.05)
        assert (labels[count:] == -1).all()
        assert not scores[count:].any() and not corners[count:].any()


# PyTorch ------------------------------------------------------------------------------------------

ALONE = """
import sys, json, numpy, torch
extra = {"metadata.json": ""}
module = torch.export.load(sys.argv[1], extra_files=extra).module()
rows = module(torch.from_numpy(numpy.load(sys.argv[2])))
numpy.savez(sys.argv[3], *[value.numpy() for value in rows])
print(json.dumps(json.loads(extra["metadata.json"])))
assert not any(name in sys.modules for name in ("models", "deploy", "decoder"))
"""


def test_torch_program_runs_without_this_project(folder, tmp_path):
    path = export(folder, "free.pt2", "--format", "torch")
    images = inputs(3, 96, 64)
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, path, tmp_path / "images.npy", tmp_path / "rows.npz"],
        cwd=tmp_path, capture_output=True, text=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "rows.npz") as rows:
        assert_near([rows[name] for name in rows.files], eager(folder, images, MIN_CONF_THRESH))
    metadata = ModelMetadata.from_props(json.loads(done.stdout), path)
    assert (metadata.classes, metadata.trained_size, metadata.K) == (CLASSES, SIZE_HW, K)


def test_torch_program_takes_any_shape(folder):
    program = torch.export.load(export(folder, "free.pt2", "--format", "torch"))
    module = program.module()
    for batch, height, width in ((1, 64, 64), (1, 96, 128), (4, 64, 160)):
        images = inputs(batch, height, width)
        rows = [value.numpy() for value in module(torch.from_numpy(images))]
        assert_near(rows, eager(folder, images, MIN_CONF_THRESH))
    # PyTorch's own error, which older releases word differently.
    with pytest.raises((AssertionError, RuntimeError), match=r"Guard failed|to be of the form"):
        module(torch.zeros(1, 3, 80, 64))


def test_torch_program_with_a_threshold_as_input(folder):
    path = export(folder, "conf.pt2", "--format", "torch", "--conf_input",
                  "--static", "64", "160", "1")  # fmt: skip
    module, images = torch.export.load(path).module(), inputs(1, 64, 160)
    for conf in (0.0, 0.35, 1.0):
        rows = [value.numpy() for value in module(torch.from_numpy(images), torch.tensor(conf))]
        assert_near(rows, eager(folder, images, conf))
    # PyTorch's own error, which differs among releases
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        module(torch.from_numpy(images))


def test_torch_program_with_fixed_input(folder):
    path = export(folder, "static.pt2", "--format", "torch", "--static", "64", "96", "1",
                  "--fix_conf")  # fmt: skip
    module = torch.export.load(path).module()
    images = inputs(1, 64, 96)
    assert_near(
        [value.numpy() for value in module(torch.from_numpy(images))], eager(folder, images)
    )


@pytest.mark.parametrize(("layout", "backbone"), [("corners", "tiny"), ("heads", "resnet18")])
def test_torch_program_is_of_core_operators_and_reproducible(monkeypatch, layout, backbone):
    """Importers for phones take no others, and a file names no folder of the exporting machine."""
    add_tiny_backbone(monkeypatch)
    metadata = ModelMetadata(CLASSES, backbone, CONF, 0.8, K, input_size=SIZE_HW, layout=layout,
                             min_conf_thresh=0.0)  # fmt: skip
    content = []
    for _ in range(2):
        program = torch_program.export_program(
            ExportNetwork(sharp_model(backbone)), metadata, InputShape(1, 64, 96)
        )
        content.append(torch_program.serialize(program, metadata))
    calls = [node.target for node in program.graph.nodes if node.op == "call_function"]
    others = {str(one) for one in calls if isinstance(one, torch._ops.OpOverload)
              and torch.Tag.core not in one.tags}  # fmt: skip
    assert others <= {"aten.max_pool2d.default"}
    assert content[0] == content[1]
    with zipfile.ZipFile(io.BytesIO(content[0])) as file:
        graphs = [file.read(name) for name in file.namelist() if name.endswith(".json")]
    assert any(b"aten.convolution" in graph for graph in graphs)
    assert not any(b".py" in graph or str(ROOT).encode() in graph for graph in graphs)


class Maps(torch.nn.Module):
    """A network that returns the same maps for every input, those of the box heads as features."""

    def __init__(self, maps):
        super().__init__()
        self.maps = maps

    def forward(self, images):
        boxes = torch.cat([self.maps[name] for name in ("wh", "reg", "cls_theta")], dim=1)
        return self.maps["hm"], boxes


class Cells(torch.nn.Module):
    """Returns the features at the cells."""

    def forward(self, features, cells):
        index = cells[:, None].expand(-1, features.shape[1], -1)
        return features.flatten(2).gather(2, index).transpose(1, 2)


@pytest.mark.parametrize("levels", [1, 3, 1000])
@pytest.mark.parametrize("shape", [(2, 5, 7), (3, 1, 1), (1, 20, 30)])
def test_torch_decoder_equals_eager_with_ties_and_nan(levels, shape):
    """The scores have few levels, so ties are common; `wh` is not finite in some cells."""
    rng = np.random.default_rng(levels)
    classes, height, width = shape
    heatmap = rng.integers(0, levels + 1, (2, *shape)).astype(np.float32) / (levels + 1)
    maps = {"hm": heatmap, "wh": rng.normal(0, 3, (2, 10, height, width)),
            "reg": rng.random((2, 2, height, width)),
            "cls_theta": rng.random((2, 1, height, width))}  # fmt: skip
    maps["wh"][:, :, 0, 0] = np.nan
    maps["wh"][:, 3, -1, -1] = np.inf
    maps = {name: torch.from_numpy(values.astype(np.float32)) for name, values in maps.items()}
    metadata = ModelMetadata(CLASSES[:classes], "resnet18", 0.18, 0.5, K, 0.1)
    detector = torch_program.TorchDetector(Maps(maps), Cells(), metadata)
    rows = [value.numpy() for value in detector(torch.zeros(2, 3, 32, 32))]
    for number, expected in enumerate(DecDecoder(K, 0.1, classes, 0.5).decode(maps)):
        found = outputs_to_detections(*(value[number] for value in rows))
        for part in ("corners", "scores", "labels"):
            np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([], [0, 1, 2]),  # nothing above 0: zeros by index
        ([(4, 0.5)], [4, 0, 1]),
        ([(9, 0.5), (4, 0.5), (13, 0.5)], [4, 9, 13]),  # ties by index
        ([(9, 0.5), (4, 0.25), (13, 0.75)], [13, 9, 4]),
        ([(9, 0.5), (10, 0.5 + 1e-7), (4, 1e-38)], [10, 4, 0]),  # 9 is not a peak
    ],
)
def test_best_peaks(cells, expected):
    heatmap = torch.zeros(1, 1, 1, 16)
    for cell, score in cells:
        heatmap[0, 0, 0, cell] = score
    scores, index = torch_program.best_peaks(heatmap, 3)
    assert index[0].tolist() == expected
    np.testing.assert_array_equal(scores[0], heatmap.flatten()[index[0]])


# OpenVINO -----------------------------------------------------------------------------------------


def openvino_rows(path, feed):
    """Run a model with OpenVINO's own API."""
    pytest.importorskip("openvino")
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino_files.core().compile_model(str(path), "CPU", config)
    results = compiled(feed)
    return compiled, [results[name] for name in ("corners", "scores", "labels")]


def test_openvino_takes_any_shape_and_threshold(folder):
    pytest.importorskip("openvino")
    path = export(folder, "conf.xml", "--format", "openvino", "--conf_input")
    for batch, height, width in ((1, 96, 128), (3, 64, 32)):
        images = inputs(batch, height, width)
        for conf in (CONF, 0.35):
            feed = {"input": images, "conf_thresh": np.array(conf, np.float32)}
            _, rows = openvino_rows(path, feed)
            assert_near(rows, eager(folder, images, conf))
    detector = Detector.load(path, conf_thresh=0.35)
    assert (detector.classes, detector.runtime.input_hw) == (CLASSES, SIZE_HW)
    assert detector.runtime.metadata.conf_thresh == CONF


def test_openvino_with_fixed_input_and_nms(folder):
    pytest.importorskip("openvino")
    path = export(folder, "static.xml", "--format", "openvino", "--static", "64", "96", "2",
                  "--fix_conf", "--nms", "graph")  # fmt: skip
    images = inputs(2, 64, 96)
    compiled, rows = openvino_rows(path, {"input": images})
    assert len(compiled.inputs) == 1 and tuple(compiled.input(0).shape) == (2, 3, 64, 96)
    assert_near(rows, [one.nms(0.1) for one in eager(folder, images)])


def test_openvino_with_uint8_input(folder):
    """OpenVINO scales the image itself, from a size for which float32 is too coarse."""
    pytest.importorskip("openvino")
    path = export(folder, "bytes.xml", "--format", "openvino", "--input", "uint8",
                  "--nms", "graph", "--fix_conf")  # fmt: skip
    expected = Detector.load(folder / "checkpoint.pth", conf_thresh=CONF, K=K)
    small = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    image = cv2.resize(small, (1301, 999), interpolation=cv2.INTER_CUBIC)
    _, rows = openvino_rows(path, {"input": image[None]})
    found = expected.detect(image)
    assert len(found) > 3
    assert_near(rows, [found])
    ours = Detector.load(path).detect(image)
    np.testing.assert_allclose(ours.corners, found.corners, atol=0.05)
    np.testing.assert_allclose(ours.scores, found.scores, atol=1e-4)


def test_openvino_half_compresses_weights(folder):
    pytest.importorskip("openvino")
    path = export(folder, "half.xml", "--format", "openvino", "--half")
    full = export(folder, "free.xml", "--format", "openvino")
    sizes = [one.with_suffix(".bin").stat().st_size for one in (path, full)]
    assert 0.45 < sizes[0] / sizes[1] < 0.6
    assert Detector.load(path).runtime.metadata.precision == "float16"


def test_openvino_not_installed(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert run_main(folder, tmp_path / "a.xml", "--format", "openvino") == 2
    assert "pip install -e '.[openvino]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# TensorRT -----------------------------------------------------------------------------------------


def trtexec(text):
    return [line.strip() for line in text.splitlines() if line.strip().startswith("trtexec")]


def test_tensorrt_unavailable_writes_file_and_commands(folder, tmp_path, capsys):
    path = tmp_path / "free.onnx"
    assert run_main(folder, path, "--format", "tensorrt") == 0
    text = capsys.readouterr().out
    assert "no engine is built: this ONNX Runtime cannot use TensorRT on this machine" in text
    assert trtexec(text) == [
        f"trtexec --onnx={path} --minShapes=input:1x3x32x32 --optShapes=input:1x3x96x128 "
        f"--maxShapes=input:8x3x1024x1024 --saveEngine={tmp_path}/free.engine"
    ]
    session = open_session(path)
    images = inputs(2, 64, 96)
    expected = eager(folder, images, MIN_CONF_THRESH)
    assert_near(session.run(None, {"input": images}), expected)


def test_tensorrt_failure_still_writes_the_file(folder, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("EP_FAIL: no memory for the engine\nat somewhere.cc:12")

    monkeypatch.setattr(tensorrt, "is_available", lambda: True)
    monkeypatch.setattr(tensorrt, "open_engine", fail)
    path = tmp_path / "free.onnx"
    assert run_main(folder, path, "--format", "tensorrt") == 0
    text = capsys.readouterr().out
    assert "TensorRT failed: EP_FAIL: no memory for the engine\n" in text
    assert "The ONNX file is written anyway" in text and len(trtexec(text)) == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == ["free.onnx", "free.onnx.json"]


def test_trtexec_commands_of_static_half_file(folder, tmp_path, capsys):
    path = tmp_path / "a file.onnx"
    static = ("--static", "64", "96", "2", "--half")
    assert run_main(folder, path, "--format", "tensorrt", *static) == 0
    line = f"trtexec '--onnx={path}' '--saveEngine={tmp_path}/a file.engine'"
    strong, weak = trtexec(capsys.readouterr().out)
    assert strong == f"{line} --stronglyTyped"
    assert weak.startswith(f"{line} --fp16 ") and "TensorRT 10 only" in weak


class Engine:
    """A session that claims to run in TensorRT, with scores that are too high by `lift`."""

    def __init__(self, session, lift):
        self.session, self.lift = session, lift

    def get_providers(self):
        return [tensorrt.PROVIDER, "CPUExecutionProvider"]

    def get_outputs(self):
        return self.session.get_outputs()

    def run(self, names, inputs):
        corners, scores, labels = self.session.run(names, inputs)
        return [corners, scores + np.float32(self.lift) * (labels >= 0), labels]


@pytest.mark.parametrize(
    ("lift", "code"),
    [(0.01, 0), (0.05, 2)],  # an error of reduced precision, and a larger one
)
def test_tensorrt_provider_options_and_engine_check(
    folder, tmp_path, monkeypatch, capsys, lift, code
):
    asked = []

    def open_as_engine(path, providers):
        asked.append(providers)
        (path.parent / "free_engine").mkdir()
        (path.parent / "free_engine/graph.engine").write_bytes(b"engine")
        return Engine(open_session(path), lift)

    monkeypatch.setattr(tensorrt, "is_available", lambda: True)
    monkeypatch.setattr(tensorrt, "open_session", open_as_engine)
    stale = tmp_path / "free_engine/old.engine"
    stale.parent.mkdir()
    stale.write_bytes(b"of an earlier export")
    assert run_main(folder, tmp_path / "free.onnx", "--format", "tensorrt") == code
    ((name, options), *others) = asked[0]
    assert (name, others) == (
        "TensorrtExecutionProvider",
        ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    assert options["trt_engine_cache_enable"] and not options["trt_fp16_enable"]
    assert options["trt_engine_cache_path"].endswith("free_engine")
    assert [options[f"trt_profile_{name}_shapes"] for name in ("min", "opt", "max")] == [
        "input:1x3x32x32",
        "input:1x3x96x128",
        "input:8x3x1024x1024",
    ]
    printed = capsys.readouterr()
    assert "comparing the TensorRT engine" in printed.out
    names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    if code == 0:
        assert names == ["free.onnx", "free.onnx.json", "free_engine/graph.engine"]
    else:
        assert "scores differ by 0.05 (> 0.02)" in printed.err
        assert names == ["free_engine/old.engine"]


def test_tensorrt_provider_that_does_not_start(tmp_path, monkeypatch):
    class Fallen(Engine):
        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(tensorrt, "open_session", lambda *_: Fallen(None, 0))
    assert tensorrt.open_engine(tmp_path / "a.onnx", tmp_path / "cache", None, False) is None


@pytest.mark.parametrize(
    ("flags", "size_hw"), [((), SIZE_HW), (("--input_h", "64", "--input_w", "160"), (64, 160))]
)
def test_report_uses_the_requested_size(folder, tmp_path, monkeypatch, flags, size_hw):
    seen = []
    letterbox = ModelPair.letterbox

    def watched(self, image):
        seen.append(self.input_hw)
        return letterbox(self, image)

    monkeypatch.setattr(ModelPair, "letterbox", watched)
    assert run_main(folder, tmp_path / "a.onnx", *flags) == 0
    assert set(seen) == {size_hw}


# Rounded files ------------------------------------------------------------------------------------


def rounded_comparison(exported, ours=None, conf=CONF, free=True, K=500):
    """Return the verdict on a file that finds `exported` where the checkpoint finds `ours`.

    By default the checkpoint finds 40 boxes in a row.
    """
    metadata = ModelMetadata(CLASSES, "resnet18", conf, 0.8, K, None if free else conf)
    tolerance = TOLERANCES["float16"]
    thresholds = Thresholds.of(metadata, tolerance, conf)
    models = ModelPair(torch.nn.Identity(), metadata, SIZE_HW, thresholds, lambda _: {})
    comparison = ParityComparison(models, tolerance)
    ours = forty() if ours is None else ours
    channels = {"hm": len(CLASSES), "wh": 10, "reg": 2, "cls_theta": 1}
    no_peaks = {head: torch.zeros(1, count, 1, 1) for head, count in channels.items()}
    reference = Reference(ours, np.zeros(len(ours), bool), no_peaks, metadata.theta_thresh)
    comparison.add_image(CheckImage("image", NOTHING), reference, exported)
    return judge(comparison.report, tolerance)


NOTHING = np.zeros((1, 1, 3), np.uint8)


def forty(shift=0.0, lift=0.0, scores=None, step=1):
    box = np.array([[20, 0], [20, 20], [0, 20], [0, 0]], np.float32)
    corners = np.stack([box + np.array([40 * k, 0]) for k in range(40)]) + shift
    scores = np.linspace(0.9, 0.4, 40) + lift if scores is None else scores
    every = slice(None, None, step)
    return Detections(
        corners[every].astype(np.float32),
        np.asarray(scores, np.float32)[every],
        np.zeros(40, np.int64)[every],
    )


@pytest.mark.parametrize(
    ("exported", "fault"),
    [
        (forty(), None),
        (forty(shift=0.9), None),
        (forty(lift=0.019), None),
        (forty(shift=1.1), "corners differ by 1.1 px"),
        (forty(lift=0.03), "scores differ by 0.03"),
        (forty(step=2), "20 of 40 detections are found by only one"),
        (
            forty(shift=np.nan),
            "80 of 80 detections are found by only one",
        ),  # nothing is near NaN
        (forty(scores=np.full(40, np.nan)), "scores differ by nan"),
        (forty(scores=np.full(40, 0.95))[:0], "40 of 40 detections are found by only one"),
    ],
)
def test_verdict_on_rounded_file(exported, fault):
    line, faults = rounded_comparison(exported)
    assert "of the corners of those above 0.1 are within" in line
    if fault is None:
        assert faults == []
    else:
        assert any(one.startswith(fault) for one in faults), faults


@pytest.mark.parametrize(
    ("scores", "fault"), [([0.9] * 20 + [0.09] * 20, None), ([0.09] * 40, "corners differ by 3 px")]
)
def test_verdict_ignores_corners_of_low_scores(scores, fault):
    """The check ignores them only where there are higher scores."""
    scores = np.array(scores, np.float32)
    exported = forty(shift=np.where(scores >= 0.1, 0.5, 3.0)[:, None, None], scores=scores)
    _, faults = rounded_comparison(exported, forty(scores=scores), conf=0.05)
    assert faults == ([] if fault is None else [f"{fault} (> 1)"])


@pytest.mark.parametrize(("far", "fault"), [(0, False), (3, False), (8, True)])
def test_verdict_allows_a_few_distant_scores(far, fault):
    """As in 42,000 scores of thermal images, where int8 had the AP of the checkpoint."""
    steps = np.arange(400)
    box = np.array([[20, 0], [20, 20], [0, 20], [0, 0]], np.float32)
    ours = Detections(
        (box + 40 * np.stack([steps % 20, steps // 20], axis=1)[:, None]).astype(np.float32),
        np.linspace(0.9, 0.4, 400, dtype=np.float32), np.zeros(400, np.int64),
    )  # fmt: skip
    exported = dataclasses.replace(ours, scores=ours.scores - np.float32(0.1) * (steps < far))
    line, faults = rounded_comparison(exported, ours)
    assert faults == (["scores differ by 0.1 (> 0.02)"] if fault else [])
    assert "99% of the scores are within" in line


def scored(*scores):
    """Return boxes with these scores, none of which overlap."""
    return forty(scores=np.array(scores + (0.5,) * (40 - len(scores))))[: len(scores)]


@pytest.mark.parametrize(
    ("ours", "exported", "free", "unmatched"),
    [
        ([0.9, 0.21], [0.9, 0.19], True, 0),  # the threshold is 0.2; both run at 0.1
        ([0.9, 0.19], [0.9, 0.21], True, 0),
        ([0.9, 0.21], [0.9], True, 1),  # nothing close by down to 0.1
        ([0.9], [0.9, 0.21], True, 1),
        ([0.9, 0.21], [0.9, 0.15], True, 1),  # float16 must be within 0.02
        ([0.9, 0.15], [0.9], True, 0),  # below the threshold in both
        ([0.9, 0.21], [0.9], False, 0),  # the file does not show scores below 0.2
        ([0.9, 0.23], [0.9], False, 1),
        ([0.9], [0.9, 0.21], False, 1),
        ([0.9], [], True, 1),
        ([], [], True, 0),
    ],
)
def test_unmatched_detections_of_rounded_file(ours, exported, free, unmatched):
    line, faults = rounded_comparison(scored(*exported), scored(*ours), 0.2, free)
    shown = len([score for score in ours if score > 0.2])
    assert bool(faults) == bool(unmatched)
    if not shown and not unmatched:
        assert "nothing to compare" in line
    elif unmatched:
        compared = 2 if shown + len(exported) > 1 else 1
        assert faults[0].startswith(f"1 of {compared} detections are found by only one")


def test_full_rows_hide_lower_scores():
    """The last of three rows scores 0.5: a box that scores slightly more may be beyond it."""
    ours, exported = scored(0.9, 0.8, 0.51), scored(0.9, 0.8)
    other = forty(scores=np.full(40, 0.5))[10:11]
    full = Detections(
        *(np.concatenate([getattr(exported, n), getattr(other, n)])
          for n in ("corners", "scores", "labels"))
    )  # fmt: skip
    for count, unmatched in ((3, 0), (4, 2)):
        line, _ = rounded_comparison(full, ours, K=count)
        assert f"of {2 + unmatched} detections" in line


def test_half_is_reported_and_checked(folder, tmp_path, monkeypatch, capsys):
    assert run_main(folder, tmp_path / "half.onnx", "--half") == 0
    assert "float16 rounds more than float32" in capsys.readouterr().out
    monkeypatch.setattr(decode_graph, "STRIDE", 4.2)
    assert run_main(folder, tmp_path / "broken.onnx", "--half") == 2
    assert "the exported file differs from the checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "broken.onnx").exists()


# The light fork's rows ----------------------------------------------------------------------------


def shifted(columns, by):
    """Return a `light_fork_rows` that adds to some columns."""
    rows_of = decode_graph.light_fork_rows
    add = np.zeros(12, np.float32)
    add[columns] = by

    def rows(graph, *args):
        return rows_of(graph, *args) + add

    return rows


@pytest.mark.parametrize(
    ("columns", "by", "error"),
    [
        ([0], 0.02, "corners differ by"),  # center x
        ([2], 0.02, "corners differ by"),  # one midpoint
        # t and b move right, r and l move left: the corners do not move.
        ([2, 4, 6, 8], [0.02, -0.02, 0.02, -0.02], "corners differ by"),
        ([10], 0.001, "scores differ by"),
        ([11], 1, "detections are found by only one"),  # the class
    ],
)
def test_light_fork_check_covers_every_column(
    folder, tmp_path, monkeypatch, capsys, columns, by, error
):
    monkeypatch.setattr(decode_graph, "light_fork_rows", shifted(columns, by))
    flags = ("--layout", "light-fork", "--static", "96", "128", "1")
    assert run_main(folder, tmp_path / "fork.onnx", *flags) == 2
    assert error in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_light_fork_check_uses_the_images(folder, tmp_path, capsys):
    flags = ("--layout", "light-fork", "--static", "96", "128", "1")
    assert run_main(folder, tmp_path / "fork.onnx", *flags) == 0
    assert "parity on 5 images" in capsys.readouterr().out  # three images, a black one and noise


@pytest.mark.parametrize("layout", ["corners", "light-fork"])
def test_report_gives_ap_for_labeled_images(sharp_folder, tmp_path, capsys, layout):
    """The labels are what the checkpoint finds, so its AP is about 1."""
    folder = sharp_folder  # no two scores of the larger network are alike
    found = Detector.load(folder / "checkpoint.pth", K=K, conf_thresh=CONF, nms_thresh=0.1)
    data = tmp_path / "data"
    (data / "labelTxt").mkdir(parents=True)
    shutil.copytree(folder / "images", data / "images")
    (data / "test.txt").write_text("0\n1\n2\n")
    (data / "classes.txt").write_text("\n".join(CLASSES))
    for number in range(3):
        one = found.detect(data / "images" / f"{number}.png")
        lines = (
            f"{' '.join(map(str, box.ravel().tolist()))} {name} 0"
            for box, name in zip(one.corners, one.class_names(), strict=True)
        )
        (data / "labelTxt" / f"{number}.txt").write_text("\n".join(lines))
    flags = ("--layout", layout, "--static", "96", "128", "1")
    code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"), "--K", str(K),
                 "--data_dir", str(data), "--output", str(tmp_path / "a.onnx"),
                 *flags])  # fmt: skip
    assert code == 0
    text = capsys.readouterr().out
    (mine, other) = map(
        float, re.search(r"AP of the checkpoint (\S+), of the file (\S+)", text).groups()
    )
    assert mine == pytest.approx(other, abs=1e-3) and mine > 0.9


# Opsets -------------------------------------------------------------------------------------------


def test_file_of_an_older_opset_passes_the_check(folder, tmp_path, capsys):
    """With the letterbox and NMS, so with every operator of a file."""
    flags = ("--input", "uint8", "--nms", "graph", "--opset", "13")
    assert run_main(folder, tmp_path / "old.onnx", *flags) == 0
    assert "detections matched" in capsys.readouterr().out
    model = onnx.load(tmp_path / "old.onnx")
    assert ([one.version for one in model.opset_import], model.ir_version) == ([13], 7)


def test_tensorrt_refuses_an_opset_that_it_does_not_read(folder, tmp_path, capsys):
    if opset.newest_opset() == OPSETS[-1]:
        pytest.skip("the installed onnx has no newer one")
    flags = ("--format", "tensorrt", "--opset", str(OPSETS[-1] + 1))
    assert run_main(folder, tmp_path / "a.onnx", *flags) == 2
    assert f"TensorRT reads {OPSETS[0]} to {OPSETS[-1]}" in capsys.readouterr().err


def test_opset_that_the_installed_runtime_cannot_run(folder, tmp_path, capsys, monkeypatch):
    def refuse(file):
        raise RuntimeError("NOT_IMPLEMENTED: no implementation for Conv(22)\nat somewhere.cc:12")

    monkeypatch.setattr("deploy.export.builders.open_session", refuse)
    assert run_main(folder, tmp_path / "a.onnx", "--opset", "22") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --opset 22: the installed ONNX Runtime cannot run the file")
    assert "no implementation for Conv(22)): choose" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


# Images without detections ------------------------------------------------------------------------


def test_report_covers_file_with_empty_rows(folder, tmp_path, capsys):
    assert run_main(folder, tmp_path / "a.onnx", "--conf_input") == 0
    assert "with conf_thresh at 1 all rows of 4 images are empty" in capsys.readouterr().out


def test_file_that_ignores_its_threshold(folder, tmp_path, monkeypatch, capsys):
    kept = decode_graph.apply_threshold
    monkeypatch.setattr(
        decode_graph, "apply_threshold", lambda graph, corners, scores, threshold:
        kept(graph, corners, scores, graph.op("Min", threshold, 0.2))
    )  # fmt: skip
    assert run_main(folder, tmp_path / "a.onnx", "--conf_input") == 2
    assert "there are detections although --conf_thresh is 1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_report_warns_without_an_empty_image(folder, tmp_path, capsys):
    assert run_main(folder, tmp_path / "a.onnx", "--fix_conf") == 0
    assert "every image has detections" in capsys.readouterr().out


# Errors -------------------------------------------------------------------------------------------

# Setting -> the flags that ask for it, and how the error message names it.
UNSUPPORTED_FLAGS = {
    "nms_thresh": (("--nms", "graph"), "NMS in the graph (--nms_thresh)"),
    "input_type": (("--input", "uint8"), "--input uint8"),
    "layout": (("--layout", "light-fork", "--static", "96", "96", "1"), "--layout light-fork"),
    "half": (("--half",), "--half"),
    "int8": (("--int8",), "--int8"),
    "conf_input": (("--conf_input",), "--conf_input"),
    "heads": (("--layout", "heads", "--static", "96", "96", "1"), "--layout heads"),
    "static": (("--static", "96", "96", "1"), "a fixed input (--static)"),
    "fix_conf": (("--fix_conf",), "--fix_conf"),
}


@pytest.mark.parametrize(
    ("kind", "setting"), [(kind, name) for kind, names in UNSUPPORTED.items() for name in names]
)
def test_unsupported_settings_of_a_format_are_refused(folder, tmp_path, capsys, kind, setting):
    output = tmp_path / f"a{EXPORT_FORMATS[kind].suffix}"
    flags, text = UNSUPPORTED_FLAGS[setting]
    assert run_main(folder, output, "--format", kind, *flags) == 2
    error = capsys.readouterr().err
    expected = f"error: --format {kind} does not support {text}: {UNSUPPORTED[kind][setting]}\n"
    assert error == expected
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--half", "--int8"), "--half and --int8 exclude each other"),
        (("--fix_conf", "--conf_input"), "--fix_conf and --conf_input exclude each other"),
        (("--K", "3841"), "K must be 1 to 3840, got 3841"),
        (("--format", "tensorrt", "--K", "3840"), "--format tensorrt supports --K up to 3839"),
        (("--static", "100", "96", "1"), "must be multiples of 32, got 100"),
        (("--input_h", "100"), "--input_h 100 is not a multiple of 32"),
        (("--color", "RGB"), "--color RGB needs --input uint8"),
        (("--layout", "light-fork"), "fixed input of one image"),
        (("--layout", "heads"), "--layout heads needs a fixed input, for example --static 608"),
        (("--classes", "x,y"), "classes"),
        (("--format", "torch"), "format torch must end in .pt2"),
        (("--format", "openvino"), "format openvino must end in .xml"),
        (("--output", "{}/a.pt2"), "format onnx must end in .onnx (format torch writes .pt2)"),
        (("--output", "{}/a.tflite"), "format onnx must end in .onnx\n"),
        (("--source", "{}/empty"), "no image in this folder"),
        (("--source", "{}/nothing.png"), "no such file"),
        (("--weights", "{}/none.pth"), "none.pth"),
        (("--weights", "{}/images"), "images"),
        (("--weights", "{}/notes.txt"), "notes.txt"),
        (("--output", "{}/notes.txt/a.onnx"), "notes.txt is a file, and a folder is expected"),
        (("--output", "{}/folder.onnx"), "expected a file, but this is a folder"),
        (("--output", "{}/labels.onnx"), "would replace {}/labels.onnx.json, which is not the met"),
    ],
)
def test_export_errors_are_one_line(folder, tmp_path, capsys, flags, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "notes.txt").write_text("no model")
    (tmp_path / "labels.onnx.json").write_text('{"bbavectors": 1, "objects": []}')
    before = sorted(tmp_path.rglob("*"))
    flags = [flag.replace("{}", str(tmp_path)) for flag in flags]
    assert run_main(folder, tmp_path / "a.onnx", *flags) == 2
    error = capsys.readouterr().err
    assert (
        message.replace("{}", str(tmp_path)) in error
        and error.startswith("error: ")
        and error.count("\n") == 1
    )
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", ["onnx", "torch", "openvino", "tensorrt"])
def test_export_on_full_disk(folder, tmp_path, capsys, monkeypatch, kind):
    """With files limited to 20 kB, as on a full disk, there is one line of error and no file."""
    if kind == "openvino":
        pytest.importorskip("openvino")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    output = tmp_path / f"a{EXPORT_FORMATS[kind].suffix}"
    with limit_file_size(20_000):
        code = run_main(folder, output, "--format", kind, *STATIC.get(kind, ()))
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1
    assert "File too large" in error or "OpenVINO could not" in error
    assert not error.startswith("error: File too large")  # a path comes first
    assert str(output) in error or kind == "openvino"  # in the folder of temporary files
    assert not list(tmp_path.iterdir())


def test_export_settings_of_formats():
    with pytest.raises(InputError, match="format torch does not support `half`"):
        ExportSettings(format="torch", half=True)
    asked = {"fix_conf": {"fix_conf": True}, "default": {}, "input": {"conf_input": True}}
    lowest = {name: ExportSettings(**flags).min_conf_thresh for name, flags in asked.items()}
    assert lowest == {"fix_conf": 0.18, "default": 0.01, "input": None}
    assert ExportSettings(conf_thresh=0.001).min_conf_thresh == 0.001
    fork = ExportSettings(layout="light-fork", static=(96, 96, 1), fix_conf=True)
    assert fork.min_conf_thresh == 0  # its rows have no threshold
    assert sharp_model().input_size == SIZE_HW


@pytest.mark.parametrize("name", ["asked.onnx", "asked_bytes.onnx", "asked.xml"])
def test_size_and_fit_of_an_original_checkpoint(folder, tmp_path, name):
    """The checkpoint says neither; the file says what its export was asked for."""
    checkpoint, image = tmp_path / "original.pth", folder / "images/1.png"
    torch.save({"epoch": 1, "model_state_dict": sharp_model("tiny").state_dict()}, checkpoint)
    flags = ["--input", "uint8"] if "bytes" in name else []
    if name.endswith(".xml"):
        pytest.importorskip("openvino")
        flags = ["--format", "openvino"]
    code = main(["--phase", "export", "--weights", str(checkpoint), "--classes", "a,b,c",
                 "--input_h", "64", "--input_w", "160", "--squash", "--K", str(K),
                 "--source", str(folder / "images"), "--output", str(tmp_path / name),
                 *flags])  # fmt: skip
    detector = Detector.load(tmp_path / name)
    assert (code, detector.input_hw, detector.squash) == (0, (64, 160), True)
    asked = {"classes": CLASSES, "input_hw": (64, 160), "squash": True, "K": K}
    expected = Detector.load(checkpoint, **asked).detect(image)
    found = detector.detect(image)
    assert len(found) == len(expected) > 3
    np.testing.assert_allclose(found.corners, expected.corners, atol=0.05)
    if flags == ["--input", "uint8"]:  # the file stretches by itself
        rows = open_session(tmp_path / name).run(None, {"input": cv2.imread(str(image))[None]})
        own = outputs_to_detections(*(value[0] for value in rows))
        np.testing.assert_allclose(own[own.scores > 0.18].nms(0.1).corners, expected.corners,
                                   atol=0.05)  # fmt: skip


RUN_ELSEWHERE = [kind for kind, row in EXPORT_FORMATS.items() if row.has_metadata]
"""Formats for runtimes: a checkpoint has neither a JSON beside it nor a fixed input."""


@pytest.mark.parametrize("kind", RUN_ELSEWHERE)
def test_json_beside_the_file_of_every_format(folder, tmp_path, caplog, kind):
    if kind == "openvino":
        pytest.importorskip("openvino")
    path = tmp_path / f"a{EXPORT_FORMATS[kind].suffix}"
    static = STATIC.get(kind, ())
    for conf in ("0.2", "0.3"):  # the second export replaces both
        assert run_main(folder, path, "--format", kind, "--conf_thresh", conf, *static) == 0
    content = json.loads(path.with_name(f"{path.name}.json").read_text(encoding="utf-8"))
    metadata = ModelMetadata.from_props(content, path)
    assert (metadata.conf_thresh, metadata.default_size) == (0.3, SIZE_HW)
    assert content["file_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    caplog.clear()
    if kind != "torch":
        assert Detector.load(path).runtime.metadata == metadata
    assert not [one for one in caplog.records if one.levelname == "WARNING"]


@pytest.mark.parametrize("kind", RUN_ELSEWHERE)
def test_size_and_fit_of_every_format(kind):
    model = sharp_model()
    props = ExportSettings(kind, input_hw=(64, 160), squash=True).metadata(model).to_props()
    assert (props["default_size"], props["fit"], props["trained_size"]) == (
        "64x160", "squash", "96x128")  # fmt: skip
    fixed = ExportSettings(kind, static=(32, 64, 1)).metadata(model).to_props()
    assert (fixed["default_size"], fixed["fit"]) == ("32x64", "letterbox")


def test_metadata_has_trained_size(folder):
    detector = Detector.load(export(folder, "free.onnx"))
    assert not detector.runtime.fixed_hw
    assert detector.runtime.metadata.trained_size == detector.runtime.input_hw == SIZE_HW
