"""Evaluation: files and scores of given detections, merged patches, reports."""

import csv
import json
import logging
import zipfile

import numpy as np
import pytest
import torch

import eval as evaluation
from datasets import DataOptions, open_dataset
from DOTA_devkit.errors import InputError
from DOTA_devkit.scoring import Truth
from eval import EvalSettings, evaluate_split, headline, score_split
from helpers.data_folders import CLASSES, centered_line, make_dota, make_small_dota
from helpers.networks import FixedBoxesNetwork, tiny_model
from helpers.no_plots import draw_no_plots
from inference import InferenceSettings
from structures.detections import Detections
from structures.task1 import to_task1, write_results

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_plot(request, monkeypatch):
    """The plot takes longer than an evaluation; a test that wants it asks for `real_plot`."""
    if "real_plot" not in request.fixturenames:
        draw_no_plots(monkeypatch)


@pytest.fixture
def real_plot():
    """Draw the plot in this test."""


def open_split(root, phase="test", input_hw=(64, 64)):
    return open_dataset("dota", root, phase, input_hw, DataOptions(classes=CLASSES))


def evaluate_boxes(root, found, tmp_path, **settings):
    """Evaluate the boxes of a `FixedBoxesNetwork` and return the scores."""
    return evaluate_split(
        FixedBoxesNetwork(found), open_split(root),
        EvalSettings(InferenceSettings(batch_size=2), **settings),
        tmp_path / "result", tmp_path / "merge", CPU,
    )  # fmt: skip


def detections_of(image_id, *boxes):
    """Return the id and the detections of an image.

    boxes: (left, top, width, height, score, label) in source pixels.
    """
    corners = np.array(
        [[[x + w, y], [x + w, y + h], [x, y + h], [x, y]] for x, y, w, h, _, _ in boxes]
    ).reshape(-1, 4, 2)
    scores = np.array([box[4] for box in boxes], np.float32)
    labels = np.array([box[5] for box in boxes], np.int64)
    return image_id, Detections(corners.astype(np.float32), scores, labels)


# Task1 -------------------------------------------------------------------------------------------


def test_task1_without_detections():
    for found in ([], [detections_of("a"), detections_of("b")]):
        tables = to_task1(found, CLASSES)
        assert list(tables) == list(CLASSES)
        for table in tables.values():
            assert len(table) == 0 and table.corners.shape == (0, 4, 2)


def test_task1_lines(tmp_path):
    found = [
        detections_of("P0001", (1, 2, 30, 4.25, 0.5, 1), (0, 0, 8, 8, 0.25, 0)),
        detections_of("with space.1"),
        detections_of("P0002", (-3, 5, 10, 10, 0.75, 1)),
    ]
    write_results(to_task1(found, CLASSES), tmp_path / "new")
    assert (tmp_path / "new" / "Task1_ship.txt").read_text() == (
        "P0001 0.250000000000 8.0 0.0 8.0 8.0 0.0 8.0 0.0 0.0\n"
    )
    assert (tmp_path / "new" / "Task1_plane.txt").read_text() == (
        "P0001 0.500000000000 31.0 2.0 31.0 6.2 1.0 6.2 1.0 2.0\n"
        "P0002 0.750000000000 7.0 5.0 7.0 15.0 -3.0 15.0 -3.0 5.0\n"
    )


def test_task1_file_of_a_class_without_detections(tmp_path):
    write_results(to_task1([detections_of("a", (0, 0, 8, 8, 0.5, 1))], CLASSES), tmp_path)
    assert (tmp_path / "Task1_ship.txt").read_text() == ""


# Scores, computed by hand ------------------------------------------------------------------------

# Source (width, height) -> scale, x pad and y pad of the letterbox of 64x64, computed by hand.
SIZES = {(64, 64): (1, 0, 0), (640, 320): (0.1, 0, 16), (320, 640): (0.1, 16, 0),
         (32, 32): (2, 0, 0)}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.slow
