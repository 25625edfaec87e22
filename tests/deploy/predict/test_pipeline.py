"""Prediction from images to files, with a detector whose answers are known."""

import csv
import dataclasses
import json
import logging
import tracemalloc

import cv2
import numpy as np
import pytest

from deploy.predict import pipeline, writers
from deploy.predict.settings import FORMATS, LABEL_FORMATS
from deploy.predict.sources import ImageSource
from deploy.predict.writers import ImageResult, Results, RunInfo, write_files
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_task1
from helpers.drawn_objects import NAMES, DrawnObjects, scene
from helpers.prediction_runs import (
    OBJECTS,
    SIZE_WH,
    Killed,
    KilledAfter,
    assert_found,
    run,
    write,
)
from structures.detections import Detections


def test_result_files(tmp_path, picture):
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


def test_every_format_has_a_writer():
    assert {*FORMATS, *LABEL_FORMATS} == set(writers.WRITERS)
    assert list(writers.WRITERS)[-1] == "json"  # it lists what the other files lack


def test_image_without_detections(tmp_path):
    write(tmp_path / "a.png", scene((50, 40), []))
    done = run(tmp_path / "a.png", tmp_path / "out")
    assert len(done.images[0].detections) == 0
    assert (tmp_path / "out/Task1_plane.txt").read_text() == ""
    assert done.table(NAMES).splitlines()[-1].split() == ["all", "0", "0", "of", "1", "-"]


@pytest.mark.parametrize(
    ("settings", "input_sizes", "windows"),
    [
        ({}, (128, 128), 12),  # 4 x 3 windows of the model's input size, overlapping by a sixth
        ({}, (320, 192), 1),  # hardly larger than the input: taken as a whole
        ({"tile": 0}, (128, 128), 1),  # one window
        ({"tile": 96, "overlap": 40}, (128, 128), 66),
        ({"scales": (0.5, 1.0)}, (128, 128), 14),
    ],
)
def test_tilings_find_the_same_objects(tmp_path, picture, settings, input_sizes, windows):
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


def test_small_images_share_batches(tmp_path):
    for number in range(7):
        write(tmp_path / f"{number}.png", scene((100 + number, 80), OBJECTS[:1]))
    detector = DrawnObjects()
    done = run(tmp_path, tmp_path / "out", detector, formats=())
    assert detector.batches == [3, 3, 1]
    assert all(len(one.detections) == 1 for one in done.images)


def test_areas_of_one_color_are_skipped(tmp_path):
    image = np.zeros((250, 900, 3), np.uint8)
    image[:, :400] = scene(SIZE_WH, OBJECTS)
    detector = DrawnObjects()
    done = run(write(tmp_path / "a.png", image), tmp_path / "out", detector, formats=())
    assert done.without_data > 5
    assert sum(detector.batches) == done.windows - done.without_data
    assert_found(done.images[0].detections)


class AtMost(DrawnObjects):
    """Finds at most `K` objects of an input, as a decoder does."""

    K = 1

    def find(self, image):
        found = super().find(image)
        return dataclasses.replace(found[: self.K], complete=len(found) < self.K)


def test_full_windows_are_logged_as_warnings(tmp_path, picture, caplog):
    write(picture.parent / "sparse.png", scene((100, 90), []))
    done = run(picture.parent, tmp_path / "out", AtMost(), formats=("json",), tile=0)
    assert [one.detections.complete for one in done.images] == [False, True]
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1 and "(`tile`)" in warnings[0]
    assert "harbor.png: a window reached the maximum of K detections" in warnings[0]
    # one line, however many images there are
    caplog.clear()
    other = write(tmp_path / "many" / "other.png", cv2.imread(str(picture)))
    run([picture, other], tmp_path / "two", AtMost(), formats=(), tile=0)
    (warnings,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "harbor.png and 1 more images: a window reached the maximum of K" in warnings
    images = json.loads((tmp_path / "out/detections.json").read_text())["images"]
    assert [one["complete"] for one in images] == [False, True]
    # the same when the windows were done by an earlier run
    with pytest.raises(Killed):
        run(picture, tmp_path / "again", KilledAfter(2, AtMost()))
    caplog.clear()
    run(picture, tmp_path / "again", AtMost(), formats=())
    assert "maximum of K detections" in caplog.text


def test_one_reason_for_many_images_is_not_warnings_of_each(tmp_path, caplog):
    write(tmp_path / "images/0.png", scene((50, 40), []))
    (tmp_path / "list.txt").write_text(
        "images/0.png\n"
        + "".join(f"gone/{number}.png\n" for number in range(pipeline.MAX_SHOWN_FAULTS + 3))
    )
    done = run(tmp_path / "list.txt", tmp_path / "out", formats=("json",))
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == pipeline.MAX_SHOWN_FAULTS + 1 and warnings[-1].startswith(
        "left out: 3 more"
    )
    named = json.loads((tmp_path / "out/detections.json").read_text())["left_out"]
    assert len(named) == len(done.faults) == pipeline.MAX_SHOWN_FAULTS + 3


def test_image_deleted_before_it_is_drawn(tmp_path, picture, monkeypatch, caplog):
    write_files = pipeline.write_files

    def too_late(*args):
        picture.unlink()
        return write_files(*args)

    monkeypatch.setattr(pipeline, "write_files", too_late)
    done = run(picture, tmp_path / "out")
    assert len(done.images[0].detections) == 5 and list(done.faults) == [str(picture)]
    told = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert sum("harbor.png" in record.message for record in told) == 1
    content = json.loads((tmp_path / "out/detections.json").read_text())
    assert list(content["left_out"]) == [str(picture)]


@pytest.mark.slow
def test_writing_many_detections_takes_little_memory(tmp_path, monkeypatch):
    """As Python objects, the values of each detection take a kilobyte or more."""
    count = 10_000
    monkeypatch.setattr(writers, "DETECTIONS_PER_CHUNK", 500)
    box = np.array([[0, 0], [9, 0], [9, 5], [0, 5]], np.float32)
    corners = (np.random.default_rng(0).uniform(0, 4000, (count, 1, 2)) + box).astype(np.float32)
    found = Detections(
        corners, np.linspace(1, 0.2, count, dtype=np.float32), np.zeros(count, np.int64), NAMES
    )
    source = ImageSource("a", tmp_path / "a.png", (4096, 4096))
    tracemalloc.start()
    try:
        info = RunInfo(NAMES, 0.18, 0.1, (608, 608), 100, (1.0,))
        write_files(Results([ImageResult(source, found, 49)], {}, info), ("json", "csv"), tmp_path)
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


def test_full_disk_while_writing_results(tmp_path, picture, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "detections.csv")

    monkeypatch.setitem(writers.WRITERS, "csv", full)
    with pytest.raises(InputError, match=r"detections.csv: No space left.*detections are kept"):
        run(picture, tmp_path / "out")
    monkeypatch.undo()
    detector = DrawnObjects()
    run(picture, tmp_path / "out", detector)
    assert detector.batches == []
    assert (tmp_path / "out/detections.csv").is_file()


def test_error_of_reading_thread_is_raised(picture, tmp_path, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("deploy.predict.reading.read_window", fail)
    with pytest.raises(ZeroDivisionError):
        run(picture, tmp_path / "out")
