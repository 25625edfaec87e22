"""Scores against recorded ones and against a simple evaluation, box by box."""

import csv
import json
import logging
import math

import numpy as np
import pytest
import shapely

from DOTA_devkit import scoring
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Task1, read_ids
from DOTA_devkit.scoring import (
    COCO_THRESHOLDS,
    Truth,
    average_precision,
    evaluate,
    load_detections,
    load_truth,
)
from helpers.recorded_ties import RECORDED_TIES
from helpers.scenes import (
    reference_ap,
    reference_area,
    reference_iou,
    square,
    task1,
    truth_of_squares,
)


def random_scene(seed: int, images: int = 4, boxes: int = 12, rounded: bool = False):
    """(detections, truth) of one class, crowded, with difficult objects and false positives."""
    rng = np.random.default_rng(seed)
    objects, rows = {}, []
    for k in range(images):
        corners = rng.uniform(0, 90, (boxes, 1, 2)) + square(0, 0, 1) * rng.uniform(
            8, 60, (boxes, 1, 1)
        )
        objects[f"P{k}"] = (corners, np.zeros(boxes), rng.random(boxes) < 0.2)
        for corner in np.concatenate([corners, corners[::2], rng.uniform(0, 90, (5, 4, 2))]):
            rows.append((f"P{k}", rng.random(), corner + rng.normal(0, 2, (1, 2))))
    found = task1([rows[k] for k in rng.permutation(len(rows))])
    if rounded:
        found = Task1(found.image_ids, found.scores.round(1), found.corners)
    return {"ship": found}, Truth.from_arrays(objects, ["ship"])


def reference_evaluation(
    found: Task1, truth: Truth, threshold: float, metric: str, size=None
) -> float:
    """One detection after the other, as the rules are written."""
    low, high = size or (0, math.inf)
    areas = [reference_area(corners) for corners in truth.corners]
    ignored = [bool(d) or not low <= a < high for d, a in zip(truth.difficult, areas, strict=True)]
    taken: set[int] = set()
    hits = misses = 0
    recall, precision = [], []
    for k in sorted(range(len(found)), key=lambda k: -found.scores[k]):
        image = truth.image_ids.index(found.image_ids[k])
        candidates = [j for j in range(len(areas)) if truth.images[j] == image]
        iou = {j: reference_iou(found.corners[k], truth.corners[j]) for j in candidates}
        hit = None
        if metric == "coco":
            free = [
                j for j in candidates
                if iou[j] >= threshold and (j not in taken or truth.difficult[j])
            ]  # fmt: skip
            # Objects that count come first, then the larger IoU.
            hit = min(free, key=lambda j: (ignored[j], -iou[j]), default=None)
        else:
            best = max(candidates, key=lambda j: iou[j], default=None)
            if best is not None and iou[best] > threshold and (ignored[best] or best not in taken):
                hit = best
        if hit is None:
            misses += low <= reference_area(found.corners[k]) < high
        else:
            hits += not ignored[hit]
            taken.add(hit)
        recall.append(hits / max(len(ignored) - sum(ignored), 1))
        precision.append(hits / max(hits + misses, 1))
    return reference_ap(recall, precision, metric)


class TestRecorded:
    @pytest.fixture
    def voc50(self, shared):
        folder = shared / "fixtures" / "voc50"
        classes = tuple(RECORDED_TIES)
        truth = load_truth(folder / "labelTxt", read_ids(folder / "valset.txt"), classes)
        detections = load_detections(folder / "det", classes)
        return detections, truth, json.loads((folder / "ap.json").read_text())

    @pytest.mark.parametrize(("metric", "suffix"), [("voc07", "07"), ("voc12", "area")])
    def test_ap_in_the_recorded_order_of_ties(self, voc50, metric, suffix):
        detections, truth, recorded = voc50
        ordered = {}
        for name, found in detections.items():
            rank = np.zeros(len(found), int)
            rank[RECORDED_TIES[name]] = np.arange(len(RECORDED_TIES[name]))
            order = np.lexsort((rank, -found.scores))
            ordered[name] = Task1(
                [found.image_ids[k] for k in order], found.scores[order], found.corners[order]
            )
        evaluation = evaluate(ordered, truth, (0.3, 0.5, 0.75), metric)
        for name in detections:
            expected = [recorded[f"{name}_{t}_{suffix}"] for t in (0.3, 0.5, 0.75)]
            np.testing.assert_allclose(evaluation[name].ap, expected, atol=1e-6)

    def test_numbers_of_objects_and_detections(self, voc50):
        detections, truth, _ = voc50
        evaluation = evaluate(detections, truth)
        assert [score.detections for score in evaluation.classes] == [1382, 705, 225]
        assert sum(score.objects for score in evaluation.classes) == 2000 - 195
        assert evaluation.images == 50 and evaluation.unlisted == 0


