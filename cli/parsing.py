"""The command line -> the arguments of one phase."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from cli.console import fail
from cli.flags import FLAGS
from DOTA_devkit.errors import did_you_mean

DEFAULT_PHASE = "test"

# What the user of a flag probably wants, where another phase has a way of its own to do it.
_INSTEAD = {
    ("train", "--weights"): "to train from a checkpoint use --resume_train (resume its run) or "
    "--finetune (start with its weights)",
}


class Parser(argparse.ArgumentParser):
    """Reports a wrong flag in one line, as all other errors, instead of below a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        sys.exit(fail(f"{message}; --help lists all flags", 2))


def parse_args(argv: Sequence[str] | None, phases: Mapping[str, str]) -> argparse.Namespace:
    """Parse the command line of one phase.

    Args:
        argv: the words behind the program's name; those of the process by default.
        phases: name of each phase -> what it does, in a few words.

    Returns:
        `phase`, `verbose`, `idle` (names of given flags that have no effect in this phase),
        `given` (attributes of the flags that were given), `words` (the command line itself), and
        one attribute per flag of any phase; those that this phase does not take have their
        defaults.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in phases:  # as in `yolo predict`
        sys.exit(fail(f"expected --phase {words[0]}, got {words[0]} without --phase", 2))
    phase = _phase_of(words, phases)
    idle = _idle_flags(words, phase)
    parser = Parser(
        description=f"--phase {phase}: {phases[phase]}",
        epilog="Without --data_dir the built-in sample set is used."
        if phase in ("train", "test", "eval")
        else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_common(parser, phases)
    groups: dict[str, argparse._ArgumentGroup] = {}
    for flag in FLAGS:
        if phase in flag.phases + flag.idle_in:
            if flag.group not in groups:
                groups[flag.group] = parser.add_argument_group(flag.group)
            flag.add_to(groups[flag.group], phase)
    defaults = {flag.dest: flag.options.get("default", _no_value(flag.options)) for flag in FLAGS}
    args = parser.parse_args(words, argparse.Namespace(**defaults, idle=idle))
    args.given = _given_flags(words, phase)
    args.words = words
    return args


def _given_flags(words: Sequence[str], phase: str) -> frozenset[str]:
    """Find the attributes of the flags that were given: a given one may equal its default."""
    parser = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    _add_common(parser, (phase,))
    for flag in FLAGS:
        if phase in flag.phases:
            parser.add_argument(*flag.names, **{**flag.options, "default": argparse.SUPPRESS})
    return frozenset(vars(parser.parse_known_args(words)[0]))


def _no_value(options: Mapping[str, object]) -> bool | None:
    return False if options.get("action") == "store_true" else None


def _add_common(parser: argparse.ArgumentParser, phases: Mapping[str, str]) -> None:
    parser.add_argument(
        "--phase",
        default=DEFAULT_PHASE,
        choices=tuple(phases),
        help="what to do (default: %(default)s)",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="log more, and show tracebacks of errors"
    )


def _phase_of(words: Sequence[str], phases: Mapping[str, str]) -> str:
    """Return the phase; print the overview if only help is asked for."""
    parser = Parser(add_help=False)
    _add_common(parser, phases)
    asked, rest = parser.parse_known_args(words)
    named = any(word.startswith("--ph") for word in words)
    if not named and {"-h", "--help"} & set(rest):
        print(_overview(phases))
        sys.exit(0)
    return asked.phase


def _overview(phases: Mapping[str, str]) -> str:
    width = max(map(len, phases))
    lines = [f"  {name:<{width}}  {text}" for name, text in phases.items()]
    return "\n".join(
        [
            "usage: main.py [--phase PHASE] [flags of the phase]",
            "",
            "Oriented object detection with box boundary-aware vectors",
            "",
            f"phases (default: {DEFAULT_PHASE}):",
            *lines,
            "",
            "python main.py --phase PHASE --help lists the flags of a phase.",
        ]
    )


def _idle_flags(words: Sequence[str], phase: str) -> list[str]:
    """Find the flags that this phase accepts without effect; exit for one that it refuses.

    This comes before parsing, as argparse would take a flag that it does not know for the
    abbreviation of one that it does (`--format` of export for `--formats` of predict).
    """
    known = {name: flag for flag in FLAGS for name in flag.names}
    idle = []
    for word in words:
        name = word.partition("=")[0]
        if name not in known:
            if name.startswith("--") and not _abbreviates(name, phase):
                sys.exit(fail(_unknown(name, phase), 2))
        elif phase in known[name].idle_in:
            idle.append(name)
        elif phase not in known[name].phases:
            owners = ", ".join(known[name].phases or known[name].idle_in)
            instead = next(
                (f"; {_INSTEAD[phase, own]}" for own in known[name].names
                 if (phase, own) in _INSTEAD), "",
            )  # fmt: skip
            sys.exit(fail(f"--phase {phase} does not take {name}; it is for {owners}{instead}", 2))
    return idle


def _names(phase: str) -> list[str]:
    own = [name for flag in FLAGS if phase in flag.phases + flag.idle_in for name in flag.names]
    return ["--phase", "--verbose", "--help", *own]


def _abbreviates(name: str, phase: str) -> bool:
    return any(known.startswith(name) for known in _names(phase))


def _unknown(name: str, phase: str) -> str:
    meant = did_you_mean(name, _names(phase))
    return f"--phase {phase} has no flag {name}{meant}; --help lists all flags"