def test_ap_of_given_detections(tmp_path, size):
    """The AP is the 11-point mean of VOC 2007, for inputs of several scales and pads.

    By score, the detections of the two ships are a true, a false and a true positive: precision 1
    up to recall 0.5 (6 points), then 2/3 (5 points). One plane is found, and a difficult one, which
    does not count, is not.
    """
    scale, px, py = SIZES[size]
    width, height = size

    def box(x, y, name):  # center relative to the image, sides of a quarter of it
        return centered_line(x * width, y * height, width / 4, height / 4, name)

    def detection(x, y, score, label):
        w, h = width * scale / 4, height * scale / 4
        return (x * width * scale + px, y * height * scale + py, w, h, score, label)

    lines = [box(0.25, 0.25, "ship"), box(0.75, 0.75, "ship"), box(0.25, 0.75, "plane")]
    lines.append(box(0.75, 0.25, "plane").removesuffix("0") + "1")
    make_dota(tmp_path / "data", {"a": lines, "b": []}, size=size, test=["a", "b"])
    in_a = [(0.25, 0.25, 0.9, 0), (0.75, 0.75, 0.5, 0), (0.25, 0.75, 0.8, 1)]
    in_b = [(0.5, 0.5, 0.7, 0)]
    found = [[detection(*row) for row in rows] for rows in (in_a, in_b)]
    scores = evaluate_boxes(tmp_path / "data", found, tmp_path)
    ship = (6 * 1 + 5 * 2 / 3) / 11
    assert scores["ship"].ap[0] == pytest.approx(ship)
    assert scores["plane"].ap[0] == pytest.approx(1)
    assert headline(scores) == pytest.approx((ship + 1) / 2)
    assert scores["ship"].objects == 2 and scores["plane"].objects == 1
    # the best F1, 0.8, is that of both ships and one false positive, all with scores from 0.5
    assert scores["ship"].best_f1 == pytest.approx(0.8)
    assert scores["ship"].best_score == pytest.approx(0.5)
    # rows: ship, plane and background as labeled; columns: as detected
    assert scores.confusion.sum() >= 3 and scores.confusion[0, 0] == 2

    dataset = open_split(tmp_path / "data")
    settings = EvalSettings(InferenceSettings())
    ap = score_split(FixedBoxesNetwork(found), dataset, dataset.truth(), settings, CPU).ap
    assert ap == pytest.approx(headline(scores))


def test_ap_of_other_metrics(tmp_path):
    """The only detection is 1.5 times as wide as its ship: IoU 2/3."""
    labels = {"a": [centered_line(32, 32, 16, 16, "ship")]}
    make_dota(tmp_path / "data", labels, size=(64, 64), test="a")
    found = [[(32, 32, 24, 16, 0.9, 0)]]
    assert headline(evaluate_boxes(tmp_path / "data", found, tmp_path, metric="voc12")) == 1
    coco = evaluate_boxes(tmp_path / "data", found, tmp_path, metric="coco")
    # four of the ten thresholds from 0.50 to 0.95 are below 2/3
    assert headline(coco) == pytest.approx(0.4)
    assert evaluate_boxes(tmp_path / "data", found, tmp_path, metric="voc07").mean_ap_at(0.75) == 0


def test_mean_ap_excludes_classes_without_objects(tmp_path):
    labels = {"a": [centered_line(32, 32, 16, 16, "ship")]}
    make_dota(tmp_path / "data", labels, size=(64, 64), test="a")
    found = [[(32, 32, 16, 16, 0.9, 0), (20, 20, 16, 16, 0.95, 1)]]
    scores = evaluate_boxes(tmp_path / "data", found, tmp_path)
    assert headline(scores) == 1 and np.isnan(scores["plane"].ap[0])


# Files of an evaluation --------------------------------------------------------------------------


