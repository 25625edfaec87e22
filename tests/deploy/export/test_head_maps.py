"""Files in the layout "heads": their maps, their graph, and importers that cannot take more."""

import subprocess

import cv2
import numpy as np
import pytest
import torch

from decoder import DecDecoder
from helpers.networks import add_tiny_backbone
from helpers.small_exports import CLASSES, SIZE_HW, K, export, sharp_model
from main import main
from models import load_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx

from deploy.export.graph.assemble import assemble_maps, shape_of
from deploy.export.network import ExportNetwork, HeadMaps
from deploy.export.network_onnx import export_head_maps
from deploy.export.parity.head_maps import with_decoder
from deploy.metadata import MAPS, ModelMetadata
from deploy.runtimes.onnx_runtime import open_session

pytestmark = pytest.mark.slow  # exports networks or runs exported files

HEADS = ("--layout", "heads", "--static", "96", "128", "2")


def image_batch(count, height, width):
    rng = np.random.default_rng(height)
    return rng.random((count, 3, height, width), np.float32) - np.float32(0.5)


def maps_of(model, batch):
    with torch.no_grad():
        return {name: values.numpy() for name, values in model(torch.from_numpy(batch)).items()}


def assert_same_maps(found, expected, tolerance=1e-4):
    """Compare maps with an error relative to each map's largest value."""
    for name in MAPS:
        assert found[name].shape == expected[name].shape
        error = np.abs(found[name] - expected[name]).max()
        assert error < tolerance * np.abs(expected[name]).max(), name


# The file -----------------------------------------------------------------------------------------


def test_maps_equal_those_of_the_checkpoint(tiny_folder):
    session = open_session(export(tiny_folder, "maps.onnx", *HEADS))
    batch = image_batch(2, *SIZE_HW)
    found = dict(zip(MAPS, session.run(list(MAPS), {"input": batch}), strict=True))
    assert_same_maps(found, maps_of(load_model(tiny_folder / "checkpoint.pth"), batch))
    metadata = ModelMetadata.from_props(session.get_modelmeta().custom_metadata_map, "")
    assert (metadata.layout, metadata.input_size, metadata.K) == ("heads", SIZE_HW, K)


def test_torch_program_gives_the_maps(tiny_folder):
    path = export(tiny_folder, "maps.pt2", "--format", "torch", *HEADS)
    batch = image_batch(2, *SIZE_HW)
    with torch.no_grad():
        found = torch.export.load(path).module()(torch.from_numpy(batch))
    found = {name: values.numpy() for name, values in zip(MAPS, found, strict=True)}
    assert_same_maps(found, maps_of(load_model(tiny_folder / "checkpoint.pth"), batch))


def test_file_with_a_wrong_map_is_not_written(sharp_folder, tmp_path, monkeypatch, capsys):
    compute = HeadMaps.forward

    def turned(self, input):
        *maps, theta = compute(self, input)
        return *maps, theta + 1

    monkeypatch.setattr(HeadMaps, "forward", turned)
    # A program is traced faster than an ONNX file.
    assert main(["--phase", "export", "--weights", str(sharp_folder / "checkpoint.pth"),
                 "--source", str(sharp_folder / "images"), "--K", str(K), "--format", "torch",
                 "--output", str(tmp_path / "a.pt2"), *HEADS]) == 2  # fmt: skip
    error = capsys.readouterr().err
    assert "the exported file differs from the checkpoint" in error, error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lowest", [0.0, 0.5, 1.0])
def test_maps_are_decoded_for_the_check(lowest):
    rng = np.random.default_rng(0)
    channels = {"hm": 3, "wh": 10, "reg": 2, "cls_theta": 1}
    maps = {name: rng.random((2, count, 5, 7), np.float32) for name, count in channels.items()}
    metadata = ModelMetadata(CLASSES, "resnet18", 0.3, 0.4, K=9, layout="heads",
                             min_conf_thresh=lowest)  # fmt: skip
    rows = with_decoder(lambda inputs: maps, metadata)({"input": None})
    decoder = DecDecoder(9, lowest, 3, 0.4)
    expected = decoder.decode({name: torch.from_numpy(values) for name, values in maps.items()})
    assert (len(expected[0]) > 3) == (lowest != 1)
    for number, one in enumerate(expected):
        corners, scores, labels = (rows[name][number] for name in ("corners", "scores", "labels"))
        np.testing.assert_array_equal(corners[: len(one)], one.corners)
        np.testing.assert_array_equal(scores[: len(one)], one.scores)
        np.testing.assert_array_equal(labels[: len(one)], one.labels)
        assert not corners[len(one) :].any() and not scores[len(one) :].any()
        assert labels.shape == (9,) and (labels[len(one) :] == -1).all()


