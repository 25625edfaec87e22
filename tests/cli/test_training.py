"""The phase train on the command line: resuming, fine-tuning, checkpoints, early stops."""

import cv2
import numpy as np

import train as trainer
from helpers.command_line import assert_refused
from helpers.data_folders import CLASSES, write_image
from helpers.networks import save_untrained
from models import read_checkpoint, save_checkpoint


def test_resume_keeps_the_flags_of_the_run(run_training, run_cli, data, tmp_path):
    """The checkpoint may be given by name or by path; without a run there is nothing to resume."""
    arguments = ["--phase", "train", "--data_dir", data]
    result = run_cli(*arguments, "--resume_train")
    assert_refused(result, "no checkpoint model_last.pth", "weights_dota")
    assert run_training(data, "--seed", 7, "--save_every", 1).code == 0
    result = run_cli(*arguments, "--resume_train")
    assert_refused(result, "model_last.pth is at epoch 1 of 1", "--num_epoch")
    result = run_cli(*arguments, "--resume_train", "--num_epoch", 2)
    assert result.code == 0 and "resuming at epoch 2 of 2" in result.out
    checkpoint = read_checkpoint(tmp_path / "weights_dota" / "model_last.pth")
    assert checkpoint.epoch == 2 and len(checkpoint.history) == 2
    assert checkpoint.extras["train"]["seed"] == 7 and checkpoint.extras["train"]["batch_size"] == 3
    for name in ("model_1.pth", tmp_path / "weights_dota" / "model_1.pth"):
        result = run_cli(*arguments, "--resume_train", name, "--num_epoch", 2)
        assert result.code == 0 and "resuming at epoch 2 of 2" in result.out
    assert "the run was started with" not in result.out
    result = run_cli(*arguments, "--resume_train", "model_9.pth")
    assert_refused(result, "model_9.pth", "weights_dota")
    # the flags of the training targets are not taken from the run, and a change is reported
    changed = ["--no_augment", "--min_size", 4]
    result = run_cli(*arguments, "--resume_train", "--num_epoch", 3, *changed)
    assert result.code == 0
    for message in (
        "augment True and is resumed with False",
        "min_size 10.0 and is resumed with 4",
    ):
        assert f"the run was started with {message}" in result.out


def test_finetune_with_other_classes(run_cli, data, tmp_path):
    """The number of classes changes; backbone and head width are those of the checkpoint."""
    file = save_untrained(tmp_path / "x.pth", classes=("car", "bus", "van"), head_conv=16)
    arguments = ["--phase", "train", "--data_dir", data, "--finetune", file, "--epochs", 1,
                 "--batch_size", 3, "--input_h", 64, "--input_w", 64]  # fmt: skip
    result = run_cli(*arguments)
    assert result.code == 0 and "newly initialized layers: hm.2" in result.out
    checkpoint = read_checkpoint(tmp_path / "weights_dota" / "model_last.pth")
    assert checkpoint.classes == CLASSES
    assert checkpoint.architecture.backbone == "mobilenetv2"
    assert checkpoint.architecture.head_conv == 16
    result = run_cli(*arguments, "--overwrite", "--backbone", "resnet18")
    assert_refused(result, file, "mobilenetv2")


def test_neck_is_carried_from_training_to_finetuning(run_cli, run_training, data, tmp_path):
    assert run_training(data, "--neck", 20).code == 0
    last = tmp_path / "weights_dota" / "model_last.pth"
    assert read_checkpoint(last).architecture.neck == 20
    assert run_cli("--phase", "eval", "--data_dir", data, "--weights", last).code == 0
    again = ["--phase", "train", "--data_dir", data, "--finetune", last, "--run_dir", "second",
             "--epochs", 1, "--batch_size", 3]  # fmt: skip
    result = run_cli(*again)
    assert result.code == 0 and "newly initialized layers: none" in result.out
    assert read_checkpoint("second/weights_dota/model_last.pth").architecture.neck == 20
    result = run_cli(*again, "--neck", 24, "--overwrite")
    assert result.code == 0 and "newly initialized layers: dec_c2.up.0" in result.out
    assert read_checkpoint("second/weights_dota/model_last.pth").architecture.neck == 24


def test_save_every_keeps_numbered_checkpoints(run_training, data, tmp_path):
    assert run_training(data, "--epochs", 3, "--save_every", 2).code == 0
    names = {path.name for path in (tmp_path / "weights_dota").glob("*.pth")}
    assert names == {"model_last.pth", "model_best.pth", "model_2.pth"}


def test_more_gpus_than_available(run_training, data):
    result = run_training(data, "--device", "cpu", "--ngpus", 3)
    assert result.code == 0 and "--ngpus 3" in result.out


def test_training_on_fewer_images_than_a_batch(run_training, data):
    result = run_training(data, "--batch_size", 64)
    assert result.code == 0 and "epoch 1/1  loss" in result.out


def test_images_in_both_train_and_val_are_refused(run_training, writable_data):
    (writable_data / "val.txt").write_text("im0\nim3\n")
    result = run_training(writable_data)
    assert_refused(result, "1 of 2 validation images", "im0", "--allow_overlap")
    assert run_training(writable_data, "--allow_overlap").code == 0


def test_training_stops_at_non_finite_losses(run_training, data, monkeypatch):
    monkeypatch.setattr(
        trainer.DetectionLoss, "forward",
        lambda self, maps, targets, logits: {"hm": maps["hm"].sum() * float("nan")},
    )  # fmt: skip
    result = run_training(data, "--epochs", 30, "--batch_size", 1)
    assert_refused(
        result, "20 steps in a row", "bad_batches.txt", "model_last.pth", "--resume_train"
    )


def test_model_remembers_how_its_images_were_read(
    run_cli, run_training, writable_data, tmp_path, monkeypatch
):
    """Use images of 16 bits with values below 256, whose upper 8 bits are all 0."""
    for path in sorted((writable_data / "images").glob("*")):
        write_image(path, np.asarray(cv2.imread(str(path)), np.uint16))

    def output(run, *arguments):
        monkeypatch.setattr("DOTA_devkit.imaging.reading._told", set())
        result = run(*arguments)
        assert result.code == 0, result.err
        return result.out + result.err

    stretched = "16 bits are stretched to 8, each image by its own percentiles"
    upper = "the upper 8 of 16 bits are used"
    assert stretched in output(run_training, writable_data, "--run_dir", tmp_path / "a")
    path = tmp_path / "a" / "weights_dota" / "model_last.pth"
    assert read_checkpoint(path).reading.depth == "stretch"
    arguments = ("--phase", "eval", "--data_dir", writable_data, "--weights", path)
    assert stretched in output(run_cli, *arguments)
    assert upper in output(run_cli, *arguments, "--depth", "high_byte")
    old = read_checkpoint(path)
    del old.extras["data"]["depth"]  # training took the upper bits before checkpoints said so
    save_checkpoint(path, old)
    assert upper in output(run_cli, *arguments)
