"""The training loop: exact resume, skipped steps, learning rates, and the files it writes."""

import copy
import csv
import math
import random
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import train as trainer
from datasets import DataOptions, collate, open_dataset
from datasets.mosaic import join_pixels
from DOTA_devkit import interrupts
from DOTA_devkit.errors import InputError
from eval import EvalSettings, score_split
from helpers import networks
from helpers.data_folders import CLASSES, line, make_dota, make_small_dota
from helpers.no_plots import draw_no_plots
from inference import InferenceSettings
from models import build_model, read_checkpoint
from training.epoch import EpochProgress
from training.errors import TrainingStopped
from training.files import BEST, LAST
from training.history import History
from training.image_losses import ImageLosses
from training.precision import Precision
from training.schedule import learning_rate
from training.settings import TrainSettings
from training.state import load_optimizer_state, random_state, restore_random_state

CPU = torch.device("cpu")
EVAL = EvalSettings(InferenceSettings(conf_thresh=0.1, batch_size=2))
SMALL = TrainSettings(
    epochs=2, batch_size=2, lr=1e-3, warmup_steps=2, save_every=0, num_workers=0, pictures=0
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_small_dota(tmp_path_factory.mktemp("data"), train=4, val=1)


@pytest.fixture(autouse=True, scope="module")
def tiny_backbone():
    """Let checkpoints of `tiny_model` be read, also once a test has undone its own patches."""
    with pytest.MonkeyPatch.context() as patch:
        networks.add_tiny_backbone(patch)
        yield


def tiny_model(**more):
    """Return a network whose steps take no time."""
    return networks.tiny_model("tiny", **more)


@pytest.fixture(autouse=True)
def no_curves(request, monkeypatch):
    """The plot takes longer than an epoch; a test that wants it asks for `real_curves`."""
    if "real_curves" not in request.fixturenames:
        draw_no_plots(monkeypatch)


@pytest.fixture
def real_curves():
    """Draw the curves in this test."""


def settings(**changes):
    return TrainSettings(**{**vars(SMALL), **changes})


def fit(data, folder, resume=None, model=None, score=None, **changes):
    """Train with `settings(**changes)` and return the model."""
    train_set = open_dataset("dota", data, "train", (64, 64), DataOptions())
    model = model or (build_model(resume) if resume else tiny_model())
    trainer.train(model, train_set, settings(**changes), folder, CPU, score=score, resume=resume)
    return model


def validation_score(data):
    """Return a function that measures the AP on the validation list, as the command line does."""
    val_set = open_dataset("dota", data, "val", (64, 64), DataOptions())
    losses = ImageLosses(val_set, original_loss(val_set.mean_objects(1)))
    return lambda model: score_split(model, val_set, val_set.truth(), EVAL, CPU, losses)


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert list(a) == list(b)
    different = [key for key in a if not torch.equal(a[key], b[key])]
    assert not different


class NanLoss(torch.nn.Module):
    """The detection loss, but NaN, with its gradients, at given steps, counted from 0."""

    bad_steps = frozenset()

    def __init__(self, mean_objects):
        super().__init__()
        self.inner = original_loss(mean_objects)
        self.step = -1

    def assign(self, targets):
        return self.inner.assign(targets)

    def forward(self, maps, targets, logits=False):
        self.step += 1
        losses = self.inner(maps, targets, logits)
        if self.step in self.bad_steps:
            losses["wh"] = losses["wh"] * math.nan
        return losses


original_loss = trainer.DetectionLoss


def use_nan_loss(monkeypatch, steps):
    monkeypatch.setattr(
        trainer, "DetectionLoss", type("NanAtSteps", (NanLoss,), {"bad_steps": steps})
    )


# Exact resume ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers, schedule", [(0, "cosine"), (2, "exponential")])
@pytest.mark.slow
def test_resumed_run_equals_an_uninterrupted_one(data, tmp_path, workers, schedule):
    changes = {"num_workers": workers, "schedule": schedule}
    whole = fit(data, tmp_path / "whole", **changes)
    torch.manual_seed(99)  # the state of another process would differ
    stopped = tmp_path / "stopped"
    fit_until_second_epoch(data, stopped, changes)
    torch.manual_seed(100)
    resumed = fit(data, stopped, resume=read_checkpoint(stopped / LAST), **changes)
    assert_same_weights(whole, resumed)
    ours, theirs = (read_checkpoint(tmp_path / name / LAST) for name in ("whole", "stopped"))
    assert ours.epoch == theirs.epoch == 2
    assert ours.history == theirs.history and len(ours.history) == 2
    for key, state in ours.optimizer_state["state"].items():
        assert torch.equal(state["exp_avg"], theirs.optimizer_state["state"][key]["exp_avg"])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [0, 2, 3])
@pytest.mark.slow
def test_run_resumes_at_the_exact_step(data, tmp_path, monkeypatch, workers, stop):
    """Stop by Ctrl-C in the first step, within the second epoch, and in the last step of all."""
    changes = {"num_workers": workers, "schedule": "cosine"}
    whole = fit(data, tmp_path / "whole", **changes)
    stopped = tmp_path / "stopped"
    press_in_step(monkeypatch, stop)
    with pytest.raises(interrupts.Interrupted, match=r"model_last\.pth; give `resume_train`"):
        fit(data, stopped, **changes)
    monkeypatch.undo()
    draw_no_plots(monkeypatch)
    resume = read_checkpoint(stopped / LAST)
    epoch, step = divmod(stop + 1, 2)  # the step in which the signal came is finished
    assert resume.epoch == (epoch if stop < 3 else 1)  # of the last one, the validation is left
    assert resume.extras["progress"]["step"] == (step if stop < 3 else 2)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(99)  # the states of another process would differ
    resumed = fit(data, stopped, resume=resume, **changes)
    assert_same_weights(whole, resumed)
    ours, theirs = (read_checkpoint(tmp_path / name / LAST) for name in ("whole", "stopped"))
    assert ours.history == theirs.history and len(ours.history) == 2
    assert ours.extras["progress"] == theirs.extras["progress"]
    for key, state in ours.optimizer_state["state"].items():
        for name, value in state.items():
            assert torch.equal(value, theirs.optimizer_state["state"][key][name])
    assert ours.optimizer_state["param_groups"] == theirs.optimizer_state["param_groups"]