def test_files_and_log_of_an_evaluation(real_plot, tmp_path, caplog):
    data = make_small_dota(tmp_path / "data", train=1, val=2)
    found = [[(21, 24, 24, 16, 0.9, 0), (44, 46, 18, 19, 0.8, 1)], [(22, 24, 24, 16, 0.9, 0)]]
    with caplog.at_level("INFO"):
        scores = evaluate_boxes(data, found, tmp_path)
    result = tmp_path / "result"
    assert {path.name for path in result.iterdir()} == {
        "Task1_ship.txt", "Task1_plane.txt", "Task1.zip", "ap.csv", "ap.json", "evaluation.png",
        "errors.html", "errors.json",
    }  # fmt: skip
    with zipfile.ZipFile(result / "Task1.zip") as archive:
        for name in CLASSES:
            inside = archive.read(f"Task1_{name}.txt").decode()
            assert inside == (result / f"Task1_{name}.txt").read_text()
    with open(result / "ap.csv", encoding="utf-8") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert float(rows["ship"]["AP50"]) == 1 and set(rows) == {*CLASSES, "mean"}
    assert json.loads((result / "ap.json").read_text())
    errors = json.loads((result / "errors.json").read_text())
    # One of the two planes is missed: at 11 points, five of them.
    assert errors["sizes"]["all"]["mean"]["lost"]["missed"] == pytest.approx(5 / 11 / 2)
    assert [one["counts"] for one in errors["worst_images"]] == [{"not found": 1}]
    assert (result / "errors.html").read_text().count("data:image/jpeg") == 1
    log = "\n".join(caplog.messages)
    assert "scores above 0.01" in log and "voc07" in log
    assert f"AP {headline(scores):.4f}" in log and "AP lost to: missed 22.73" in log
    assert not (tmp_path / "merge").exists()


def test_comparison_with_an_earlier_evaluation(tmp_path, caplog):
    """The folder may be that of the new results: it is read before they are written."""
    data = make_small_dota(tmp_path / "data", train=1, val=2)
    ship, plane = (21, 24, 24, 16, 0.9, 0), (44, 46, 18, 19, 0.8, 1)
    evaluate_boxes(data, [[ship], []], tmp_path)
    with caplog.at_level("INFO"):
        evaluate_boxes(data, [[ship, plane], [ship]], tmp_path, against=tmp_path / "result")
    mean = json.loads((tmp_path / "result" / "errors.json").read_text())["comparison"]["mean"]
    # Before: one of two ships, 6 of 11 points. Now: both, and one of two planes.
    assert mean["against"] == pytest.approx(6 / 11 / 2)
    assert mean["difference"] == pytest.approx((1 + 6 / 11) / 2 - 6 / 11 / 2)
    assert "of 2 images" in "\n".join(caplog.messages)
    with pytest.raises(InputError, match=r"expected files such as Task1_ship\.txt"):
        evaluate_boxes(data, [[], []], tmp_path, against=tmp_path / "data")


def test_images_without_labels_get_results_and_no_scores(tmp_path, caplog):
    make_dota(tmp_path / "data", {"a": None}, size=(64, 64), test="a")
    with caplog.at_level("INFO"):
        assert evaluate_boxes(tmp_path / "data", [[(32, 32, 16, 16, 0.9, 0)]], tmp_path) is None
    assert "there are no labels of the images" in "\n".join(caplog.messages)
    assert (tmp_path / "result" / "Task1_ship.txt").read_text().startswith("a 0.899999")
    assert not (tmp_path / "result" / "ap.csv").exists()


def test_labels_of_some_images_only_are_refused(tmp_path):
    make_dota(tmp_path / "data", {"a": [], "b": None}, size=(64, 64), test=["a", "b"])
    with pytest.raises(InputError, match=r"1 of 2 images have no labels[\s\S]*b"):
        evaluate_boxes(tmp_path / "data", [[], []], tmp_path)


