"""The phases as a user calls them: the commands of the README, info, any kind of image."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cli.defaults import SAMPLE
from helpers.command_line import assert_refused
from helpers.data_folders import make_small_dota, picture, write_image
from models import BACKBONES, CTRBOX
from models.info import describe
from structures.boxes import HEAD_CHANNELS


@pytest.mark.slow
def test_readme_commands_on_a_small_sample(tmp_path, monkeypatch, run_cli):
    """The commands are run as written, on a sample set of a few small images."""
    made = []

    def make_small(root):
        if not made:
            make_small_dota(root, train=3, val=1)
        made.append(root)
        return root

    monkeypatch.setattr("cli.run_dir.make_sample", make_small)
    small = replace(SAMPLE, epochs=1, cpu_batch_size=3, input_hw=(64, 64), head_conv=8)
    monkeypatch.setattr("cli.run_dir.SAMPLE", small)
    result = run_cli("--phase", "train", "--backbone", "resnet18")
    assert result.code == 0 and "epoch 1/1  loss" in result.out and "AP 0." in result.out
    result = run_cli("--phase", "test")
    assert (
        result.code == 0 and "resnet18 of epoch 1, input 64x64, classes ship, plane" in result.out
    )
    result = run_cli("--phase", "eval")
    assert result.code == 0 and "mean" in result.out and "AP 0." in result.out
    # a second training replaces the run on the sample set
    assert run_cli("--phase", "train", "--backbone", "mobilenetv2").code == 0
    assert "mobilenetv2 of epoch 1" in run_cli("--phase", "test").out
    assert {path.name for path in tmp_path.iterdir()} == {
        "sample_data", "weights_sample", "result_sample"
    }  # fmt: skip
    assert set(made) == {Path("sample_data")}
    assert not list(Path("weights_sample").glob("model_[0-9]*.pth"))


def test_info_of_a_new_network(run_cli):
    network = ["--backbone", "mobilenetv2", "--head_conv", 16, "--input_h", 64]
    result = run_cli("--phase", "info", *network)
    assert result.code == 0 and "mobilenetv2" in result.out and "GMAC" in result.out


@pytest.mark.slow
def test_info_of_all_backbones(run_cli, monkeypatch):
    """All rows of the table, of which three are left."""
    for name in BACKBONES.keys() - {"resnet18", "mobilenetv2", "tiny"}:
        monkeypatch.delitem(BACKBONES, name)
    network = ["--classes", "a,b", "--neck", 8, "--head_conv", 8, "--input_h", 64, "--input_w", 96]
    result = run_cli("--phase", "info", "--all", "--threads", 1, "--device", "cpu", *network)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    header = "input 64x96, 2 classes, heads with 8 hidden channels, merges 8 channels wide"
    start = lines.index(header) + 2
    for line, (name, row) in zip(lines[start:], BACKBONES.items(), strict=False):
        *cells, parameters, unit, gmac, milliseconds = line.split()
        assert cells == f"{name} {', '.join(map(str, row.channels))}".split()
        with torch.device("meta"):
            model = CTRBOX({"hm": 2, **HEAD_CHANNELS}, None, 4, 1, 8, backbone=name, neck=8)
        expected = describe(model, (64, 96))
        assert (parameters, unit) == (f"{expected.parameters / 1e6:.1f}", "M")
        assert gmac == f"{expected.macs / 1e9:.1f}" and float(milliseconds) > 0
    assert "threads: 1, medians of 5 runs" in lines[start + len(BACKBONES)]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--all", "--weights", "model.pth"], "--all cannot be combined with --weights"),
        (["--threads", 1], "--threads is for the times that --all measures"),
        (["--device", "cpu"], "--device is for the times that --all measures"),
    ],
)
def test_info_flags_that_contradict(run_cli, flags, message):
    assert_refused(run_cli("--phase", "info", *flags), message)


def test_info_refuses_a_wrong_backbone_before_it_measures(run_cli, monkeypatch):
    monkeypatch.setattr("cli.info.describe", None)
    result = run_cli("--phase", "info", "--all", "--backbone", "timm/no_such_network")
    assert result.code == 2 and "Traceback" not in result.err
    assert "timm" in result.err


@pytest.mark.slow
def test_info_of_a_checkpoint(run_cli, data, trained_run):
    arguments = ["--phase", "info", "--data_dir", data, "--run_dir", trained_run]
    result = run_cli(*arguments, "--weights", "model_last.pth")
    assert result.code == 0 and "mobilenetv2" in result.out
    result = run_cli(*arguments, "--weights", "model_last.pth", "--backbone", "resnet18")
    assert_refused(result, "backbone is resnet18, but the file has mobilenetv2")


@pytest.mark.slow
def test_images_of_any_bit_depth(run_cli, run_training, writable_data):
    """Images of 16 bits, in gray and with an alpha channel are trained on and drawn."""
    rgb = picture(64, 64)
    images = [rgb.astype(np.uint16) * 257, rgb[:, :, 0], cv2.cvtColor(rgb, cv2.COLOR_BGR2BGRA),
              (rgb[:, :, 0].astype(np.uint16)) * 257]  # fmt: skip
    for number, image in enumerate(images):
        write_image(writable_data / "images" / f"im{number}.png", image)
    assert run_training(writable_data).code == 0
    for phase in ("test", "eval"):
        assert run_cli("--phase", phase, "--data_dir", writable_data).code == 0