@pytest.mark.slow
def test_run_with_averaged_weights_resumes_at_the_exact_step(data, tmp_path, monkeypatch):
    changes = {
        "optimizer": "adamw", "weight_decay": 0.01, "ema_decay": 0.9, "mosaic": 1.0,
        "schedule": "cosine",
    }  # fmt: skip
    tiles = "datasets.mosaic.MEETING_POINTS", (0.4, 0.6)  # the objects do not fit into smaller ones
    monkeypatch.setattr(*tiles)

    def rectangles():
        return tiny_model(box_coding="rectangle", head_bn=True)

    whole = fit(data, tmp_path / "whole", model=rectangles(), **changes)
    stopped = tmp_path / "stopped"
    press_in_step(monkeypatch, 2, trainer.RectangleLoss)
    with pytest.raises(interrupts.Interrupted):
        fit(data, stopped, model=rectangles(), **changes)
    monkeypatch.undo()
    monkeypatch.setattr("training.history.plot_history", lambda rows, path: None)
    monkeypatch.setattr(*tiles)
    made = []
    monkeypatch.setattr(
        "datasets.base.join_pixels", lambda views: made.append(1) or join_pixels(views)
    )
    resumed = fit(data, stopped, resume=read_checkpoint(stopped / LAST), **changes)
    assert made
    assert_same_weights(whole, resumed)
    ours, theirs = (read_checkpoint(tmp_path / name / LAST) for name in ("whole", "stopped"))
    assert_same_weights(build_model(ours), build_model(theirs))
    assert ours.architecture.box_coding == theirs.architecture.box_coding == "rectangle"
    assert ours.extras["progress"]["averaged"] == theirs.extras["progress"]["averaged"] == 4
    averaged, trained = ours.model_state, ours.extras["train_state_dict"]
    assert all(torch.equal(trained[key], value) for key, value in whole.state_dict().items())
    assert not torch.equal(averaged["hm.0.weight"], trained["hm.0.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_shifted_centers_are_scored_and_saved_but_not_trained(data, tmp_path, ema_decay):
    """Resumed from the end of an epoch, where the shift is in the checkpoint."""
    scored, changes = [], {"ema_decay": ema_decay, "align_centers": True}

    def score(model):
        scored.append(model.reg[-1].bias.tolist())
        return 0.5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.centers.center_shift", lambda *given: None)
        plain = fit(data, tmp_path / "plain", score=score, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.centers.center_shift", lambda *given: (0.5, -0.25))
        whole = fit(data, tmp_path / "whole", score=score, **changes)
        fit_until_second_epoch(data, tmp_path / "stopped", changes)
        resume = read_checkpoint(tmp_path / "stopped" / LAST)
        fit(data, tmp_path / "stopped", resume=resume, score=score, **changes)
    assert len(scored) == 5  # of two epochs, two epochs, and one
    for one, other in ((scored[0], scored[2]), (scored[1], scored[3]), (scored[1], scored[4])):
        assert np.subtract(other, one).tolist() == pytest.approx([0.5, -0.25])
    ours, theirs = (read_checkpoint(tmp_path / name / LAST) for name in ("whole", "stopped"))
    assert_same_weights(build_model(ours), build_model(theirs))
    assert ours.model_state["reg.2.bias"].tolist() == scored[3]
    if ema_decay:
        assert_same_weights(plain, whole)
    assert read_checkpoint(tmp_path / "plain" / LAST).extras["progress"].keys() < (
        ours.extras["progress"].keys()
    )


@pytest.mark.slow
def test_the_averaged_weights_are_scored_and_saved(data, tmp_path):
    scored = []
    fit(data, tmp_path, epochs=1, ema_decay=0.5,
        score=lambda model: scored.append(copy.deepcopy(model)) or 0.5)  # fmt: skip
    assert_same_weights(scored[0], build_model(read_checkpoint(tmp_path / BEST)))


@pytest.fixture(scope="module")
def averaged_run(data, tmp_path_factory):
    """The folder of an epoch with averaged weights, which no test may change."""
    folder = tmp_path_factory.mktemp("averaged")
    with pytest.MonkeyPatch.context() as monkeypatch:
        draw_no_plots(monkeypatch)
        fit(data, folder, epochs=1, ema_decay=0.5)
    return folder


@pytest.mark.slow
def test_a_run_of_the_original_gets_an_average_that_begins_with_its_weights(data, tmp_path):
    resume = read_checkpoint(one_epoch_of_the_original(data, tmp_path / "before"))
    fit(data, tmp_path, epochs=2, ema_decay=0.5, resume=resume)
    found = read_checkpoint(tmp_path / LAST)
    assert found.extras["progress"]["averaged"] == 2 and len(found.history) == 1
    (before, trained, averaged) = (
        state["hm.0.weight"]
        for state in (resume.model_state, found.extras["train_state_dict"], found.model_state)
    )
    assert (averaged - before).norm() < (trained - before).norm()


def one_epoch_of_the_original(data, folder):
    """Return a checkpoint that has the keys of the original alone."""
    fit(data, folder, epochs=1)
    content = torch.load(folder / LAST, weights_only=True)
    names = ("epoch", "model_state_dict", "optimizer_state_dict")
    torch.save({name: content[name] for name in names}, folder / "model_1.pth")
    return folder / "model_1.pth"


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "steps"])
def test_damaged_weights_of_training_are_refused(data, averaged_run, tmp_path, damage):
    resume = read_checkpoint(averaged_run / LAST)
    trained = resume.extras["train_state_dict"]
    if damage == "missing":
        del resume.extras["train_state_dict"]
    elif damage == "shape":
        trained["hm.0.bias"] = torch.zeros(3)
    elif damage == "steps":
        resume.extras["progress"]["averaged"] = -1
    else:
        trained["hm.0.bias"] = torch.full_like(trained["hm.0.bias"], math.nan)
    with pytest.raises(InputError, match="model_last"):
        fit(data, tmp_path, ema_decay=0.5, resume=resume)


def press_in_step(monkeypatch, step, loss=original_loss):
    """Press Ctrl-C in the middle of a step, counted from 0."""
    steps = iter(range(100))

    class Pressing(loss):
        def forward(self, maps, targets, logits=False, counts=None):
            losses = super().forward(maps, targets, logits, counts)
            if next(steps) == step:
                signal.raise_signal(signal.SIGINT)
            return losses

    monkeypatch.setattr(trainer, loss.__name__, Pressing)


@pytest.mark.slow
def test_a_signal_during_the_report_of_a_finished_run(data, tmp_path, monkeypatch):
    """It waits for the report, and nothing is left that could be resumed."""

    def write_report(path, *words):
        signal.raise_signal(signal.SIGINT)
        path.write_text("the report")

    monkeypatch.setattr("training.reporting.write_report", write_report)
    with pytest.raises(interrupts.Interrupted, match="the run has ended before that"):
        fit(data, tmp_path, epochs=1)
    assert (tmp_path / "report.html").read_text() == "the report"
    assert read_checkpoint(tmp_path / LAST).epoch == 1


@pytest.mark.slow
def test_run_is_saved_when_its_validation_fails(data, tmp_path):
    """All steps of the epoch are done: the resumed run only has to validate."""

    def fail(model):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fit(data, tmp_path, epochs=1, score=fail)
    resume = read_checkpoint(tmp_path / LAST)
    assert (resume.epoch, resume.extras["progress"]["step"]) == (0, 2)
    before = build_model(resume)
    model = fit(data, tmp_path, epochs=1, score=lambda model: 0.5, resume=resume)
    assert_same_weights(before, model)
    assert read_checkpoint(tmp_path / BEST).history[0]["ap"] == 0.5


def test_an_error_in_a_step_is_not_saved(data, tmp_path, monkeypatch):
    """Its weights may be half changed; the checkpoint of the start is kept."""
    monkeypatch.setattr(
        trainer.nn.utils, "clip_grad_norm_", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path, epochs=1)
    assert read_checkpoint(tmp_path / LAST).extras["progress"]["step"] == 0


@pytest.mark.parametrize(("minutes", "saves"), [(1e-9, 5), (0, 2), (60, 2)])
@pytest.mark.slow
def test_saves_within_an_epoch(data, tmp_path, monkeypatch, minutes, saves):
    """At the start, after each of the two steps of an epoch if it is time, and at its end."""
    written = []
    monkeypatch.setattr(trainer, "save_checkpoint", lambda path, checkpoint: written.append(path))
    fit(data, tmp_path, epochs=1, save_minutes=minutes, batch_size=1 if saves == 5 else 2)
    assert [path.name for path in written] == [LAST] * (saves + (saves == 5))


@pytest.mark.slow
def test_resume_with_another_number_of_batches(data, tmp_path, monkeypatch):
    press_in_step(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path)
    with pytest.raises(InputError, match="epoch 1 was started with 2 batches and has 4 now"):
        fit(data, tmp_path, resume=read_checkpoint(tmp_path / LAST), batch_size=1)


@pytest.mark.slow
def test_bad_steps_are_listed_once_and_counted_on(data, tmp_path, monkeypatch):
    """A run that is resumed at its start does the same bad step again."""
    use_nan_loss(monkeypatch, {0})
    fit(data, tmp_path, epochs=1)
    listed = (tmp_path / "bad_batches.txt").read_text()
    assert listed.count("epoch 1 batch 1 ") == 1
    fit(data, tmp_path, epochs=1)
    assert (tmp_path / "bad_batches.txt").read_text() == listed
    use_nan_loss(monkeypatch, {1})
    fit(data, tmp_path / "other", epochs=1)
    resume = read_checkpoint(tmp_path / "other" / LAST)
    assert resume.extras["progress"]["bad_in_a_row"] == 1
    use_nan_loss(monkeypatch, {0})
    with pytest.raises(TrainingStopped, match="2 steps in a row"):
        fit(data, tmp_path / "other", epochs=2, max_bad_steps=2, resume=resume)


@pytest.mark.parametrize(
    "entry",
    [
        {"step": 3, "batches": 2},
        {"step": 1, "batches": 2, "finite": 2},
        {"step": -1, "batches": 2},
        {"step": 1.0, "batches": 2},
        {"bad_in_a_row": 2**50},
        {"ignored_min_size": 0.5},
        {"step": 1, "batches": 2, "finite": 1, "loss_hm": math.nan},
        {"loss_hm": 1.0},  # of no step
        {"seconds": -1.0},
        {"waited": math.nan},
    ],
)
def test_impossible_progress_is_refused(entry):
    with pytest.raises(InputError, match=r"a\.pth: its progress within an epoch"):
        EpochProgress.of_entry(entry, 1, Path("a.pth"))


def test_progress_returns_from_its_entry():
    ignored = {**EpochProgress(4).ignored, "max_objs": 3}
    progress = EpochProgress(
        4, 9, 7, 5, bad_in_a_row=2, left_out=1, totals={"hm": 0.1}, ignored=ignored, seconds=2.5,
        waited=0.5,
    )  # fmt: skip
    assert EpochProgress.of_entry(progress.entry(), 4, Path("a.pth")) == progress
    assert EpochProgress.of_entry({}, 4, Path("a.pth")) == EpochProgress(4)


def fit_until_second_epoch(data, folder, changes):
    """Start a run of two epochs and stop it (Ctrl-C) in the second."""
    with pytest.MonkeyPatch.context() as patch:
        original = trainer.train_one_epoch

        def stop_at_second_epoch(*args):
            if args[5].progress.epoch == 2:
                raise KeyboardInterrupt
            return original(*args)

        patch.setattr(trainer, "train_one_epoch", stop_at_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            fit(data, folder, **changes)


@pytest.mark.slow
def test_weights_do_not_depend_on_the_workers(data, tmp_path):
    a = fit(data, tmp_path / "a", epochs=1, num_workers=0)
    b = fit(data, tmp_path / "b", epochs=1, num_workers=2)
    assert_same_weights(a, b)


@pytest.mark.slow
def test_seed_changes_the_run(data, tmp_path):
    fit(data, tmp_path / "a", epochs=1, seed=1)
    fit(data, tmp_path / "b", epochs=1, seed=2)
    losses = [(tmp_path / name / "train_loss.txt").read_text() for name in "ab"]
    assert losses[0] != losses[1]


@pytest.fixture(scope="module")
def one_epoch(data, tmp_path_factory):
    """The checkpoint of a run of one epoch."""
    folder = tmp_path_factory.mktemp("one_epoch")
    with pytest.MonkeyPatch.context() as patch:
        draw_no_plots(patch)
        fit(data, folder, epochs=1)
    return folder / LAST


def adam(model):
    model.to(memory_format=torch.channels_last)
    return torch.optim.Adam(model.parameters(), 1e-3, fused=True)


def in_all(name, change):
    """Change one entry of the state of every parameter."""

    def changed(state):
        for entries in state["state"].values():
            entries[name] = change(entries[name])

    return changed


def in_group(name, value):
    return lambda state: state["param_groups"][0].update({name: value})


def without(name):
    return lambda state: [entries.pop(name) for entries in state["state"].values()]


FOREIGN_STATES = {
    "another number of parameters": lambda state: state["param_groups"][0]["params"].append(999),
    "other parameters": lambda state: state["state"].update({999: state["state"][0]}),
    "no dict": lambda state: state.clear(),
    "no state": lambda state: state.pop("state"),
    "a list of states": lambda state: state.update(state=[1]),
    "no groups": lambda state: state.update(param_groups=[]),
    "groups of another kind": lambda state: state.update(param_groups=[3]),
    "no exp_avg_sq": without("exp_avg_sq"),
    "no step": without("step"),
    "exp_avg of another shape": in_all("exp_avg", lambda value: torch.zeros(3)),
    "exp_avg_sq too small": in_all("exp_avg_sq", lambda value: torch.zeros(1)),
    "exp_avg that is no tensor": in_all("exp_avg", lambda value: 3),
    "exp_avg that is complex": in_all("exp_avg", lambda value: value.to(torch.complex64)),
    "exp_avg that is an integer": in_all("exp_avg", lambda value: value.int()),
    "exp_avg that is sparse": in_all("exp_avg", lambda value: value.to_sparse()),
    "exp_avg without data": in_all("exp_avg", lambda value: value.to("meta")),
    "exp_avg with NaN": in_all("exp_avg", lambda value: value * math.nan),
    "exp_avg_sq below zero": in_all("exp_avg_sq", lambda value: value - 1),
    "step of several values": in_all("step", lambda value: torch.zeros(2)),
    "step that is empty": in_all("step", lambda value: torch.zeros(0)),
    "step that is NaN": in_all("step", lambda value: math.nan),
    "step that is text": in_all("step", lambda value: "3"),
    "one beta": in_group("betas", (0.9,)),
    "betas above 1": in_group("betas", (0.9, 7.0)),
    "betas of text": in_group("betas", "ab"),
    "eps that is a list": in_group("eps", [1]),
    "amsgrad without its maxima": in_group("amsgrad", True),
    "amsgrad that is text": in_group("amsgrad", "yes"),
}


@pytest.mark.parametrize("change", FOREIGN_STATES)
@pytest.mark.slow
def test_resume_rejects_another_optimizer_state(one_epoch, change):
    """The fused Adam compares no shapes: a small tensor would be written beyond its end."""
    resume = read_checkpoint(one_epoch)
    FOREIGN_STATES[change](resume.optimizer_state)
    optimizer = adam(build_model(resume))
    with pytest.raises(InputError, match=r"model_last\.pth: its optimizer state .* finetune"):
        load_optimizer_state(optimizer, resume)
    assert not optimizer.state


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value,
        lambda value: value.contiguous(),  # as of a network that is not in channels_last
        lambda value: value.double(),
        lambda value: torch.stack([value, value], dim=-1)[..., 0],  # a view of every other value
    ],
)
@pytest.mark.slow
def test_moments_are_copied_into_the_layout_of_their_parameters(one_epoch, change):
    """The fused Adam walks through memory, so that other strides would mix up the values."""
    resume = read_checkpoint(one_epoch)
    saved = read_checkpoint(one_epoch).optimizer_state["state"]
    for name in ("exp_avg", "exp_avg_sq"):
        in_all(name, change)(resume.optimizer_state)
    optimizer = adam(build_model(resume))
    load_optimizer_state(optimizer, resume)
    for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
        state = optimizer.state[parameter]
        assert state["step"] == saved[index]["step"]
        for name in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(state[name], saved[index][name])
            assert state[name].stride() == parameter.stride()
            assert state[name].dtype == torch.float32
            assert state[name].data_ptr() != resume.optimizer_state["state"][index][name].data_ptr()


