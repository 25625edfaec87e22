"""Time model files alone and while other processes keep cores busy.

python -m benchmarks.busy model.pth model.onnx
python -m benchmarks.busy model.pth --burners 4

Each file runs with one thread and with one per core. Checkpoints also run with the default wait
time of OpenMP's threads, which this project shortens. Each of these configurations has a separate
process. Their runs are interleaved, so that other load on the machine affects all of them: first
without burners, then with burners, which are processes that each keep a core busy.
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
"""Default wait times of OpenMP: spin count in GNU's, milliseconds in LLVM's and Intel's."""

BURNER = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
"""Code that keeps a core busy until its parent process ends."""

PAUSE_S = 0.15
"""Seconds before each run, as threads of the previous run may still be spinning."""


@dataclass
class Row:
    """A configuration of a model file and its times, a row of the table.

    Attributes:
        file: The model file.
        runtime: Name of the runtime.
        threads: Number of CPU threads.
        long_wait: Whether OpenMP's threads use the default wait time.
        times: Milliseconds per image of each run, without and with burners.
    """

    file: Path
    runtime: str
    threads: int
    long_wait: bool = False
    times: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def start(self) -> subprocess.Popen:
        """Start the process that runs the file, and prints a line when it is ready."""
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
        processor,  # imports PyTorch, which the processes started by `Row.start` may not need
    )

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("files", nargs="+", type=Path, metavar="FILE", help="checkpoints and exported files")
    add("--burners", type=int, default=1, help="processes that keep a core busy (%(default)s)")
    add("--turns", type=int, default=9, help="runs of which the median is shown (%(default)s)")
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
    print(f"{processor()}, {os.cpu_count()} cores, load {shown}, --burners {args.burners}")
    measure(rows, args.burners, args.turns)
    print(table(rows))


def measure(rows: list[Row], burners: int, turns: int) -> None:
    """Fill in `times` of each row.

    Args:
        rows: The configurations to run.
        burners: Number of processes that keep a core busy in the second half.
        turns: Number of runs of each row, without burners and again with them.
    """
    children = [row.start() for row in rows]
    burning: list[subprocess.Popen] = []
    try:
        for child in children:
            if not child.stdout.readline():
                raise SystemExit("a model could not be run: see the error above")
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


def table(rows: list[Row]) -> str:
    """Format the medians of all rows as text."""
    cells: list[tuple[object, ...]] = [
        ("model", "runtime", "threads", "waits", "alone ms", "with burners ms")
    ]
    for row in rows:
        waits = ("long" if row.long_wait else "short") if row.runtime == "pytorch" else ""
        medians = (f"{statistics.median(times):.1f}" for times in row.times)
        cells.append((row.file.name, row.runtime, row.threads, waits, *medians))
    return format_table(cells)


def serve(file: str, runtime: str, threads: int) -> None:
    """Load a file, and print the milliseconds of one image for each line of standard input."""
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
