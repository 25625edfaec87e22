"""Check training, detection and export on a device in at most ten minutes, and print a table.

python -m benchmarks.device_check
python -m benchmarks.device_check --device cuda:1 --only train,resume --json found.json

It runs the phases of `main.py` on a small set of drawn images: they train, resume, detect and
export. Their results are compared with those in float32 and those on the CPU, and the speed is
measured. Run it first on a machine with a GPU. The exit code is 1 if a check has failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.device_checks import CHECKS, ONLY_BY_NAME_ON_CPU
from benchmarks.device_workspace import CheckFailed, CheckSkipped, Workspace
from cli.devices import default_device
from DOTA_devkit.files import replacing
from DOTA_devkit.tables import format_table

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Result:
    """The result of a check, a row of the table.

    Attributes:
        check: Name of the check.
        result: passed, failed or skipped.
        seconds: Seconds that the check took.
        note: The measured result, the cause of the failure, or the missing requirement.
        output: Output of the failed command, empty if no command failed.
    """

    check: str
    result: str
    seconds: float
    note: str
    output: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.device_check", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--device", metavar="DEVICE",
        help="cpu, cuda or cuda:N (default: cuda with a GPU, else cpu)")  # fmt: skip
    add("--only", metavar="A,B", help=f"run only these checks, of {', '.join(CHECKS)}")
    add("--json", type=Path, metavar="FILE",
        help="also write the table as JSON, with the output of failed commands")  # fmt: skip
    add("--minutes", type=float, default=10.0, metavar="N",
        help="time for all checks; unfinished ones fail (default: %(default)g)")  # fmt: skip
    add("--keep", type=Path, metavar="DIR", help="new folder to work in, which is kept")
    args = parser.parse_args(arguments)
    names = list(CHECKS) if args.only is None else args.only.split(",")
    if unknown := [name for name in names if name not in CHECKS]:
        parser.error(f"unknown check {unknown[0]!r}: choose from {', '.join(CHECKS)}")
    device = args.device or default_device()
    if args.json is not None and not args.json.parent.is_dir():
        parser.error(f"--json {args.json}: there is no folder {args.json.parent}")
    if args.keep is not None:
        if args.keep.exists():
            parser.error(f"--keep {args.keep} exists already; a new folder is expected")
        args.keep.mkdir(parents=True)
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = temporary if args.keep is None else args.keep
        work = Workspace(Path(folder).resolve(), device, 60 * args.minutes)
        for result in run_checks(work, names, by_name=args.only is not None):
            results.append(result)
            print(f"{result.check}: {result.result} ({result.seconds:.0f} s)", flush=True)
    print(f"\n{table(results)}")
    if args.json is not None:
        with replacing(args.json, "w") as file:
            json.dump(
                {"device": device, "checks": [asdict(one) for one in results]}, file, indent=1
            )
    failed = sum(one.result == FAILED for one in results)
    print(f"\n{failed} of {len(results)} checks failed on {device}")
    return 1 if failed else 0


def run_checks(work: Workspace, names: Iterable[str], by_name: bool) -> Iterable[Result]:
    """Run checks one after the other.

    Args:
        work: Workspace of the checks.
        names: Names of the checks.
        by_name: Whether the checks were selected by name. If not, those in `ONLY_BY_NAME_ON_CPU`
            are skipped on a CPU.
    """
    for name in names:
        begin = time.monotonic()
        output = ""
        try:
            if not by_name and not work.on_gpu and name in ONLY_BY_NAME_ON_CPU:
                raise CheckSkipped(ONLY_BY_NAME_ON_CPU[name])
            if work.seconds_left() <= 0:
                raise CheckFailed(
                    f"--minutes ran out before this check started; --only {name} runs it alone"
                )
            result, note = PASSED, CHECKS[name](work)
        except CheckSkipped as skipped:
            result, note = SKIPPED, str(skipped)
        except CheckFailed as error:
            result, note, output = FAILED, str(error), error.output
        except Exception as error:  # such as a result file that cannot be read
            result, note = FAILED, f"{type(error).__name__}: {error}"
        note = " ".join(note.split())
        yield Result(name, result, time.monotonic() - begin, note, output)


def table(results: Sequence[Result]) -> str:
    """Format the results as text."""
    rows = format_table(
        [("check", "result", "seconds"),
         *((one.check, one.result, f"{one.seconds:.0f}") for one in results)]
    ).splitlines()  # fmt: skip
    notes = ["", *(one.note for one in results)]
    return "\n".join(f"{row}  {note}".rstrip() for row, note in zip(rows, notes, strict=True))


if __name__ == "__main__":
    sys.exit(main())
