"""The phase train on the command line: resuming, fine-tuning, checkpoints, early stops."""

import html
import re
import shlex
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import train as trainer
from cli import training
from cli.flags import FLAGS
from cli.resume import PLACES
from DOTA_devkit.errors import InputError
from helpers.command_line import assert_refused
from helpers.data_folders import CLASSES, make_small_dota, write_image
from helpers.networks import add_tiny_backbone, save_untrained
from models import read_checkpoint, save_checkpoint


@pytest.mark.slow
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


def test_tensorboard_is_refused_before_a_run_is_replaced(run_training, data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    old = tmp_path / "weights_dota" / "model_last.pth"
    old.parent.mkdir()
    old.write_text("an earlier run")
    result = run_training(data, "--tensorboard", "--overwrite")
    assert_refused(result, "--tensorboard needs", "pip install -e '.[tensorboard]'")
    assert old.read_text() == "an earlier run"
    result = run_training(data, "--tensorboard", "folder")
    assert_refused(result, "unrecognized arguments: folder")


@pytest.fixture
def no_compiler(monkeypatch):
    """Let nothing be compiled, as on a machine without a compiler."""

    def fail(device):
        raise InputError("`compile` needs a C++ compiler")

    monkeypatch.setattr(training, "check_compiler", fail)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--amp", "float16", "--device", "cpu"], "--amp float16 needs a GPU"),
        (["--compile"], "--compile needs a C++ compiler"),
        (["--amp", "float8"], "argument --amp: invalid choice: 'float8'"),
    ],
)
def test_missing_requirements_are_reported_before_a_run_is_replaced(
    run_training, data, tmp_path, no_compiler, flags, message
):
    old = tmp_path / "weights_dota" / "model_last.pth"
    old.parent.mkdir()
    old.write_text("an earlier run")
    assert_refused(run_training(data, *flags, "--overwrite"), message)
    assert old.read_text() == "an earlier run"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--patience", 3], "--patience needs a validation list"),
        (["--input_h", 32, "--input_w", 32, "--batch_size", 1], "a single 32x32 image is one cell"),
    ],
)
def test_wrong_settings_are_reported_before_a_run_is_replaced(
    run_training, writable_data, tmp_path, flags, message
):
    (writable_data / "val.txt").unlink()
    old = tmp_path / "weights_dota" / "model_last.pth"
    old.parent.mkdir()
    old.write_text("an earlier run")
    assert_refused(run_training(writable_data, *flags, "--overwrite"), message)
    assert old.read_text() == "an earlier run"


@pytest.mark.slow
def test_a_validation_list_without_objects(run_training, writable_data, tmp_path):
    (name,) = (writable_data / "val.txt").read_text().split()
    (writable_data / "labelTxt" / f"{name}.txt").write_text("")
    result = run_training(writable_data, "--patience", 2)
    assert_refused(result, "--patience needs a validation list with objects")
    result = run_training(writable_data)
    assert result.code == 0 and "the validation list has no object to find" in result.out
    report = (tmp_path / "weights_dota" / "report.html").read_text(encoding="utf-8")
    assert "model_last.pth" in report and "model_best.pth" not in report


@pytest.mark.parametrize("seed", [-1, 2**40, "x"])
def test_seeds_that_a_run_could_not_be_resumed_with(run_training, data, seed):
    assert_refused(run_training(data, "--seed", seed), "a whole number from 0 to 2^40 - 1")


@pytest.mark.slow
def test_recipe_of_a_resumed_checkpoint_of_the_original(run_cli, run_training, data, tmp_path):
    """It stores no recipe, but its boxes are vectors."""
    assert run_training(data, "--recipe", "paper").code == 0
    own = torch.load(tmp_path / "weights_dota" / "model_last.pth", weights_only=True)
    kept = ("epoch", "model_state_dict", "optimizer_state_dict")
    torch.save({name: own[name] for name in kept}, tmp_path / "original.pth")
    arguments = ["--phase", "train", "--data_dir", data, "--resume_train", "original.pth",
                 "--input_h", 64, "--input_w", 64, "--batch_size", 3, "--num_epoch", 2,
                 "--run_dir", "second"]  # fmt: skip
    result = run_cli(*arguments, "--recipe", "rectangle")
    assert_refused(result, "--recipe rectangle instead of paper", "--finetune")
    result = run_cli(*arguments)
    assert result.code == 0, result.err
    checkpoint = read_checkpoint(tmp_path / "second" / "weights_dota" / "model_last.pth")
    assert checkpoint.extras["run"]["recipe"] == "paper"


