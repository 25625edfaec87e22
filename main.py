"""Parse the command line and run one phase.

python main.py --phase train --backbone resnet18
python main.py --phase test
python main.py --phase eval

Without --data_dir the three use a built-in sample set. The flags are in `cli.flags`. Errors in the
user's input end in one line and an exit code other than 0.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr
from functools import partial
from io import StringIO

from cli.console import explain, fail, set_up_logging
from cli.parsing import parse_args
from cli.phases import PHASES
from cli.wording import name_flags
from DOTA_devkit import interrupts
from DOTA_devkit.cores import wait_briefly
from processes.numbers import ProcessNumbers

logger = logging.getLogger("bbavectors")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one phase; the exit code is 0 only if it did what was asked for."""
    wait_briefly()  # before the phase imports PyTorch
    numbers = ProcessNumbers.of()
    # What is wrong with the command line, the first of several processes says.
    with nullcontext() if numbers.rank == 0 else redirect_stderr(StringIO()):
        args = parse_args(argv, {name: phase.about for name, phase in PHASES.items()})
    phase = PHASES[args.phase]
    another = phase.sharing != "apart" and numbers.rank > 0
    named = partial(name_flags, phase=args.phase, quoted_only=True)
    set_up_logging(args.verbose, named, silent=another)
    if another and phase.sharing == "alone":
        return 0
    for name in args.idle:
        logger.warning("%s has no effect in --phase %s", name, args.phase)
    with interrupts.remembered():
        try:
            return phase.run(args) or 0
        except (KeyboardInterrupt, Exception) as error:
            lost = type(error).__name__ == "ProcessLost"
            # a library may have turned the KeyboardInterrupt into an error of its own
            if isinstance(error, KeyboardInterrupt) or (interrupts.pressed() and not lost):
                what, code = interrupts.cause()
                if another:
                    return code
                kept = phase.advice.kept
                if isinstance(error, interrupts.Interrupted):
                    kept = name_flags(str(error), args.phase)
                return fail(f"stopped by {what}; {kept}", code)
            message = explain(error, phase.advice, partial(name_flags, phase=args.phase))
            if message is None or args.verbose:
                raise
            if another and not lost:  # which names its process itself
                message = f"process {numbers.rank}: {message}"
            return fail(message, 2)


if __name__ == "__main__":
    sys.exit(main())
