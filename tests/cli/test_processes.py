"""--ngpus and torchrun on the command line."""

import argparse
import os

import pytest
import torch

import cli.processes as processes
import main
from cli.resume import resume_restarted
from DOTA_devkit.errors import InputError
from helpers.command_line import assert_refused
from helpers.networks import tiny_model
from models import Checkpoint, read_checkpoint, save_checkpoint
from processes.numbers import ProcessNumbers


@pytest.mark.parametrize(
    ("asked", "device", "there", "expected"),
    [
        (1, "cuda:1", 4, 1),
        (3, "cpu", 4, 3),
        (3, None, 4, 3),
        (3, "cuda", 3, 3),
        (3, None, 2, 2),  # scripts of the original ask for several anywhere
        (3, None, 0, 1),
        (3, "cuda", 2, "this machine has 2 GPUs"),
        (2, "cuda:1", 4, "cannot be combined with --device cuda:1"),
    ],
)
def test_number_of_processes(monkeypatch, caplog, asked, device, there, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    args = argparse.Namespace(ngpus=asked, device=device)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            processes.process_number(args)
        return
    assert processes.process_number(args) == expected
    fewer = expected < asked
    told = f"--ngpus {asked}: this machine has {there} GPUs, so it is {expected}"
    assert (told in caplog.text) == fewer


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch_size", 2], "--batch_size 2 cannot be shared by 3 processes"),
        (["--compile"], "--compile works in a single process: leave it out, or give --ngpus 1"),
    ],
)
def test_flags_that_do_not_go_with_several_processes_start_none(
    run_training, data, monkeypatch, flags, message
):
    def started(*_):
        raise AssertionError

    monkeypatch.setattr(processes, "run_processes", started)
    assert_refused(run_training(data, "--device", "cpu", "--ngpus", 3, *flags), message)


def test_compiling_is_refused_for_torchrun(run_training, data, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    told = "--compile works in a single process: leave it out, or start one process"
    assert_refused(run_training(data, "--compile"), told)


def test_torchrun_decides_on_the_number_of_processes(monkeypatch, caplog):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for asked in (1, 2, 4):
        args = argparse.Namespace(ngpus=asked, device="cpu", given=frozenset())
        assert processes.start_processes(args) is None
        told = "--ngpus 4 has no effect, as torchrun has started 2 processes"
        assert (told in caplog.text) == (asked == 4)


@pytest.mark.parametrize(
    ("device", "local_count", "refused"),
    [("cuda:1", 2, True), ("cuda:0", 2, True), ("cuda:1", 1, False), ("cuda", 2, False),
     ("cpu", 2, False), (None, 2, False)],
)  # fmt: skip
def test_single_gpu_is_refused_for_several_processes(device, local_count, refused):
    args = argparse.Namespace(device=device, given=frozenset())
    if not refused:
        numbers = ProcessNumbers(1, 8, 1, local_count)
        assert processes.refuse_for_torchrun(args, numbers) is None
        return
    told = f"--device {device} is a single GPU, but torchrun has started {local_count} processes"
    with pytest.raises(InputError, match=f"{told} on this machine, .*: give --device cuda$"):
        processes.refuse_for_torchrun(args, ProcessNumbers(0, 8, 0, local_count))
    with pytest.raises(SystemExit) as ended:  # without a second message
        processes.refuse_for_torchrun(args, ProcessNumbers(1, 8, 1, local_count))
    assert ended.value.code == 2


@pytest.mark.parametrize("phase", ["train", "test", "eval", "predict"])
def test_one_gpu_for_all_is_refused_before_the_work(run_cli, monkeypatch, phase):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    flags = ["--source", "a.png", "--weights", "a.pth"] if phase == "predict" else []
    for name, value in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 2), ("LOCAL_WORLD_SIZE", 2)):
        monkeypatch.setenv(name, str(value))
    result = run_cli("--phase", phase, "--device", "cuda:1", *flags)
    assert_refused(result, "--device cuda:1 is a single GPU", "give --device cuda")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    result = run_cli("--phase", phase, "--device", "cuda:1", *flags)
    assert (result.code, result.err) == (2, "")