@pytest.mark.slow
def test_resume_with_another_precision_and_without_a_compiler(
    run_cli, trained_weights, data, tmp_path, no_compiler
):
    """A run that was started with --compile goes on where there is no compiler."""
    checkpoint = read_checkpoint(trained_weights)
    checkpoint.extras["train"]["compile"] = True
    save_checkpoint(tmp_path / "a.pth", checkpoint)
    result = run_cli(
        "--phase", "train", "--data_dir", data, "--resume_train", "a.pth", "--num_epoch", 2,
        "--device", "cpu", "--amp", "bfloat16",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "the run continues without compiling: --compile needs a C++ compiler" in result.out
    assert "the run continues with --amp bfloat16 instead of none" in result.out
    assert "--amp: the network is trained in bfloat16" in result.out
    settings = read_checkpoint(tmp_path / "weights_dota" / "model_last.pth").extras["train"]
    assert (settings["amp"], settings["compile"]) == ("bfloat16", False)


@pytest.mark.slow
def test_commands_of_the_report_work_in_any_folder(
    run_training, run_cli, data, tmp_path, monkeypatch
):
    assert run_training(data, "--device", "cpu", "--run_dir", "a run").code == 0
    report = tmp_path / "a run" / "weights_dota" / "report.html"
    text = report.read_text(encoding="utf-8")
    commands = [shlex.split(html.unescape(one)) for one in re.findall("<pre>(.*?)</pre>", text)]
    phases = ["train", "eval", "test", "predict", "export"]
    assert [words[3] for words in commands] == phases
    assert all(words[0] == "python" and Path(words[1]).is_file() for words in commands)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for words in commands[:3]:
        result = run_cli(*words[2:])
        assert result.code == 0, result.err
    assert not list(Path().iterdir())
    text = report.read_text(encoding="utf-8")
    assert "The run is finished after 2 epochs." in text
    assert Path(commands[3][5]).is_file() and commands[3][5] == commands[4][5]


@pytest.mark.slow
def test_files_of_a_replaced_run_are_deleted(run_training, data, tmp_path):
    folder = tmp_path / "weights_dota"
    for name in ("tensorboard/events.out.tfevents.1", "validation/epoch_9.json", "report.html"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text("of another run")
    (folder / "validation/mine.txt").write_text("kept")
    (folder / "model_9.pth").write_text("")
    assert run_training(data, "--overwrite").code == 0
    assert "of another run" not in (folder / "report.html").read_text(encoding="utf-8")
    assert not list((folder / "tensorboard").iterdir())
    assert not (folder / "validation/epoch_9.json").exists()
    assert (folder / "validation/mine.txt").is_file()
    assert (folder / "validation/epoch_1.json").is_file()


UNUSUAL = ["--no_augment", "--min_size", 4, "--seed", 7, "--init_lr", 0.01, "--bands", "3,2,1",
           "--K", 9, "--metric", "coco", "--max_objs", 99, "--schedule", "cosine"]  # fmt: skip
"""Flags that decide what a run learns, none of them with its default."""


@pytest.fixture
def started(run_training, writable_data, tmp_path):
    """Return the folder of a run with unusual flags, and its data, of which a list is moved."""
    (writable_data / "val.txt").rename(writable_data / "other.txt")
    flags = [*UNUSUAL, "--val_list", "other.txt", "--run_dir", tmp_path / "run"]
    assert run_training(writable_data, *flags).code == 0
    return tmp_path / "run", writable_data


@pytest.mark.slow
def test_resume_without_further_flags_keeps_all_settings(run_cli, started):
    """Not even the folder of the data is needed."""
    folder, _ = started
    arguments = ["--phase", "train", "--run_dir", folder, "--resume_train"]
    result = run_cli(*arguments, "--num_epoch", 2)
    assert result.code == 0, result.err
    assert "the run continues with --num_epoch 2 instead of 1\n" in result.out
    assert result.out.count("the run continues with") == 1
    first, second = (
        read_checkpoint(folder / "weights_dota" / name).extras
        for name in ("model_best.pth", "model_last.pth")
    )
    changed = {"train": {"epochs": 2}}
    for section in ("train", "data", "validation", "run"):
        assert second[section] == first[section] | changed.get(section, {})
    assert 0 < first["data"]["scale"] < 10
    assert first["data"]["augment"] is False and first["data"]["val_list"] == "other.txt"
    assert first["validation"]["metric"] == "coco" and first["validation"]["K"] == 9
    assert len(read_checkpoint(folder / "weights_dota" / "model_last.pth").history) == 2


@pytest.mark.slow
def test_resume_takes_changes_that_leave_the_run_the_same(run_cli, started, tmp_path):
    folder, data = started
    moved = data.rename(tmp_path / "moved")
    arguments = ["--phase", "train", "--run_dir", folder, "--resume_train", "--num_epoch", 2]
    assert_refused(run_cli(*arguments), data, "no such data folder", "--data_dir")
    changes = ["--data_dir", moved, "--val_list", moved / "other.txt", "--save_every", 1,
               "--num_workers", 1, "--threads", 1]  # fmt: skip
    result = run_cli(*arguments, *changes, *UNUSUAL)  # the same values may be given again
    assert result.code == 0, result.err
    for text in (f"--data_dir {moved} instead of {data}", "--num_workers 1 instead of 0",
                 "--save_every 1 instead of 5", "--threads 1 instead of the default"):  # fmt: skip
        assert f"the run continues with {text}\n" in result.out
    assert (folder / "weights_dota" / "model_2.pth").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--init_lr", "1e-3"], "--init_lr 0.001 instead of 0.01"),
        (["--batch_size", "2"], "--batch_size 2 instead of 3"),
        (["--seed", "317"], "--seed 317 instead of 7"),  # the default, but given
        (["--min_size", "10"], "--min_size 10.0 instead of 4.0"),
        (["--bands", "1,2,3"], "--bands 1,2,3 instead of 3,2,1"),
        (["--depth", "high_byte"], "--depth high_byte instead of stretch"),
        (["--metric", "voc07", "--K", "8"], "--K 8 instead of 9, --metric voc07 instead of coco"),
        (["--input_h", "96"], "--input_h 96 instead of 64"),
        (["--dataset", "hrsc"], "no checkpoint model_last.pth"),
        (["--backbone", "resnet18"], "backbone is resnet18, but the file has tiny"),
    ],
)
@pytest.mark.slow
def test_resume_refuses_what_would_be_another_run(run_cli, started, flags, message):
    folder, data = started
    last = folder / "weights_dota" / "model_last.pth"
    before = last.read_bytes()
    arguments = ["--phase", "train", "--run_dir", folder, "--data_dir", data, "--num_epoch", 2]
    result = run_cli(*arguments, "--resume_train", *flags)
    assert_refused(result, message, "" if "--dataset" in flags else last)
    if " instead of " in message:
        assert f"--finetune {last}" in result.err
    assert last.read_bytes() == before


