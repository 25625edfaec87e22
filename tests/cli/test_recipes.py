"""The flag `--recipe`: what it sets, what other flags change, and what a checkpoint keeps of it."""

import pytest
import torch

from cli.training import with_possible_mosaics
from datasets import DOTA, DataOptions
from DOTA_devkit.errors import InputError
from helpers.networks import save_untrained
from models import read_checkpoint
from training.settings import TrainSettings

LAST = "weights_dota/model_last.pth"


@pytest.fixture
def trained(run_training, data, tmp_path):
    """Return a function that trains with some flags and returns the output and the checkpoint."""

    def train(*flags):
        result = run_training(data, *flags)
        assert result.code == 0, result.err
        return result.out, read_checkpoint(tmp_path / LAST)

    return train


@pytest.mark.slow
def test_rectangles_are_the_default(trained):
    out, checkpoint = trained()
    assert "recipe rectangle: boxes coded as rectangle, heads with BatchNorm" in out
    architecture, settings = checkpoint.architecture, checkpoint.extras["train"]
    assert architecture.box_coding == "rectangle" and architecture.head_bn
    assert architecture.final_kernel == 3
    assert (settings["optimizer"], settings["ema_decay"]) == ("adamw", 0.998)
    assert settings["mosaic"] == 1
    (betas, _) = (group["betas"] for group in checkpoint.optimizer_state["param_groups"])
    assert tuple(betas) == (0.9, 0.98)
    assert checkpoint.extras["train_state_dict"].keys() == checkpoint.model_state.keys()


@pytest.mark.slow
def test_the_recipe_of_the_paper_writes_what_the_original_reads(trained, tmp_path):
    out, checkpoint = trained("--recipe", "paper")
    assert "recipe paper: boxes coded as vectors, heads without BatchNorm" in out
    content = torch.load(tmp_path / LAST, weights_only=True)
    assert "box_coding" not in content and "train_state_dict" not in content
    assert {"hm.0.weight", "hm.2.weight"} <= content["model_state_dict"].keys()
    assert "hm.3.weight" not in content["model_state_dict"]
    assert content["model_state_dict"]["hm.2.weight"].shape[2:] == (1, 1)
    assert len(content["optimizer_state_dict"]["param_groups"]) == 1
    assert checkpoint.extras["train"]["optimizer"] == "adam"
    assert checkpoint.extras["train"]["mosaic"] == 0


def test_flags_change_parts_of_a_recipe(trained):
    out, checkpoint = trained(
        "--ema", 0, "--mosaic", 0.25, "--init_lr", 0.5, "--schedule", "exponential"
    )
    (line,) = [line for line in out.splitlines() if line.startswith("recipe rectangle: ")]
    assert {"optimizer adamw", "ema_decay 0", "mosaic 0.25", "lr 0.5", "schedule exponential"} <= {
        part.removesuffix(".0") for part in line.split(", ")
    }
    settings = checkpoint.extras["train"]
    assert (settings["ema_decay"], settings["lr"], settings["schedule"]) == (0, 0.5, "exponential")
    assert settings["optimizer"] == "adamw" and "train_state_dict" not in checkpoint.extras


@pytest.mark.slow
def test_a_run_resumes_with_its_recipe(trained, run_cli, data):
    trained("--recipe", "paper")
    resume = ["--phase", "train", "--data_dir", data, "--resume_train", "--num_epoch", 2]
    refused = run_cli(*resume, "--recipe", "rectangle")
    assert refused.code == 2 and "--recipe rectangle instead of paper" in refused.err
    assert run_cli(*resume).code == 0


@pytest.fixture
def finetuned(run_cli, data, tmp_path):
    """Return a function that fine-tunes from a checkpoint, with the same results."""

    def finetune(before, *flags):
        size = ["--input_h", 64, "--input_w", 64, "--batch_size", 3, "--num_epoch", 1]
        arguments = ["--phase", "train", "--data_dir", data, "--finetune", before, *size]
        result = run_cli(*arguments, *flags)
        assert result.code == 0, result.err
        return result.out, read_checkpoint(tmp_path / LAST)

    return finetune


@pytest.mark.parametrize("coding, recipe", [("vectors", "paper"), ("rectangle", "rectangle")])
@pytest.mark.slow
def test_finetuning_keeps_the_coding_of_the_checkpoint(finetuned, tmp_path, coding, recipe):
    before = save_untrained(tmp_path / "before.pth", box_coding=coding, head_bn=True)
    out, checkpoint = finetuned(before)
    assert f"recipe {recipe}: boxes coded as {coding}, heads with BatchNorm, final_kernel 1" in out
    assert "newly initialized layers: none" in out
    assert checkpoint.architecture.box_coding == coding and checkpoint.architecture.head_bn
    assert checkpoint.architecture.final_kernel == 1  # of the recipe it would be 3


@pytest.mark.slow
def test_finetuning_to_another_coding_resets_the_box_layers(finetuned, tmp_path):
    before = save_untrained(tmp_path / "before.pth", head_bn=True)
    out, _ = finetuned(before, "--recipe", "rectangle")
    assert "newly initialized layers: wh.3, reg.3, cls_theta.3" in out


@pytest.mark.slow
def test_a_trained_model_of_rectangles_is_evaluated_and_predicts(trained, run_cli, data, tmp_path):
    trained()
    assert run_cli("--phase", "eval", "--data_dir", data).code == 0
    (image, *_) = sorted((data / "images").iterdir())
    result = run_cli("--phase", "predict", "--source", image, "--weights", LAST)
    assert result.code == 0, result.err


class OwnViews(DOTA):
    def data_transform(self, image, annotation):
        return super().data_transform(image, annotation)


def test_mosaics_are_left_out_where_they_cannot_be_shown(data, caplog):
    caplog.set_level("INFO")

    def left(kind, augment=True, mosaic=0.5, asked=False):
        options = DataOptions(classes=("ship", "plane"), augment=augment)
        dataset = kind(data, "train", 64, 64, 4, options=options)
        return with_possible_mosaics(TrainSettings(mosaic=mosaic), dataset, asked).mosaic

    assert left(DOTA) == left(DOTA, asked=True) == 0.5
    assert left(OwnViews, mosaic=0.0, asked=True) == 0
    assert "mosaics" not in caplog.text
    for kind, augment, reason in (
        (OwnViews, True, "OwnViews has its own data_transform or __getitem__"),
        (DOTA, False, "views are not augmented"),
    ):
        assert left(kind, augment) == 0
        assert f"no mosaics: {reason}" in caplog.text
        with pytest.raises(InputError, match=f"`mosaic` 0.5 cannot be used: {reason}"):
            left(kind, augment, asked=True)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_resumes_without_mosaics(trained, run_cli, data, tmp_path):
    trained("--mosaic", 0)
    content = torch.load(tmp_path / LAST, weights_only=True)
    del content["train"]["mosaic"]
    torch.save(content, tmp_path / LAST)
    resume = ["--phase", "train", "--data_dir", data, "--resume_train", "--num_epoch", 2]
    refused = run_cli(*resume, "--mosaic", 0.5)
    assert refused.code == 2 and "--mosaic 0.5 instead of 0" in refused.err
    assert run_cli(*resume).code == 0
    assert read_checkpoint(tmp_path / LAST).extras["train"]["mosaic"] == 0
