"""Files of a network whose boxes are coded as rectangles: what the checkpoint gives."""

import numpy as np
import pytest
import torch

from decoder import DecDecoder
from deploy.detector import Detector
from helpers.networks import add_tiny_backbone
from helpers.small_exports import K, export, make_folder, sharp_model
from models import Checkpoint, load_model, save_checkpoint

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from deploy.export.parity.rows import outputs_to_detections
from deploy.export.settings import MIN_CONF_THRESH
from deploy.metadata import MAPS, read_onnx_metadata
from deploy.runtimes.onnx_runtime import open_session

pytestmark = pytest.mark.slow  # exports networks


@pytest.fixture(scope="module")
def folder(tmp_path_factory, traced_once):
    with pytest.MonkeyPatch.context() as patch:
        add_tiny_backbone(patch)
        root = tmp_path_factory.mktemp("rectangles")
        yield make_folder(root, "tiny", box_coding="rectangle", head_bn=True)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(1)
    return rng.random((2, 3, 96, 128), np.float32) - np.float32(0.5)


def expected_maps(folder, images):
    with torch.no_grad():
        return load_model(folder / "checkpoint.pth")(torch.from_numpy(images))


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_boxes_equal_those_of_the_checkpoint(folder, images, runtime):
    if runtime == "onnx":
        rows = open_session(export(folder, "boxes.onnx")).run(None, {"input": images})
    else:
        path = export(folder, "boxes.pt2", "--format", "torch", "--static", "96", "128", "2")
        with torch.no_grad():
            rows = torch.export.load(path).module()(torch.from_numpy(images))
        rows = [one.numpy() for one in rows]
    expected = DecDecoder(K, MIN_CONF_THRESH, 3, 0.8).decode(expected_maps(folder, images))
    assert sum(map(len, expected)) > 10
    for number, one in enumerate(expected):
        found = outputs_to_detections(*(values[number] for values in rows))
        np.testing.assert_array_equal(found.labels, one.labels)
        np.testing.assert_allclose(found.scores, one.scores, atol=1e-4)
        np.testing.assert_allclose(found.corners, one.corners, atol=0.05)
        sides = found.corners - np.roll(found.corners, 1, axis=1)
        products = (sides * np.roll(sides, 1, axis=1)).sum(axis=2)
        lengths = np.hypot(sides[..., 0], sides[..., 1])
        assert (np.abs(products) < 1e-3 * np.maximum(lengths * np.roll(lengths, 1, 1), 1)).all()


def test_file_says_that_it_finds_rectangles(folder):
    path = export(folder, "told.onnx")
    assert read_onnx_metadata(path).box_coding == "rectangle"
    assert Detector.load(path).finds_rectangles
    assert Detector.load(folder / "checkpoint.pth").finds_rectangles
    save_checkpoint(folder / "vectors.pth", Checkpoint.of(sharp_model("tiny")))
    assert not Detector.load(folder / "vectors.pth").finds_rectangles


def test_head_maps_have_the_meaning_of_the_original(folder, images):
    path = export(folder, "maps.onnx", "--layout", "heads", "--static", "96", "128", "2")
    found = open_session(path).run(list(MAPS), {"input": images})
    for name, values in zip(MAPS, found, strict=True):
        expected = expected_maps(folder, images)[name].numpy()
        np.testing.assert_allclose(values, expected, atol=1e-3 * max(np.abs(expected).max(), 1))
        assert name != "cls_theta" or (values == 1).all()