@pytest.mark.slow
def test_augmentation_cannot_be_given_up_later(run_training, run_cli, data):
    assert run_training(data).code == 0
    arguments = ["--phase", "train", "--resume_train", "--num_epoch", 2, "--no_augment"]
    assert_refused(run_cli(*arguments), "--no_augment, without which it was started")


@pytest.mark.slow
def test_resume_of_an_older_checkpoint(run_cli, run_training, data, tmp_path):
    """It told less, and everything might be changed; what it tells is kept."""
    assert run_training(data, "--no_augment", "--min_size", 4).code == 0
    path = tmp_path / "weights_dota" / "model_last.pth"
    old = read_checkpoint(path)
    for section in ("run", "validation"):
        del old.extras[section]
    del old.extras["data"]["hrsc_level"]
    save_checkpoint(path, old)
    changes = ["--num_epoch", 2, "--batch_size", 2, "--min_size", 5, "--init_lr", 0.01]
    arguments = ["--phase", "train", "--data_dir", data, "--resume_train", *changes]
    result = run_cli(*arguments)
    assert result.code == 0, result.err
    assert (
        "the run continues with --min_size 5.0 instead of 4.0, which makes it a different run"
        in result.out
    )
    extras = read_checkpoint(path).extras
    assert (extras["data"]["min_size"], extras["data"]["augment"]) == (5.0, False)
    assert (extras["train"]["batch_size"], extras["train"]["lr"]) == (2, 0.01)


