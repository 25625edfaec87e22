"""One set of flags a phase: what each takes, refuses, accepts without effect, and lists as help."""

import re
from pathlib import Path

import pytest

from cli.flags import FLAGS
from cli.parsing import parse_args
from cli.phases import PHASES
from helpers.paths import ROOT

ABOUT = {name: phase.about for name, phase in PHASES.items()}
ORIGINAL = {
    "--num_epoch": "1", "--batch_size": "2", "--num_workers": "0", "--init_lr": "0.1",
    "--input_h": "64", "--input_w": "64", "--K": "9", "--conf_thresh": "0.2", "--ngpus": "1",
    "--resume_train": "a.pth", "--resume": "a.pth", "--dataset": "hrsc", "--data_dir": "d",
    "--wh_channels": "8",
}  # fmt: skip
"""Each flag of the original's main.py with a value, but for --phase."""


def parse(*words):
    return parse_args([str(word) for word in words], ABOUT)


def refusal(capsys, *words):
    """The one line that a command line is refused with."""
    with pytest.raises(SystemExit) as stopped:
        parse(*words)
    said = capsys.readouterr()
    assert stopped.value.code == 2 and said.out == ""
    (line,) = said.err.splitlines()
    return line


def help_text(capsys, *words):
    with pytest.raises(SystemExit) as stopped:
        parse(*words, "--help")
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("phase", PHASES)
def test_help_lists_the_flags_of_the_phase_alone(capsys, phase):
    listed = help_text(capsys, "--phase", phase).split()
    listed = {word.strip("[],") for word in listed if word.startswith(("--", "[--"))}
    taken = {name for flag in FLAGS if phase in flag.phases for name in flag.names}
    others = {name for flag in FLAGS for name in flag.names} - taken
    assert taken <= listed
    # a help text may name a flag of its own phase only
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
    idle = [flag for flag in FLAGS if phase not in flag.phases + flag.idle_in]
    assert idle
    for flag in idle:
        for name in flag.names:
            line = refusal(capsys, "--phase", phase, name, "1")
            assert f"--phase {phase} does not take {name}" in line
            assert all(owner in line for owner in flag.phases)


@pytest.mark.parametrize("phase", ["train", "test", "eval"])
def test_flags_of_the_original(phase):
    """Each keeps its meaning in the phases that it had one for, and is accepted in the others."""
    idle = {"train": {"--wh_channels"}, "test": {"--num_epoch", "--init_lr", "--ngpus",
            "--resume_train", "--wh_channels"}}  # fmt: skip
    given = {k: v for k, v in ORIGINAL.items() if (phase, k) != ("train", "--resume")}
    args = parse("--phase", phase, *(word for pair in given.items() for word in pair))
    assert set(args.idle) == idle.get(phase, idle["test"])
    assert (args.batch_size, args.K, args.dataset, args.data_dir) == (2, 9, "hrsc", Path("d"))


def test_the_default_phase_is_the_one_of_the_original():
    assert parse().phase == "test"


def test_flags_of_other_phases_have_their_defaults():
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
    ],
)
def test_refusals(capsys, words, parts):
    line = refusal(capsys, *words)
    assert all(part in line for part in parts)


def test_abbreviations_are_those_of_the_phase():
    """As in the original, whose parser takes them."""
    assert parse("--phase", "train", "--backb", "resnet18").backbone == "resnet18"
    assert parse("--phase", "predict", "--over", "7").overlap == 7
