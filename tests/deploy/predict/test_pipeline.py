"""Prediction from images to files, with a detector whose answers are known."""

import csv
import dataclasses
import json
import os
import subprocess
import sys
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import main
from deploy.detector import Detector
from deploy.predict import pipeline as prediction
from deploy.predict import writers as prediction_files
from deploy.predict.journal import COLUMNS, BatchResult, Journal, progress_folder
from deploy.predict.pipeline import predict
from deploy.predict.plan import plan
from deploy.predict.readers import PixelReader
from deploy.predict.settings import PredictSettings, Shard, device_of_rank
from deploy.predict.sources import ImageSource, image_ids
from deploy.predict.writers import Predicted, write_files
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_task1
from DOTA_devkit.polygon import iou_matrix
from helpers.drawn_objects import NAMES, DrawnObjects, corners_of, scene
from helpers.fixed_output_onnx import PROPS, onnx_file
from helpers.paths import ROOT
from structures.detections import Detections

OBJECTS = [
    ("plane", 70, 60, 30, 14, 25), ("ship", 150, 118, 40, 12, 70), ("plane", 260, 200, 26, 12, 0),
    ("ship", 330, 40, 34, 10, 120), ("plane", 212, 119, 26, 12, 45),
]  # fmt: skip
SIZE_WH = (400, 250)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def picture(tmp_path):
    return write(tmp_path / "images" / "harbor.png", scene(SIZE_WH, OBJECTS))


def run(source, output, detector=None, model=None, **settings):
    settings = {"batch_size": 3, **settings}
    source = [source] if isinstance(source, (str, Path)) else source
    return predict(detector or DrawnObjects(), source, PredictSettings(**settings), output, model)


def assert_found(detections, objects=OBJECTS, iou=0.7):
    assert len(detections) == len(objects)
    overlap = iou_matrix(corners_of(objects), detections.corners)
    assert overlap.max(axis=1).min() > iou
    assert [NAMES[k] for k in detections.labels[overlap.argmax(axis=1)]] == [o[0] for o in objects]


def result_files(output):
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*")) if path.is_file()
    }  # fmt: skip


# Sources ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "folder", "glob", "list", "two"])
def test_sources(tmp_path, picture, kind):
    other = write(tmp_path / "images" / "road.JPG", scene((90, 70), []))
    (tmp_path / "images" / "notes.md").write_text("no image")
    (tmp_path / "some.txt").write_text("images/harbor.png\r\n\nimages/road.JPG\n")
    spec = {
        "file": picture,
        "folder": picture.parent,
        "glob": str(tmp_path / "im*/*"),
        "list": tmp_path / "some.txt",
        "two": [picture, other],
    }[kind]
    done = run(spec, tmp_path / "out", formats=("csv",))
    assert [one.source.image_id for one in done.images] == ["harbor", "road"][: len(done.images)]
    assert len(done.images) == (1 if kind == "file" else 2)
    assert_found(done.images[0].detections)