@pytest.mark.slow
def test_run_to_resume_is_found_in_its_folder(run_cli, run_training, data, tmp_path, monkeypatch):
    """Without `data_dir` it is the only run there; with several, one must be named."""
    monkeypatch.setattr("cli.run_dir.make_sample", make_small_dota)  # drawing all takes long
    arguments = ["--phase", "train", "--num_epoch", 2, "--resume_train"]
    assert_refused(run_cli(*arguments), "no checkpoint model_last.pth", "weights_sample")
    assert run_training(data).code == 0
    (tmp_path / "elsewhere").mkdir()
    path = shutil.copy(tmp_path / "weights_dota" / "model_last.pth", tmp_path / "elsewhere")
    (tmp_path / "weights_hrsc").mkdir()
    other = shutil.copy(path, tmp_path / "weights_hrsc")
    assert_refused(run_cli(*arguments), "several runs: weights_dota, weights_hrsc", "path")
    Path(other).unlink()
    (tmp_path / "weights_sample").mkdir()
    sample = shutil.copy(path, tmp_path / "weights_sample")
    assert_refused(run_cli(*arguments), "several runs: weights_dota, weights_sample", "path")
    Path(sample).unlink()
    assert run_cli(*arguments).code == 0
    assert run_cli(*arguments, path, "--run_dir", tmp_path / "new").code == 0
    assert read_checkpoint(tmp_path / "new" / "weights_dota" / "model_last.pth").epoch == 2


@pytest.mark.slow
def test_checkpoint_cannot_make_a_dataset_file_be_imported(run_cli, run_training, data, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from datasets.dataset_dota import DOTA\n\nclass Harbors(DOTA):\n    pass\n"
    )
    assert run_training(data, "--dataset", "mine.py:Harbors").code == 0
    arguments = ["--phase", "train", "--resume_train", "--num_epoch", 2]
    result = run_cli(*arguments)
    assert_refused(result, f"--dataset {tmp_path / 'mine.py'}:Harbors; give that again")
    moved = (tmp_path / "mine.py").rename(tmp_path / "own.py")
    assert run_cli(*arguments, "--dataset", f"{moved}:Harbors").code == 0


def test_every_training_flag_is_restored_or_listed_as_exception():
    flags = {flag.dest for flag in FLAGS if "train" in flag.phases}
    others = {
        *("run_dir", "dataset", "classes", "input_h", "input_w", "backbone", "head_conv"),
        *("head_bn", "neck", "pretrained", "finetune", "resume_train", "overwrite"),
    }
    assert flags == PLACES.keys() | others and not PLACES.keys() & others


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("train", "lr", "evil"),
        ("train", "seed", True),
        ("train", "schedule", "evil"),
        ("data", "min_visible", 7),
        ("data", "max_objs", 0),
        ("data", "augment", 3),
        ("data", "bands", "9,9"),
        ("data", "val_list", 3),
        ("data", "hrsc_level", 4),
        ("validation", "metric", None),
        ("run", "ngpus", -1),
        ("run", "device", "evil"),
        ("run", "data_dir", 3.5),
    ],
)
@pytest.mark.slow
def test_flags_of_a_file_are_checked(
    run_cli, trained_weights, data, tmp_path, section, name, value
):
    checkpoint = read_checkpoint(trained_weights)
    checkpoint.extras[section][name] = value
    save_checkpoint(tmp_path / "a.pth", checkpoint)
    arguments = ["--phase", "train", "--data_dir", data, "--num_epoch", 2]
    result = run_cli(*arguments, "--resume_train", "a.pth")
    assert_refused(result, "a.pth: what it stores for --", f"is {value!r}, but")


