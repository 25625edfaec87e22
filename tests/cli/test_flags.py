"""Flags with invalid values, and flags that contradict each other or the data."""

import sys
from pathlib import Path

import pytest

from helpers.command_line import assert_refused


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ("--phase fly", ["--phase", "fly", "train"]),
        ("--backbone vgg16", ["--backbone", "vgg16", "resnet101", "or timm/NAME"]),
        ("--backbone mobilenetv3", ["'mobilenetv3' (did you mean mobilenetv2?)"]),
        ("--backbone timm/", ["--backbone", "or timm/NAME for a model of timm expected", "timm/"]),
        ("--device tpu9", ["--device", "tpu9"]),
        ("--device cuda:77", ["cuda:77 is not available"]),
        ("--epochs 0", ["--epochs", "a whole number above 0 expected, got '0'"]),
        ("--neck 9999999999", ["--neck", "a whole number from 1 to 4096 expected, got '99999999"]),
        ("--head_conv 0", ["--head_conv", "a whole number from 1 to 4096 expected, got '0'"]),
        ("--batch_size x", ["--batch_size", "'x'"]),
        ("--init_lr -1", ["--init_lr", "'-1'"]),
        ("--init_lr nan", ["--init_lr", "'nan'"]),
        ("--conf_thresh 1.5", ["--conf_thresh", "from 0 to 1", "'1.5'"]),
        ("--conf_thresh 0.1,plane", ["--conf_thresh", "CLASS=number", "'plane'"]),
        ("--phase predict --formats json,label-studio", ["'label-studio' (did you mean labelst"]),
        ("--phase eval --metric voc99", ["--metric", "voc07"]),
        ("--no_such_flag", ["--no_such_flag"]),
    ],
)
def test_invalid_flag_values(run_cli, flags, parts):
    result = run_cli(*flags.split())
    assert_refused(result, *parts)
    assert len(result.err.splitlines()) == 1  # no usage text


@pytest.mark.parametrize(
    ("flags", "parts"),
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
def test_inconsistent_flags(run_cli, data, flags, parts):
    arguments = ["--phase", "train", "--data_dir", data, "--backbone", "mobilenetv2"]
    result = run_cli(*arguments, *flags.split())
    assert_refused(result, *parts)
    assert not list(Path().glob("weights_*"))


def test_timm_that_is_not_installed(run_cli, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    result = run_cli("--phase", "train", "--data_dir", data, "--backbone", "timm/resnet18")
    assert_refused(result, "backbone 'timm/resnet18' needs timm: pip install -e '.[timm]'")
    assert not list(Path().glob("weights_*"))