class TestAgainstReference:
    @pytest.mark.parametrize("metric", scoring.METRICS)
    @pytest.mark.parametrize("threshold", [0.3, 0.5, 0.75])
    @pytest.mark.parametrize("rounded", [False, True])  # ties
    @pytest.mark.slow
    def test_ap_against_reference(self, metric, threshold, rounded):
        for seed in range(2):
            detections, truth = random_scene(seed, rounded=rounded)
            score = evaluate(detections, truth, (threshold,), metric)["ship"]
            expected = reference_evaluation(detections["ship"], truth, threshold, metric)
            assert score.ap[0] == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("metric", scoring.METRICS)
    @pytest.mark.parametrize("size", scoring.SIZES)
    def test_ap_by_size_against_reference(self, metric, size, monkeypatch):
        sizes = {"small": (0, 20**2), "medium": (20**2, 40**2), "large": (40**2, math.inf)}
        monkeypatch.setattr("DOTA_devkit.scoring.evaluator.SIZES", sizes)
        for seed in range(2):
            detections, truth = random_scene(seed)
            score = evaluate(detections, truth, (0.5,), metric)["ship"]
            expected = reference_evaluation(detections["ship"], truth, 0.5, metric, sizes[size])
            assert score.ap_by_size[size] == pytest.approx(expected, abs=1e-9)
            areas = shapely.area(shapely.polygons(truth.corners[~truth.difficult]))
            low, high = sizes[size]
            assert score.objects_by_size[size] == ((areas >= low) & (areas < high)).sum()

    def test_rectangles_include_the_far_border(self):
        """In Task2 a rectangle from 0 to 9 is ten pixels wide."""
        truth = truth_of_squares({"P": [(square(0, 0, 9), 0, 0)]})
        found = {"ship": task1([("P", 0.9, square(5, 0, 9))])}  # 50 of 150 pixels
        assert evaluate(found, truth, (0.333,), rectangles=True)["ship"].ap[0] == 1
        assert evaluate(found, truth, (0.334,), rectangles=True)["ship"].ap[0] == 0
        assert evaluate(found, truth, (0.333,))["ship"].ap[0] == 0  # 36 of 126

    def test_rectangles_bound_rotated_boxes(self):
        diamond = np.array([[5, 0], [10, 5], [5, 10], [0, 5]], float)
        truth = truth_of_squares({"P": [(diamond, 0, 0)]})
        found = {"ship": task1([("P", 0.9, square(0, 0))])}
        assert evaluate(found, truth, (0.6,), rectangles=True)["ship"].ap[0] == 1
        assert evaluate(found, truth, (0.6,))["ship"].ap[0] == 0


