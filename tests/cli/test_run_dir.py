"""The folders of a run: where it reads and writes, and what it replaces."""

import os
from pathlib import Path

import pytest

from cli.run_dir import clear_run
from DOTA_devkit.locks import locked
from helpers.command_line import assert_refused
from helpers.networks import save_untrained
from models import read_checkpoint


@pytest.mark.slow
def test_run_is_replaced_only_with_overwrite(run_training, data, tmp_path):
    assert run_training(data).code == 0
    users_file = tmp_path / "weights_dota" / "notes.txt"
    users_file.touch()
    before = (tmp_path / "weights_dota" / "model_last.pth").read_bytes()
    assert_refused(run_training(data), "weights_dota", "--resume_train", "--overwrite", "--run_dir")
    assert (tmp_path / "weights_dota" / "model_last.pth").read_bytes() == before
    assert run_training(data, "--overwrite", "--seed", 5).code == 0
    assert (tmp_path / "weights_dota" / "model_last.pth").read_bytes() != before
    assert users_file.exists()


@pytest.mark.parametrize(
    ("name", "of_run"),
    [
        ("model_last.pth", True),
        ("model_12.pth", True),
        ("model_best.pth.tmp", True),
        ("validation/epoch_3.json", True),
        ("history.csv", True),
        ("model_best_weights.pth", False),
        ("model_12_copy.pth", False),
        ("model_4_step_7.pth", False),
        ("model_published.pth", False),
        ("validation/mine.json", False),
    ],
)
def test_files_that_a_new_run_replaces(tmp_path, name, of_run):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    clear_run(tmp_path)
    assert path.exists() != of_run


@pytest.mark.parametrize("name", ["model_best.pth", "model_3.pth"])
def test_a_run_does_not_delete_the_checkpoint_that_it_starts_from(run_cli, data, tmp_path, name):
    (tmp_path / "weights_dota").mkdir()
    start = save_untrained(tmp_path / "weights_dota" / name)
    arguments = ["--phase", "train", "--data_dir", data, "--num_epoch", 1, "--overwrite"]
    result = run_cli(*arguments, "--finetune", start)
    assert_refused(result, f"--finetune {start}: this run replaces the checkpoints in")
    assert start.is_file()


@pytest.mark.slow
def test_run_dir_holds_weights_and_results(run_training, run_cli, data, tmp_path):
    folder = tmp_path / "a b" / "run"
    assert run_training(data, "--run_dir", folder, "--save_every", 1).code == 0
    weights = folder / "weights_dota"
    assert (weights / "model_1.pth").is_file() and not Path("weights_dota").exists()
    arguments = ["--phase", "eval", "--data_dir", data, "--run_dir", folder]
    for name in ("model_1.pth", weights / "model_1.pth"):
        result = run_cli(*arguments, "--resume", name)
        assert result.code == 0 and str(weights / "model_1.pth") in result.out
    assert (folder / "result_dota" / "ap.csv").is_file()


def test_weights_default_to_the_best_then_the_last(run_cli, data, tmp_path):
    weights = tmp_path / "weights_dota"
    weights.mkdir()
    arguments = ["--phase", "test", "--data_dir", data]
    result = run_cli(*arguments)
    assert_refused(result, "no checkpoint in weights_dota", "--phase train", "--weights")
    save_untrained(weights / "model_last.pth")
    assert "weights_dota/model_last.pth: " in run_cli(*arguments).out
    save_untrained(weights / "model_best.pth")
    assert "weights_dota/model_best.pth: " in run_cli(*arguments).out
    result = run_cli(*arguments, "--weights", "nowhere.pth")
    assert_refused(result, "nowhere.pth", "weights_dota")


@pytest.mark.slow
def test_weights_name_in_the_run_folder_precedes_a_path(run_cli, data, tmp_path):
    (tmp_path / "weights_dota").mkdir()
    save_untrained(tmp_path / "model_1.pth")
    arguments = ["--phase", "test", "--data_dir", data, "--resume", "model_1.pth"]
    assert "\nmodel_1.pth: " in run_cli(*arguments).out
    save_untrained(tmp_path / "weights_dota" / "model_1.pth")
    assert "\nweights_dota/model_1.pth: " in run_cli(*arguments).out