def test_variables_without_a_place_to_meet_are_refused(run_training, data, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    assert_refused(run_training(data), "but not MASTER_ADDR and MASTER_PORT", "torchrun")


@pytest.fixture
def torchrun(monkeypatch):
    """Return a function that lets this process be started by a torchrun, or be restarted."""

    def start(name, attempt):
        folders = ("", "tmp", "torchelastic_x", name, f"attempt_{attempt}", "0", "error.json")
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", os.sep.join(folders))

    return start


@pytest.mark.slow
def test_a_run_that_torchrun_restarts_goes_on(run_training, data, tmp_path, torchrun):
    """The command line is the same; the run of another torchrun stays in the way."""
    torchrun("job_1", 0)
    assert run_training(data).code == 0
    torchrun("job_2", 1)
    assert_refused(run_training(data), "already contains a run")
    torchrun("job_1", 1)
    result = run_training(data, "--epochs", 2)
    assert result.code == 0 and "torchrun has restarted the run" in result.out
    last = tmp_path / "weights_dota/model_last.pth"
    assert len(read_checkpoint(last).history) == 2
    written = last.stat().st_mtime_ns
    torchrun("job_1", 2)  # after a process has failed at its end
    result = run_training(data, "--epochs", 2)
    assert result.code == 0 and "a run that has ended: nothing is left to train" in result.out
    assert last.stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_restart_does_not_begin_with_an_earlier_checkpoint_again(
    run_cli, run_training, data, torchrun
):
    assert run_training(data, "--save_every", 1, "--epochs", 2).code == 0
    resume = ["--phase", "train", "--resume_train", "model_1.pth", "--epochs"]
    torchrun("job_1", 0)
    result = run_cli(*resume, 2)
    assert result.code == 0 and "resuming at epoch 2 of 2" in result.out
    torchrun("job_1", 1)
    result = run_cli(*resume, 3)
    assert result.code == 0 and "resuming at epoch 3 of 3" in result.out


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"agents": "job_1/job_2"}, {"job_2", "job_3"}, "model_last.pth"),  # one was replaced
        ({"agents": "job_1/job_2"}, {"job_3"}, None),
        ({"agents": "job_1"}, set(), None),
        ({}, {"job_1"}, None),  # begun without torchrun
    ],
)
def test_run_belongs_to_every_torchrun_that_started_it(tmp_path, before, now, expected):
    path = tmp_path / "weights_dota/model_last.pth"
    path.parent.mkdir()
    save_checkpoint(path, Checkpoint.of(tiny_model(), extras={"run": before}))
    args = argparse.Namespace(
        dataset="dota", data_dir=tmp_path, run_dir=tmp_path, resume_train=None,
        finetune="model.pth", pretrained="imagenet", epochs=None, patience=None,
    )  # fmt: skip
    assert not resume_restarted(args, now)
    assert args.resume_train == expected
    assert (args.finetune is None) is (expected is not None)


@pytest.fixture
def started(monkeypatch):
    """Return the device and number of processes of the runs that were started."""
    found = []
    start = processes.start_processes

    def note(args):
        with monkeypatch.context() as patch:
            patch.setattr(processes, "run_processes", lambda *words: 0)
            start(args)
            found.append((args.device, args.ngpus))
            return 0

    monkeypatch.setattr("cli.training.start_processes", note)
    return found


@pytest.mark.parametrize(
    ("stored", "flags", "gpus", "expected"),
    [
        (("cpu", 3), [], 0, ("cpu", 3)),
        (("cpu", 3), [], 4, ("cpu", 3)),  # no GPU is used because there is one
        (("cpu", 3), ["--ngpus", 2], 0, ("cpu", 2)),
        (("cpu", 1), ["--ngpus", 2], 0, ("cpu", 2)),
        (("cpu", 3), ["--device", "cuda", "--ngpus", 2], 2, ("cuda", 2)),
        (("cuda:1", 1), [], 2, ("cuda:1", 1)),
        (("cuda:1", 1), [], 1, (None, 1)),  # resumed on another machine
        (("cuda:1", 1), ["--ngpus", 2], 2, ("cuda", 2)),
        ((None, 2), [], 2, (None, 2)),
        (("evil", "evil"), [], 0, (None, 1)),  # which is told when the run is read
    ],
)
def test_resumed_run_has_its_device_before_processes_are_started(
    run_cli, started, untrained, monkeypatch, stored, flags, gpus, expected
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    device, ngpus = stored
    untrained.extras["run"] = {"device": device, "ngpus": ngpus}
    save_checkpoint("a.pth", untrained)
    assert run_cli("--phase", "train", "--resume_train", "a.pth", *flags).code == 0
    assert started == [expected]


def test_resumed_run_has_its_threads_before_it_computes(run_cli, untrained, data, monkeypatch):
    """Another number of them would round otherwise."""
    used = []
    monkeypatch.setattr("cli.training.start_processes", lambda args: None)
    monkeypatch.setattr("cli.devices.warn_if_busy", lambda threads: None)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    untrained.extras["run"] = {"device": "cpu", "ngpus": 1, "threads": 3}
    save_checkpoint("a.pth", untrained)
    flags = ["--phase", "train", "--data_dir", data, "--resume_train", "a.pth"]
    run_cli(*flags)
    run_cli(*flags, "--device", "cpu", "--ngpus", 1)
    run_cli(*flags, "--threads", 2)
    assert used == [3, 3, 2]


@pytest.fixture(scope="module")
def untrained():
    return Checkpoint.of(tiny_model())


@pytest.mark.slow
def test_resumed_run_keeps_its_device(run_cli, run_training, data, trained_weights, tmp_path):
    assert run_training(data, "--device", "cpu").code == 0
    last = tmp_path / "weights_dota/model_last.pth"
    assert read_checkpoint(last).extras["run"]["device"] == "cpu"
    assert read_checkpoint(trained_weights).extras["run"]["device"] is None
    resume = ["--phase", "train", "--resume_train", "--num_epoch"]
    assert run_cli(*resume, 2).code == 0
    assert read_checkpoint(last).extras["run"]["device"] == "cpu"
    checkpoint = read_checkpoint(last)
    checkpoint.extras["run"]["device"] = "cuda:7"
    save_checkpoint(last, checkpoint)
    result = run_cli(*resume, 3)
    assert result.code == 0
    assert "the run continues without --device cuda:7, which is not here" in result.out


@pytest.mark.slow
def test_ngpus_starts_processes_on_the_cpu(phase_arguments, data, tmp_path, capfd):
    words = [*phase_arguments("eval", data), "--num_workers", 0, "--device", "cpu", "--ngpus", 2]
    assert main.main([str(word) for word in words]) == 0
    assert (tmp_path / "result_dota/ap.json").is_file()
    assert "the times are those of one of 2 processes" in capfd.readouterr().out
