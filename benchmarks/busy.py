"""Time model files on an idle machine and beside other work, in turns.

python -m benchmarks.busy model.pth model.onnx
python -m benchmarks.busy model.pth --burners 4

Each file runs with one thread and with one per core, and checkpoints also with the long waits of
OpenMP's threads that are usual without this project. Each of them has a process of its own. They
take turns, first alone and then beside processes that keep a core busy each, so that whatever else
the machine does affects all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deploy.detector import Detector
from deploy.runtimes.registry import require_file, runtimes_of_file
from DOTA_devkit.cores import busy_cores, network_threads
from DOTA_devkit.errors import InputError
from DOTA_devkit.tables import format_table

LONG_WAIT = {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}
"""The defaults of GNU's OpenMP, and of LLVM's and Intel's."""

BURNER = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
"""Keeps a core busy as long as the process that started it exists."""

PAUSE_S = 0.15
"""Seconds before each turn, as threads of the turn before may still be waiting."""


@dataclass
class Row:
    """A file, run in one way.

    Attributes:
        file: The model file.
        runtime: Name of the runtime.
        threads: CPU threads.
        long_wait: Whether OpenMP's threads wait as long as they do by default.
        times: Milliseconds per image of each turn, alone and beside other work.
    """

    file: Path
    runtime: str
    threads: int
    long_wait: bool = False
    times: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def start(self) -> subprocess.Popen:
        """Start the process that runs the file; it prints a line when it is ready."""
        code = f"from benchmarks.busy import serve; serve(*{[str(self.file), self.runtime]!r}, "
        return subprocess.Popen(
            [sys.executable, "-c", f"{code}{self.threads})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | (LONG_WAIT if self.long_wait else {}),
            text=True,
        )


def main() -> None:
    """Run the command."""
    from deploy.benchmark import (
        processor,  # with PyTorch, which the processes of files need not load
    )

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="checkpoints and exported files")
    add("--burners", type=int, default=1, help="busy processes beside them (%(default)s)")
    add("--turns", type=int, default=9, help="turns, whose medians are shown (%(default)s)")
    args = parser.parse_args()
    try:
        for file in args.files:
            require_file(file)
    except InputError as error:
        parser.error(str(error))
    threads = network_threads()
    rows = []
    for file in args.files:
        for runtime in runtimes_of_file(file):
            rows += [Row(file, runtime, count) for count in sorted({1, threads})]
            if runtime == "pytorch":
                rows.append(Row(file, runtime, threads, long_wait=True))
    load = busy_cores()
    shown = "unknown" if load is None else f"{load:.1f}"
    print(f"{processor()}, {os.cpu_count()} cores, load {shown}")
    measure(rows, args.burners, args.turns)
    print(table(rows, args.burners))


def measure(rows: list[Row], burners: int, turns: int) -> None:
    """Fill in the times of the rows."""
    children = [row.start() for row in rows]
    burning: list[subprocess.Popen] = []
    try:
        for child in children:
            if not child.stdout.readline():
                raise SystemExit("a model could not be run, see above")
        for phase in (0, 1):
            if phase == 1:
                burning = [subprocess.Popen([sys.executable, "-c", BURNER]) for _ in range(burners)]
            for _ in range(turns):
                for row, child in zip(rows, children, strict=True):
                    time.sleep(PAUSE_S)
                    child.stdin.write("run\n")
                    child.stdin.flush()
                    row.times[phase].append(float(child.stdout.readline()))
    finally:
        for process in children + burning:
            process.kill()
            process.wait()


def table(rows: list[Row], burners: int) -> str:
    """Format the medians of all rows as text."""
    cells: list[tuple[object, ...]] = [
        ("model", "runtime", "threads", "waits", "alone ms", f"beside {burners} ms")
    ]
    for row in rows:
        waits = ("long" if row.long_wait else "short") if row.runtime == "pytorch" else ""
        medians = (f"{statistics.median(times):.1f}" for times in row.times)
        cells.append((row.file.name, row.runtime, row.threads, waits, *medians))
    return format_table(cells)


def serve(file: str, runtime: str, threads: int) -> None:
    """Load a file, and time one image for each line of standard input."""
    detector = Detector.load(file, runtime=runtime, threads=threads)
    image = np.zeros((*detector.input_hw, 3), np.uint8)
    detector.detect(image)
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        detector.detect(image)
        print(1000 * (time.perf_counter() - begin), flush=True)


if __name__ == "__main__":
    main()
