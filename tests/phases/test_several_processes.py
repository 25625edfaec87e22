"""One device or many: the same steps, the same files, and an end for all if one ends."""

import json
import re
import shlex
import signal
import sys
from importlib.util import find_spec

import pytest

from helpers.data_folders import make_small_dota
from helpers.networks import add_tiny_backbone, save_untrained
from helpers.several_processes import run_jobs
from models import read_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="no forks there"),
]

# Steps so small that rounding does not grow from one to the next, each of them saved.
TRAIN = shlex.split(
    "--phase train --backbone tiny --pretrained none --recipe paper --init_lr 1e-7 "
    "--epochs 2 --batch_size 3 --input_h 64 --input_w 64 --head_conv 8 --num_workers 0 "
    "--device cpu --save_minutes 1e-6 --conf_thresh 0.05"
)
# A step has a batch of 4 of the 5 images and one of a single image, of which others get none.
LEARNED = {"epochs": 2, "batch_size": 4, "accumulate": 2}
TIMM = {**LEARNED, "epochs": 1, "backbone": "timm/mobilevit_xxs"}  # with attention and BatchNorm


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def ended(root):
    """Run all jobs, and return how their processes have ended."""
    with pytest.MonkeyPatch.context() as patch:
        add_tiny_backbone(patch)
        yield run_all(root)


def run_all(root):
    data = str(make_small_dota(root / "data", train=8, val=5))
    few = str(make_small_dota(root / "few", train=5, val=1))
    weights = str(save_untrained(root / "model.pth", backbone="tiny"))
    begin = [*TRAIN, "--data_dir", data]

    def at(name):
        return str(root / name)

    def job(count, *words, **more):
        return {"count": count, "call": ["command", *words], **more}

    def again(name, count):
        return job(count, "--phase", "train", "--run_dir", at(name), "--resume_train",
                   "--device", "cpu")  # fmt: skip

    scored = ["--data_dir", data, "--weights", weights, "--batch_size", "2", "--device", "cpu"]
    jobs = {
        **{f"learn{n}": {"count": n, "call": ["learn", few, at(f"learn{n}"), LEARNED]}
           for n in (1, 2, 3)},
        **{f"{phase}{n}": job(n, "--phase", phase, *scored, "--run_dir", at(f"{phase}-files{n}"))
           for phase in ("eval", "test") for n in (1, 3)},
        **{f"timm{n}": {"count": n, "call": ["learn", few, at(f"timm{n}"), TIMM]}
           for n in ((1, 2) if find_spec("timm") else ())},
        "train1": job(1, *begin, "--run_dir", at("train1")),
        "killed": job(2, *begin, "--run_dir", at("killed"), kill=[1, signal.SIGKILL, 3]),
        "killed-again": again("killed", 3),
        "restarted": {**job(2, *begin, "--run_dir", at("restarted"), kill=[0, signal.SIGKILL, 3]),
                      "call": ["torchrun", *begin, "--run_dir", at("restarted")]},
        "stopped": job(2, *begin, "--run_dir", at("stopped"), kill=[1, signal.SIGTERM, 4]),
        "too-many": job(3, *begin, "--batch_size", "2", "--run_dir", at("many")),
        "missing": job(2, *TRAIN, "--data_dir", at("nothing"), "--run_dir", at("nowhere")),
        "export": job(2, "--phase", "info", "--backbone", "mobilenetv2"),
    }  # fmt: skip
    return run_jobs(root / "printed", jobs)


def facts(root, name):
    """What each process of a training in float64 has left."""
    return [json.loads(path.read_text()) for path in sorted((root / name).glob("*.json"))]