def test_images_of_one_name_in_two_folders_get_different_ids(tmp_path):
    for place in ("a/x.png", "b/x.png", "b/y.png", "b/y.jpg", "b/z.png"):
        write(tmp_path / place, scene((60, 50), []))
    done = run(str(tmp_path / "**"), tmp_path / "out", formats=("pictures",))
    assert [one.source.image_id for one in done.images] == ["a/x", "b/x", "b/y.jpg", "b/y.png", "z"]
    assert len(list((tmp_path / "out/pictures").rglob("*.jpg"))) == 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root / "nothing", "nothing: no such file or folder"),
        (lambda root: root / "empty", "empty: no image in this folder"),
        (lambda root: root / "*.png", r"\*.png: no image matches$"),
        (lambda root: root / "*.txt", "no image matches, but 1 other files do"),
        (lambda root: root / "list.txt", "list.txt: the list names no image"),
    ],
)
def test_nothing_to_read(tmp_path, make, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(InputError, match=message):
        run(make(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_broken_images_are_told_and_left_out(tmp_path, picture, caplog):
    (picture.parent / "cut.png").write_bytes(picture.read_bytes()[:-200])
    (picture.parent / "text.jpg").write_text("no image")
    (tmp_path / "list.txt").write_text(
        "images/harbor.png\nimages/cut.png\nimages/text.jpg\ngone.png\n"
    )
    done = run(tmp_path / "list.txt", tmp_path / "out")
    assert len(done.images) == 1 and len(done.faults) == 3
    for name in ("cut.png", "text.jpg", "gone.png"):
        assert sum(f"{name}" in record.message for record in caplog.records) == 1
    left_out = json.loads((tmp_path / "out/detections.json").read_text())["left_out"]
    assert sorted(Path(path).name for path in left_out) == ["cut.png", "gone.png", "text.jpg"]


def test_only_broken_images(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(InputError, match=r"not one of 1 images can be used; .*a\.png"):
        run(tmp_path, tmp_path / "out")


def test_only_images_that_break_off(tmp_path, picture):
    """Their headers are good: it comes out when they are read."""
    picture.write_bytes(picture.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"not one of 1 images can be used; .*harbor\.png"):
        run(picture, tmp_path / "out")
    assert result_files(tmp_path / "out") == {}


def test_an_image_that_is_named_twice_is_one(tmp_path, picture):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/some.txt").write_text("../images/harbor.png\n../images/harbor.png\n")
    done = run([picture, tmp_path / "lists/some.txt"], tmp_path / "out")
    assert [one.source.path for one in done.images] == [picture]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_a_name_that_is_no_text(tmp_path, picture):
    odd = os.fsdecode(os.fsencode(picture.parent) + b"/caf\xe9.png")
    Path(odd).write_bytes(picture.read_bytes())
    done = run(picture.parent, tmp_path / "out")
    assert len(done.images) == 1
    (fault,) = done.faults.values()
    assert "caf\\xe9.png: the name is not UTF-8" in fault
    assert fault in json.loads((tmp_path / "out/detections.json").read_text())["left_out"].values()


def test_no_image_is_replaced_by_its_picture(tmp_path):
    """With `pictures` as the folder of the images and the one above as that of the results."""
    images = write(tmp_path / "pictures/a.jpg", scene(SIZE_WH, OBJECTS)).parent
    before = (images / "a.jpg").read_bytes()
    with pytest.raises(InputError, match=r"--output .*a\.jpg would replace .*a\.jpg"):
        run(images, tmp_path)
    assert (images / "a.jpg").read_bytes() == before and len(list(tmp_path.rglob("*"))) == 2
    assert len(run(images, tmp_path, formats=("csv",)).images) == 1


def test_an_image_that_is_gone_when_it_is_to_be_drawn(tmp_path, picture, monkeypatch, caplog):
    write_files = prediction.write_files

    def too_late(*args):
        picture.unlink()
        return write_files(*args)

    monkeypatch.setattr(prediction, "write_files", too_late)
    done = run(picture, tmp_path / "out")
    assert len(done.images[0].detections) == 5 and list(done.faults) == [str(picture)]
    assert sum("harbor.png" in record.message for record in caplog.records) == 1
    content = json.loads((tmp_path / "out/detections.json").read_text())
    assert list(content["left_out"]) == [str(picture)]


# Results ------------------------------------------------------------------------------------------


def test_files(tmp_path, picture):
    done = run(picture, tmp_path / "out")
    found = done.images[0].detections
    assert_found(found)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "Task1_plane.txt", "Task1_ship.txt", "detections.csv", "detections.json", "pictures",
    ]  # fmt: skip
    ships = read_task1(out / "Task1_ship.txt")
    assert ships.image_ids == ["harbor"] * 2
    np.testing.assert_allclose(ships.corners, found.corners[found.labels == 1], atol=0.051)
    content = json.loads((out / "detections.json").read_text())
    assert content["classes"] == list(NAMES) and content["conf_thresh"] == 0.18
    (image,) = content["images"]
    assert (image["image"], image["width"], image["height"]) == ("harbor", *SIZE_WH)
    np.testing.assert_allclose(
        [one["corners"] for one in image["detections"]], found.corners, atol=0.0051
    )
    rows = list(csv.DictReader((out / "detections.csv").open()))
    assert [row["class"] for row in rows] == found.class_names()
    np.testing.assert_allclose([float(row["score"]) for row in rows], found.scores, atol=1e-6)
    drawn = cv2.imread(str(out / "pictures/harbor.jpg"))
    assert drawn.shape[1::-1] == SIZE_WH
    table = done.table(NAMES).splitlines()
    assert table[1].split()[:3] == ["plane", "3", "1"] and table[-1].split()[1] == "5"


def test_no_detection_at_all(tmp_path):
    write(tmp_path / "a.png", scene((50, 40), []))
    done = run(tmp_path / "a.png", tmp_path / "out")
    assert len(done.images[0].detections) == 0
    assert (tmp_path / "out/Task1_plane.txt").read_text() == ""
    assert done.table(NAMES).splitlines()[-1].split() == ["all", "0", "0", "of", "1", "-"]


@pytest.mark.parametrize(
    ("settings", "input_sizes", "windows"),
    [
        ({}, (128, 128), 12),  # 4 x 3 windows of the model's input size, overlapping by a sixth
        ({}, (320, 192), 1),  # hardly larger than the input: as a whole
        ({"tile": 0}, (128, 128), 1),  # in one piece
        ({"tile": 96, "overlap": 40}, (128, 128), 66),
        ({"scales": (0.5, 1.0)}, (128, 128), 14),
    ],
)
def test_ways_to_go_over_an_image(tmp_path, picture, settings, input_sizes, windows):
    detector = DrawnObjects(input_sizes[::-1])
    done = run(picture, tmp_path / "out", detector, formats=("json",), **settings)
    assert done.windows == windows
    assert_found(done.images[0].detections, iou=0.6)
    about = json.loads((tmp_path / "out/detections.json").read_text())
    tile = settings.get("tile", input_sizes)
    assert about["tile"] == (None if tile == 0 else [96, 96] if tile == 96 else list(tile))
    assert about["overlap"] == {0: 0, 96: 40, (128, 128): 21, (320, 192): 32}[tile]
    assert about["scales"] == list(settings.get("scales", [1.0]))
    assert about["images"][0]["windows"] == windows


class AtMost(DrawnObjects):
    """Finds `K` objects of an input at most, as a decoder does."""

    K = 1

    def find(self, image):
        found = super().find(image)
        return dataclasses.replace(found[: self.K], complete=len(found) < self.K)


def test_what_may_have_been_cut_is_told(tmp_path, picture, caplog):
    write(picture.parent / "sparse.png", scene((100, 90), []))
    done = run(picture.parent, tmp_path / "out", AtMost(), formats=("json",), tile=0)
    assert [one.detections.complete for one in done.images] == [False, True]
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(told) == 1 and "harbor.png: all --K" in told[0] and "(--tile)" in told[0]
    # one line, however many images there are
    caplog.clear()
    other = write(tmp_path / "many" / "other.png", cv2.imread(str(picture)))
    run([picture, other], tmp_path / "two", AtMost(), formats=(), tile=0)
    (told,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "harbor.png and 1 more images: all --K" in told
    images = json.loads((tmp_path / "out/detections.json").read_text())["images"]
    assert [one["complete"] for one in images] == [False, True]
    # the same where the windows were done before
    with pytest.raises(Killed):
        run(picture, tmp_path / "again", KilledAfter(2, AtMost()))
    caplog.clear()
    run(picture, tmp_path / "again", AtMost(), formats=())
    assert "all --K" in caplog.text


def test_small_images_share_batches(tmp_path):
    for number in range(7):
        write(tmp_path / f"{number}.png", scene((100 + number, 80), OBJECTS[:1]))
    detector = DrawnObjects()
    done = run(tmp_path, tmp_path / "out", detector, formats=())
    assert detector.batches == [3, 3, 1]
    assert all(len(one.detections) == 1 for one in done.images)


def test_areas_of_one_colour_are_skipped(tmp_path):
    image = np.zeros((250, 900, 3), np.uint8)
    image[:, :400] = scene(SIZE_WH, OBJECTS)
    detector = DrawnObjects()
    done = run(write(tmp_path / "a.png", image), tmp_path / "out", detector, formats=())
    assert done.without_data > 5
    assert sum(detector.batches) == done.windows - done.without_data
    assert_found(done.images[0].detections)


def test_one_reason_for_many_images_is_not_told_of_each(tmp_path, caplog):
    write(tmp_path / "images/0.png", scene((50, 40), []))
    (tmp_path / "list.txt").write_text(
        "images/0.png\n" + "".join(f"gone/{number}.png\n" for number in range(prediction.TOLD + 3))
    )
    done = run(tmp_path / "list.txt", tmp_path / "out", formats=("json",))
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(told) == prediction.TOLD + 1 and told[-1].startswith("left out: 3 more")
    named = json.loads((tmp_path / "out/detections.json").read_text())["left_out"]
    assert len(named) == len(done.faults) == prediction.TOLD + 3


# Going on, and sharing out ------------------------------------------------------------------------


class Killed(BaseException):
    pass


class KilledAfter(DrawnObjects):
    def __init__(self, batches, detector=None):
        super().__init__()
        self.left = batches
        self.find = (detector or super()).find

    def detect_inputs(self, images):
        if self.left == 0:
            raise Killed
        self.left -= 1
        return super().detect_inputs(images)


@pytest.mark.parametrize(
    "torn", [None, b"", b"\0" * 4096, b"\xff\xfe\x80 garbage", b'{"batch": 1', b"[]\n", b'"rows"\n']
)
def test_a_killed_run_goes_on_where_it_was(tmp_path, picture, torn):
    """torn: what stands in place of the end of the last line."""
    cut_line = torn is not None
    whole = run(picture, tmp_path / "whole")
    with pytest.raises(Killed):
        run(picture, tmp_path / "out", KilledAfter(2))
    (journal,) = (tmp_path / "out").glob("progress-*/*.jsonl")
    if cut_line:
        journal.write_bytes(journal.read_bytes()[:-9] + torn)
    detector = DrawnObjects()
    done = run(picture, tmp_path / "out", detector)
    assert len(detector.batches) == 4 - (1 if cut_line else 2)
    np.testing.assert_array_equal(
        done.images[0].detections.corners, whole.images[0].detections.corners
    )
    assert result_files(tmp_path / "out") == result_files(tmp_path / "whole")


@pytest.mark.parametrize("other", ["setting", "model", "pixels"])
def test_other_work_starts_anew(tmp_path, picture, other):
    picture = write(picture.with_suffix(".bmp"), cv2.imread(str(picture)))
    with pytest.raises(Killed):
        run(picture, tmp_path / "out", KilledAfter(2))
    settings = {"setting": {"scales": (0.9,)}, "model": {"model": {"theta_thresh": 0.5}}}
    if other == "pixels":  # in a file of the same size
        cv2.imwrite(str(picture), cv2.imread(str(picture))[::-1])
    detector = DrawnObjects()
    done = run(picture, tmp_path / "out", detector, **settings.get(other, {}))
    assert sum(detector.batches) == done.windows


@pytest.mark.parametrize("count", [2, 3, 9])
def test_shards_come_to_what_one_process_does(tmp_path, picture, count):
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
def test_shards_share_out_every_batch_once(batches, count):
    parts = [Shard(index, count).part_of(batches) for index in range(count)]
    assert sorted(number for part in parts for number in part) == list(range(batches))
    assert all(part == sorted(part) for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= -(-batches // (8 * count))
    # neighbours stay together, in at most eight runs
    assert max(sum(b - a > 1 for a, b in pairwise(part)) for part in parts) < 8


def test_shards_decode_their_own_images_alone(tmp_path, monkeypatch):
    for k in range(24):
        write(tmp_path / "images" / f"{k:02}.png", scene((300, 200), OBJECTS[:1]))
    decoded = []
    opened = PixelReader.__init__

    def count(self, path):
        decoded.append(path.name)
        opened(self, path)

    monkeypatch.setattr(PixelReader, "__init__", count)
    for index in range(2):
        run(tmp_path / "images", tmp_path / "out", formats=("csv",), shard=Shard(index, 2))
    assert len(set(decoded)) == 24 and len(decoded) <= 24 + 2 * 8


@pytest.mark.parametrize("order", ["first", "last"])
def test_a_shard_without_windows_leaves_nothing_behind(tmp_path, picture, caplog, order):
    caplog.set_level("INFO")
    run(picture, tmp_path / "one", tile=0)
    for index in (1, 0) if order == "first" else (0, 1):
        done = run(picture, tmp_path / "out", tile=0, shard=Shard(index, 2))
        assert done.written_elsewhere == (index == 1) and done.missing == 0
    assert "nothing is left for this process: there are 1 batches" in caplog.text
    assert result_files(tmp_path / "out") == result_files(tmp_path / "one")
    assert not list((tmp_path / "out").glob("progress-*"))


def test_a_list_of_a_data_set_names_no_images(tmp_path, picture):
    """Of ids, as `train.txt` is: a sentence about the list, and not one about each line."""
    (tmp_path / "test.txt").write_text("harbor\nP0706__1__0___0\n")
    with pytest.raises(InputError, match=r"test\.txt: a list of ids, such as harbor, .* give the"):
        run(tmp_path / "test.txt", tmp_path / "out")


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a/x.png", "a/y.png"], ["x", "y"]),
        (["a/x.png", "b/x.png", "b/y.png"], ["a/x", "b/x", "y"]),
        (["a/x.png", "a/x.jpg", "b/x.png"], ["a/x.png", "a/x.jpg", "b/x"]),
        (["y.jpg", "y.png", "y.jpg.png"], ["y.jpg", "y.png", "y.jpg.png"]),
    ],
)
def test_no_two_images_have_one_id(names, ids):
    assert image_ids([Path(name) for name in names]) == ids


def test_an_image_that_is_another_by_now(tmp_path, picture, monkeypatch):
    """A folder that is being filled: the image is told and left out, and the others are done."""
    write(picture.parent / "second.png", scene((300, 200), OBJECTS[:2]))

    def replace_and_plan(*args):
        write(picture, scene((90, 60), []))
        return plan(*args)

    monkeypatch.setattr(prediction, "plan", replace_and_plan)
    done = run(picture.parent, tmp_path / "out")
    expected = f"{picture}: 90x60 pixels where 400x250 were before (width x height)"
    assert list(done.faults) == [str(picture)] and done.faults[str(picture)].startswith(expected)
    assert [one.source.image_id for one in done.images] == ["second"]


def test_many_detections_take_little_memory_to_write(tmp_path, monkeypatch):
    """Their values as Python's objects take a kilobyte and more each."""
    count = 10_000
    monkeypatch.setattr(prediction_files, "PART", 500)
    box = np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32)
    corners = (np.random.default_rng(0).uniform(0, 4000, (count, 1, 2)) + box).astype(np.float32)
    found = Detections(
        corners, np.linspace(1, 0.2, count, dtype=np.float32), np.zeros(count, np.int64), NAMES
    )
    source = ImageSource("a", tmp_path / "a.png", (4096, 4096))
    tracemalloc.start()
    try:
        about, formats = {"classes": NAMES}, ("json", "csv")
        write_files([Predicted(source, found, 49)], {}, about, formats, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 2**20
    (image,) = json.loads((tmp_path / "detections.json").read_text())["images"]
    assert len(image["detections"]) == count
    np.testing.assert_allclose(
        [one["corners"] for one in image["detections"]], corners, atol=0.0051
    )
    with open(tmp_path / "detections.csv") as file:
        assert len(list(csv.reader(file))) == count + 1


def test_a_run_without_shards_finishes_what_shards_have_done(tmp_path, picture):
    run(picture, tmp_path / "one")
    run(picture, tmp_path / "out", shard=Shard(1, 3))
    detector = DrawnObjects()
    run(picture, tmp_path / "out", detector)
    assert len(detector.batches) == 3
    assert result_files(tmp_path / "out") == result_files(tmp_path / "one")


def test_a_reading_without_a_fault_holds(tmp_path):
    """Of a disk that was away for a moment, whichever file comes first."""
    rows = np.zeros((1, COLUMNS), np.float32)
    for name, faults in (("a", {}), ("b", {0: "gone"})):
        with Journal(progress_folder(tmp_path, {}), name) as journal:
            journal.append(BatchResult(0, rows, faults=faults))
            journal.append(BatchResult(1, rows, faults={1: f"gone for {name}"}))
            journal.append(BatchResult(2, rows[:0]))
            journal.append(BatchResult(2, rows))
    assert journal.done() == {0: True, 1: False, 2: True}
    assert journal.latest()[1].faults == {1: "gone for b"} and len(journal.latest()[2].rows) == 1


def test_results_that_another_process_is_taking_away(tmp_path, picture, monkeypatch, caplog):
    """The folder goes at once: what is left of it is never taken for the whole."""
    run(picture, tmp_path / "out", shard=Shard(0, 2))
    (folder,) = (tmp_path / "out").glob("progress-*")
    latest = Journal.latest
    caplog.set_level("INFO")

    def taken_away(journal):
        journal.remove()
        return latest(journal)

    monkeypatch.setattr(Journal, "latest", taken_away)
    monkeypatch.setattr(Journal, "done", lambda journal: {})
    done = run(picture, tmp_path / "out", shard=Shard(1, 2))
    assert done.written_elsewhere and not done.images and not folder.exists()
    assert "another process has written the results" in caplog.text
    assert result_files(tmp_path / "out") == {}


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "a/b", "1/0", "/"])
def test_shards_that_make_no_sense(text):
    with pytest.raises(InputError, match="--shard"):
        Shard.parse(text)


def test_shards_of_torchrun():
    assert Shard.from_environment({"RANK": "3", "WORLD_SIZE": "8"}) == Shard(3, 8)
    assert Shard.from_environment({}) == Shard(0, 1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_a_full_disk_keeps_what_is_done(tmp_path, picture, monkeypatch):
    with pytest.raises(Killed):
        run(picture, tmp_path / "out", KilledAfter(2))
    (journal,) = (tmp_path / "out").glob("progress-*/*.jsonl")
    kept = journal.read_bytes()
    journal.rename(journal.with_name("before.jsonl"))
    journal.symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"cannot write .*No space left.*is kept"):
        run(picture, tmp_path / "out")
    journal.unlink()
    assert journal.with_name("before.jsonl").read_bytes() == kept
    detector = DrawnObjects()
    done = run(picture, tmp_path / "out", detector)
    assert len(detector.batches) == 2
    assert_found(done.images[0].detections)


def test_a_disk_that_fills_up_with_the_results(tmp_path, picture, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "detections.csv")

    monkeypatch.setattr("deploy.predict.writers._write_csv", full)
    with pytest.raises(InputError, match=r"detections.csv: No space left.*detections are kept"):
        run(picture, tmp_path / "out")
    monkeypatch.undo()
    detector = DrawnObjects()
    run(picture, tmp_path / "out", detector)
    assert detector.batches == []
    assert (tmp_path / "out/detections.csv").is_file()


def test_an_error_of_the_reader_is_raised(picture, tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("deploy.predict.reading.read_window", fail)
    with pytest.raises(ZeroDivisionError):
        run(picture, tmp_path / "out")


# Command line -------------------------------------------------------------------------------------


def command(*words):
    return main.main(["--phase", "predict", "--device", "cpu", *map(str, words)])


@pytest.fixture
def drawn(monkeypatch):
    monkeypatch.setattr(Detector, "load", lambda *_: _WithRuntime())


class _WithRuntime(DrawnObjects):
    class runtime:
        name, K, theta_thresh = "drawn", 500, 0.8


def test_exit_codes(tmp_path, picture, drawn, capsys):
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"x")
    words = ("--weights", weights, "--output", tmp_path / "out", "--source", picture.parent)
    assert command(*words) == 0
    assert "5 " in capsys.readouterr().out
    (picture.parent / "broken.png").write_text("no image")
    assert command(*words) == 1
    assert "broken.png" in capsys.readouterr().out
    assert command(*words[:-1], tmp_path / "gone") == 2
    assert command("--source", picture) == 2
    assert "--weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "devices", "environment", "expected"),
    [
        ("cuda", 4, {"LOCAL_RANK": "3"}, "cuda:3"),
        ("cuda", 1, {"LOCAL_RANK": "3"}, "cuda:0"),  # each process sees but one, or all share it
        ("cuda", 2, {"LOCAL_RANK": "3"}, "cuda:1"),
        ("cuda:1", 4, {"LOCAL_RANK": "3"}, "cuda:1"),  # asked for by number
        ("cuda", 4, {}, "cuda"),
        ("cuda", 4, {"LOCAL_RANK": ""}, "cuda"),
        ("cpu", 0, {"LOCAL_RANK": "3"}, "cpu"),
    ],
)
def test_the_gpu_of_a_process_of_torchrun(device, devices, environment, expected):
    found = device_of_rank(torch.device(device), devices, environment)
    assert found == torch.device(expected)


@pytest.fixture
def exported(tmp_path):
    """An ONNX file with thresholds and a K of its own."""
    pytest.importorskip("onnxruntime")
    props = {**PROPS, "K": "3", "nms_thresh": "0.3", "theta_thresh": "0.5", "conf_thresh": "0.2"}
    return onnx_file(tmp_path / "own.onnx", {**props, "input_size": "64x96"}, size=(64, 96))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--K", 500), "K 500: it has 3"),  # each of them what the flag is when it is not given
        (("--theta_thresh", 0.8), "theta_thresh 0.8: it has 0.5"),
        (("--conf_thresh", 0.18), "conf_thresh 0.18: it puts out scores above 0.2"),
    ],
)
def test_a_flag_of_the_default_value_is_no_flag_that_is_not_given(
    tmp_path, picture, exported, capsys, flags, message
):
    words = ("--weights", exported, "--source", picture, "--output", tmp_path / "out")
    assert command(*words, *flags) == 2
    error = capsys.readouterr().err
    assert "own.onnx was exported otherwise" in error and message in error
    assert command(*words) == 0
    about = json.loads((tmp_path / "out/detections.json").read_text())
    assert (about["conf_thresh"], about["nms_thresh"]) == (0.2, 0.3)
    assert command(*words, "--nms_thresh", 0.1) == 0  # it can be stricter than the file
    about = json.loads((tmp_path / "out/detections.json").read_text())
    assert about["nms_thresh"] == 0.1


