"""A backbone of timm through all phases, of which only the training is told its name."""

import json
from pathlib import Path

import pytest

from helpers.command_line import TINY_TRAINING, assert_refused
from models import read_checkpoint

pytest.importorskip("timm")

BACKBONE = "timm/mobilenetv4_conv_small"


@pytest.mark.slow
def test_phases(run_cli, data):
    own_data = ["--data_dir", data]
    training = [*TINY_TRAINING, "--backbone", BACKBONE, "--neck", 8]
    assert run_cli("--phase", "train", *own_data, *training).code == 0
    weights = Path("weights_dota/model_last.pth")
    assert read_checkpoint(weights).architecture.backbone == BACKBONE
    for phase in ("eval", "test"):
        result = run_cli("--phase", phase, *own_data, "--weights", weights)
        assert result.code == 0, result.err
    result = run_cli("--phase", "train", *own_data, "--resume_train", "--epochs", 2)
    assert result.code == 0, result.err
    assert read_checkpoint(weights).epoch == 2
    result = run_cli(
        "--phase", "train", *own_data, "--finetune", weights, "--run_dir", "second", "--epochs", 1,
        "--input_h", 64, "--input_w", 64,
    )  # fmt: skip
    assert result.code == 0, result.err
    assert BACKBONE in result.out
    images = str(data / "images")
    result = run_cli("--phase", "predict", "--weights", weights, "--source", images)
    assert result.code == 0, result.err
    assert json.loads(Path("result_predict/detections.json").read_text())
    result = run_cli("--phase", "info", "--weights", weights)
    assert result.out.startswith(f"{BACKBONE} at an input of [1, 3, 64, 64]")
    result = run_cli("--phase", "predict", "--weights", weights, "--source", images,
                     "--backbone", "timm/convnext_atto")  # fmt: skip
    assert_refused(result, f"backbone is timm/convnext_atto, but the file has {BACKBONE}")


@pytest.mark.parametrize(
    "name", ["test_efficientnet", "test_convnext", "regnety_002", "efficientvit_b0"]
)
@pytest.mark.slow
def test_families_are_trained_and_predict(run_cli, data, name):
    training = [*TINY_TRAINING, "--backbone", f"timm/{name}", "--neck", 8]
    result = run_cli("--phase", "train", "--data_dir", data, *training)
    assert result.code == 0, result.err
    weights = Path("weights_dota/model_last.pth")
    assert 0 < read_checkpoint(weights).history[0]["loss"] < 100
    result = run_cli("--phase", "predict", "--weights", weights, "--source", data / "images")
    assert result.code == 0, result.err
    assert json.loads(Path("result_predict/detections.json").read_text())


def test_unknown_model(run_cli, data):
    """It is refused before the labels are read."""
    result = run_cli("--phase", "train", "--data_dir", data, "--backbone", "timm/convnext_ato")
    assert_refused(result, "unknown to timm", "did you mean timm/convnext_atto?")
    assert not list(Path().glob("weights_*"))
