"""Fixtures of the command line: small data, a trained run, and calls of `main.main`."""

import pytest

import main
from helpers.command_line import TINY_TRAINING, run_main
from helpers.data_folders import make_small_dota
from helpers.networks import add_tiny_backbone
from helpers.no_plots import draw_no_plots

TINIEST_TRAINING = [*TINY_TRAINING, "--backbone", "tiny"]
"""The same of a network of four convolutions, in this process."""

PHASES_WITHOUT_WORKERS = {"info", "predict", "benchmark", "export"}
"""Phases that do not take `--num_workers`, since they read images in the main process."""


@pytest.fixture(autouse=True)
def empty_working_folder(tmp_path, monkeypatch):
    """Run in an empty folder, and draw no curves, which would take longer than an epoch.

    The tiny backbone is in the table of this process alone: others train with `TINY_TRAINING`.
    """
    monkeypatch.chdir(tmp_path)
    add_tiny_backbone(monkeypatch)
    draw_no_plots(monkeypatch)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Return a data folder that no test may change."""
    return make_small_dota(tmp_path_factory.mktemp("data"), train=3, val=1)


@pytest.fixture
def writable_data(tmp_path):
    """Return a data folder that the test may change."""
    return make_small_dota(tmp_path / "own", train=3, val=1)


@pytest.fixture(scope="session")
def trained_run(data, tmp_path_factory):
    """Return the run folder of one finished epoch on `data`, which no test may change."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = ["--phase", "train", "--data_dir", data, "--run_dir", folder, *TINY_TRAINING]
    assert main.main([str(argument) for argument in arguments]) == 0
    return folder


@pytest.fixture(scope="session")
def trained_weights(trained_run):
    """Return the checkpoint of `trained_run`."""
    return trained_run / "weights_dota" / "model_last.pth"


@pytest.fixture
def run_cli(capsys):
    """Return a function that runs a command, without worker processes unless it asks for some."""

    def run(*arguments):
        if "--num_workers" not in arguments and not PHASES_WITHOUT_WORKERS & {*arguments}:
            arguments += ("--num_workers", 0)
        return run_main(capsys, arguments)

    return run


@pytest.fixture
def run_training(run_cli):
    """Return a function that trains a tiny network on a data folder for one epoch."""

    def run(data, *arguments):
        return run_cli("--phase", "train", "--data_dir", data, *TINIEST_TRAINING, *arguments)

    return run


@pytest.fixture
def phase_arguments(trained_weights):
    """Return a function that gives the arguments of a short run of train, test or eval."""

    def arguments(phase, data):
        model = TINIEST_TRAINING if phase == "train" else ["--weights", trained_weights]
        return ["--phase", phase, "--data_dir", data, *model]

    return arguments