@pytest.mark.slow
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


@pytest.mark.slow
def test_neck_is_carried_from_training_to_finetuning(run_cli, run_training, data, tmp_path):
    assert run_training(data, "--neck", 20).code == 0
    last = tmp_path / "weights_dota" / "model_last.pth"
    assert read_checkpoint(last).architecture.neck == 20
    assert run_cli("--phase", "eval", "--data_dir", data, "--weights", last).code == 0
    again = ["--phase", "train", "--data_dir", data, "--finetune", last, "--run_dir", "second",
             "--epochs", 1, "--batch_size", 3, "--input_h", 64, "--input_w", 64]  # fmt: skip
    result = run_cli(*again)
    assert result.code == 0 and "newly initialized layers: none" in result.out
    assert read_checkpoint("second/weights_dota/model_last.pth").architecture.neck == 20
    result = run_cli(*again, "--neck", 24, "--overwrite")
    assert result.code == 0 and "newly initialized layers: dec_c2.up.0" in result.out
    assert read_checkpoint("second/weights_dota/model_last.pth").architecture.neck == 24


def test_run_with_teacher_is_resumed(run_training, run_cli, data, tmp_path, monkeypatch):
    add_tiny_backbone(monkeypatch)
    teacher = save_untrained(tmp_path / "teacher.pth", box_coding="rectangle", head_bn=True)
    flags = ["--backbone", "tiny", "--seed", 1, "--overwrite"]
    assert run_training(data, *flags, "--run_dir", tmp_path / "plain").code == 0
    result = run_training(data, *flags, "--run_dir", tmp_path / "taught", "--teacher", teacher)
    assert result.code == 0, result.err
    plain, taught = (
        read_checkpoint(tmp_path / name / "weights_dota" / "model_last.pth")
        for name in ("plain", "taught")
    )
    assert set(taught.history[0]) - set(plain.history[0]) == {"teacher_hm", "teacher_box"}
    weight = plain.model_state["dec_c2.cat_conv.0.weight"]
    assert not torch.equal(weight, taught.model_state["dec_c2.cat_conv.0.weight"])

    resume = ["--phase", "train", "--run_dir", tmp_path / "taught", "--resume_train"]
    result = run_cli(*resume, "--num_epoch", 2)
    assert result.code == 0, result.err
    again = read_checkpoint(tmp_path / "taught" / "weights_dota" / "model_last.pth")
    assert "teacher_hm" in again.history[1]
    moved = teacher.rename(tmp_path / "moved.pth")
    more = [*resume, "--num_epoch", 3]
    assert_refused(run_cli(*more), "teacher.pth: no such file", "learns from", "--teacher FILE")
    assert run_cli(*more, "--teacher", moved).code == 0
    more = [*resume, "--num_epoch", 4]
    other = tmp_path / "plain/weights_dota/model_last.pth"
    assert_refused(run_cli(*more, "--teacher", other), "started with a teacher with other content")
    more[3] = tmp_path / "plain"
    assert_refused(run_cli(*more, "--teacher", moved), "was started with no teacher")


def test_teacher_in_the_folder_of_the_run_is_refused(run_training, run_cli, data, tmp_path):
    assert run_training(data).code == 0
    teacher = tmp_path / "weights_dota/model_last.pth"
    before = teacher.read_bytes()
    resume = ("--phase", "train", "--data_dir", data, "--resume_train", "--num_epoch", 2)
    for result in (
        run_training(data, "--overwrite", "--teacher", teacher),
        run_cli(*resume, "--teacher", teacher),
    ):
        assert_refused(result, "--teacher", "where this run writes its own checkpoints")
    assert teacher.read_bytes() == before


@pytest.mark.slow
def test_save_every_keeps_numbered_checkpoints(run_training, data, tmp_path):
    assert run_training(data, "--epochs", 3, "--save_every", 2).code == 0
    names = {path.name for path in (tmp_path / "weights_dota").glob("*.pth")}
    assert names == {"model_last.pth", "model_best.pth", "model_2.pth"}