# Importers ----------------------------------------------------------------------------------------


@pytest.fixture(
    scope="module",
    params=[("resnet18", "vectors"), ("mobilenetv2", "vectors"), ("tiny", "rectangle")],
    ids="-".join,
)
def exported(request, tmp_path_factory):
    """Return the path of a file of one 64x96 image, its input and the maps of its network."""
    backbone, box_coding = request.param
    with pytest.MonkeyPatch.context() as patch:
        add_tiny_backbone(patch)
        model = sharp_model(backbone, box_coding=box_coding)
    metadata = ModelMetadata(
        model.classes, model.backbone, 0.2, 0.8, K, input_size=(64, 96), layout="heads"
    )
    file = assemble_maps(export_head_maps(ExportNetwork(model), (1, 64, 96)), metadata)
    path = tmp_path_factory.mktemp(backbone) / "maps.onnx"
    onnx.save(file, path)
    batch = image_batch(1, 64, 96)
    return path, batch, maps_of(model, batch)


def test_graph_has_plain_operators_and_fixed_shapes(exported):
    graph = onnx.load(exported[0]).graph
    plain = {"Conv", "Relu", "Clip", "Add", "MaxPool", "Resize", "Concat", "Sigmoid"}
    arithmetic = {"Sub", "Mul", "Div", "Min", "Max", "Neg", "Abs", "Sqrt", "Reciprocal"}
    parts = {"Slice", "Split", "Squeeze", "Unsqueeze", "Pad", "Expand"}
    rectangle = "Sqrt" in {node.op_type for node in graph.node}
    allowed = plain | arithmetic | parts if rectangle else plain
    assert {node.op_type for node in graph.node} <= allowed
    for value in (*graph.input, *graph.output):
        assert all(isinstance(side, int) and side > 0 for side in shape_of(value))


def engines():
    """Return the arguments with which this OpenCV reads an ONNX file: its engines, if any."""
    both = (getattr(cv2.dnn, name, None) for name in ("ENGINE_CLASSIC", "ENGINE_NEW"))
    return [(engine,) for engine in both if engine is not None] or [()]


@pytest.mark.parametrize("engine", engines())
def test_opencv(exported, engine):
    path, batch, expected = exported
    network = cv2.dnn.readNetFromONNX(str(path), *engine)
    network.setInput(batch, "input")
    assert_same_maps(dict(zip(MAPS, network.forward(list(MAPS)), strict=True)), expected)


def test_ncnn(exported, tmp_path):
    ncnn, pnnx = pytest.importorskip("ncnn"), pytest.importorskip("pnnx")
    path, batch, expected = exported
    subprocess.run([pnnx.EXEC_PATH, path.name, "fp16=0"], cwd=path.parent, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    with ncnn.Net() as network:
        network.opt.use_fp16_packed = network.opt.use_fp16_storage = False
        network.opt.use_fp16_arithmetic = network.opt.use_bf16_storage = False
        assert network.load_param(str(path.with_suffix(".ncnn.param"))) == 0
        assert network.load_model(str(path.with_suffix(".ncnn.bin"))) == 0
        found = {}
        with network.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(batch[0]).clone())
            for number, name in enumerate(MAPS):
                code, values = extractor.extract(f"out{number}")
                assert code == 0
                found[name] = np.array(values)[None]
    assert_same_maps(found, expected)


def test_mnn(exported, tmp_path):
    mnn = pytest.importorskip("MNN")
    tools = pytest.importorskip("_tools")  # MNN.tools.mnnconvert reports its use, this does not
    path, batch, expected = exported
    target = tmp_path / "maps.mnn"
    tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", str(path), "--MNNModel",
                      str(target), "--bizCode", "MNN"])  # fmt: skip
    manager = mnn.nn.create_runtime_manager(({"backend": "CPU", "precision": "high"},))
    network = mnn.nn.load_module_from_file(
        str(target), ["input"], list(MAPS), runtime_manager=manager
    )
    values = network.forward([mnn.expr.const(batch, batch.shape, mnn.expr.NCHW)])
    found = {
        name: mnn.expr.convert(one, mnn.expr.NCHW).read()
        for name, one in zip(MAPS, values, strict=True)
    }
    assert_same_maps(found, expected, tolerance=1e-3)
