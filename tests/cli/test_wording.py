"""Flags in place of the parameter names in error messages."""

import pytest

from cli.wording import name_flags


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        # a plain word is a parameter only at the start of the message
        ("overlap must be smaller than the window, got an overlap of 9",
         "--overlap must be smaller than the window, got an overlap of 9"),
        ("source a.png: no such file", "--source a.png: no such file"),
        # other identifiers are parameters anywhere
        ("a.onnx was exported with other settings: conf_thresh 0.1: it has 0.2; K 5: it has 3",
         "a.onnx was exported with other settings: --conf_thresh 0.1: it has 0.2; --K 5: it has 3"),
        # flags are kept
        ("--conf_thresh 2: a number from 0 to 1 expected", "--conf_thresh 2: a number from 0 to 1 "
         "expected"),
        # plain words in backticks are parameters
        ("there are files already; choose another `output`, not `this`",
         "there are files already; choose another --output, not `this`"),
        # parts of paths, quoted names, calls and assignments are not parameters
        ("runs/batch_size/a.txt:3: no number", "runs/batch_size/a.txt:3: no number"),
        ("metadata lacks 'theta_thresh'", "metadata lacks 'theta_thresh'"),
        ("Detector.load(f, conf_thresh=0.3)", "Detector.load(f, conf_thresh=0.3)"),
        # parameters of another phase, and other words
        ("min_size 3", "min_size 3"),
        ("a_b c", "a_b c"),
        ("", ""),
    ],
)  # fmt: skip
def test_name_flags(message, expected):
    assert name_flags(message, "predict") == expected


def test_name_flags_of_a_log_line():
    line = "batch_size 4, K 500: raise `K`, or give `crs`"
    assert name_flags(line, "predict", quoted_only=True) == (
        "batch_size 4, K 500: raise --K, or give --crs"
    )


def test_name_flags_with_flags_of_other_names():
    assert name_flags("a lower lr", "train") == "a lower --init_lr"
    assert name_flags("epochs 0: at least 1 expected", "train") == (
        "--num_epoch 0: at least 1 expected"
    )
