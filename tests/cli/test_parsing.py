"""The flags of each phase: taken, refused, accepted without effect, and listed in the help."""

import re
from pathlib import Path

import pytest

from cli.flags import FLAGS
from cli.parsing import parse_args
from cli.phases import PHASES
from helpers.paths import ROOT

ABOUT = {name: phase.about for name, phase in PHASES.items()}
ORIGINAL_FLAGS = {
    "--num_epoch": "1", "--batch_size": "2", "--num_workers": "0", "--init_lr": "0.1",
    "--input_h": "64", "--input_w": "64", "--K": "9", "--conf_thresh": "0.2", "--ngpus": "1",
    "--resume_train": "a.pth", "--resume": "a.pth", "--dataset": "hrsc", "--data_dir": "d",
    "--wh_channels": "8",
}  # fmt: skip
"""All flags of the original main.py except --phase, each with a value."""


def parse(*words):
    return parse_args([str(word) for word in words], ABOUT)


def refusal(capsys, *words):
    """Return the line of the error message of a refused command line."""
    with pytest.raises(SystemExit) as stopped:
        parse(*words)
    printed = capsys.readouterr()
    assert stopped.value.code == 2 and printed.out == ""
    (line,) = printed.err.splitlines()
    return line


def help_text(capsys, *words):
    """Return the help that a command line prints with `--help`."""
    with pytest.raises(SystemExit) as stopped:
        parse(*words, "--help")
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("phase", PHASES)
def test_help_lists_only_the_flags_of_the_phase(capsys, phase):
    listed = help_text(capsys, "--phase", phase).split()
    listed = {word.strip("[],") for word in listed if word.startswith(("--", "[--"))}
    taken = {name for flag in FLAGS if phase in flag.phases for name in flag.names}
    others = {name for flag in FLAGS for name in flag.names} - taken
    assert taken <= listed
    # nor does the description of a flag mention a flag of another phase
    assert not listed & others


def test_help_without_a_phase_names_the_phases(capsys):
    text = help_text(capsys)
    assert all(f"  {name} " in text and about in text for name, about in ABOUT.items())
    assert "--tile" not in text


def test_every_flag_is_used():
    """A flag without a line that reads it would be accepted and do nothing."""
    files = [ROOT / "main.py", *(ROOT / "cli").glob("*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    used = set(re.findall(r"\bargs\.(\w+)", code)) | set(re.findall(r'\bargs, "(\w+)"', code))
    assert {flag.dest for flag in FLAGS if flag.phases} <= used


@pytest.mark.parametrize("phase", PHASES)
def test_flags_of_other_phases_are_refused_by_name(capsys, phase):
    foreign = [flag for flag in FLAGS if phase not in flag.phases + flag.idle_in]
    assert foreign
    for flag in foreign:
        for name in flag.names:
            line = refusal(capsys, "--phase", phase, name, "1")
            assert f"--phase {phase} does not take {name}" in line
            assert all(owner in line for owner in flag.phases or flag.idle_in)


@pytest.mark.parametrize("phase", ["train", "test", "eval"])
def test_flags_of_the_original(phase):
    """A flag keeps its meaning in the phases that used it, and is accepted in the others."""
    idle = {"train": {"--wh_channels"}, "test": {"--num_epoch", "--init_lr",
            "--resume_train", "--wh_channels"}}  # fmt: skip
    given = {k: v for k, v in ORIGINAL_FLAGS.items() if (phase, k) != ("train", "--resume")}
    args = parse("--phase", phase, *(word for pair in given.items() for word in pair))
    assert set(args.idle) == idle.get(phase, idle["test"])
    assert (args.batch_size, args.K, args.dataset, args.data_dir) == (2, 9, "hrsc", Path("d"))


def test_default_phase_is_that_of_the_original():
    assert parse().phase == "test"


def test_flags_of_other_phases_have_default_values():
    args = parse("--phase", "info")
    assert args.source is None and args.models == () and args.overwrite is False
    assert args.min_size == 10.0 and args.head_bn is None


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--phase", "predict", "--format", "json"), ["does not take --format", "export"]),
        (("--phase", "predict", "--format=json"), ["does not take --format", "export"]),
        (("--phase", "predict", "--formta", "json"), ["no flag --formta", "--formats"]),
        (("--phase", "train", "--weights", "a"), ["--resume_train", "--finetune"]),
        (("--phase", "train", "--resume", "a"), ["--resume_train", "--finetune"]),
        (("--phase", "fly"), ["--phase", "'fly'", "train"]),
        (("predict", "--source", "a"), ["expected --phase predict"]),
    ],
)
def test_refused_flags(capsys, words, parts):
    line = refusal(capsys, *words)
    assert all(part in line for part in parts)


def test_flags_may_be_abbreviated_within_the_phase():
    """The parser of the original takes abbreviations, too."""
    assert parse("--phase", "train", "--backb", "resnet18").backbone == "resnet18"
    assert parse("--phase", "predict", "--overl", "7").overlap == 7