def test_expanded_moments_get_memory_of_their_own(one_epoch):
    resume = read_checkpoint(one_epoch)
    for name in ("exp_avg", "exp_avg_sq"):
        in_all(name, lambda value: torch.zeros(1).expand(value.shape))(resume.optimizer_state)
    optimizer = adam(build_model(resume))
    load_optimizer_state(optimizer, resume)
    for parameter in optimizer.param_groups[0]["params"]:
        for name in ("exp_avg", "exp_avg_sq"):
            own = optimizer.state[parameter][name]
            assert own.untyped_storage().nbytes() == 4 * parameter.numel()


def test_an_optimizer_state_of_older_pytorch(one_epoch):
    """Parameters numbered by their addresses, steps as plain numbers, no `fused` or `amsgrad`."""
    resume = read_checkpoint(one_epoch)
    state = resume.optimizer_state
    group = state["param_groups"][0]
    numbers = [10**14 + 64 * index for index in group["params"]]
    state["state"] = {
        numbers[index]: {**entries, "step": int(entries["step"])}
        for index, entries in state["state"].items()
    }
    kept = {"lr": 1e-3, "betas": [0.8, 0.99], "eps": 1e-7, "weight_decay": 0, "params": numbers}
    state["param_groups"] = [kept]
    optimizer = adam(build_model(resume))
    load_optimizer_state(optimizer, resume)
    (group,) = optimizer.param_groups
    assert (group["betas"], group["eps"], group["fused"]) == ((0.8, 0.99), 1e-7, True)
    assert len(optimizer.state) == len(numbers)
    assert all(state["step"] == torch.tensor(2.0) for state in optimizer.state.values())


