"""Processes that share the work of a prediction come to the result of one."""

from itertools import pairwise

import pytest

from deploy.predict.settings import Shard, device_of_rank
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import PixelReader
from helpers.drawn_objects import DrawnObjects, scene
from helpers.prediction_runs import OBJECTS, result_files, run, write


@pytest.mark.parametrize("count", [2, 3, 9])
def test_shards_write_the_files_of_one_process(tmp_path, picture, count):
    write(picture.parent / "second.png", scene((300, 200), OBJECTS[:2]))
    (picture.parent / "broken.png").write_bytes(picture.read_bytes()[:-200])
    run(picture.parent, tmp_path / "one")
    detectors = [DrawnObjects() for _ in range(count)]
    done = [
        run(picture.parent, tmp_path / "out", detector, shard=Shard(index, count))
        for index, detector in enumerate(detectors)
    ]
    assert [bool(one.images) for one in done] == [False] * (count - 1) + [True]
    assert result_files(tmp_path / "out") == result_files(tmp_path / "one")
    assert max(len(d.batches) for d in detectors) <= -(-8 // count) + 1


@pytest.mark.parametrize(
    ("batches", "count"), [(0, 2), (1, 3), (7, 1), (7, 2), (40, 3), (1000, 4), (1001, 7)]
)
def test_every_batch_belongs_to_one_shard(batches, count):
    parts = [Shard(index, count).part_of(batches) for index in range(count)]
    assert sorted(number for part in parts for number in part) == list(range(batches))
    assert all(part == sorted(part) for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= -(-batches // (8 * count))
    # consecutive batches stay together, in at most eight runs
    assert max(sum(b - a > 1 for a, b in pairwise(part)) for part in parts) < 8


def test_shards_only_decode_their_own_images(tmp_path, monkeypatch):
    for k in range(24):
        write(tmp_path / "images" / f"{k:02}.png", scene((300, 200), OBJECTS[:1]))
    decoded = []
    opened = PixelReader.__init__

    def count(self, path, reading):
        decoded.append(path.name)
        opened(self, path, reading)

    monkeypatch.setattr(PixelReader, "__init__", count)
    for index in range(2):
        run(tmp_path / "images", tmp_path / "out", formats=("csv",), shard=Shard(index, 2))
    assert len(set(decoded)) == 24 and len(decoded) <= 24 + 2 * 8


@pytest.mark.parametrize("order", ["first", "last"])
def test_shard_without_windows_leaves_no_files(tmp_path, picture, caplog, order):
    caplog.set_level("INFO")
    run(picture, tmp_path / "one", tile=0)
    for index in (1, 0) if order == "first" else (0, 1):
        done = run(picture, tmp_path / "out", tile=0, shard=Shard(index, 2))
        assert done.written_elsewhere == (index == 1) and done.missing == 0
    assert "nothing to do for this process: there are only 1 batches" in caplog.text
    assert result_files(tmp_path / "out") == result_files(tmp_path / "one")
    assert not list((tmp_path / "out").glob("progress-*"))


def test_run_without_shards_finishes_those_of_shards(tmp_path, picture):
    run(picture, tmp_path / "one")
    run(picture, tmp_path / "out", shard=Shard(1, 3))
    detector = DrawnObjects()
    run(picture, tmp_path / "out", detector)
    assert len(detector.batches) == 3
    assert result_files(tmp_path / "out") == result_files(tmp_path / "one")


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "a/b", "1/0", "/"])
def test_invalid_shards_are_refused(text):
    with pytest.raises(InputError, match=r"^shard must be i/n.* got "):
        Shard.parse(text)


def test_shard_of_torchrun_environment():
    assert Shard.from_environment({"RANK": "3", "WORLD_SIZE": "8"}) == Shard(3, 8)
    assert Shard.from_environment({}) == Shard(0, 1)


@pytest.mark.parametrize(
    ("device", "devices", "environment", "expected"),
    [
        ("cuda", 4, {"LOCAL_RANK": "3"}, "cuda:3"),
        ("cuda", 1, {"LOCAL_RANK": "3"}, "cuda:0"),  # each process only sees one, or all share it
        ("cuda", 2, {"LOCAL_RANK": "3"}, "cuda:1"),
        ("cuda:1", 4, {"LOCAL_RANK": "3"}, "cuda:1"),  # asked for by number
        ("cuda", 4, {}, "cuda"),
        ("cuda", 4, {"LOCAL_RANK": ""}, "cuda"),
        ("cpu", 0, {"LOCAL_RANK": "3"}, "cpu"),
    ],
)
def test_gpu_of_torchrun_process(device, devices, environment, expected):
    assert device_of_rank(device, lambda: devices, environment) == expected


def test_gpus_are_not_counted_outside_torchrun():
    def count():
        raise AssertionError("PyTorch would be imported")

    assert device_of_rank("cuda", count, {}) == "cuda"
    assert device_of_rank("cpu", count, {"LOCAL_RANK": "1"}) == "cpu"