def test_evaluation_without_matplotlib(real_plot, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    data = make_small_dota(tmp_path / "data", train=1, val=1)
    assert evaluate_boxes(data, [[]], tmp_path) is not None
    assert not (tmp_path / "result" / "evaluation.png").exists()
    assert "the curves are not plotted" in "\n".join(caplog.messages)


def test_overridden_dec_evaluation_is_used(tmp_path, caplog):
    data = make_small_dota(tmp_path / "data", train=1, val=1)
    dataset = open_split(data)

    class OwnEvaluation(type(dataset)):
        def dec_evaluation(self, result_path):
            return sorted(p.name for p in __import__("pathlib").Path(result_path).glob("*.txt"))

    dataset.__class__ = OwnEvaluation
    with caplog.at_level("INFO"):
        evaluate_split(
            FixedBoxesNetwork([[]]), dataset, EvalSettings(), tmp_path / "r", tmp_path / "m", CPU
        )
    assert "OwnEvaluation.dec_evaluation: ['Task1_plane.txt', 'Task1_ship.txt']" in caplog.messages


def test_average_precision_does_not_change_the_network(tmp_path):
    data = make_small_dota(tmp_path / "data", train=1, val=2)
    model = tiny_model().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    dataset = open_split(data)
    score_split(model, dataset, dataset.truth(), EvalSettings(), CPU)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# Patches -----------------------------------------------------------------------------------------

# Two patches of a 100x64 image P at rate 1, side by side with an overlap of 28 pixels, and one at
# rate 0.5 that holds all of Q (128x128). One ship of P lies in the overlap and is found in both.
PATCHES = ["P__1__0___0", "P__1__36___0", "Q__0.5__0___0"]
FOUND = [
    [(50, 20, 20, 10, 0.9, 0)],  # at x = 50 of P
    [(14, 20, 20, 10, 0.8, 0)],  # the same, 36 to the left
    [(32, 32, 16, 16, 0.7, 1)],  # at (64, 64) of Q, 32x32
]
FULL = {"P": [centered_line(50, 20, 20, 10, "ship")], "Q": [centered_line(64, 64, 32, 32, "plane")]}
CUT = {
    "P__1__0___0": [centered_line(50, 20, 20, 10, "ship")],
    "P__1__36___0": [centered_line(14, 20, 20, 10, "ship")],
    "Q__0.5__0___0": [centered_line(32, 32, 16, 16, "plane")],
}


@pytest.fixture
def patches(tmp_path):
    make_dota(tmp_path / "data", dict.fromkeys(PATCHES, None), size=(64, 64), test=PATCHES)
    return tmp_path / "data"


def write_labels(folder, labels):
    folder.mkdir(exist_ok=True)
    for image_id, lines in labels.items():
        (folder / f"{image_id}.txt").write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("merge", ["auto", "yes"])
def test_patches_are_merged_if_full_images_are_labeled(patches, tmp_path, merge):
    write_labels(patches / "labelTxt", FULL)
    scores = evaluate_boxes(patches, FOUND, tmp_path, merge=merge)
    assert headline(scores) == 1 and scores["ship"].detections == 1
    (line,) = (tmp_path / "merge" / "Task1_ship.txt").read_text().splitlines()
    image_id, score, *corners = line.split()
    assert image_id == "P" and float(score) == pytest.approx(0.9)
    assert list(map(float, corners)) == [60, 15, 60, 25, 40, 25, 40, 15]
    (line,) = (tmp_path / "merge" / "Task1_plane.txt").read_text().splitlines()
    assert list(map(float, line.split()[2:])) == [80, 48, 80, 80, 48, 80, 48, 48]
    assert (tmp_path / "merge" / "ap.csv").is_file()
    # The results of the patches, which the second run compares with, are merged as well.
    again = evaluate_boxes(patches, FOUND, tmp_path, merge=merge, against=tmp_path / "result")
    errors = json.loads((tmp_path / "merge" / "errors.json").read_text())
    assert errors["comparison"]["mean"]["against"] == headline(again) == 1
    assert (tmp_path / "merge" / "Task1.zip").is_file()
    assert not (tmp_path / "result" / "ap.csv").exists()
    assert len((tmp_path / "result" / "Task1_ship.txt").read_text().splitlines()) == 2


def test_truth_dir_of_full_images(patches, tmp_path):
    write_labels(patches / "labelTxt", CUT)
    write_labels(tmp_path / "full", FULL)
    scores = evaluate_boxes(patches, FOUND, tmp_path, truth_dir=tmp_path / "full")
    assert scores["ship"].objects == 1
    (tmp_path / "full" / "Q.txt").unlink()
    with pytest.raises(InputError, match=r"^truth_dir .*1 of 2 .*Q\.txt"):
        evaluate_boxes(patches, FOUND, tmp_path, truth_dir=tmp_path / "full")


@pytest.mark.parametrize("merge, full", [("auto", {}), ("no", FULL), ("auto", {"P": FULL["P"]})])
@pytest.mark.slow
def test_patches_are_scored_without_merging(patches, tmp_path, merge, full, caplog):
    write_labels(patches / "labelTxt", {**CUT, **full})
    with caplog.at_level(logging.INFO):
        scores = evaluate_boxes(patches, FOUND, tmp_path, merge=merge)
    assert ("as `truth_dir`" in caplog.text) == (merge == "auto")
    assert scores["ship"].objects == 2 and headline(scores) == 1
    assert not (tmp_path / "merge").exists()


def test_merged_patches_without_labels(patches, tmp_path):
    assert evaluate_boxes(patches, FOUND, tmp_path, merge="yes") is None
    assert (tmp_path / "merge" / "Task1.zip").is_file()
    assert not (tmp_path / "merge" / "ap.csv").exists()


def test_merging_with_an_id_that_is_not_a_patch(patches, tmp_path):
    """auto: nothing is merged. yes: patches are merged, and the other image is kept as it is."""
    make_dota(patches, {"whole": [centered_line(30, 30, 10, 10, "ship")]}, size=(64, 64))
    (patches / "test.txt").write_text("\n".join([*PATCHES, "whole"]))
    write_labels(patches / "labelTxt", {**CUT, **FULL})
    found = [*FOUND, [(30, 30, 10, 10, 0.9, 0)]]
    assert evaluate_boxes(patches, found, tmp_path)["ship"].objects == 3
    scores = evaluate_boxes(patches, found, tmp_path, merge="yes")
    assert scores["ship"].objects == 2 and headline(scores) == 1


def test_merging_without_any_patch(tmp_path):
    data = make_small_dota(tmp_path / "data", train=1, val=1)
    with pytest.raises(InputError, match=r"^merge yes.*NAME__RATE__X___Y.*im1"):
        evaluate_boxes(data, [[]], tmp_path, merge="yes")


def test_merged_class_without_detections(patches, tmp_path):
    write_labels(patches / "labelTxt", FULL)
    scores = evaluate_boxes(patches, [FOUND[0], FOUND[1], []], tmp_path)
    assert headline(scores) == 0.5 and scores["plane"].ap[0] == 0


def test_iou_thresholds_of_the_metrics():
    assert EvalSettings().iou_thresholds == (0.5, 0.75)
    assert len(EvalSettings(metric="coco").iou_thresholds) == 10


def test_headline_without_any_object():
    truth = Truth.from_arrays({"a": (np.zeros((0, 4, 2)), np.zeros(0, int), np.zeros(0, int))},
                              list(CLASSES))  # fmt: skip
    scores = evaluation.evaluate(
        to_task1([detections_of("a")], CLASSES), truth, (0.5, 0.75), "voc07"
    )
    assert np.isnan(headline(scores))