@pytest.mark.parametrize(
    "state", [3, torch.zeros(4), torch.zeros(5, dtype=torch.uint8), torch.ones(5056).byte()]
)
@pytest.mark.slow
def test_malformed_random_state_is_refused(one_epoch, state):
    resume = read_checkpoint(one_epoch)
    resume.random_state = {"cpu": state}
    with pytest.raises(InputError, match=r"model_last\.pth: its random_state of cpu is damaged"):
        restore_random_state(resume)


MERSENNE = torch.zeros(627, dtype=torch.int64)
MERSENNE[0] = 1


def changed(index, value):
    state = MERSENNE.clone()
    state[index] = value
    return state


@pytest.mark.parametrize("name", ["python", "numpy"])
@pytest.mark.parametrize(
    "state",
    [
        3,
        MERSENNE[1:],
        MERSENNE.double(),
        changed(5, 2**32),
        changed(5, -1),
        changed(624, 625),
        changed(625, 2),
        changed(626, 0x7FF0000000000000),  # an infinite number
    ],
)
@pytest.mark.slow
def test_malformed_state_of_python_or_numpy_is_refused(one_epoch, name, state):
    resume = read_checkpoint(one_epoch)
    resume.random_state = {name: state}
    with pytest.raises(InputError, match=rf"its random_state of {name} is damaged"):
        restore_random_state(resume)


def test_random_states_return(one_epoch):
    """With the second of a pair of normally distributed numbers left over, and without."""
    resume = read_checkpoint(one_epoch)
    for _ in range(2):
        random.gauss(0, 1)
        np.random.standard_normal()
        resume.random_state = random_state(torch.Generator().manual_seed(5).get_state())
        drawn = [random.gauss(0, 1), np.random.standard_normal(), torch.rand(1)]
        loader = torch.Generator()
        loader.set_state(restore_random_state(resume))
        assert drawn == [random.gauss(0, 1), np.random.standard_normal(), torch.rand(1)]
        assert torch.equal(loader.get_state(), torch.Generator().manual_seed(5).get_state())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("batch_size", 0, "a whole number from 1"),
        ("batch_size", 2.0, "a whole number from 1"),
        ("epochs", "abc", "a whole number from 1"),
        ("lr", math.nan, "a number from 0"),
        ("lr", "1e-3", "a number from 0"),
        ("seed", -1, "a whole number from 0"),
        ("seed", 2**70, "a whole number from 0"),
        ("save_every", None, "a whole number from 0"),
        ("schedule", "evil", "one of exponential, cosine"),
        ("schedule", ["cosine"], "one of exponential, cosine"),
    ],
)
def test_settings_of_a_file_are_checked(name, value, expected):
    good = vars(SMALL)
    assert TrainSettings.checked(good | {"more": 3}, "a.pth") == good
    with pytest.raises(InputError, match=rf"a\.pth: its setting {name} .* but {expected}"):
        TrainSettings.checked(good | {name: value}, "a.pth")


