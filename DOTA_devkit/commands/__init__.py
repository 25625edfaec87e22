"""The command line of the devkit: one module per command, each with `add_parser` and `run`.

All code that uses argparse, prints to stdout, names flags and turns errors into exit codes (0 only
for success, 1 for data or results with errors, 2 for bad input, 130 for Ctrl-C, 143 for
SIGTERM) belongs here. The work itself does not.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from DOTA_devkit import interrupts
from DOTA_devkit.commands import convert, doctor, evaluate, lists, merge, split, stats, submit
from DOTA_devkit.commands.arguments import CommandParser, name_flags
from DOTA_devkit.errors import InputError
from DOTA_devkit.terminal import VisibleFormatter, visible

COMMANDS = (split, merge, evaluate, convert, lists, stats, doctor, submit)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; parsed arguments have the command's `run` function."""
    parser = argparse.ArgumentParser(
        prog="python -m DOTA_devkit",
        description="Split, list, merge, score, convert and check DOTA-style data.",
        epilog="Run `python -m DOTA_devkit COMMAND --help` for the arguments of a command.",
    )
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=CommandParser
    )
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: command and arguments, by default those of the process.

    Returns:
        The exit code: 0 for success, 1 if the reader of the output went away or `doctor` found
        errors, 2 for bad input or a failed file operation, 130 for Ctrl-C, 143 for
        SIGTERM.
    """
    # OpenCV reads GeoTIFFs well, but warns about each tag that it does not know.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("DOTA_devkit").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # class names that the console cannot show
            stream.reconfigure(errors="backslashreplace")
    arguments = build_parser().parse_args(argv)
    with interrupts.remembered():
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    try:
        code = arguments.run(arguments) or 0
        sys.stdout.flush()
    except BrokenPipeError:  # the reader is gone, as after `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (InputError, OSError) as error:
        message = name_flags(str(error), vars(arguments))
        print(f"error: {visible(message)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return interrupts.cause()[1]
    return code