class TestMatching:
    """Two ships side by side; the IoU of `between` with either is above 0.5."""

    truth = truth_of_squares({"P": [(square(0, 0), 0, 0), (square(4, 0), 0, 0)], "Q": []})
    between = square(2.1, 0)

    def test_voc_takes_best_object_matched_or_not(self):
        found = {"ship": task1([("P", 0.9, square(4, 0)), ("P", 0.8, self.between)])}
        curve = evaluate(found, self.truth)["ship"].curve
        assert curve.recall.tolist() == [0.5, 0.5] and curve.precision.tolist() == [1, 0.5]

    def test_coco_takes_best_unmatched_object(self):
        found = {"ship": task1([("P", 0.9, square(4, 0)), ("P", 0.8, self.between)])}
        curve = evaluate(found, self.truth, (0.5,), "coco")["ship"].curve
        assert curve.recall.tolist() == [0.5, 1] and curve.precision.tolist() == [1, 1]

    @pytest.mark.parametrize(("metric", "ap"), [("voc12", 0), ("coco", 1)])
    def test_iou_equal_to_threshold(self, metric, ap):
        half = np.array([[0, 0], [10, 0], [10, 5], [0, 5]], float)
        truth = truth_of_squares({"P": [(square(0, 0), 0, 0)]})
        found = {"ship": task1([("P", 0.9, half)])}
        assert evaluate(found, truth, (0.5,), metric)["ship"].ap[0] == ap

    @pytest.mark.parametrize("metric", scoring.METRICS)
    def test_difficult_object_ignores_any_number_of_detections(self, metric):
        truth = truth_of_squares({"P": [(square(0, 0), 0, 1), (square(50, 0), 0, 0)]})
        rows = [("P", 0.9, square(0, 0)), ("P", 0.8, square(1, 0)), ("P", 0.7, square(50, 0))]
        score = evaluate({"ship": task1(rows)}, truth, metric=metric)["ship"]
        assert score.objects == 1 and score.ap[0] == pytest.approx(1)

    def test_equal_scores_keep_input_order(self):
        hit, miss = ("P", 0.5, square(0, 0)), ("P", 0.5, square(80, 80))
        truth = truth_of_squares({"P": [(square(0, 0), 0, 0)]})
        assert evaluate({"ship": task1([hit, miss])}, truth, metric="voc12").map == 1
        assert evaluate({"ship": task1([miss, hit])}, truth, metric="voc12").map == 0.5

    def test_same_place_in_another_image_does_not_match(self):
        found = {"ship": task1([("Q", 0.9, square(0, 0))])}
        assert evaluate(found, self.truth)["ship"].ap[0] == 0


class TestEdgeCases:
    truth = truth_of_squares(
        {"P": [(square(0, 0), 0, 0)], "Q": [(square(0, 0), 0, 0)], "empty": []},
        classes=("ship", "plane"),
    )
    perfect = task1([("P", 0.9, square(0, 0)), ("Q", 0.8, square(0, 0))])

    def test_class_without_objects_is_not_in_the_mean(self):
        found = {"ship": self.perfect, "plane": self.perfect}
        evaluation = evaluate(found, self.truth)
        assert math.isnan(evaluation["plane"].ap[0]) and evaluation["plane"].detections == 2
        assert evaluation.mean_ap.tolist() == [1] and evaluation.map == 1

    @pytest.mark.parametrize("found", [{}, {"ship": task1([])}])
    def test_no_detections(self, found):
        evaluation = evaluate(found, self.truth)
        assert evaluation["ship"].ap.tolist() == [0] and evaluation.map == 0
        assert math.isnan(evaluation["ship"].best_f1)
        assert evaluation.confusion[0].tolist() == [0, 0, 2]

    def test_no_objects_at_all(self):
        truth = truth_of_squares({"P": []})
        evaluation = evaluate({"ship": task1([("P", 0.9, square(0, 0))])}, truth)
        assert math.isnan(evaluation.map) and evaluation["ship"].detections == 1
        assert "-" in evaluation.table()

    def test_no_classes_and_no_images(self):
        evaluation = evaluate({}, Truth.from_arrays({}, []))
        assert evaluation.ap.shape == (0, 1) and math.isnan(evaluation.map)
        assert evaluation.table()

    def test_detections_on_unlisted_images_are_ignored(self, caplog):
        rows = [("P", 0.7, square(0, 0)), ("other", 0.9, square(0, 0)), ("Q", 0.8, square(0, 0))]
        with caplog.at_level(logging.WARNING):
            evaluation = evaluate({"ship": task1(rows)}, self.truth)
        assert evaluation.unlisted == 1 and evaluation["ship"].ap[0] == 1
        assert evaluation["ship"].detections == 2 and "ignoring 1 detections" in caplog.text

    def test_images_without_detections_count(self):
        found = {"ship": task1([("P", 0.9, square(0, 0))])}
        assert evaluate(found, self.truth, metric="voc12")["ship"].ap[0] == 0.5

    def test_degenerate_and_self_intersecting_boxes(self):
        bow_tie = square(0, 0)[[0, 2, 1, 3]]
        truth = truth_of_squares({"P": [(square(5, 5)[[0, 0, 0, 0]], 0, 0), (bow_tie, 0, 0)]})
        found = task1([("P", 0.9, bow_tie), ("P", 0.8, square(5, 5)[[0, 0, 1, 1]])])
        assert evaluate({"ship": found}, truth, metric="voc12")["ship"].ap[0] == 0.5

    def test_far_coordinates(self):
        far = square(1e6, 1e6) + 0.125
        truth = truth_of_squares({"P": [(far, 0, 0)]})
        assert evaluate({"ship": task1([("P", 0.9, far)])}, truth, (0.999,))["ship"].ap[0] == 1

    def test_unknown_metric_or_class_is_an_error(self):
        with pytest.raises(InputError, match="one of voc07, voc12, coco, got 'voc10'"):
            evaluate({}, self.truth, metric="voc10")
        with pytest.raises(InputError, match=r"of boat, but the classes to score are ship, plane"):
            evaluate({"boat": self.perfect}, self.truth)

    def test_labels_outside_the_classes_are_an_error(self):
        with pytest.raises(ValueError, match=r"must be in \[0, 1\), got 1 to 1"):
            truth_of_squares({"P": [(square(0, 0), 1, 0)]})