def test_more_gpus_than_available(run_training, data, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = run_training(data, "--ngpus", 3)
    assert result.code == 0 and "--ngpus 3: this machine has 0 GPUs, so it is 1" in result.out


@pytest.mark.slow
def test_training_on_fewer_images_than_a_batch(run_training, data):
    result = run_training(data, "--batch_size", 64)
    assert result.code == 0 and "epoch 1/1  loss" in result.out


def test_images_in_both_train_and_val_are_refused(run_training, writable_data):
    (writable_data / "val.txt").write_text("im0\nim3\n")
    result = run_training(writable_data)
    assert_refused(result, "1 of 2 validation images", "im0", "--allow_overlap")
    assert run_training(writable_data, "--allow_overlap").code == 0


@pytest.mark.slow
def test_training_stops_at_non_finite_losses(run_training, data, monkeypatch):
    monkeypatch.setattr(
        trainer.RectangleLoss, "forward",
        lambda self, maps, targets, logits: {"hm": maps["hm"].sum() * float("nan")},
    )  # fmt: skip
    result = run_training(data, "--epochs", 30, "--batch_size", 1)
    assert_refused(
        result, "20 steps in a row", "bad_batches.txt", "model_last.pth", "--resume_train"
    )


@pytest.mark.slow
def test_model_remembers_how_its_images_were_read(
    run_cli, run_training, writable_data, tmp_path, monkeypatch
):
    """Use images of 16 bits with values below 256, whose upper 8 bits are all 0."""
    for path in sorted((writable_data / "images").glob("*")):
        write_image(path, np.asarray(cv2.imread(str(path)), np.uint16))

    def output(run, *arguments):
        monkeypatch.setattr("DOTA_devkit.imaging.reading._logged", set())
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


def add_validation_list(data):
    (data / "val.txt").write_text("im3\n")


def drop_validation_list(data):
    (data / "val.txt").unlink()


def change_a_label(data):
    (data / "labelTxt" / "im1.txt").write_text("")


def reorder_classes(data):
    (data / "classes.txt").write_text("plane\nship")


def rename_a_class(data):
    (data / "classes.txt").write_text("ship\naircraft")


def shorten_the_list(data):
    (data / "train.txt").write_text("im0\nim1\n")


@pytest.mark.parametrize(
    ("before", "change", "message"),
    [
        (None, change_a_label, "train: 1 image was labeled anew: {}/labelTxt/im1.txt"),
        (None, shorten_the_list, "train: 1 image was removed from its list, at position 3"),
        (None, drop_validation_list, "val: the list is gone"),
        (drop_validation_list, add_validation_list, "val: there was no list"),
        (None, reorder_classes, "from ship, plane to plane, ship"),
        (None, rename_a_class, "from ship, plane to ship, aircraft"),
    ],
)
@pytest.mark.slow
def test_resume_with_data_that_changed(
    run_training, run_cli, writable_data, before, change, message
):
    """Put back, they are those of the run again."""
    if before is not None:
        before(writable_data)
    assert run_training(writable_data).code == 0
    contents = {p: p.read_bytes() for p in writable_data.rglob("*.txt")}
    change(writable_data)
    arguments = ["--phase", "train", "--resume_train", "--num_epoch", 2]
    result = run_cli(*arguments)
    assert_refused(
        result, message.format(writable_data), "changed since this run was started", "--finetune"
    )
    for path in set(writable_data.rglob("*.txt")) - contents.keys():
        path.unlink()
    for path, content in contents.items():
        path.write_bytes(content)
    assert run_cli(*arguments).code == 0


@pytest.mark.slow
def test_resume_keeps_given_classes(run_training, run_cli, writable_data, tmp_path):
    """They are not those of the data, whose own may change."""
    (writable_data / "classes.txt").write_text("car")
    assert run_training(writable_data, "--classes", "plane,ship").code == 0
    (writable_data / "classes.txt").write_text("bus")
    assert run_cli("--phase", "train", "--resume_train", "--num_epoch", 2).code == 0
    last = tmp_path / "weights_dota" / "model_last.pth"
    assert read_checkpoint(last).classes == ("plane", "ship")
