"""The phases as a user calls them: the commands of the README, info, any kind of image."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from cli.defaults import SAMPLE
from helpers.command_line import assert_refused
from helpers.data_folders import make_small_dota, picture, write_image


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
