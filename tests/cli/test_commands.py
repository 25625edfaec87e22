"""The command line: the three commands, flags against each other and against files, and every bad
input as one message and an exit code other than 0."""

import contextlib
import os
import pickle
import pkgutil
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import main as program
import test as tester
import train as trainer
from cli.defaults import SAMPLE
from helpers.command_line import Ran, assert_refused, files_of_at_most, run_main
from helpers.data_folders import picture, write_image
from helpers.hand_made import CLASSES, small_set, tiny_model, upright
from helpers.paths import ROOT
from models import Checkpoint, read_checkpoint, save_checkpoint

IN_ONE_PROCESS = {"info", "predict", "benchmark", "export"}
"""Phases that read images in the process of the network."""

TINY = shlex.split(
    "--backbone mobilenetv2 --pretrained none --epochs 1 --batch_size 3 --input_h 64 --input_w 64 "
    "--head_conv 8 --num_workers 0"
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty current folder, and no plots, which take longer than an epoch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.history.plot_history", lambda rows, path: None)
    monkeypatch.setattr("eval.plot_evaluation", lambda scores, path: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder that no test changes."""
    return small_set(tmp_path_factory.mktemp("data"), train=3, val=1)


@pytest.fixture
def own(tmp_path):
    """A data folder that a test may spoil."""
    return small_set(tmp_path / "own", train=3, val=1)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The folder of a finished run of one epoch on `data`. Not to be written into."""
    folder = tmp_path_factory.mktemp("trained")
    assert program.main(["--phase", "train", "--data_dir", str(data), "--run_dir", str(folder),
                         *TINY]) == 0  # fmt: skip
    return folder


@pytest.fixture
def call(capsys):
    def run(*words):
        if "--num_workers" not in words and not IN_ONE_PROCESS & {*words}:
            words += ("--num_workers", 0)
        return run_main(capsys, words)

    return run


@pytest.fixture
def train(call):
    def run(data, *words):
        return call("--phase", "train", "--data_dir", data, *TINY, *words)

    return run


def saved(path, **more):
    """A checkpoint of an untrained network."""
    save_checkpoint(path, Checkpoint.of(tiny_model(**more)))
    return path


# The three commands -----------------------------------------------------------------------------


def test_the_three_commands_of_the_readme(tmp_path, monkeypatch, call):
    """As written, on a sample set that is cut down to a few small images."""
    from dataclasses import replace

    made = []

    def make_small(root):
        if not made:
            small_set(root, train=3, val=1)
        made.append(root)
        return root

    monkeypatch.setattr("cli.run_dir.make_sample", make_small)
    small = replace(SAMPLE, epochs=1, batch_size=3, input_hw=(64, 64), head_conv=8)
    monkeypatch.setattr("cli.run_dir.SAMPLE", small)
    ran = call("--phase", "train", "--backbone", "resnet18")
    assert ran.code == 0 and "epoch 1/1  loss" in ran.out and "AP 0." in ran.out
    ran = call("--phase", "test")
    assert ran.code == 0 and "resnet18 of epoch 1, input 64x64, classes ship, plane" in ran.out
    ran = call("--phase", "eval")
    assert ran.code == 0 and "mean" in ran.out and "AP 0." in ran.out
    # again: the sample run is replaced
    assert call("--phase", "train", "--backbone", "mobilenetv2").code == 0
    assert "mobilenetv2 of epoch 1" in call("--phase", "test").out
    assert {path.name for path in tmp_path.iterdir()} == {
        "sample_data", "weights_sample", "result_sample"
    }  # fmt: skip
    assert set(made) == {Path("sample_data")}
    assert not list(Path("weights_sample").glob("model_[0-9]*.pth"))


def test_info(call):
    ran = call("--phase", "info", "--backbone", "mobilenetv2", "--head_conv", 16, "--input_h", 64)
    assert ran.code == 0 and "mobilenetv2" in ran.out and "GMAC" in ran.out


def test_info_of_a_checkpoint(call, data, trained):
    words = ["--phase", "info", "--data_dir", data, "--run_dir", trained]
    ran = call(*words, "--weights", "model_last.pth")
    assert ran.code == 0 and "mobilenetv2" in ran.out
    ran = call(*words, "--weights", "model_last.pth", "--backbone", "resnet18")
    assert_refused(ran, "backbone is resnet18, but the file has mobilenetv2")


# Where runs lie ---------------------------------------------------------------------------------


def test_a_run_is_never_replaced_in_silence(train, data, tmp_path):
    assert train(data).code == 0
    mine = tmp_path / "weights_dota" / "notes.txt"
    mine.touch()
    before = (tmp_path / "weights_dota" / "model_last.pth").read_bytes()
    assert_refused(train(data), "weights_dota", "--resume_train", "--overwrite", "--run_dir")
    assert (tmp_path / "weights_dota" / "model_last.pth").read_bytes() == before
    assert train(data, "--overwrite", "--seed", 5).code == 0
    assert (tmp_path / "weights_dota" / "model_last.pth").read_bytes() != before
    assert mine.exists()


def test_run_dir(train, call, data, tmp_path):
    folder = tmp_path / "a b" / "run"
    assert train(data, "--run_dir", folder, "--save_every", 1).code == 0
    weights = folder / "weights_dota"
    assert (weights / "model_1.pth").is_file() and not Path("weights_dota").exists()
    for name in ("model_1.pth", weights / "model_1.pth"):
        ran = call("--phase", "eval", "--data_dir", data, "--run_dir", folder, "--resume", name)
        assert ran.code == 0 and str(weights / "model_1.pth") in ran.out
    assert (folder / "result_dota" / "ap.csv").is_file()


def test_the_best_checkpoint_else_the_last(call, data, tmp_path):
    weights = tmp_path / "weights_dota"
    weights.mkdir()
    words = ["--phase", "test", "--data_dir", data]
    assert_refused(call(*words), "no checkpoint in weights_dota", "--phase train", "--weights")
    saved(weights / "model_last.pth")
    assert "weights_dota/model_last.pth: " in call(*words).out
    saved(weights / "model_best.pth")
    assert "weights_dota/model_best.pth: " in call(*words).out
    ran = call(*words, "--weights", "nowhere.pth")
    assert_refused(ran, "nowhere.pth", "weights_dota")


def test_a_name_in_the_run_folder_goes_before_a_path(call, data, tmp_path):
    (tmp_path / "weights_dota").mkdir()
    saved(tmp_path / "model_1.pth")
    words = ["--phase", "test", "--data_dir", data, "--resume", "model_1.pth"]
    assert "\nmodel_1.pth: " in call(*words).out
    saved(tmp_path / "weights_dota" / "model_1.pth")
    assert "\nweights_dota/model_1.pth: " in call(*words).out


def test_a_class_of_the_users_own(call, train, data, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from datasets.dataset_dota import DOTA\n\nclass Harbours(DOTA):\n    pass\n"
    )
    assert train(data, "--dataset", "mine.py:Harbours").code == 0
    assert (tmp_path / "weights_harbours" / "model_last.pth").is_file()


# Going on ---------------------------------------------------------------------------------------


def test_resume_train(train, call, data, tmp_path):
    """Flags that are not given are those of the run; by name, by path, and from nothing."""
    words = ["--phase", "train", "--data_dir", data]
    assert_refused(call(*words, "--resume_train"), "no checkpoint model_last.pth", "weights_dota")
    assert train(data, "--seed", 7, "--save_every", 1).code == 0
    ran = call(*words, "--resume_train")
    assert_refused(ran, "model_last.pth is at epoch 1 of 1", "--num_epoch")
    ran = call(*words, "--resume_train", "--num_epoch", 2)
    assert ran.code == 0 and "resuming at epoch 2 of 2" in ran.out
    checkpoint = read_checkpoint(tmp_path / "weights_dota" / "model_last.pth")
    assert checkpoint.epoch == 2 and len(checkpoint.history) == 2
    assert checkpoint.extras["train"]["seed"] == 7 and checkpoint.extras["train"]["batch_size"] == 3
    for name in ("model_1.pth", tmp_path / "weights_dota" / "model_1.pth"):
        ran = call(*words, "--resume_train", name, "--num_epoch", 2)
        assert ran.code == 0 and "resuming at epoch 2 of 2" in ran.out
    assert "the run was started with" not in ran.out
    assert_refused(call(*words, "--resume_train", "model_9.pth"), "model_9.pth", "weights_dota")
    # what is taught is a matter of flags that a run does not bring with it
    ran = call(*words, "--resume_train", "--num_epoch", 3, "--no_augment", "--min_size", 4)
    assert ran.code == 0
    for told in ("augment True and is resumed with False", "min_size 10.0 and is resumed with 4"):
        assert f"the run was started with {told}" in ran.out


def test_a_run_that_goes_on_elsewhere(call, data, trained, tmp_path):
    """From another folder's file: into an empty folder, but over a run only where that is meant."""
    file = trained / "weights_dota" / "model_last.pth"
    words = ["--phase", "train", "--data_dir", data, "--epochs", 2, "--resume_train", file]
    (tmp_path / "weights_dota").mkdir()
    other = saved(tmp_path / "weights_dota" / "model_best.pth")
    assert_refused(call(*words), "weights_dota holds a run", "--overwrite")
    assert other.is_file()
    assert call(*words, "--overwrite").code == 0
    assert read_checkpoint(tmp_path / "weights_dota" / "model_last.pth").epoch == 2
    assert call(*words, "--run_dir", tmp_path / "new").code == 0
    looped = tmp_path / "looped"
    looped.mkdir()
    (looped / "weights_dota").symlink_to("weights_dota")
    assert_refused(call(*words, "--run_dir", looped), "weights_dota")


@pytest.mark.parametrize(
    "words, told",
    [
        (["--backbone", "resnet18"], "backbone is resnet18, but the file has mobilenetv2"),
        (["--head_conv", "16"], "head_conv is 16, but the file has 8"),
        (["--head_bn"], "the file has no BatchNorm in its heads"),
        (
            ["--classes", "car,bus"],
            "2 names (car, bus), but the file has 2 (ship, plane)",
        ),
    ],
)
@pytest.mark.parametrize("phase", ["train", "test", "eval"])
def test_flags_that_contradict_a_checkpoint(call, own, trained, phase, words, told):
    file = trained / "weights_dota" / "model_last.pth"
    first = ["--phase", phase, "--data_dir", own]
    if "--classes" in words:
        for label in (own / "labelTxt").iterdir():
            label.write_text("")
    which = ["--resume_train", file, "--epochs", "2"] if phase == "train" else ["--weights", file]
    assert_refused(call(*first, *which, *words), "model_last.pth", told)


def test_another_input_size_is_used_and_told(call, data, trained):
    words = ["--phase", "test", "--data_dir", data, "--run_dir", trained, "--input_h", 96]
    ran = call(*words, "--run_dir", ".", "--weights", trained / "weights_dota" / "model_last.pth")
    assert ran.code == 0 and "input 96x64 instead of 64x64" in ran.out


def test_squash(call, own, tmp_path):
    """The network sees a stretched image: more of it is not black."""
    write_image(own / "images" / "im3.png", picture(128, 32))
    file = saved(tmp_path / "x.pth")
    seen = []
    real = tester.run_over

    def watched(model, *args):
        model.register_forward_pre_hook(lambda m, a: seen.append((a[0] == -0.5).float().mean()))
        return real(model, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tester, "run_over", watched)
        words = ["--phase", "test", "--data_dir", own, "--weights", file]
        assert call(*words).code == call(*words, "--squash").code == 0
    letterboxed, squashed = seen
    assert letterboxed > 0.7 and squashed < 0.1
    assert_refused(call("--phase", "train", "--data_dir", own, "--squash"), "--squash")


# Flags ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, parts",
    [
        ("--phase fly", ["--phase", "fly", "train"]),
        ("--backbone vgg16", ["--backbone", "vgg16", "resnet101"]),
        ("--device tpu9", ["--device", "tpu9"]),
        ("--device cuda:77", ["cuda:77 is not there"]),
        ("--epochs 0", ["--epochs", "a whole number above 0 expected, got '0'"]),
        ("--batch_size x", ["--batch_size", "'x'"]),
        ("--init_lr -1", ["--init_lr", "'-1'"]),
        ("--init_lr nan", ["--init_lr", "'nan'"]),
        ("--conf_thresh 1.5", ["--conf_thresh", "from 0 to 1", "'1.5'"]),
        ("--phase eval --metric voc99", ["--metric", "voc07"]),
        ("--no_such_flag", ["--no_such_flag"]),
    ],
)
def test_flags_that_are_wrong_in_themselves(call, words, parts):
    ran = call(*words.split())
    assert_refused(ran, *parts)
    assert len(ran.err.splitlines()) == 1  # and no page of usage


@pytest.mark.parametrize(
    "words, parts",
    [
        ("--input_h 100", ["--input_h 100", "96 or 128"]),
        ("--input_w 20", ["--input_w 20", "32 would"]),
        ("--weights x.pth", ["--weights", "--resume_train", "--finetune"]),
        ("--finetune a.pth --pretrained none", ["--finetune", "--pretrained"]),
        ("--resume_train --finetune a.pth", ["--resume_train", "--finetune"]),
        ("--resume_train --pretrained none", ["--resume_train", "--pretrained"]),
        ("--dataset coco", ["dataset coco", "dota, hrsc"]),
        ("--dataset none.py:Mine", ["none.py"]),
        ("--train_list no.txt", ["train_list: ", "no.txt"]),
        ("--classes no.txt", ["no.txt", "class names"]),
        ("--classes ship,ship", ["ship", "more than once"]),
        ("--classes ship", ["'plane' is unknown", "im0.txt:2", "Name all classes"]),
        ("--pretrained no.pth", ["no.pth", "no such file"]),
        ("--finetune no.pth", ["no.pth", "no such file"]),
    ],
)
def test_flags_that_do_not_fit(call, data, words, parts):
    ran = call("--phase", "train", "--data_dir", data, "--backbone", "mobilenetv2", *words.split())
    assert_refused(ran, *parts)
    assert not list(Path().glob("weights_*"))


def test_the_sample_set_is_of_one_kind(call):
    assert_refused(call("--dataset", "hrsc"), "--dataset hrsc", "--data_dir")
    assert not Path("sample_data").exists()


def test_more_gpus_than_there_are(train, data):
    ran = train(data, "--device", "cpu", "--ngpus", 3)
    assert ran.code == 0 and "--ngpus 3" in ran.out


def test_finetune(call, data, tmp_path):
    """Another number of classes; backbone and width of the heads are the file's."""
    file = saved(tmp_path / "x.pth", classes=("car", "bus", "van"), head_conv=16)
    words = ["--phase", "train", "--data_dir", data, "--finetune", file, "--epochs", 1,
             "--batch_size", 3, "--input_h", 64, "--input_w", 64]  # fmt: skip
    ran = call(*words)
    assert ran.code == 0 and "newly initialized layers: hm.2" in ran.out
    checkpoint = read_checkpoint(tmp_path / "weights_dota" / "model_last.pth")
    assert checkpoint.classes == CLASSES
    assert checkpoint.architecture.backbone == "mobilenetv2"
    assert checkpoint.architecture.head_conv == 16
    assert_refused(call(*words, "--overwrite", "--backbone", "resnet18"), file, "mobilenetv2")


def test_save_every(train, data, tmp_path):
    assert train(data, "--epochs", 3, "--save_every", 2).code == 0
    names = {path.name for path in (tmp_path / "weights_dota").glob("*.pth")}
    assert names == {"model_last.pth", "model_best.pth", "model_2.pth"}


@pytest.mark.parametrize("phase, threshold", [("test", "0.18"), ("eval", "0.01")])
def test_default_thresholds(call, data, trained, phase, threshold):
    words = ["--phase", phase, "--data_dir", data]
    words += ["--weights", trained / "weights_dota" / "model_last.pth"]
    assert f"above {threshold}" in call(*words).out
    assert "above 0.3" in call(*words, "--conf_thresh", 0.3).out


# Data that cannot be used -----------------------------------------------------------------------


def spoil_folder(own):
    return own / "missing", ["missing", "no such data folder"]


def spoil_images(own):
    (own / "images").rename(own / "pictures")
    return own, ["images", "no such image folder"]


def spoil_list(own):
    for name in ("train", "test", "val"):
        (own / f"{name}.txt").write_text("im0\nim77\n")
    return own, ["1 of 2 ids have no image", "im77"]


def spoil_empty_list(own):
    for name in ("train", "test", "val"):
        (own / f"{name}.txt").write_text("\n")
    return own, ["the list is empty"]


def spoil_line(own):
    for name in ("im0", "im3"):
        (own / "labelTxt" / f"{name}.txt").write_text("1 2 3 4 5 6 7 x ship 0\n")
    return own, [".txt:1"]


def spoil_class(own):
    for name in ("im0", "im3"):
        (own / "labelTxt" / f"{name}.txt").write_text(upright(9, 9, 20, 20, "tram") + "\n")
    return own, ["'tram' is unknown", ".txt:1", "Name all classes"]


def spoil_image(own):
    for name in ("im0", "im3"):
        (own / "images" / f"{name}.png").write_bytes(b"no image")
    return own, ["images/im", ".png", "not an image"]


def spoil_png(own):
    for name in ("im0", "im3"):
        path = own / "images" / f"{name}.png"
        path.write_bytes(path.read_bytes()[:-100])
    return own, ["images/im", ".png", "is truncated"]


def spoil_jpeg(own):
    for name in ("im0", "im3"):
        path = own / "images" / f"{name}.png"
        path.unlink()
        path = write_image(path.with_suffix(".jpg"), picture(64, 64))
        path.write_bytes(path.read_bytes()[:-100])
    return own, ["images/im", ".jpg", "is truncated"]


SPOILED = [spoil_folder, spoil_images, spoil_list, spoil_empty_list, spoil_line, spoil_class,
           spoil_image, spoil_png, spoil_jpeg]  # fmt: skip


@pytest.mark.parametrize("phase", ["train", "test", "eval"])
@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_spoiled_data(call, own, trained, phase, spoil):
    folder, parts = spoil(own)
    words = ["--phase", phase, "--data_dir", folder]
    if phase == "train":
        words += TINY
    else:
        words += ["--weights", trained / "weights_dota" / "model_last.pth"]
    assert_refused(call(*words), *parts)


@pytest.mark.parametrize("phase", ["train", "eval"])
def test_faults_in_a_worker_process(call, own, trained, phase):
    """The traceback that comes from a worker is no part of the message."""
    spoil_png(own)
    words = ["--phase", phase, "--data_dir", own]
    if phase == "train":
        words += TINY
    else:
        words += ["--weights", trained / "weights_dota" / "model_last.pth"]
    ran = call(*words, "--num_workers", 1)
    assert_refused(ran, "images/im", "is truncated")
    assert len(ran.err.splitlines()) == 1


BROKEN = """
import os
from datasets.dataset_dota import DOTA


class Broken(DOTA):
    def load_image(self, index):
        {fault}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault, told",
    [
        ("os.kill(os.getpid(), 9)", ["a process that reads images died", "--num_workers 0"]),
        ("os._exit(1)", ["a process that reads images died", "--num_workers 0"]),
        ("open('/nowhere/x.png')", ["/nowhere/x.png", "No such file"]),
        ("import numpy; numpy.zeros(1 << 50)", ["out of memory", "--batch_size"]),
        ("import torch; torch.zeros(1 << 50)", ["out of memory", "--batch_size"]),
    ],
)
def test_a_worker_that_dies(call, data, trained, tmp_path, fault, told):
    (tmp_path / "broken.py").write_text(BROKEN.format(fault=fault))
    words = ["--phase", "eval", "--data_dir", data, "--dataset", "broken.py:Broken"]
    words += ["--weights", trained / "weights_dota" / "model_last.pth"]
    assert_refused(call(*words, "--num_workers", 1), *told)
    if "os." not in fault:
        assert_refused(call(*words, "--num_workers", 0), *told)


def test_a_fault_of_ours_is_not_hidden(call, data, trained, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN.format(fault="raise RuntimeError('a bug')"))
    words = ["--phase", "eval", "--data_dir", data, "--dataset", "broken.py:Broken"]
    with pytest.raises(RuntimeError, match="a bug"):
        call(*words, "--weights", trained / "weights_dota" / "model_last.pth")


def test_a_missing_label_file(call, train, own, trained):
    """Training needs it; test draws no truth; eval cannot score some images only."""
    (own / "labelTxt" / "im0.txt").unlink()
    (own / "test.txt").write_text("im0\nim3\n")
    assert_refused(train(own), "im0.txt", "no such label file")
    words = ["--data_dir", own, "--weights", trained / "weights_dota" / "model_last.pth"]
    assert call("--phase", "test", *words).code == 0
    assert_refused(call("--phase", "eval", *words), "1 of 2 images have no labels", "im0")


def test_images_of_any_depth(call, train, own):
    """16 bits, grey, RGBA: read, trained on and drawn."""
    rgb = picture(64, 64)
    kinds = [rgb.astype(np.uint16) * 257, rgb[:, :, 0], cv2.cvtColor(rgb, cv2.COLOR_BGR2BGRA),
             (rgb[:, :, 0].astype(np.uint16)) * 257]  # fmt: skip
    for number, image in enumerate(kinds):
        write_image(own / "images" / f"im{number}.png", image)
    assert train(own).code == 0
    for phase in ("test", "eval"):
        assert call("--phase", phase, "--data_dir", own).code == 0


def test_a_model_remembers_how_its_images_were_read(call, train, own, tmp_path, monkeypatch):
    """16 bits of values below 256, whose upper 8 bits are all 0."""
    for path in sorted((own / "images").glob("*")):
        write_image(path, np.asarray(cv2.imread(str(path)), np.uint16))

    def told(run, *words):
        monkeypatch.setattr("DOTA_devkit.imaging.reading._told", set())
        ran = run(*words)
        assert ran.code == 0, ran.err
        return ran.out + ran.err

    stretched = "16 bits are stretched to 8, each image by its own percentiles"
    upper = "the upper 8 of 16 bits are used"
    assert stretched in told(train, own, "--run_dir", tmp_path / "a")
    path = tmp_path / "a" / "weights_dota" / "model_last.pth"
    assert read_checkpoint(path).reading.depth == "stretch"
    words = ("--phase", "eval", "--data_dir", own, "--weights", path)
    assert stretched in told(call, *words)
    assert upper in told(call, *words, "--depth", "high_byte")
    old = read_checkpoint(path)
    del old.extras["data"]["depth"]  # training took the upper bits before files told
    save_checkpoint(path, old)
    assert upper in told(call, *words)


def test_fewer_images_than_a_batch(train, data):
    ran = train(data, "--batch_size", 64)
    assert ran.code == 0 and "epoch 1/1  loss" in ran.out


def test_train_and_val_share_images(train, own):
    (own / "val.txt").write_text("im0\nim3\n")
    assert_refused(train(own), "1 of 2 validation images", "im0", "--allow_overlap")
    assert train(own, "--allow_overlap").code == 0


# Checkpoints that cannot be used ----------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def bad_file(kind, path):
    if kind == "empty":
        path.touch()
    elif kind == "cut off":
        saved(path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "code":
        torch.save({"epoch": 1, "model_state_dict": Evil()}, path)
    elif kind == "plain pickle":
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == "another model":
        torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    "kind, part",
    [
        ("empty", "0 bytes"),
        ("cut off", "truncated or damaged"),
        ("code", "could run code"),
        ("plain pickle", ""),
        ("another model", "no weights of this detector"),
        ("folder", ""),
    ],
)
@pytest.mark.parametrize("phase", ["test", "eval", "--resume_train", "--finetune"])
def test_a_bad_checkpoint(call, data, tmp_path, kind, part, phase):
    path = bad_file(kind, tmp_path / "x.pth")
    words = ["--data_dir", data]
    if phase.startswith("-"):
        words += ["--phase", "train", phase, path]
    else:
        words += ["--phase", phase, "--weights", path]
    assert_refused(call(*words), path, part)
    assert not (tmp_path / "pwned").exists()


def test_a_checkpoint_without_the_state_of_an_optimizer(call, data, tmp_path):
    path = saved(tmp_path / "x.pth")
    ran = call("--phase", "train", "--data_dir", data, "--resume_train", path)
    assert_refused(ran, path, "--finetune")


# Disks and signals ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights_dota", "result_dota", "run"])
def test_a_file_in_the_place_of_a_folder(call, train, data, trained, tmp_path, name):
    (tmp_path / name).touch()
    if name == "weights_dota":
        assert_refused(train(data), "weights_dota")
    elif name == "run":
        assert_refused(train(data, "--run_dir", tmp_path / "run"), "run")
    else:
        for phase in ("test", "eval"):
            words = ["--data_dir", data, "--weights", trained / "weights_dota" / "model_last.pth"]
            assert_refused(call("--phase", phase, *words), "result_dota")


def test_a_full_disk(call, train, data, tmp_path):
    """Files above 1 MB cannot be written: the checkpoint of the epoch before stays."""
    assert train(data).code == 0
    last = tmp_path / "weights_dota" / "model_last.pth"
    before = last.read_bytes()
    with files_of_at_most(1 << 20):
        ran = call("--phase", "train", "--data_dir", data, "--resume_train", "--epochs", 2)
    assert_refused(ran, "model_", "File too large", "unchanged")
    assert last.read_bytes() == before
    assert not list((tmp_path / "weights_dota").glob("*.tmp"))


@pytest.mark.parametrize("phase", ["train", "test", "eval"])
def test_a_disk_that_is_full_from_the_start(call, data, trained, tmp_path, phase):
    """Only files of a few lines can be written."""
    words = ["--phase", phase, "--data_dir", data]
    if phase == "train":
        words += TINY
    else:
        words += ["--weights", trained / "weights_dota" / "model_last.pth"]
    with files_of_at_most(200):
        ran = call(*words)
    assert_refused(ran, "File too large")


def press_ctrl_c(folder, words, when):
    """What a process of its own says on SIGINT (which its workers get too) once `when()` holds."""
    with open(folder / "stdout.txt", "w+") as out, open(folder / "stderr.txt", "w+") as err:
        process = subprocess.Popen(
            [sys.executable, ROOT / "main.py", *map(str, words)],
            cwd=folder, stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
        try:
            until = time.monotonic() + 120
            while not when() and process.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(timeout=60)
        finally:
            process.kill()
    return Ran(code, *((folder / f"std{name}.txt").read_text() for name in ("out", "err")))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_keeps_the_last_epoch(data, tmp_path, workers):
    words = ["--phase", "train", "--data_dir", data, *TINY, "--epochs", 500]
    last = tmp_path / "weights_dota" / "model_last.pth"
    ran = press_ctrl_c(tmp_path, [*words, "--num_workers", workers], last.is_file)
    assert_refused(ran, "stopped by Ctrl-C; the last finished epoch", "--resume_train", code=130)
    checkpoint = read_checkpoint(last)
    assert checkpoint.epoch >= 1 and len(checkpoint.history) == checkpoint.epoch
    assert not list(last.parent.glob("*.tmp"))


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_predicted(call, trained, tmp_path):
    """The same command goes on where it was stopped."""
    write_image(tmp_path / "large.png", picture(1200, 1200))
    words = ["--phase", "predict", "--source", "large.png", "--tile", 64, "--batch_size", 1,
             "--formats", "json", "--weights", trained / "weights_dota/model_last.pth"]  # fmt: skip

    def begun():
        journals = tmp_path.glob("result_predict/progress-*/*.jsonl")
        return any(path.read_bytes().count(b"\n") > 3 for path in journals)

    ran = press_ctrl_c(tmp_path, words, begun)
    assert_refused(ran, "stopped by Ctrl-C; what is done so far", "the same command", code=130)
    assert "epoch" not in ran.err and not Path("result_predict/detections.json").exists()
    again = call(*words)
    assert again.code == 0 and "going on with a run that was stopped" in again.out
    assert Path("result_predict/detections.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["exporting", "tracing", "building", "comparing"])
def test_ctrl_c_leaves_no_half_exported_file(trained, tmp_path, step):
    pytest.importorskip("onnxruntime")
    write_image(tmp_path / "images/a.png", picture(64, 64))
    words = ["--phase", "export", "--weights", trained / "weights_dota/model_last.pth",
             "--source", "images", "--output", "made.onnx"]  # fmt: skip
    ran = press_ctrl_c(tmp_path, words, lambda: step in (tmp_path / "stdout.txt").read_text())
    assert_refused(ran, "stopped by Ctrl-C; no file was written", code=130)
    assert not list(tmp_path.glob("*made*")) and "epoch" not in ran.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phase", "where", "kept"),
    [
        ("train", "train.DetectionLoss.forward", "the last finished epoch"),
        ("test", "inference.postprocess", "starts over with the first image"),
        ("eval", "inference.postprocess", "starts over with the first image"),
        ("predict", "deploy.predict.pipeline.detect_batch", "what is done so far"),
        ("benchmark", "deploy.benchmark.time_stages", "no times were written"),
        ("export", "deploy.export.pipeline.compare", "no file was written"),
    ],
)
def test_a_ctrl_c_that_a_library_swallows(call, data, trained, monkeypatch, phase, where, kept):
    """C++ that asks for an attribute clears all exceptions, and the work would go on."""
    pytest.importorskip("onnxruntime")
    target, _, name = where.rpartition(".")
    owner = pkgutil.resolve_name(target)
    inner = getattr(owner, name)

    def deaf(*args, **kwargs):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return inner(*args, **kwargs)

    monkeypatch.setattr(owner, name, deaf)
    model = ["--weights", trained / "weights_dota/model_last.pth"]
    labelled, images = ["--data_dir", data], ["--source", data / "images"]
    words = {
        "train": [*labelled, *TINY],
        "test": [*model, *labelled],
        "eval": [*model, *labelled],
        "export": [*model, *images, "--output", "made.onnx"],
    }.get(phase, [*model, *images])
    ran = call("--phase", phase, *words)
    assert_refused(ran, "stopped by Ctrl-C", kept, code=130)
    assert not list(Path.cwd().rglob("*made*")) + list(Path.cwd().rglob("model_*.pth"))


def test_a_ctrl_c_that_a_library_makes_another_error(call, monkeypatch, data):
    def fails(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ValueError("a callback failed") from error

    monkeypatch.setattr("train.DetectionLoss.forward", fails)
    ran = call("--phase", "train", "--data_dir", data, *TINY)
    assert_refused(ran, "stopped by Ctrl-C", code=130)


def test_a_run_that_stops_for_non_finite_losses(train, data, monkeypatch):
    monkeypatch.setattr(
        trainer.DetectionLoss, "forward",
        lambda self, maps, targets, logits: {"hm": maps["hm"].sum() * float("nan")},
    )  # fmt: skip
    ran = train(data, "--epochs", 30, "--batch_size", 1)
    assert_refused(ran, "20 steps in a row", "bad_batches.txt", "model_last.pth", "--resume_train")


def test_verbose_shows_the_traceback(call, data):
    from DOTA_devkit.errors import InputError

    with pytest.raises(InputError):
        call("--verbose", "--phase", "eval", "--data_dir", data)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_output_that_is_full(capsys, monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = program.main(["--phase", "info", "--backbone", "mobilenetv2", "--input_h", "64"])
        full.flush()  # and nothing is left that would fail at exit
    assert code == 2
    assert capsys.readouterr().err == "error: standard output: No space left on device\n"