def test_dataset_class_of_the_user(run_cli, run_training, data, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from datasets.dataset_dota import DOTA\n\nclass Harbors(DOTA):\n    pass\n"
    )
    assert run_training(data, "--dataset", "mine.py:Harbors").code == 0
    assert (tmp_path / "weights_harbors" / "model_last.pth").is_file()


def test_sample_set_is_in_dota_layout_only(run_cli):
    assert_refused(run_cli("--dataset", "hrsc"), "--dataset hrsc", "--data_dir")
    assert not Path("sample_data").exists()


@pytest.mark.slow
def test_resume_into_another_folder(run_cli, data, trained_weights, tmp_path):
    """A resumed run may go on in an empty folder, and replaces another run only on request."""
    arguments = ["--phase", "train", "--data_dir", data, "--epochs", 2]
    arguments += ["--resume_train", trained_weights]
    (tmp_path / "weights_dota").mkdir()
    other = save_untrained(tmp_path / "weights_dota" / "model_best.pth")
    assert_refused(run_cli(*arguments), "weights_dota already contains a run", "--overwrite")
    assert other.is_file()
    assert run_cli(*arguments, "--overwrite").code == 0
    assert read_checkpoint(tmp_path / "weights_dota" / "model_last.pth").epoch == 2
    assert run_cli(*arguments, "--run_dir", tmp_path / "new").code == 0
    looped = tmp_path / "looped"  # its weights folder is a link to itself
    looped.mkdir()
    (looped / "weights_dota").symlink_to("weights_dota")
    assert_refused(run_cli(*arguments, "--run_dir", looped), "weights_dota")


@pytest.mark.parametrize("name", ["weights_dota", "result_dota", "run"])
def test_file_in_place_of_a_run_folder(
    run_cli, run_training, phase_arguments, data, tmp_path, name
):
    (tmp_path / name).touch()
    if name == "weights_dota":
        assert_refused(run_training(data), "weights_dota")
    elif name == "run":
        assert_refused(run_training(data, "--run_dir", tmp_path / "run"), "run")
    else:
        for phase in ("test", "eval"):
            assert_refused(run_cli(*phase_arguments(phase, data)), "result_dota")


def test_folder_in_use_by_another_training(run_cli, data, tmp_path):
    weights = tmp_path / "weights_dota"
    with locked(weights):
        for flag in ("--overwrite", "--resume_train"):
            result = run_cli("--phase", "train", "--data_dir", data, flag)
            assert_refused(result, f"weights_dota is in use by process {os.getpid()} on ")
    assert not weights.exists()


@pytest.mark.parametrize(
    ("present", "resumed"),
    [
        (["model_best.pth"], "model_best.pth"),
        (["model_2.pth", "model_10.pth", "model_x.pth"], "model_10.pth"),
    ],
)
@pytest.mark.slow
def test_run_killed_before_its_last_checkpoint(
    run_cli, run_training, data, trained_weights, tmp_path, present, resumed
):
    """The best checkpoint of an epoch is written before the last one."""
    weights = tmp_path / "weights_dota"
    weights.mkdir()
    content = trained_weights.read_bytes()
    for name in present:
        (weights / name).write_bytes(content)
    leftover = weights / ".model_last.pth.0123abcd.tmp"
    leftover.write_bytes(content[:100])
    assert_refused(run_training(data), "weights_dota already contains a run", "--resume_train")
    arguments = ["--phase", "train", "--data_dir", data, "--resume_train", "--num_epoch", 2]
    result = run_cli(*arguments)
    assert result.code == 0, result.err
    assert f"model_last.pth is missing: {Path('weights_dota', resumed)} is taken" in result.out
    assert read_checkpoint(weights / "model_last.pth").epoch == 2
    assert not leftover.exists()
