"""A training of forty steps learns where objects are; test_readme.py has the AP of a whole one."""

import csv

import pytest

from datasets.sample import write_scenes
from helpers.command_line import run_main
from helpers.no_plots import draw_no_plots


@pytest.mark.slow
def test_the_losses_of_scenes_fall(tmp_path, monkeypatch, capsys):
    draw_no_plots(monkeypatch)
    write_scenes(tmp_path / "data", {"train": 16})
    words = ["--phase", "train", "--data_dir", tmp_path / "data", "--run_dir", tmp_path,
             "--backbone", "mobilenetv2", "--pretrained", "none", "--neck", 16, "--head_conv", 16,
             "--input_h", 128, "--input_w", 128, "--batch_size", 4, "--num_epoch", 10, "--seed", 1,
             "--num_workers", 0, "--no_augment", "--save_every", 0, "--device", "cpu"]  # fmt: skip
    result = run_main(capsys, words)
    assert result.code == 0, result.err
    with open(tmp_path / "weights_dota/history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    for name, share in (("hm", 0.7), ("off", 0.7), ("loss", 0.8)):
        first, last = float(rows[1][name]), float(rows[-1][name])
        assert last < share * first, (name, first, last)
