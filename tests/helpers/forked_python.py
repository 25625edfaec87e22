"""Processes that run Python, like those of `subprocess`, without the seconds that imports take.

A server imports the project and PyTorch once. Each process is a fork of it, which runs a file, a
module or code as `__main__`, with a folder, an environment, streams and signals of its own. It
differs from a new Python only in what is imported already: tests about imports, and about the
memory of a process, start a new one instead. The names are those of `subprocess`.
"""

import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import subprocess
import sys
import tempfile
from multiprocessing import reduction
from subprocess import PIPE, STDOUT, TimeoutExpired

from helpers.paths import ROOT

TESTS = ROOT / "tests"

IMPORTED = (
    "main", "cli.training", "cli.evaluation", "cli.deployment", "cli.exporting", "cli.info",
    "deploy.benchmark", "deploy.export.pipeline", "deploy.runtimes.torch_runtime", "torch._dynamo",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "onnxruntime", "onnxscript",
)  # fmt: skip
"""What the server imports, as far as it is installed."""


class _Stream:
    """A file descriptor that is handed to the new process."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return _opened, (reduction.DupFd(self.number),)


def _opened(duplicate):
    return duplicate.detach()


def _server():
    """Return the context of the server, which is started where it does not run yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{TESTS}"
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return context


def _run_as_main(words, folder, environment, out, err, own_session):
    """Be a Python that was started with these words."""
    multiprocessing.set_start_method(None, force=True)  # not that of this process
    if own_session:
        os.setsid()
    for number, stream in ((1, out), (2, err)):
        os.dup2(stream, number)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    first, *rest = words
    home = {"-c": "", "-m": folder}.get(first, os.path.dirname(os.path.abspath(first)))
    given = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    of_tests = (str(ROOT), str(TESTS))
    sys.path[:] = [home, *given, *(path for path in sys.path if path not in of_tests)]
    if first == "-c":
        code, *rest = rest
        sys.argv = [first, *rest]
        exec(compile(code, "<string>", "exec"), vars(sys.modules["__main__"]))
    elif first == "-m":
        module, *rest = rest
        sys.argv = [first, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(first, run_name="__main__")


class Popen:
    """A process that runs Python, with the methods of `subprocess.Popen` that tests need.

    Args:
        words: the command, which begins with `sys.executable`.
        stdout, stderr: files or their numbers; `stderr` may be `subprocess.STDOUT`.
    """

    def __init__(self, words, cwd=None, env=None, stdout=1, stderr=2, start_new_session=False):
        python, *rest = map(str, words)
        assert python == sys.executable
        self.args = words
        out = stdout if isinstance(stdout, int) else stdout.fileno()
        err = out if stderr == STDOUT else stderr
        err = err if isinstance(err, int) else err.fileno()
        self._process = _server().Process(
            target=_run_as_main,
            args=(rest, str(cwd or os.getcwd()), dict(os.environ if env is None else env),
                  _Stream(out), _Stream(err), start_new_session),
        )  # fmt: skip
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise TimeoutExpired(self.args, timeout)
        return self.returncode

    def kill(self):
        self._process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wait()


if sys.platform != "linux":  # forks of a process that uses the system's libraries may hang there
    Popen = subprocess.Popen


def run(words, cwd=None, env=None, timeout=None, stderr=PIPE, **_):
    """Run a command to its end, and return a `subprocess.CompletedProcess` with its texts.

    What it prints is always kept as text, whatever else `subprocess.run` is asked for.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        streams = {"stdout": out, "stderr": err if stderr == PIPE else stderr}
        process = Popen(list(map(str, words)), cwd=cwd, env=env, **streams)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return subprocess.CompletedProcess(words, code, *texts)