class TestAveragePrecision:
    @pytest.mark.parametrize("metric", scoring.METRICS)
    @pytest.mark.parametrize(
        ("recall", "precision"),
        [
            ([], []),
            ([0.0], [0.0]),
            ([1.0], [1.0]),
            ([0.5], [1.0]),
            ([0.3, 0.3, 0.6], [1, 0.5, 2 / 3]),  # 0.3 is not the sum 0.1 + 0.1 + 0.1
            ([0.1, 0.2, 0.2, 0.3], [0.2, 0.9, 0.5, 0.6]),  # precision rises on the way
        ],
    )
    def test_average_precision_of_curves(self, recall, precision, metric):
        expected = reference_ap(recall, precision, metric)
        assert average_precision(recall, precision, metric) == pytest.approx(expected, abs=1e-12)


class TestBestF1:
    def test_best_f1_of_a_curve(self):
        truth = truth_of_squares({"P": [(square(0, 0), 0, 0), (square(50, 0), 0, 0)]})
        rows = [("P", 0.9, square(0, 0)), ("P", 0.6, square(50, 0)), ("P", 0.3, square(90, 90))]
        score = evaluate({"ship": task1(rows)}, truth)["ship"]
        assert (score.best_f1, score.best_score) == (1, 0.6)
        assert (score.best_precision, score.best_recall) == (1, 1)

    def test_best_f1_keeps_equal_scores_together(self):
        truth = truth_of_squares({"P": [(square(0, 0), 0, 0)]})
        rows = [("P", 0.5, square(0, 0)), ("P", 0.5, square(50, 0))]
        score = evaluate({"ship": task1(rows)}, truth)["ship"]
        assert score.best_precision == 0.5 and score.best_f1 == pytest.approx(2 / 3)


class TestConfusion:
    def test_confusion_counts(self):
        truth = truth_of_squares(
            {
                "P": [
                    (square(0, 0), 0, 0),  # detected
                    (square(50, 0), 0, 0),  # detected as a plane
                    (square(0, 50), 1, 0),  # not detected
                    (square(50, 50), 1, 1),  # difficult
                    (square(90, 90), 1, 0),  # detected
                ]
            },
            classes=("ship", "plane"),
        )
        ships = task1([("P", 0.9, square(0, 0)), ("P", 0.8, square(200, 0))])
        planes = task1([
            ("P", 0.95, square(50, 50)), ("P", 0.94, square(51, 50)), ("P", 0.9, square(50, 0)),
            ("P", 0.9, square(90, 90)), ("P", 0.1, square(300, 0)),
        ])  # fmt: skip
        evaluation = evaluate({"ship": ships, "plane": planes}, truth)
        # With each class's best F1 threshold the ship at (200, 0) and the plane at (300, 0) go.
        assert evaluation.confusion.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
        # Every object and every detection above the threshold is counted once.
        assert evaluation.confusion[:2].sum() == 4

    def test_confusion_may_be_skipped(self):
        truth = truth_of_squares({"P": []})
        assert evaluate({}, truth, confusion=False).confusion is None