# Steps that are not finite -----------------------------------------------------------------------


def test_bad_steps_change_nothing(data, tmp_path, monkeypatch):
    """After an epoch of bad steps only, weights and buffers are those of the start."""
    use_nan_loss(monkeypatch, {0, 1})
    model = fit(data, tmp_path, epochs=1)
    assert_same_weights(model, tiny_model())
    lines = (tmp_path / "bad_batches.txt").read_text().splitlines()
    assert len(lines) == 2
    ids = [image_id for line in lines for image_id in line.partition("images ")[2].split()]
    assert sorted(ids) == ["im0", "im1", "im2", "im3"]
    assert "epoch 1 batch 2 " in lines[1] and "wh=nan" in lines[1]
    assert read_checkpoint(tmp_path / LAST).epoch == 1
    assert (tmp_path / "train_loss.txt").read_text() == "nan\n"


@pytest.mark.slow
def test_nan_in_an_image_does_not_reach_the_batch_norms(data, tmp_path):
    train_set = open_dataset("dota", data, "train", (64, 64), DataOptions())
    train_set.check_labels()
    original = train_set.__class__.generate_ground_truth

    class NanImages(train_set.__class__):
        def generate_ground_truth(self, image, annotation):
            sample = original(self, image, annotation)
            sample["input"][0, 0, 0] = np.nan
            return sample

    train_set.__class__ = NanImages
    model = tiny_model()
    trainer.train(model, train_set, settings(epochs=1), tmp_path, CPU)
    assert_same_weights(model, tiny_model())


def test_one_bad_step_of_many(data, tmp_path, monkeypatch):
    use_nan_loss(monkeypatch, {1})
    model = fit(data, tmp_path)
    assert len((tmp_path / "bad_batches.txt").read_text().splitlines()) == 1
    assert all(torch.isfinite(v).all() for v in model.state_dict().values())
    losses = [float(x) for x in (tmp_path / "train_loss.txt").read_text().split()]
    assert len(losses) == 2 and np.isfinite(losses).all()


@pytest.mark.slow
def test_twenty_bad_steps_in_a_row_stop_the_run(data, tmp_path, monkeypatch):
    """The count goes on from epoch to epoch, and a good step sets it back to zero."""
    use_nan_loss(monkeypatch, {2} | set(range(4, 40)))
    with pytest.raises(TrainingStopped) as stopped:
        fit(data, tmp_path, epochs=20, batch_size=1)
    last = tmp_path / LAST
    assert "20 steps in a row" in str(stopped.value) and str(last) in str(stopped.value)
    # with four steps per epoch, the 20th of the bad steps 4 to 23 is the last step of epoch 6
    lines = (tmp_path / "bad_batches.txt").read_text().splitlines()
    assert len(lines) == 21 and lines[-1].startswith("epoch 6 batch 4 ")
    checkpoint = read_checkpoint(last)
    assert checkpoint.epoch == 5
    assert all(torch.isfinite(v).all() for v in checkpoint.model_state.values())


def test_run_stopped_before_the_first_checkpoint(data, tmp_path, monkeypatch):
    use_nan_loss(monkeypatch, set(range(40)))
    with pytest.raises(TrainingStopped, match="no epoch was finished"):
        fit(data, tmp_path, batch_size=1, max_bad_steps=3)


def test_non_finite_gradient_is_a_bad_step(data, tmp_path):
    """The losses of the step are finite."""
    model = tiny_model()
    weight = model.hm[0].weight
    hook = weight.register_hook(lambda grad: grad * math.inf)
    fit(data, tmp_path, model=model, epochs=1)
    hook.remove()
    assert_same_weights(model, tiny_model())
    assert "nan" not in (tmp_path / "bad_batches.txt").read_text()


# Mixed precision ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_in_bfloat16_resumes_at_the_exact_step(data, tmp_path, monkeypatch):
    changes = {"amp": "bfloat16", "ema_decay": 0.9}
    whole = fit(data, tmp_path / "whole", **changes)
    press_in_step(monkeypatch, 2)
    with pytest.raises(interrupts.Interrupted):
        fit(data, tmp_path / "stopped", **changes)
    monkeypatch.setattr(trainer, "DetectionLoss", original_loss)
    resume = read_checkpoint(tmp_path / "stopped" / LAST)
    assert_same_weights(whole, fit(data, tmp_path / "stopped", resume=resume, **changes))
    assert {value.dtype for value in resume.model_state.values()} <= {torch.float32, torch.int64}
    plain = fit(data, tmp_path / "plain", ema_decay=0.9)
    ours, theirs = (read_checkpoint(tmp_path / n / LAST).history for n in ("whole", "plain"))
    assert ours != theirs  # it was not computed in float32
    assert ours[0]["loss"] == pytest.approx(theirs[0]["loss"], rel=0.02)
    assert not all(
        torch.equal(a, b) for a, b in zip(whole.parameters(), plain.parameters(), strict=True)
    )


def use_scale(monkeypatch, scale):
    """Let trainings scale their losses, in float32; return what they are scaled with."""
    found = []

    def choose(amp, device):
        precision = Precision(device)
        precision.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        found.append(precision)
        return precision

    monkeypatch.setattr(trainer, "choose_precision", choose)
    return found


@pytest.mark.slow
def test_scaled_losses_give_the_same_steps(data, tmp_path, monkeypatch):
    """A power of two is exact. The gradient is clipped, which comes after the scale is undone."""
    changes = {"epochs": 1, "clip_norm": 0.1, "batch_size": 1, "accumulate": 2}
    plain = fit(data, tmp_path / "plain", **changes)
    use_scale(monkeypatch, 2.0**10)
    assert_same_weights(plain, fit(data, tmp_path / "scaled", **changes))


@pytest.mark.slow
def test_overflow_lowers_the_scale_and_is_not_a_bad_step(data, tmp_path, monkeypatch):
    """The gradient overflows at the scales 16 and 8, in the two steps of the first epoch."""
    scaled = use_scale(monkeypatch, 16.0)
    model = tiny_model()
    model.hm[0].weight.register_hook(
        lambda grad: grad * math.inf if scaled[-1].scaler.get_scale() > 4 else grad
    )
    fit(data, tmp_path, model=model, epochs=1, max_bad_steps=1)
    assert_same_weights(model, tiny_model())  # also the statistics of BatchNorm
    first = read_checkpoint(tmp_path / LAST)
    assert first.extras["scaler_state_dict"]["scale"] == 4.0
    scaled_again = use_scale(monkeypatch, 1024.0)
    fit(data, tmp_path, model=model, resume=first, max_bad_steps=1)
    assert scaled_again[-1].scaler.get_scale() == 4.0
    assert not (tmp_path / "bad_batches.txt").exists()
    history = read_checkpoint(tmp_path / LAST).history
    assert math.isnan(history[0]["loss"]) and math.isfinite(history[1]["loss"])


