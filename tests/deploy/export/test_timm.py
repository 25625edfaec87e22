"""Exported files of checkpoints with backbones of timm, in float32 and in 8 bits."""

import numpy as np
import pytest

from deploy import Detector
from helpers.command_line import assert_refused, run_main
from helpers.small_exports import CONF, SIZE_HW, K, sharp_model
from models import Checkpoint, save_checkpoint

pytest.importorskip("timm")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx

pytestmark = pytest.mark.slow  # exports networks or runs exported files

HEIGHT, WIDTH = SIZE_HW
STATIC = ("--static", HEIGHT, WIDTH, 1)
FAMILIES = {  # and what they need to be exported
    "mobilenetv4_conv_small": (),
    "test_efficientnet": (),  # timm's own small ones, of the blocks of efficientnet_b0
    "test_convnext": (),  # and of convnext_atto
    "regnety_002": (),
    "efficientvit_b0": STATIC,
}


@pytest.fixture
def export(sharp_folder, tmp_path, capsys):
    """Return a function that exports a new checkpoint and returns the result and both paths."""

    def run(name, *flags):
        weights, output = tmp_path / "m.pth", tmp_path / "m.onnx"
        model = sharp_model(f"timm/{name}", neck=16)
        save_checkpoint(weights, Checkpoint.of(model))
        images = sharp_folder / "images"
        words = ["--phase", "export", "--weights", weights, "--output", output, "--source", images]
        words += ["--K", K, "--conf_thresh", CONF, *flags]
        return run_main(capsys, words), weights, output

    return run


def detections(file):
    """Detect in noise, where no two cells have the same score."""
    image = np.random.default_rng(1).integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)
    return Detector.load(file, conf_thresh=CONF, K=K).detect(image)


@pytest.mark.parametrize(("name", "flags"), FAMILIES.items())
def test_boxes_are_those_of_the_checkpoint(export, name, flags):
    result, weights, output = export(name, *flags)
    assert result.code == 0, result.err
    expected, found = detections(weights), detections(output)
    assert len(found) == len(expected) > 5
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.corners, expected.corners, atol=0.05)


@pytest.mark.parametrize(("name", "flags"), FAMILIES.items())
def test_int8(export, sharp_folder, name, flags):
    """The command itself compares the detections with those of the checkpoint."""
    result, _, output = export(name, *flags, "--int8", "--calibrate", sharp_folder / "images")
    assert result.code == 0, result.err
    assert "detections matched" in result.out
    assert len(detections(output)) > 5
    weights = onnx.load(output).graph.initializer
    in_8_bits = [one for one in weights if one.data_type == onnx.TensorProto.INT8]
    assert len([one for one in in_8_bits if len(one.dims) == 4]) >= 7  # merges, heat map: all


def test_size_that_the_graph_contains_has_to_be_named(export):
    result, _, output = export("efficientvit_b0")
    assert_refused(
        result,
        "the graph of timm/efficientvit_b0 holds for one input size only",
        f"--static, for example {HEIGHT} {WIDTH} 1",
    )
    assert not output.exists()
