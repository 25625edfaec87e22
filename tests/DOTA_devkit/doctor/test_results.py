"""Results that a server rejects, and low scores explained."""

import numpy as np
import pytest

from DOTA_devkit.doctor import ERROR, NOTE, WARNING, examine, read_survey
from DOTA_devkit.formats import DOTA_CLASSES, read_labels
from helpers.doctor_folders import healthy

CLASSES = ("ship", "plane")


@pytest.fixture
def root(tmp_path):
    return healthy(tmp_path / "data")


def write_results(root, change=lambda image_id, corners: (image_id, corners), names=CLASSES,
                  images=("im6", "im7"), score=0.05):  # fmt: skip
    """Write the labels of the images of val as detections, changed."""
    lines = {name: [] for name in names}
    for image_id in images:
        labels = read_labels(root / f"labelTxt/{image_id}.txt")
        for corners, name in zip(labels.corners, labels.names, strict=True):
            new_id, corners = change(image_id, corners)
            values = " ".join(f"{v:.1f}" for v in np.ravel(corners))
            lines[names[CLASSES.index(name)]].append(f"{new_id} {score} {values}\n")
    folder = root / "results"
    folder.mkdir()
    for name, text in lines.items():
        (folder / f"Task1_{name}.txt").write_text("".join(3 * text))
    return folder


def found(root, folder, **settings):
    diagnosis = examine(read_survey(root, results=folder, **settings))
    kept = [f for f in diagnosis.findings if f.check in ("submission", "low_scores")]
    return [(f.severity, f.title, f.places[0]) for f in kept]


def test_good_results(root):
    assert found(root, write_results(root)) == []


def test_half_of_the_test_set(root):
    ((severity, title, place),) = found(root, write_results(root, images=("im6",)))
    assert (severity, title) == (ERROR, "results of a part of the test set only")
    assert "only 1 of 2 test images" in place


def test_results_that_are_not_merged(root):
    folder = write_results(root, lambda i, c: (f"{i}__0.5__20___10", c * 0.5 - (20, 10)))
    told = found(root, folder)
    assert {one[1] for one in told} == {
        "results that are not merged: their ids are those of patches"
    }
    assert len(told) == 2 and "im6__0.5__20___10" in told[0][2]  # one for each class


def test_wrong_class_order(root):
    ((severity, title, place),) = found(root, write_results(root, names=("plane", "ship")))
    assert (severity, title) == (ERROR, "classes whose detections lie on objects of another class")
    assert place == "Task1_plane.txt: 12 of 12 on ship"


def test_boxes_of_another_size(root):
    ((severity, title, place),) = found(root, write_results(root, lambda i, c: (i, c * 3 + 100)))
    assert (severity, title) == (ERROR, "detections that lie on no object")
    assert "0 of the 24 best" in place


def test_scores_that_are_cut_off(root):
    ((severity, title, _),) = found(root, write_results(root, score=0.3))
    assert (severity, title) == (WARNING, "results without detections of low scores")


def test_files_that_are_missing_or_wrong(root):
    folder = write_results(root)
    (folder / "Task1_plane.txt").rename(folder / "Task1_plan.txt")
    (folder / "Task1_ship.txt").write_text("im6 0.9 1 2 3\n")
    titles = [one[1] for one in found(root, folder)]
    assert "result files that are missing" in titles
    assert "result files of no class" in titles
    assert "result files that cannot be read" in titles


def test_ids_of_no_image(root):
    folder = write_results(root, lambda i, c: (f"{i}.png", c))
    told = found(root, folder)
    assert (ERROR, "results of images that are not in the list") in [one[:2] for one in told]
    assert (NOTE, "results that no label can be compared with") in [one[:2] for one in told]


def test_release_of_dota_without_labels(root, tmp_path):
    """Half of the 937 test images of DOTA 1.0, without a list and labels of them."""
    data = tmp_path / "test"
    (data / "images").mkdir(parents=True)
    (data / "images/P0001.png").write_bytes((root / "images/im0.png").read_bytes())
    folder = tmp_path / "merged"
    folder.mkdir()
    text = "".join(f"P{k:04} 0.01 1 2 3 2 3 4 1 4\n" for k in range(470))
    for name in DOTA_CLASSES["1.0"]:
        (folder / f"Task1_{name}.txt").write_text(text)
    ((severity, title, place),) = found(data, folder, classes=DOTA_CLASSES["1.0"], release="1.0")
    assert (severity, title) == (ERROR, "results of a part of the test set only")
    assert "only 470 of 937" in place
