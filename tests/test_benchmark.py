"""The benchmark measures every stage of every runtime there is."""

import json

import pytest
import torch
from data_folders import picture, write_image

import main
from boxes import HEAD_CHANNELS
from models import CTRBOX, Checkpoint, save_checkpoint


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = CTRBOX({"hm": 1, **HEAD_CHANNELS}, None, 4, 1, 8, backbone="resnet18",
                   classes=("ship",), input_size=(64, 96))  # fmt: skip
    save_checkpoint(tmp_path / "small.pth", Checkpoint.of(model))
    return tmp_path / "small.pth"


def test_table_and_json(tmp_path, weights, capsys):
    write_image(tmp_path / "images/a.png", picture())
    words = ["--phase", "benchmark", "--weights", weights, "--source", tmp_path / "images",
             "--output", tmp_path, "--runs", 3, "--device", "cpu", "--batch_size", 2]  # fmt: skip
    assert main.main(list(map(str, words))) == 0
    out = capsys.readouterr().out
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert result["processor"] in out and result["processor"]
    (timings,) = result["timings"]
    assert timings["runtime"] == "PyTorch" and timings["input_hw"] == [64, 96]
    stages = timings["stages"]
    assert set(stages) == {"preprocess", "network", "decode", "nms", "end to end"}
    assert all(value > 0 for value in stages.values()) and timings["load"] > 0
    assert stages["end to end"] >= stages["network"]
    assert "PyTorch" in out and "network ms" in out


def test_without_a_model(capsys):
    assert main.main(["--phase", "benchmark"]) == 2
    assert "--weights" in capsys.readouterr().err