def assert_same_history(ours, theirs):
    assert [row["epoch"] for row in ours] == [row["epoch"] for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_learn_what_one_does(root, ended, count):
    assert [one.code for one in ended[f"learn{count}"]] == [0] * count
    (alone,) = facts(root, "learn1")
    together = facts(root, f"learn{count}")
    assert len(together) == count
    for one in together:
        assert_same_history(one["history"], alone["history"])
        assert one["weights"] == together[0]["weights"]
        assert one["weights"] == pytest.approx(alone["weights"], rel=1e-7)


def test_process_without_an_image_for_a_network_with_attention(root, ended):
    """It cannot reshape a batch of none, so a stand-in without weight goes through it."""
    pytest.importorskip("timm")
    assert [one.code for one in ended["timm2"]] == [0, 0], ended["timm2"]
    (alone,), together = facts(root, "timm1"), facts(root, "timm2")
    assert [sum(one["seen"].values()) for one in together] == [3, 2]
    for one in together:
        assert_same_history(one["history"], alone["history"])
        assert one["weights"] == pytest.approx(alone["weights"], rel=1e-7)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_image_is_read_once_an_epoch(root, ended, count):
    found = facts(root, f"learn{count}")
    read = [{int(index): times for index, times in one["seen"].items()} for one in found]
    for index in range(5):
        assert sum(one.get(index, 0) for one in read) == 2
    shares = {1: [10], 2: [6, 4], 3: [6, 2, 2]}  # 2 epochs of a batch of 4 and one of 1
    assert [sum(one.values()) for one in read] == shares[count]


def test_the_first_process_alone_writes(root, ended):
    assert (root / "learn3/0/model_last.pth").is_file()
    assert (root / "learn3/0/speed.csv").read_text() != ""
    for rank in (1, 2):
        assert not list((root / f"learn3/{rank}").iterdir())
        assert ended["train1"][0].out and not ended["killed-again"][rank].out


@pytest.mark.parametrize(
    ("phase", "names"),
    [("eval", {"Task1_ship.txt", "ap.json", "errors.html", "Task1.zip"}),
     ("test", {"Task1_ship.txt", "im8.jpg", "im12.jpg"})],
)  # fmt: skip
def test_eval_and_test_leave_the_files_of_one_process(root, ended, phase, names):
    assert [one.code for one in ended[f"{phase}3"]] == [0, 0, 0], ended[f"{phase}3"]
    alone, together = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        for folder in (root / f"{phase}-files1", root / f"{phase}-files3")
    )
    assert together == alone
    assert names <= {path.name for path in alone}
    assert "5 images" in ended[f"{phase}3"][0].out and not ended[f"{phase}3"][1].out
    if phase == "eval":  # the other keeps only scores that an untrained network does not give
        found = (root / "eval-files1/result_dota/Task1_ship.txt").read_text()
        assert len({line.split()[0] for line in found.splitlines()}) == 5


def test_killed_process_ends_all_and_the_run_is_resumed(root, ended):
    first, second = ended["killed"]
    assert (first.code, second.code) == (2, -signal.SIGKILL)
    assert "error: process 0 has lost the others" in first.err and "--resume_train" in first.err
    assert "Traceback" not in first.err
    assert [one.code for one in ended["killed-again"]] == [0, 0, 0], ended["killed-again"]
    assert "resuming at epoch 2 of 2\n" in ended["killed-again"][0].out
    ours, theirs = (
        read_checkpoint(root / name / "weights_dota/model_last.pth")
        for name in ("killed", "train1")
    )
    assert_same_history(ours.history, theirs.history)


def test_restarted_processes_find_each_other_and_go_on(root, ended):
    """Also the processes of a machine on which none was killed."""
    assert [one.code for one in ended["restarted"]] == [0, 0], ended["restarted"]
    printed = "".join(one.out + one.err for one in ended["restarted"])
    assert printed.count("torchrun has restarted the run") == 1
    assert printed.count("resuming at epoch 2 of 2\n") == 1
    assert len(re.findall(r"error: process \d has lost the others", printed)) == 1
    ours, theirs = (
        read_checkpoint(root / name / "weights_dota/model_last.pth")
        for name in ("restarted", "train1")
    )
    assert_same_history(ours.history, theirs.history)


def test_a_signal_to_one_process_stops_all_at_the_same_step(root, ended):
    first, second = ended["stopped"]
    assert first.code == second.code == 128 + signal.SIGTERM
    assert "error: stopped by SIGTERM; the run up to batch 2 of 2 in epoch 2 is kept" in first.err
    assert second.err == ""
    last = read_checkpoint(root / "stopped/weights_dota/model_last.pth")
    assert last.extras["progress"]["step"] == 2 and last.epoch == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("too-many", "a batch of 2 images cannot be shared by 3 processes: use a larger --batch_s"),
        ("missing", "nothing"),
    ],
)
def test_error_of_all_processes_is_reported_once(ended, name, message):
    first, *others = ended[name]
    assert first.code == 2 and message in first.err and first.err.count("error: ") == 1
    assert [(one.code, one.err) for one in others] == [(2, "")] * len(others)


def test_values_that_cannot_be_shared_are_computed_once(ended):
    first, second = ended["export"]
    assert first.code == second.code == 0 and "GMAC" in first.out and second.out == ""
