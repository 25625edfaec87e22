"""The command line of the devkit: one module a command, each with `add_parser` and `run`.

Only this package knows argparse, prints to stdout and turns errors into exit codes: 0 on success
alone, 2 for what the user gave, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from DOTA_devkit.commands import convert, evaluate, lists, merge, split, stats, submit
from DOTA_devkit.errors import InputError

COMMANDS = (split, merge, evaluate, convert, lists, stats, submit)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m DOTA_devkit",
        description="Split, list, merge, score, convert and check DOTA-style data.",
        epilog="`python -m DOTA_devkit COMMAND --help` tells what a command takes.",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    # OpenCV reads GeoTIFFs well, but complains of each tag that it does not know.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("DOTA_devkit").setLevel(logging.INFO)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # class names that the console cannot show
            stream.reconfigure(errors="backslashreplace")
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0
