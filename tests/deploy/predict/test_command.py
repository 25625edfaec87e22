"""Prediction from the command line: exit codes, and flags against what a file fixes."""

import json

import pytest

import main
from deploy.detector import Detector
from helpers.drawn_objects import DrawnObjects
from helpers.fixed_output_onnx import PROPS, onnx_file


def command(*words):
    return main.main(["--phase", "predict", "--device", "cpu", *map(str, words)])


@pytest.fixture
def drawn(monkeypatch):
    monkeypatch.setattr(Detector, "load", lambda *_: _WithRuntime())


class _WithRuntime(DrawnObjects):
    squash = False

    class runtime:
        name, K, theta_thresh = "drawn", 500, 0.8


def test_exit_codes(tmp_path, picture, drawn, capsys):
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"x")
    words = ("--weights", weights, "--output", tmp_path / "out", "--source", picture.parent)
    assert command(*words) == 0
    assert "5 " in capsys.readouterr().out
    (picture.parent / "broken.png").write_text("not an image")
    assert command(*words) == 1
    assert "broken.png" in capsys.readouterr().out
    assert command(*words[:-1], tmp_path / "gone") == 2
    assert command("--source", picture) == 2
    assert "--weights" in capsys.readouterr().err


@pytest.fixture
def exported(tmp_path):
    """An ONNX file that fixes other thresholds and another K than the defaults."""
    pytest.importorskip("onnxruntime")
    props = {**PROPS, "K": "3", "nms_thresh": "0.3", "theta_thresh": "0.5", "conf_thresh": "0.2"}
    return onnx_file(tmp_path / "own.onnx", {**props, "input_size": "64x96"}, size=(64, 96))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--K", 500), "K 500: it has 3"),  # each of them the default of the flag
        (("--theta_thresh", 0.8), "theta_thresh 0.8: it has 0.5"),
        (("--conf_thresh", 0.18), "conf_thresh 0.18: it outputs scores above 0.2"),
    ],
)
def test_flag_with_its_default_value_counts_as_given(
    tmp_path, picture, exported, capsys, flags, message
):
    words = ("--weights", exported, "--source", picture, "--output", tmp_path / "out")
    assert command(*words, *flags) == 2
    error = capsys.readouterr().err
    assert "own.onnx was exported with other settings" in error and message in error
    assert command(*words) == 0
    about = json.loads((tmp_path / "out/detections.json").read_text())
    assert (about["conf_thresh"], about["nms_thresh"]) == (0.2, 0.3)
    assert command(*words, "--nms_thresh", 0.1) == 0  # it can be stricter than the file
    about = json.loads((tmp_path / "out/detections.json").read_text())
    assert about["nms_thresh"] == 0.1 and about["agnostic_nms_thresh"] is None
    assert command(*words, "--agnostic_nms_thresh", 0.4) == 0
    about = json.loads((tmp_path / "out/detections.json").read_text())
    assert about["agnostic_nms_thresh"] == 0.4


def test_defaults_are_left_to_the_checkpoint(tmp_path, picture, monkeypatch):
    seen = []
    monkeypatch.setattr(
        Detector, "load", lambda path, settings: seen.append(settings) or _WithRuntime()
    )
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"x")
    words = ("--weights", weights, "--source", picture, "--output", tmp_path / "out")
    assert command(*words) == command(*words, "--K", 500) == 0
    assert [settings.K for settings in seen] == [None, 500]
