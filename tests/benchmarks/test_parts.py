"""The recipe with one part left out: only that part is missing, and only then."""

import math
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import parts, recipes
from benchmarks.parts import PARTS, left_out
from cli.recipes import DEFAULT, RECIPES
from helpers import forked_python
from helpers.command_line import TINY_TRAINING
from helpers.data_folders import make_small_dota
from models import rectangle_loss
from models.box_coding import code_rectangles, decoded_maps
from structures.boxes import VECTORS

SHORT, LONG = (torch.tensor([[0.0, -1, side, 0, 0, 1, -side, 0, 0, 0]]) for side in (2.0, 20.0))
"""Targets of two upright boxes."""


def losses_of(true_wh, factor=1.2):
    """Return the losses of a box that is too large by a factor, with its center off by it, too."""
    offset = torch.tensor([[0.5, 0.5]])
    found = code_rectangles(true_wh[:, :8] * factor)
    return rectangle_loss.box_losses(found, offset * factor, true_wh, offset, torch.ones(1))[0]


def some_targets():
    shapes = {"wh": 10, "reg": 2, "cls_theta": 1}
    targets = {name: torch.ones(1, 2, channels) for name, channels in shapes.items()}
    return targets | {
        "hm": torch.zeros(1, 1, 6, 6),
        "ind": torch.tensor([[14, 0]]),
        "reg_mask": torch.tensor([[1, 0]], dtype=torch.uint8),
    }


@pytest.mark.parametrize(
    "name, change",
    [
        ("coding", {"box_coding": VECTORS}),
        ("head_bn", {"head_bn": False}),
        ("kernels", {"final_kernel": 1}),
        ("beta2", {"settings": {"beta2": 0.999}}),
        ("average", {"settings": {"ema_decay": 0.0}}),
        ("mosaic", {"settings": {"mosaic": 0.0}}),
        ("shift", {"settings": {"align_centers": False}}),
    ],
)
def test_settings_of_the_recipe(name, change):
    whole = RECIPES[DEFAULT]
    if "settings" in change:
        change = {"settings": {**whole.settings, **change["settings"]}}
    with left_out(name):
        assert RECIPES[DEFAULT] == replace(whole, **change) != whole
    assert RECIPES[DEFAULT] == whole


def test_without_relative_errors_large_boxes_have_larger_losses():
    short, long = losses_of(SHORT), losses_of(LONG)
    torch.testing.assert_close(short["wh"], long["wh"])
    with left_out("relative_errors"):
        in_cells = losses_of(LONG)
        # The only wrong entries are xx by 4 and yy by 0.2: smooth L1 of 3.5 and 0.02, of three.
        torch.testing.assert_close(in_cells["wh"], torch.tensor((3.5 + 0.02) / 3))
        torch.testing.assert_close(in_cells["off"], torch.tensor(0.1**2 / 2))
    assert in_cells["overlap"] == long["overlap"]
    assert losses_of(LONG)["wh"] == long["wh"]


def test_without_distances_of_gaussians():
    whole = losses_of(SHORT)
    # Both sides longer by a factor f: the distance is log((1 + f^2) / (2 f)), without an offset.
    center = 3 / 8 * 0.1**2 * (1 / 4 + 1) / ((1 + 1.2**2) / 2)
    distance = math.log((1 + 1.2**2) / (2 * 1.2)) + center
    hellinger = 2 * math.sqrt(1 - math.exp(-distance))
    assert whole["overlap"].item() == pytest.approx(hellinger + 4 * distance, rel=1e-4)
    with left_out("bhattacharyya"):
        assert losses_of(SHORT)["overlap"].item() == pytest.approx(hellinger, rel=1e-4)
    with left_out("gaussians"):
        assert losses_of(SHORT) == {**whole, "overlap": 0}


def test_without_neighbors_the_center_learns_alone():
    loss, targets = rectangle_loss.RectangleLoss(), some_targets()
    assert (loss.assign(targets)["reg_mask"] != 0).sum() == 9
    with left_out("neighbors"):
        assigned = loss.assign(targets)
    assert assigned["cell_weight"].tolist() == [[1, 0]] and assigned["objects"] == 1
    assert all(torch.equal(assigned[name], values) for name, values in targets.items())


def test_what_only_changes_the_detection():
    torch.manual_seed(0)
    boxes = code_rectangles(torch.tensor([[0.0, -2, 4, 0, 0, 2, -4, 0]]))
    boxes = (boxes[:, :, None, None] * (1 + torch.rand(1, 10, 3, 3) / 10)).contiguous()
    maps = {"hm": torch.rand(1, 2, 3, 3), "cls_theta": torch.rand(1, 1, 3, 3), "wh": boxes,
            "reg": torch.rand(1, 2, 3, 3)}  # fmt: skip
    whole = decoded_maps(maps)
    with left_out("ranking"):
        found = decoded_maps(maps)
        assert torch.equal(found["hm"], maps["hm"]) and torch.equal(found["wh"], whole["wh"])
    with left_out("mean"):
        found = decoded_maps(maps)
        assert torch.equal(found["hm"], whole["hm"]) and torch.equal(found["reg"], maps["reg"])
    assert not torch.equal(whole["hm"], maps["hm"]) and not torch.equal(whole["reg"], maps["reg"])
    assert {name for name, part in PARTS.items() if not part.trained} == {"mean", "ranking"}


def test_an_unknown_part_is_refused(monkeypatch, capsys):
    assert parts.main(["kernel", "--phase", "train"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the recipe has no part 'kernel' (did you mean kernels?)")
    assert error.count("\n") == 1

    monkeypatch.setattr(sys, "argv", ["recipes", "data", "--without", "mean,magic"])
    assert recipes.main() == 2
    assert "the recipe has no part 'magic'" in capsys.readouterr().err


def test_several_processes_are_refused(tmp_path, capsys):
    """They would be new processes, which train the whole recipe."""
    data = make_small_dota(tmp_path / "data", train=3, val=1)
    words = ["mean", "--phase", "train", "--data_dir", str(data), "--run_dir", str(tmp_path),
             "--ngpus", "2", "--device", "cpu", *TINY_TRAINING]  # fmt: skip
    assert parts.main(words) == 2
    error = capsys.readouterr().err
    assert "can only be left out in a single process: give --ngpus 1" in error


def test_the_help_lists_the_parts(capsys):
    assert parts.main(["--help"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[-len(PARTS) :]]
    assert listed == list(PARTS)
    assert parts.main([]) == 2


@pytest.mark.slow  # trains in separate processes
def test_networks_are_compared_without_a_part(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(recipes, "subprocess", forked_python)
    data = make_small_dota(tmp_path / "data", train=3, val=1)
    monkeypatch.chdir(tmp_path)
    words = ["recipes", str(data), "--recipes", "rectangle", "--without", "ranking,kernels",
             "--seeds", "5", "--flags", " ".join(TINY_TRAINING)]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    assert recipes.main() == 0
    rows = capfd.readouterr().out.splitlines()[-3:]
    assert [row.split("  ")[0] for row in rows] == [
        "rectangle", "rectangle without ranking", "rectangle without kernels"
    ]  # fmt: skip

    runs = tmp_path / "recipes/data"
    whole, narrow = runs / "rectangle_seed5", runs / "rectangle_without_kernels_seed5"
    assert sorted(runs.iterdir()) == [whole, narrow]
    assert (whole / "voc12_without_ranking.json").is_file()
    kernels = []
    for folder in (whole, narrow):
        state = torch.load(folder / "weights_dota/model_last.pth", weights_only=True)
        kernels.append(state["final_kernel"])
    assert kernels == [3, 1]