class TestLoading:
    def write(self, folder, files: dict[str, str]):
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)
        return folder

    def test_load_truth(self, tmp_path, caplog):
        box = "0 0 10 0 10 10 0 10"
        folder = self.write(
            tmp_path / "labelTxt",
            {"P1.txt": f"gsd:1\n{box} ship 0\n{box} boat 0\n{box} plane 2\n", "P2.txt": "",
             "a b.v1.txt": f"{box} ship"},
        )  # fmt: skip
        with caplog.at_level(logging.WARNING):
            truth = load_truth(folder, ["P1", "P2.png", "P1", "a b.v1"], ["plane", "ship"])
        assert truth.image_ids == ("P1", "P2", "a b.v1")
        assert truth.images.tolist() == [0, 0, 2] and truth.labels.tolist() == [1, 0, 1]
        assert truth.difficult.tolist() == [False, True, False]
        assert "ignoring 1 labels of classes that are not scored: boat" in caplog.text
        assert load_truth(folder, ["P1"]).classes == ("boat", "plane", "ship")

    def test_listed_image_without_label_file_is_an_error(self, tmp_path):
        folder = self.write(tmp_path / "labelTxt", {"P1.txt": ""})
        with pytest.raises(InputError, match=r"P2 is listed, but has no label file .*P2\.txt"):
            load_truth(folder, ["P1", "P2"], ["ship"])

    def test_load_detections(self, tmp_path, caplog):
        line = "P1 0.5 0 0 10 0 10 10 0 10\n"
        folder = self.write(tmp_path / "det", {"Task1_ship.txt": line, "Task1_plane.txt": ""})
        with caplog.at_level(logging.WARNING):
            found = load_detections(folder, ["ship", "plane", "harbor"])
        assert {name: len(one) for name, one in found.items()} == {"ship": 1, "plane": 0}
        assert "no result file" in caplog.text and "harbor" in caplog.text
        with pytest.raises(InputError, match=r"Task2_ship\.txt, found none"):
            load_detections(folder, ["ship"], task=2)


class TestOutput:
    @pytest.fixture
    def evaluation(self):
        detections, truth = random_scene(3)
        truth = Truth(("ship", "plane"), *(getattr(truth, name) for name in (
            "image_ids", "images", "corners", "labels", "difficult")))  # fmt: skip
        return evaluate(detections, truth, (0.5, 0.75), "voc12")

    def test_only_coco_has_a_column_of_mean_ap(self):
        detections, truth = random_scene(3)
        scores = evaluate(detections, truth, metric="coco")
        titles, _, ship = scores.table().splitlines()[:3]
        assert titles.split()[3:6] == ["AP", "AP50", "AP75"]
        assert ship.split()[3] == f"{100 * scores['ship'].ap.mean():.2f}"

    def test_table(self, evaluation):
        lines = evaluation.table().splitlines()
        assert lines[0].split()[:5] == ["class", "objects", "detections", "AP50", "AP75"]
        assert lines[-1].startswith("mean") and f"{100 * evaluation.mean_ap[1]:.2f}" in lines[-1]
        assert f"{100 * evaluation['ship'].ap[1]:.2f}" in lines[2]
        assert lines[3].split()[:4] == ["plane", "0", "0", "-"]

    def test_table_shows_two_of_ten_thresholds(self):
        detections, truth = random_scene(3)
        evaluation = evaluate(detections, truth, metric="coco")
        assert evaluation.iou_thresholds == COCO_THRESHOLDS
        titles = evaluation.table().splitlines()[0]
        assert "AP50" in titles and "AP75" in titles and "AP55" not in titles
        assert evaluation.mean_ap_at(0.75) == evaluation.mean_ap[5]
        assert math.isnan(evaluation.mean_ap_at(0.3))

    def test_csv(self, evaluation, tmp_path):
        evaluation.to_csv(tmp_path / "ap.csv")
        with open(tmp_path / "ap.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["class"] for row in rows] == ["ship", "plane", "mean"]
        assert float(rows[0]["AP75"]) == evaluation["ship"].ap[1] and rows[1]["AP50"] == ""

    def test_json(self, evaluation, tmp_path):
        evaluation.to_json(tmp_path / "ap.json")
        document = json.loads((tmp_path / "ap.json").read_text())
        assert document["classes"][0]["AP50"] == evaluation["ship"].ap[0]
        assert document["classes"][1]["AP50"] is None
        assert document["confusion_matrix"]["names"] == ["ship", "plane", "background"]
        assert document["confusion_matrix"]["counts"] == evaluation.confusion.tolist()

    def test_plot(self, evaluation, tmp_path):
        pytest.importorskip("matplotlib")
        scoring.plot_evaluation(evaluation, tmp_path / "deeper" / "ap.png")
        assert (tmp_path / "deeper" / "ap.png").read_bytes().startswith(b"\x89PNG")
        with pytest.raises(InputError, match=r"ap\.xyz: "):
            scoring.plot_evaluation(evaluation, tmp_path / "ap.xyz")