def test_the_defaults_of_a_checkpoint(tmp_path, picture, monkeypatch):
    seen = []
    monkeypatch.setattr(
        Detector, "load", lambda path, settings: seen.append(settings) or _WithRuntime()
    )
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"x")
    words = ("--weights", weights, "--source", picture, "--output", tmp_path / "out")
    assert command(*words) == command(*words, "--K", 500) == 0
    assert [settings.K for settings in seen] == [None, 500]


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from helpers.drawn_objects import DrawnObjects
from deploy.predict.pipeline import predict
from deploy.predict.settings import PredictSettings
class Slow(DrawnObjects):
    def detect_inputs(self, images):
        time.sleep(0.2)
        return super().detect_inputs(images)
predict(Slow(), [{source!r}], PredictSettings(batch_size=1), Path({output!r}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_process_killed_by_the_system_goes_on(tmp_path, picture):
    code = KILLED.format(
        root=str(ROOT), tests=str(ROOT / "tests"), source=str(picture), output=str(tmp_path / "out")
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lines = [p.read_bytes().count(b"\n") for p in tmp_path.glob("out/progress-*/*.jsonl")]
            if lines and lines[0] >= 2:
                break
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    detector = DrawnObjects()
    done = run(picture, tmp_path / "out", detector, batch_size=1)
    assert 0 < len(detector.batches) <= 13
    assert_found(done.images[0].detections)