@pytest.mark.slow
def test_endless_overflow_stops_the_run(data, tmp_path, monkeypatch):
    """Three steps lower the scale from 8 to 1, where the fault is not that of the scale."""
    use_scale(monkeypatch, 8.0)
    model = tiny_model()
    model.hm[0].weight.register_hook(lambda grad: grad * math.inf)
    with pytest.raises(TrainingStopped, match="2 steps in a row"):
        fit(data, tmp_path, model=model, epochs=9, batch_size=1, max_bad_steps=2)
    lines = (tmp_path / "bad_batches.txt").read_text().splitlines()
    assert [line.split(" hm=")[0] for line in lines] == ["epoch 1 batch 4", "epoch 2 batch 1"]


def test_a_loss_that_is_not_finite_is_a_bad_step_at_any_scale(data, tmp_path, monkeypatch):
    use_scale(monkeypatch, 1024.0)
    use_nan_loss(monkeypatch, {1})
    fit(data, tmp_path, epochs=1)
    assert len((tmp_path / "bad_batches.txt").read_text().splitlines()) == 1


# Batches -----------------------------------------------------------------------------------------


def test_empty_batch_has_no_excessive_loss(tmp_path):
    """In batches of one image, half of the images have ten objects and half have none."""
    rows = [line(10 + 20 * (k % 5), 10 + 40 * (k // 5), 14, 14, "ship") for k in range(10)]
    labels = {f"im{k}": rows if k % 2 else [] for k in range(4)}
    make_dota(tmp_path, labels, train=list(labels))
    options = DataOptions(classes=CLASSES, augment=False)
    dataset = open_dataset("dota", tmp_path, "train", (64, 64), options)
    dataset.check_labels()
    assert dataset.mean_objects(1) == 5
    criterion = trainer.DetectionLoss(dataset.mean_objects(1))
    model = tiny_model().eval()
    losses = []
    for index in (0, 1):
        batch = collate([dataset[index]])
        with torch.no_grad():
            losses.append(criterion(model(batch["input"], logits=True), batch, logits=True))
    empty, normal = losses
    assert empty["wh"] == empty["off"] == empty["cls_theta"] == 0
    assert 0 < empty["hm"] < 2 * normal["hm"]


def test_fewer_images_than_a_batch(data, tmp_path, monkeypatch):
    sizes = []  # mean number of objects, then the number of images in each batch

    class RecordingLoss(original_loss):
        def __init__(self, mean_objects):
            super().__init__(mean_objects)
            sizes.append(mean_objects)

        def forward(self, maps, targets, logits=False):
            sizes.append(len(targets["hm"]))
            return super().forward(maps, targets, logits)

    monkeypatch.setattr(trainer, "DetectionLoss", RecordingLoss)
    fit(data, tmp_path, epochs=1, batch_size=64)
    # the only batch has 4 images with 6 objects
    assert sizes == [6, 4]


@pytest.mark.parametrize("batch_size, steps", [(1, 4), (3, 1), (4, 1), (5, 1)])
def test_small_last_batch_is_dropped(data, tmp_path, batch_size, steps):
    dataset = open_dataset("dota", data, "train", (64, 64), DataOptions())
    loader = trainer.epoch_loader(dataset, settings(batch_size=batch_size), 1, CPU)
    assert len(loader) == steps


def test_order_follows_from_seed_and_epoch(data):
    dataset = open_dataset("dota", data, "train", (64, 64), DataOptions())

    def order(epoch, seed):
        loader = trainer.epoch_loader(dataset, settings(batch_size=1, seed=seed), epoch, CPU)
        return [int(batch["index"]) for batch in loader]

    orders = {(e, s): tuple(order(e, s)) for e in range(1, 5) for s in (1, 2)}
    assert all(sorted(o) == [0, 1, 2, 3] for o in orders.values())
    assert len(set(orders.values())) > 4
    assert orders[3, 1] == tuple(order(3, 1))


def test_single_cell_is_too_small_for_batch_norm(data, tmp_path):
    train_set = open_dataset("dota", data, "train", (32, 32), DataOptions())
    with pytest.raises(InputError, match="batch_size"):
        trainer.train(tiny_model(), train_set, settings(batch_size=1), tmp_path, CPU)


# Learning rates ----------------------------------------------------------------------------------


def test_exponential_schedule():
    rate = learning_rate(settings(lr=1.0, warmup_steps=0, schedule="exponential"), 10)
    assert [rate(e) for e in (0, 0.9, 1, 2.5)] == pytest.approx([1, 1, 0.96, 0.96**2])


def test_cosine_schedule():
    rate = learning_rate(settings(lr=1.0, warmup_steps=0, schedule="cosine", epochs=4), 10)
    assert rate(0) == pytest.approx(1)
    assert rate(2) == pytest.approx(0.505)
    assert rate(4) == rate(5) == pytest.approx(0.01)
    rates = [rate(step / 10) for step in range(41)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    "warmup_steps, steps_per_epoch, expected",
    [
        (4, 10, [0.25, 0.5, 0.75, 1, 1]),
        (100, 4, [0.25, 0.5, 0.75, 1, 1]),  # at most one epoch
        (0, 10, [1, 1, 1, 1, 1]),
        (1, 10, [1, 1, 1, 1, 1]),
    ],
)
def test_warm_up(warmup_steps, steps_per_epoch, expected):
    rate = learning_rate(settings(lr=1.0, lr_gamma=1.0, warmup_steps=warmup_steps), steps_per_epoch)
    steps = [rate(step / steps_per_epoch) for step in range(5)]
    assert steps == pytest.approx(expected)


# Files -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_files_of_a_run(data, tmp_path, real_curves):
    folder = tmp_path / "deep" / "run"
    model = fit(
        data, folder, score=validation_score(data), epochs=3, val_every=2, save_every=2, pictures=2
    )
    assert {path.name for path in folder.iterdir()} == {
        "model_last.pth", "model_best.pth", "model_2.pth", "train_loss.txt", "ap_list.txt",
        "history.csv", "speed.csv", "curves.png", "train_batch_0.jpg", "train_batch_1.jpg",
        "validation", "precision_recall.png", "report.html",
    }  # fmt: skip
    assert len((folder / "train_loss.txt").read_text().split()) == 3
    assert len((folder / "ap_list.txt").read_text().split()) == 2  # of epochs 2 and 3
    with open(folder / "history.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [bool(row["ap"]) for row in rows] == [False, True, True]
    assert [bool(row["val_loss"]) for row in rows] == [False, True, True]
    with open(folder / "speed.csv", encoding="utf-8") as file:
        speeds = list(csv.DictReader(file))
    assert [row["epoch"] for row in speeds] == ["1", "2", "3"]
    for row in speeds:
        images = float(row["images_per_second"]) * float(row["seconds"])
        assert images == pytest.approx(4) and 0 <= float(row["waiting"]) <= 1
    for row in rows:
        parts = sum(float(row[name]) for name in ("hm", "wh", "off", "cls_theta"))
        assert float(row["loss"]) == pytest.approx(parts)
    last = read_checkpoint(folder / LAST)
    assert last.epoch == 3 and last.classes == CLASSES and last.input_size == (64, 64)
    assert_same_weights(build_model(last), model)
    # 2 images of 64x64 per batch
    assert cv2.imread(str(folder / "train_batch_0.jpg")).shape == (64, 128, 3)


@pytest.mark.slow
def test_reports_do_not_change_the_run(data, tmp_path, monkeypatch):
    """TensorBoard, pictures, losses of images; with a stop and another process in between."""
    pytest.importorskip("tensorboard")
    plain = fit(data, tmp_path / "plain", score=lambda model: 0.5)
    press_in_step(monkeypatch, 2)
    shown = {"score": validation_score(data), "tensorboard": True}
    with pytest.raises(interrupts.Interrupted):
        fit(data, tmp_path / "shown", **shown)
    assert (
        "The run was stopped after 1 of 2 epochs." in (tmp_path / "shown/report.html").read_text()
    )
    monkeypatch.setattr(trainer, "DetectionLoss", original_loss)
    resume = read_checkpoint(tmp_path / "shown" / LAST)
    assert_same_weights(plain, fit(data, tmp_path / "shown", resume=resume, **shown))
    report = (tmp_path / "shown/report.html").read_text()
    assert "The run is finished after 2 epochs." in report and "Worst images by loss" in report
    assert [row["epoch"] for row in read_checkpoint(tmp_path / "shown" / LAST).extras["speed"]] == [
        1, 2
    ]  # fmt: skip


@pytest.mark.slow
def test_best_checkpoint_is_the_later_of_equal_ones(data, tmp_path, monkeypatch):
    scores = iter([0.2, 0.5, 0.5, 0.1])

    def score(model):
        return next(scores)

    fit(data, tmp_path, score=score, epochs=4)
    assert read_checkpoint(tmp_path / BEST).epoch == 3
    assert read_checkpoint(tmp_path / LAST).epoch == 4


@pytest.mark.slow
def test_resumed_run_keeps_its_best_checkpoint(data, tmp_path, monkeypatch):
    scores = iter([0.5, 0.4])

    def score(model):
        return next(scores)

    fit(data, tmp_path, score=score, epochs=1)
    fit(data, tmp_path, score=score, epochs=2, resume=read_checkpoint(tmp_path / LAST))
    assert read_checkpoint(tmp_path / BEST).epoch == 1
    assert (tmp_path / "ap_list.txt").read_text() == "0.500000\n0.400000\n"


@pytest.mark.slow
def test_run_that_goes_back_has_the_best_checkpoint_of_its_own_epochs(data, tmp_path):
    changes = {"epochs": 3, "save_every": 1}
    values = iter([0.5, 0.4, 0.9])
    fit(data, tmp_path, score=lambda model: next(values), **changes)
    first = (tmp_path / "model_1.pth").read_bytes()
    resume = read_checkpoint(tmp_path / "model_2.pth")
    fit(data, tmp_path, score=lambda model: 0.3, resume=resume, **changes)
    assert read_checkpoint(tmp_path / LAST).history[-1]["ap"] == 0.3
    assert (tmp_path / BEST).read_bytes() == first


@pytest.mark.slow
def test_run_stopped_between_best_and_last_checkpoint(data, tmp_path, monkeypatch):
    """The best checkpoint of the epoch is not lost, as the resumed run repeats the epoch."""

    def score(model):
        return 0.5

    fit(data, tmp_path, score=score, epochs=1)
    original = trainer.save_checkpoint

    def stop_at_last(path, checkpoint):
        if path.name == LAST:
            raise KeyboardInterrupt
        original(path, checkpoint)

    resume = read_checkpoint(tmp_path / LAST)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "save_checkpoint", stop_at_last)
        with pytest.raises(KeyboardInterrupt):
            fit(data, tmp_path, score=score, resume=resume)
    assert read_checkpoint(tmp_path / LAST).epoch == 1
    fit(data, tmp_path, score=score, resume=read_checkpoint(tmp_path / LAST))
    assert read_checkpoint(tmp_path / BEST).epoch == read_checkpoint(tmp_path / LAST).epoch == 2


def test_run_without_validation_has_no_ap(data, tmp_path):
    fit(data, tmp_path, epochs=1)
    assert not (tmp_path / BEST).exists() and not (tmp_path / "ap_list.txt").exists()


def test_run_without_matplotlib_has_no_plot(data, tmp_path, monkeypatch, real_curves):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    fit(data, tmp_path, epochs=1)
    assert not (tmp_path / "curves.png").exists()
    assert (tmp_path / "history.csv").is_file()


@pytest.mark.slow
def test_each_epoch_logs_how_long_it_waited_for_data(data, tmp_path, caplog, monkeypatch):
    """A clock that goes one second ahead each time it is read, twice a batch."""
    clock = iter(range(1000))
    monkeypatch.setattr("training.epoch.time.perf_counter", lambda: float(next(clock)))
    with caplog.at_level("INFO"):
        fit(data, tmp_path)
    # before, between and after two batches it waits three times, and trains twice
    lines = [text for text in caplog.messages if "  loss " in text]
    assert len(lines) == 2
    assert all(text.endswith("  5 s, 60 % of it waiting for data") for text in lines)


def test_ignored_objects_are_logged_once(data, tmp_path, caplog):
    options = DataOptions(min_size=19)  # the planes are 18 to 21 pixels long
    dataset = open_dataset("dota", data, "train", (64, 64), options)
    with caplog.at_level("INFO"):
        trainer.train(tiny_model(), dataset, settings(), tmp_path, CPU)
    logged = [text for text in caplog.messages if "ignored in epoch 1" in text]
    assert len(logged) == 1 and "min_size 1" in logged[0]


@pytest.mark.slow
def test_training_reduces_the_loss(data, tmp_path, monkeypatch):
    """Without augmentation, 12 epochs reduce the loss by more than 30 percent."""
    monkeypatch.setattr(trainer, "save_checkpoint", lambda path, checkpoint: None)
    dataset = open_dataset("dota", data, "train", (64, 64), DataOptions(augment=False))
    changes = {"epochs": 12, "lr": 3e-3, "batch_size": 4, "lr_gamma": 1.0}
    history = trainer.train(tiny_model(), dataset, settings(**changes), tmp_path, CPU)
    losses = [row["loss"] for row in history.rows]
    assert losses[-1] < 0.7 * losses[0]


# Accumulated gradients, early end ----------------------------------------------------------------


def frozen_norms():
    """Return a network whose BatchNorms keep to their running statistics, as if it had none."""
    model = tiny_model().eval()
    model.train = lambda mode=True: model
    return model


@pytest.mark.parametrize(("accumulate", "left_out"), [(1, 15), (2, 31), (4, 63), (8, 127)])
def test_warning_if_an_epoch_leaves_out_many_images(caplog, accumulate, left_out):
    chosen = settings(batch_size=16, accumulate=accumulate)
    trainer.log_batch_size(chosen, 16, min(16 * accumulate, 127), 127)
    text = f"leaves out {left_out} of 127 images"
    assert (text in caplog.text) is (accumulate == 4)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(2, 2), (1, 4), (3, 2)])
@pytest.mark.slow
def test_accumulated_step_equals_that_of_the_large_batch(
    data, tmp_path, monkeypatch, batch_size, accumulate
):
    """Its four images hold 2, 2, 2 and no objects: a mean of means would differ."""
    gradients = []
    original = trainer.nn.utils.clip_grad_norm_

    def record(parameters, limit):
        parameters = list(parameters)
        gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
        return original(parameters, limit)

    monkeypatch.setattr(trainer.nn.utils, "clip_grad_norm_", record)
    large = fit(data, tmp_path / "large", model=frozen_norms(), epochs=1, batch_size=4)
    changes = {"batch_size": batch_size, "accumulate": accumulate}
    parts = fit(data, tmp_path / "parts", model=frozen_norms(), epochs=1, **changes)
    assert len(gradients) == 2  # one step each
    scale = gradients[0].abs().max()
    assert (gradients[0] - gradients[1]).abs().max() < 1e-5 * scale
    ours, theirs = (read_checkpoint(tmp_path / n / LAST).history[0] for n in ("large", "parts"))
    assert ours == pytest.approx(theirs, rel=1e-5)
    for a, b in zip(large.parameters(), parts.parameters(), strict=True):
        assert (a - b).abs().max() < 2e-3  # Adam's first step is of the size of the rate


@pytest.mark.slow
def test_mean_of_empty_parts_is_that_of_the_large_batch(tmp_path):
    """Without any object, the heat map loss is divided by the mean number of the global batch."""
    make_dota(tmp_path, {f"im{k}": [] for k in range(4)}, train=[f"im{k}" for k in range(4)])
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    for name, changes in {"a": {"batch_size": 4}, "b": {"batch_size": 2, "accumulate": 2}}.items():
        fit(tmp_path, tmp_path / name, model=frozen_norms(), epochs=1, **changes)
    a, b = (read_checkpoint(tmp_path / name / LAST).history[0]["hm"] for name in "ab")
    assert a > 0 and a == pytest.approx(b, rel=1e-5)


@pytest.mark.slow
def test_run_with_accumulated_gradients_resumes_at_the_exact_step(data, tmp_path, monkeypatch):
    """Stop it in the second step of the epoch, within its second batch of two."""
    changes = {"batch_size": 1, "accumulate": 2}
    whole = fit(data, tmp_path / "whole", **changes)
    press_in_step(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        fit(data, tmp_path / "stopped", epochs=2, **changes)
    monkeypatch.setattr(trainer, "DetectionLoss", original_loss)
    resume = read_checkpoint(tmp_path / "stopped" / LAST)
    assert (resume.extras["progress"]["step"], resume.extras["progress"]["batches"]) == (2, 2)
    assert_same_weights(whole, fit(data, tmp_path / "stopped", resume=resume, **changes))


@pytest.mark.slow
def test_run_ends_when_its_score_has_not_risen(data, tmp_path, caplog):
    """An equal score is no better one; a resumed run counts the epochs before it, too."""
    values = [0.2, 0.5, 0.5, 0.4, 0.9]
    scores = iter(values)
    with caplog.at_level("INFO"):
        fit(data, tmp_path / "whole", epochs=5, patience=2, score=lambda model: next(scores))
    assert read_checkpoint(tmp_path / "whole" / LAST).epoch == 4
    assert "no better AP in 2 epochs (patience): the run ends early" in caplog.messages
    scores = iter(values)
    fit(data, tmp_path / "parts", epochs=3, patience=2, score=lambda model: next(scores))
    resume = read_checkpoint(tmp_path / "parts" / LAST)
    assert resume.epoch == 3
    changes = {"epochs": 5, "patience": 2, "score": lambda model: next(scores)}
    fit(data, tmp_path / "parts", resume=resume, **changes)
    assert read_checkpoint(tmp_path / "parts" / LAST).epoch == 4
    assert read_checkpoint(tmp_path / "parts" / BEST).epoch == 3  # the later of equal ones


@pytest.mark.slow
def test_best_of_a_run_that_goes_back_behind_a_lost_one(data, tmp_path, caplog):
    """Epoch 1 was the best, and its checkpoint is gone: then it is the best epoch from then on."""
    scores = iter([0.9, 0.3, 0.4, 0.2, 0.5, 0.1])
    changes = {"save_every": 2, "score": lambda model: next(scores)}
    fit(data, tmp_path, epochs=2, **changes)
    (tmp_path / BEST).unlink()
    fit(data, tmp_path, epochs=4, resume=read_checkpoint(tmp_path / "model_2.pth"), **changes)
    assert "the checkpoint of epoch 1, the best one so far, is not there" in caplog.text
    assert read_checkpoint(tmp_path / BEST).epoch == 3
    fit(data, tmp_path, epochs=6, resume=read_checkpoint(tmp_path / LAST), **changes)
    assert read_checkpoint(tmp_path / BEST).epoch == 5
    damaged = read_checkpoint(tmp_path / LAST)
    damaged.extras["progress"]["best_since"] = "two"
    with pytest.raises(InputError, match="its number best_since, 'two', is damaged"):
        fit(data, tmp_path, epochs=7, resume=damaged, **changes)


@pytest.mark.parametrize(
    ("aps", "patience", "stalled"),
    [
        ([], 1, False),
        ([None, None], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.4], 1, True),
        ([0.5, 0.4], 2, False),
        ([0.5, None, 0.4], 2, True),  # epochs count, also those without validation
        ([0.5, None, None, None], 2, False),  # but a validation decides
        ([math.nan, math.nan, math.nan], 2, False),  # no object to find
        ([0.5, math.nan, 0.4], 2, True),
        ([0.5, 0.5, 0.5], 2, True),
        ([0.0, 0.0, 0.1], 2, False),
        ([0.5, 0.1, 0.1, 0.1], 0, False),
    ],
)
def test_stalled(aps, patience, stalled):
    rows = [
        {"epoch": epoch} | ({} if ap is None else {"ap": ap}) for epoch, ap in enumerate(aps, 1)
    ]
    assert History(rows).stalled(patience) is stalled


def test_patience_without_a_score(data, tmp_path):
    with pytest.raises(InputError, match="patience needs a validation list"):
        fit(data, tmp_path / "run", patience=1)
    assert not (tmp_path / "run").exists()
