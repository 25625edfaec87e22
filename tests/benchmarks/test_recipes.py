"""The comparison of recipes: one row per recipe, and existing runs are not repeated."""

import json
import sys
from dataclasses import asdict, replace

import pytest

from benchmarks import recipes
from cli.recipes import RECIPES
from helpers import forked_python
from helpers.command_line import TINY_TRAINING
from helpers.data_folders import make_small_dota


@pytest.fixture(autouse=True)
def forked(monkeypatch):
    monkeypatch.setattr(recipes, "subprocess", forked_python)


@pytest.mark.slow  # trains in separate processes
def test_a_row_for_each_recipe(tmp_path, monkeypatch, capfd):
    data = make_small_dota(tmp_path / "data", train=3, val=1)
    monkeypatch.chdir(tmp_path)
    words = ["recipes", str(data), "--recipes", "rectangle --ema 0;paper", "--seeds", "5",
             "--flags", " ".join(TINY_TRAINING)]  # fmt: skip
    monkeypatch.setattr(sys, "argv", words)
    assert recipes.main() == 0
    header, first, second = capfd.readouterr().out.splitlines()[-3:]
    assert header.split() == ["recipe", "AP50", "voc07", "AP50", "voc12", "AP75", "voc12"]
    assert first.startswith("rectangle --ema 0  ") and second.startswith("paper  ")
    assert (tmp_path / "recipes/data/rectangle_ema_0_seed5/voc12.json").is_file()

    monkeypatch.setattr(recipes.subprocess, "run", None)  # would fail if it were called
    assert recipes.main() == 0
    assert capfd.readouterr().out.splitlines() == [header, first, second]

    for more in (["--flags=--num_epoch 9"], ["--test_list", "val.txt"]):
        monkeypatch.setattr(sys, "argv", [*words, *more])
        assert recipes.main() == 2
        assert "seed5 contains a run with {" in capfd.readouterr().err


def test_a_failing_run_is_an_error(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = ["recipes", str(tmp_path / "none"), "--seeds", "1", "--flags=--no_such_flag"]
    monkeypatch.setattr(sys, "argv", words)
    assert recipes.main() == 2
    assert "this command failed" in capfd.readouterr().err.splitlines()[-1]


def test_only_finished_runs_of_the_same_settings_are_reused(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "recipes/data/paper_seed1"
    folder.mkdir(parents=True)
    (folder / "voc07.json").write_text('{"classes": [{"class": "mean", "AP50": 0.5}]}')
    voc12 = {"class": "mean", "AP50": 0.6, "AP75": 0.25}
    (folder / "voc12.json").write_text(json.dumps({"classes": [voc12]}))
    (folder / "finished").touch()
    words = ["recipes", "data", "--recipes", "paper", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", words)
    assert recipes.main() == 2  # a run of an earlier version
    assert "paper_seed1 contains a run with no settings.json" in capfd.readouterr().err

    asked = {"data_dir": str(tmp_path / "data"), "flags": "", "test_list": None,
             "recipe": asdict(RECIPES["paper"])}  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(asked))
    assert recipes.main() == 0
    assert capfd.readouterr().out.splitlines()[-1].split() == [
        "paper", "50.0", "(50.0)", "60.0", "(60.0)", "25.0", "(25.0)"
    ]  # fmt: skip
    monkeypatch.setitem(RECIPES, "paper", replace(RECIPES["paper"], head_bn=True))
    assert recipes.main() == 2  # of the recipe of an earlier version
    assert "paper_seed1 contains a run with {" in capfd.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["recipes", "other/data", *words[2:]])  # of the same name
    assert recipes.main() == 2
    assert "paper_seed1 contains a run with {" in capfd.readouterr().err


@pytest.mark.parametrize("seeds", ["", "abc", "1,"])
def test_seeds_that_are_not_numbers_are_refused(monkeypatch, capfd, seeds):
    monkeypatch.setattr(sys, "argv", ["recipes", "data", "--seeds", seeds])
    with pytest.raises(SystemExit):
        recipes.main()
    assert f"--seeds: whole numbers separated by commas expected, got {seeds!r}" in (
        capfd.readouterr().err
    )
