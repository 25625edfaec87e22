"""The benchmark times every stage in every installed runtime."""

import json
import re
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch

import main
from deploy import benchmark as timing
from deploy.benchmark import BenchmarkSettings, LoadedModel, PlainTorchRuntime
from deploy.detector import Detector
from deploy.runtimes.base import DetectorSettings
from DOTA_devkit.errors import InputError
from helpers.data_folders import picture, write_image
from helpers.fixed_output_onnx import onnx_file
from helpers.networks import add_tiny_backbone, save_untrained


@pytest.fixture
def weights(tmp_path, monkeypatch):
    add_tiny_backbone(monkeypatch)
    return save_untrained(tmp_path / "small.pth", backbone="tiny", classes=("ship",), size=(64, 96))


@pytest.fixture
def restored_threads():
    """PyTorch's number of threads belongs to the process: restore what a test sets."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.mark.slow
def test_table_and_json(tmp_path, weights, capsys, restored_threads):
    write_image(tmp_path / "images/a.png", picture())
    words = ["--phase", "benchmark", "--weights", weights, "--source", tmp_path / "images",
             "--output", tmp_path / "benchmark.json", "--runs", 1, "--batch_size", 2,
             "--threads", restored_threads + 1]  # fmt: skip
    assert main.main(list(map(str, words))) == 0
    out = capsys.readouterr().out
    result = json.loads((tmp_path / "benchmark.json").read_text())
    assert result["processor"] in out and result["processor"]
    assert [one["runtime"] for one in result["timings"]] == ["PyTorch eager, contiguous", "PyTorch"]
    for timings in result["timings"]:
        assert timings["input_hw"] == [64, 96] and timings["threads"] == restored_threads + 1
        stages = timings["stages"]
        assert set(stages) == {"preprocess", "network", "decode", "nms", "end to end"}
        assert all(value > 0 for value in stages.values()) and timings["load"] > 0
        assert stages["end to end"] >= stages["network"]
    assert result["timings"][0]["speed_up"] == 1 and result["timings"][1]["speed_up"] > 0
    header, first, _ = out[out.index("model  ") :].splitlines()[:3]
    columns = re.split(r"  +", header)
    cells = dict(zip(columns, re.split(r"  +", first), strict=True))
    assert cells["runtime"].startswith("PyTorch eager, contiguous ")
    assert cells["threads"] == str(restored_threads + 1) and cells["speedup"] == "1.00"
    assert "network ms" in columns


def test_version_of_a_module_whose_package_has_another_name(weights, monkeypatch):
    """As onnxruntime of the package onnxruntime-gpu."""

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    models = timing.load_models([weights], np.zeros((64, 96, 3), np.uint8), DetectorSettings())
    assert {one.version for one in models} == {torch.__version__.split("+")[0]}


def test_plain_pytorch_gives_the_same_detections(weights):
    seen = []

    def watch(runtime):
        runtime._model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        convolution = next(m for m in runtime._model.modules() if isinstance(m, torch.nn.Conv2d))
        seen.append(convolution.weight.detach())
        return Detector(runtime)

    settings = DetectorSettings(conf_thresh=0.0, K=20)
    plain = watch(PlainTorchRuntime(weights, settings))
    ours = Detector.load(weights, settings)
    image = picture(96, 64)
    found, expected = plain.detect(image), ours.detect(image)
    assert all(values.is_contiguous() for values in seen) and len(seen) == 2
    assert len(expected) > 5
    np.testing.assert_allclose(found.corners, expected.corners, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


@pytest.mark.slow
def test_first_checkpoint_is_the_baseline(tmp_path, weights):
    """It comes before exported files; without a checkpoint the first file is the baseline."""
    pytest.importorskip("onnxruntime")
    exported = onnx_file(tmp_path / "known.onnx")
    settings, image = DetectorSettings(input_hw=(64, 96)), picture(96, 64)

    def timed(*files):
        rows = timing.benchmark(files, [image], settings, BenchmarkSettings(1, 0))["timings"]
        return [(row["file"], row["runtime"]) for row in rows], [row["speed_up"] for row in rows]

    rows, ratios = timed(exported, weights)
    assert rows[0] == (str(weights), "PyTorch eager, contiguous") and ratios[0] == 1
    assert rows[1] == (str(exported), "ONNX Runtime") and rows[-1] == (str(weights), "PyTorch")
    rows, ratios = timed(exported)
    assert rows[0] == (str(exported), "ONNX Runtime") and ratios[0] == 1


@pytest.mark.slow
def test_only_the_runtime_asked_for_is_timed(tmp_path, weights):
    """Only the runtime that was asked for is timed; a checkpoint has only one."""
    pytest.importorskip("openvino")
    exported = onnx_file(tmp_path / "known.onnx")
    assert timing.runtimes_of(exported) == ["onnxruntime", "openvino"]
    settings = DetectorSettings(input_hw=(64, 96), runtime="openvino")
    rows = timing.benchmark([exported, weights], [picture(96, 64)], settings,
                            BenchmarkSettings(1, 0))["timings"]  # fmt: skip
    assert [row["runtime"] for row in rows] == ["PyTorch eager, contiguous", "OpenVINO", "PyTorch"]


def test_speed_up_is_median_over_network_and_decode():
    class Known:
        input_hw = (64, 96)
        runtime = type("runtime", (), {"name": "known"})

    def turn(network, decode, nms):
        other = {"preprocess": 1.0, "nms": nms, "end to end": 99.0, "detections": 2}
        return {"network": network, "decode": decode, **other}

    first = [
        turn(8, 2, 0),
        turn(80, 20, 5),
        turn(8, 2, 0),
    ]  # another program ran in the second turn
    own = [turn(2, 3, 50), turn(20, 5, 0), turn(4, 1, 0)]  # 2, 4 and 2 times faster
    done = timing.summarize(LoadedModel("a", "1", 1, Known(), 0.5), own, first)
    assert done.speed_up == 2 and done.stages["network"] == 4 and done.stages["decode"] == 3


def test_runtimes_take_turns(weights, monkeypatch):
    order = []
    monkeypatch.setattr(timing.time, "sleep", lambda seconds: order.append(seconds))
    monkeypatch.setattr(
        timing, "time_stages",
        lambda detector, images: order.append(detector.runtime.name)
        or dict.fromkeys((*timing.STAGES, "detections"), 1.0),
    )  # fmt: skip
    settings = BenchmarkSettings(runs=2, warm_up=1)
    timing.benchmark([weights], [picture(96, 64)], DetectorSettings(), settings)
    pause = timing.PAUSE_S
    assert order == [pause, "PyTorch eager, contiguous", pause, "PyTorch"] * 3 and pause > 0.1


def test_augmented_rows_stand_beside_those_without(tmp_path, weights, caplog):
    """A checkpoint can do it; a file with a decoder is only timed without."""
    pytest.importorskip("onnxruntime")
    exported = onnx_file(tmp_path / "model.onnx")
    image = np.zeros((64, 96, 3), np.uint8)
    settings = DetectorSettings(tta="flips,turns", runtime="onnxruntime")
    once = BenchmarkSettings(runs=1, warm_up=0)
    result = timing.benchmark([weights, exported], [image], settings, once)
    rows = [(one["runtime"], one["tta"]) for one in result["timings"]]
    assert rows == [("PyTorch eager, contiguous", None), ("PyTorch", None),
                    ("PyTorch", "flips,turns"), ("ONNX Runtime", None)]  # fmt: skip
    assert "not timed with test-time augmentation: " in caplog.text
    assert f"{exported} holds the decoder" in caplog.text
    header, *cells = timing.table(result).splitlines()
    assert re.split(r"  +", header)[1:3] == ["runtime", "tta"]
    assert [" flips,turns " in line for line in cells] == [False, False, True, False]
    plain = timing.benchmark([weights], [image], DetectorSettings(), once)
    assert " tta " not in timing.table(plain)
    with pytest.raises(InputError, match="holds the decoder"):
        timing.benchmark([exported], [image], settings, once)


def test_views_of_the_benchmark_all_go_through_the_network(weights):
    models = timing.load_models(
        [weights], np.zeros((64, 96, 3), np.uint8), DetectorSettings(tta="flips")
    )
    batches = []
    for one in models:
        one.detector.runtime._model.register_forward_pre_hook(
            lambda module, given, seen=batches: seen.append(len(given[0]))
        )
        timing.time_stages(one.detector, [np.zeros((64, 96, 3), np.uint8)])
    assert [one.tta for one in models] == [None, None, "flips"]
    assert len(batches) == 1 + 1 + 4


def test_benchmark_without_a_model(capsys):
    assert main.main(["--phase", "benchmark"]) == 2
    assert "--weights" in capsys.readouterr().err
