"""Jobs in several real processes, which find each other as those of torchrun do (gloo, CPU).

Run as a script, this forks a child for each process of each job.
"""

import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from helpers import forked_python
from helpers.paths import ROOT

TESTS = ROOT / "tests"


@dataclass
class Ended:
    """How a process of a job has ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str


def run_jobs(folder, jobs):
    """Run jobs one after the other.

    Args:
        folder: where the processes leave what they print.
        jobs: name -> {"count": processes, "call": [name of a function here, its arguments],
            "kill": [rank, signal, step] to send a signal to a process at the start of a step}.

    Returns:
        Name -> `Ended` of each process of the job.
    """
    folder.mkdir()
    done = forked_python.run(
        [sys.executable, __file__, json.dumps(jobs), str(folder)], cwd=ROOT, timeout=550,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{TESTS}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout.splitlines()[-1])
    return {
        name: [
            Ended(code, *((folder / f"{name}-{rank}.{end}").read_text() for end in ("out", "err")))
            for rank, code in enumerate(codes[name])
        ]
        for name in jobs
    }


def command(*words):
    """Run a command line and return its exit code."""
    import main

    return main.main(list(words))


def torchrun(*words):
    """Run a command line as torchrun does on each of several machines, with a restart.

    Its agents are those of PyTorch, and start one process each: forks, which have all imported.
    """
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    count = int(os.environ["WORLD_SIZE"])
    config = LaunchConfig(
        min_nodes=count, max_nodes=count, nproc_per_node=1, max_restarts=1, run_id="job",
        rdzv_backend="c10d", rdzv_endpoint=f"localhost:{os.environ['MASTER_PORT']}",
        local_addr="localhost", start_method="fork", monitor_interval=0.02,
    )  # fmt: skip
    elastic_launch(config, _end_with)(*words)
    return 0


def _end_with(*words):
    time.sleep(float(os.environ["RANK"]))  # so that what stands in the store is an earlier one's
    if (code := command(*words)) != 0:
        sys.stdout.flush()
        os._exit(code)


def learn(data, folder, backbone="tiny", **settings):
    """Train in float64, where only the order of sums differs; leave what this process has seen.

    Each process has a folder of its own, so that it shows who writes.
    """
    import torch

    import train as trainer
    from datasets import DataOptions, open_dataset
    from helpers.networks import tiny_model
    from processes.group import joined, process_rank
    from training.settings import TrainSettings

    with joined():
        folder = Path(folder, str(process_rank()))
        train_set = open_dataset("dota", data, "train", (64, 64), DataOptions())
        seen = Counter()
        read = type(train_set).__getitem__

        def counted(self, index):
            seen[int(index)] += 1
            return read(self, index)

        type(train_set).__getitem__ = counted
        torch.manual_seed(process_rank())  # the first weights are those of the first process
        model = tiny_model(
            backbone, seed=process_rank(), head_bn=True, box_coding="rectangle"
        ).double()  # fmt: skip
        model.register_forward_pre_hook(lambda module, given: (given[0].double(), *given[1:]))
        chosen = TrainSettings(
            num_workers=0, pictures=0, warmup_steps=2, optimizer="adamw", lr=1e-3, save_every=0,
            **settings,
        )  # fmt: skip
        history = trainer.train(model, train_set, chosen, folder, torch.device("cpu"))
        facts = {
            "history": history.rows,
            "seen": seen,
            "weights": sum(
                value.double().abs().sum().item() for value in model.state_dict().values()
            ),
            "speed": history.speed,
        }
        Path(f"{folder}.json").write_text(json.dumps(facts))
    return 0


def _free_port():
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def _send_signal_at_step(rank, number, step):
    """Let a process send itself a signal at the beginning of its nth step, from 1.

    That of a torchrun only does so before it is restarted.
    """
    import train as trainer

    if int(os.environ["RANK"]) != rank:
        return
    original, steps = trainer.train_step, []

    def train_step(*args):
        steps.append(1)
        if len(steps) == step and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
            os.kill(os.getpid(), number)
        return original(*args)

    trainer.train_step = train_step


def _child(job, rank, port, out, err):
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "localhost",
        "WORLD_SIZE": str(job["count"]), "LOCAL_WORLD_SIZE": str(job["count"]),
        "MASTER_PORT": str(port),
    }  # fmt: skip
    if "kill" in job:
        _send_signal_at_step(*job["kill"])
    name, *words = job["call"]
    options = words.pop() if words and isinstance(words[-1], dict) else {}
    return globals()[name](*words, **options)


def _run_job(name, job, folder):
    port = _free_port()
    children = []
    for rank in range(job["count"]):
        child = os.fork()
        if child == 0:
            code = 70
            try:
                paths = (folder / f"{name}-{rank}.{end}" for end in ("out", "err"))
                code = _child(job, rank, port, *paths)
            except SystemExit as stopped:
                code = stopped.code
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        children.append(child)
    codes, begin = {}, time.monotonic()
    while len(codes) < len(children):
        for child in set(children) - codes.keys():
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                codes[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() - begin > 120:  # the others wait for one that is gone
                os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    return [codes[child] for child in children]


def _run_all(jobs, folder):
    import pytest
    import torch

    import eval as evaluator
    import main  # noqa: F401
    import train  # noqa: F401
    import training.history
    import training.report
    from cli import evaluation  # noqa: F401
    from helpers.networks import add_tiny_backbone

    torch.set_num_threads(1)
    add_tiny_backbone(pytest.MonkeyPatch())
    training.history.plot_history = lambda rows, path: None
    training.report.plot_evaluation = lambda scores, path: path.write_bytes(b"")
    evaluator.plot_evaluation = lambda scores, path: path.write_bytes(b"")
    print(json.dumps({name: _run_job(name, job, folder) for name, job in jobs.items()}))


if __name__ == "__main__":
    _run_all(json.loads(sys.argv[1]), Path(sys.argv[2]))
