"""Kinds of errors and the AP that they cost, against hand-made cases and a slow reference."""

import math

import numpy as np
import pytest
import shapely

from DOTA_devkit.error_analysis import CAUSES, ErrorKind, analyze_errors
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Task1, read_ids
from DOTA_devkit.scoring import METRICS, SIZES, Truth, evaluate, load_truth
from helpers.scenes import (
    random_scene,
    reference_ap,
    square,
    task1,
    truth_of_squares,
)

SMALL_SIZES = {"small": (0, 25**2), "medium": (25**2, 35**2), "large": (35**2, math.inf)}


class TestByHand:
    """One error of each kind; a square shifted by half its side has an IoU of 1/3."""

    truth = truth_of_squares(
        {"P": [(square(0, 0), 0, 0), (square(50, 0), 0, 0),
               (square(100, 0), 1, 0), (square(150, 0), 1, 0)]},
        ("ship", "plane"),
    )  # fmt: skip
    ships = (
        ("P", 0.9, square(0, 0)),  # found
        ("P", 0.8, square(1, 0)),  # the same ship again
        ("P", 0.7, square(55, 0)),  # the second ship, shifted
        ("P", 0.6, square(100, 0)),  # a plane
        ("P", 0.5, square(155, 0)),  # a plane, shifted
        ("P", 0.4, square(300, 300)),  # nothing
    )

    def analyze(self, **tables):
        return analyze_errors({name: task1(rows) for name, rows in tables.items()}, self.truth,
                              metric="voc12")  # fmt: skip

    def test_kinds(self):
        analysis = self.analyze(ship=self.ships)
        kinds = analysis.matched.false_positives.kinds.tolist()
        expected = [ErrorKind.DUPLICATE, ErrorKind.LOCALIZATION, ErrorKind.WRONG_CLASS,
                    ErrorKind.BOTH, ErrorKind.BACKGROUND]  # fmt: skip
        assert kinds == [-1, *(kind.number for kind in expected)]
        # The second plane: the detection with the wrong class points to the first one.
        assert analysis.matched.missed.tolist() == [False, False, False, True]
        assert analysis.matched.unfound.tolist() == [False, True, True, True]

    def test_ap_lost(self):
        ship, plane = self.analyze(ship=self.ships).losses["all"]
        assert (ship.ap, plane.ap) == (0.5, 0)
        # Right once more, at rank 3: half the recall at a precision of 2/3.
        assert ship.lost["localization"] == pytest.approx(1 / 3)
        # One of the two planes is found, with nothing before it.
        assert plane.lost["wrong class"] == 0.5 and ship.lost["wrong class"] == 0
        # No ship is found after the false positives, so that they cost nothing.
        for cause in ("both", "duplicate", "background", "all false positives", "missed"):
            assert ship.lost[cause] == plane.lost[cause] == 0
        assert ship.lost["all false negatives"] == 0.5
        assert plane.lost["all false negatives"] == 1

    def test_false_positives_before_a_true_one(self):
        """A ship at rank 2 has a precision of 1/2 behind each kind of false positive."""
        second = ("P", 0.1, square(50, 0))
        for row, cause in zip(
            (*self.ships[1:2], *self.ships[3:]),
            ("duplicate", "wrong class", "both", "background"),
            strict=True,
        ):
            found = (("P", 0.95, square(0, 0)), row, second)
            ship, _ = self.analyze(ship=found).losses["all"]
            assert ship.ap == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
            lost = {name: value for name, value in ship.lost.items() if value}
            assert lost == {
                cause: pytest.approx(1 / 6),
                "all false positives": pytest.approx(1 / 6),
            }

    def test_counts(self):
        ship, plane = self.analyze(ship=self.ships).losses["all"]
        one_each = ("wrong class", "localization", "both", "duplicate", "background")
        assert {ship.counts[cause] for cause in one_each} == {1}
        assert (ship.counts["all false positives"], ship.counts["all false negatives"]) == (5, 1)
        assert (plane.counts["missed"], plane.counts["all false negatives"]) == (1, 2)

    def test_mean_and_table(self):
        analysis = self.analyze(ship=self.ships)
        mean = analysis.mean()
        assert mean.objects == 4 and mean.ap == 0.25
        assert mean.lost["localization"] == pytest.approx(1 / 6)
        assert mean.counts["all false positives"] == 5
        header, _, ship, plane, _, last = analysis.table().splitlines()
        assert header.split()[:3] == ["class", "objects", "AP50"]
        assert ship.split()[:3] == ["ship", "2", "50.00"] and "33.33" in ship
        assert plane.split()[3] == "50.00" and last.split()[2] == "25.00"

    def test_only_the_best_detection_of_an_object_is_corrected(self):
        rows = (("P", 0.9, square(55, 0)), ("P", 0.8, square(45, 0)), ("P", 0.1, square(0, 0)))
        ship, _ = self.analyze(ship=rows).losses["all"]
        assert ship.counts["localization"] == 2 and ship.counts["missed"] == 0
        assert ship.ap == pytest.approx(1 / 2 * 1 / 3)
        assert ship.lost["localization"] == pytest.approx(1 - ship.ap)

    def test_error_on_a_matched_object_is_removed(self):
        rows = (("P", 0.9, square(5, 0)), ("P", 0.8, square(0, 0)))
        ship, _ = self.analyze(ship=rows).losses["all"]
        assert ship.counts["localization"] == 1
        assert ship.ap == 0.25 and ship.lost["localization"] == 0.25

    def test_localization_comes_before_class(self):
        """A plane is hit, but a ship is touched as well: TIDE looks at the own class first."""
        truth = truth_of_squares(
            {"P": [(square(0, 0), 1, 0), (square(7, 0), 0, 0)]}, ("ship", "plane")
        )
        found = {"ship": task1([("P", 0.9, square(0, 0))])}  # IoU with the ship 3/17
        kinds = analyze_errors(found, truth).matched.false_positives
        assert kinds.are(ErrorKind.LOCALIZATION).tolist() == [True]

    @pytest.mark.parametrize(("metric", "kind"), [("voc12", "localization"), ("coco", None)])
    def test_iou_equal_to_the_threshold(self, metric, kind):
        half = np.array([[0, 0], [10, 0], [10, 5], [0, 5]], float)
        found = {"ship": task1([("P", 0.9, half)])}
        analysis = analyze_errors(found, self.truth, metric=metric)
        number = analysis.matched.false_positives.kinds[0]
        assert number == (-1 if kind is None else ErrorKind(kind).number)

    def test_iou_equal_to_that_of_the_background(self):
        tenth = np.array([[0, 0], [10, 0], [10, 1], [0, 1]], float)
        for box, kind in ((tenth, "localization"), (tenth * [1, 0.99], "background")):
            analysis = self.analyze(ship=[("P", 0.9, box)])
            assert analysis.losses["all"][0].counts[kind] == 1


class TestDifficult:
    truth = truth_of_squares({"P": [(square(0, 0), 0, 1), (square(50, 0), 0, 0)]}, ("ship", "car"))

    def test_detection_on_a_difficult_object_is_not_background(self):
        rows = {"ship": [("P", 0.9, square(5, 0))], "car": [("P", 0.8, square(0, 0))]}
        analysis = analyze_errors({name: task1(found) for name, found in rows.items()}, self.truth)
        ship, car = analysis.losses["all"]
        assert ship.counts["localization"] == car.counts["wrong class"] == 1
        assert ship.counts["missed"] == 1  # the other ship

    def test_correcting_an_error_on_a_difficult_object_removes_it(self):
        rows = [("P", 0.9, square(5, 0)), ("P", 0.8, square(50, 0))]
        ship, _ = analyze_errors({"ship": task1(rows)}, self.truth, metric="voc12").losses["all"]
        assert ship.ap == 0.5 and ship.lost["localization"] == 0.5


class TestEdgeCases:
    @pytest.mark.parametrize("found", [{}, {"ship": task1([])}])
    def test_no_detections(self, found):
        truth = truth_of_squares({"P": [(square(0, 0), 0, 0)], "empty": []})
        (ship,) = analyze_errors(found, truth).losses["all"]
        assert ship.ap == 0 and ship.lost["missed"] == 1 and ship.counts["missed"] == 1
        assert ship.lost["background"] == 0

    def test_no_objects(self):
        truth = truth_of_squares({"P": []})
        analysis = analyze_errors({"ship": task1([("P", 0.9, square(0, 0))])}, truth)
        (ship,) = analysis.losses["all"]
        assert math.isnan(ship.ap) and all(math.isnan(lost) for lost in ship.lost.values())
        assert ship.counts["background"] == 1 and math.isnan(analysis.mean().ap)
        assert "-" in analysis.table()

    def test_no_classes_and_no_images(self):
        analysis = analyze_errors({}, Truth.from_arrays({}, []))
        assert analysis.losses["all"] == () and math.isnan(analysis.mean().lost["missed"])

    def test_perfect_results(self):
        truth = truth_of_squares({"P": [(square(0, 0), 0, 0)]})
        found = {"ship": task1([("P", 0.9, square(0, 0)), ("other", 0.9, square(0, 0))])}
        (ship,) = analyze_errors(found, truth).losses["all"]
        assert ship.ap == 1 and not any(ship.lost.values()) and not any(ship.counts.values())

    def test_unknown_metric(self):
        with pytest.raises(InputError, match="one of voc07, voc12, coco, got 'voc10'"):
            analyze_errors({}, truth_of_squares({"P": []}), metric="voc10")


def reference_losses(found: dict[str, Task1], truth: Truth, metric: str, size=(0, math.inf)):
    """AP and AP lost of each class, one detection and one error after the other."""
    low, high = size
    objects = [
        {
            "image": truth.image_ids[truth.images[j]],
            "name": truth.classes[truth.labels[j]],
            "corners": truth.corners[j],
            "difficult": bool(truth.difficult[j]),
            "counts": not truth.difficult[j]
            and low <= shapely.Polygon(truth.corners[j]).area < high,
            "found": False,
            "error": False,
        }
        for j in range(len(truth.labels))
    ]
    detections = [
        {"image": image, "name": name, "score": score, "corners": box, "kind": None}
        for name, table in found.items()
        for image, score, box in zip(table.image_ids, table.scores, table.corners, strict=True)
    ]
    detections.sort(key=lambda one: -one["score"])
    for one in detections:
        _match(one, [other for other in objects if other["image"] == one["image"]], metric)
    for one in detections:
        one["alarm"] = (
            one["kind"] is not None and low <= shapely.Polygon(one["corners"]).area < high
        )
        if one.get("target") is not None:
            one["target"]["error"] = True

    def aps(fixed=None):
        return {name: _fixed_ap(detections, objects, name, fixed, metric)
                for name in truth.classes}  # fmt: skip

    before = aps()
    return before, {
        cause: {name: after - before[name] for name, after in aps(cause).items()}
        for cause in CAUSES
    }


def _overlaps(box, boxes):
    """IoUs of a box with others, as Shapely computes them."""
    box, boxes = shapely.polygons(box), shapely.polygons(np.reshape(boxes, (-1, 4, 2)))
    shared = shapely.area(shapely.intersection(box, boxes))
    return (shared / (box.area + shapely.area(boxes) - shared)).tolist()


def _match(one, objects, metric):
    overlaps = _overlaps(one["corners"], [other["corners"] for other in objects])
    same = [iou if other["name"] == one["name"] else 0
            for iou, other in zip(overlaps, objects, strict=True)]  # fmt: skip
    rest = [iou if other["name"] != one["name"] else 0
            for iou, other in zip(overlaps, objects, strict=True)]  # fmt: skip
    best = max(range(len(same)), key=lambda j: same[j], default=None)
    other = max(range(len(rest)), key=lambda j: rest[j], default=None)
    target = None
    if metric == "coco":
        free = [j for j in range(len(same)) if same[j] >= 0.5
                and (not objects[j]["found"] or objects[j]["difficult"])]  # fmt: skip
        target = min(free, key=lambda j: (not objects[j]["counts"], -same[j]), default=None)
    elif (
        best is not None
        and same[best] > 0.5
        and not (objects[best]["counts"] and objects[best]["found"])
    ):
        target = best
    if target is not None:
        objects[target]["found"] = True
        one["hit"] = objects[target]["counts"]
    elif best is not None and 0.1 <= same[best] < 0.5:
        one |= {"kind": "localization", "target": objects[best]}
    elif other is not None and rest[other] > 0.5:
        one |= {"kind": "wrong class", "target": objects[other]}
    elif best is not None and same[best] > 0.5:
        one["kind"] = "duplicate"
    else:
        one["kind"] = "both" if max(overlaps, default=0) >= 0.1 else "background"


def _fixed_ap(detections, objects, name, fixed, metric):
    mine = [one for one in objects if one["counts"] and one["name"] == name]
    if not mine:
        return math.nan
    if fixed == "missed":
        mine = [one for one in mine if one["found"] or one["error"]]
    if fixed == "all false negatives":
        mine = [one for one in mine if one["found"]]
    hits = alarms = 0
    recall, precision, done = [], [], []
    for one in detections:
        target = one.get("target")
        if one["kind"] == fixed and target is not None:
            hit = (target["name"] == name and target["counts"] and not target["found"]
                   and not any(target is other for other in done))  # fmt: skip
            alarm = False
            if hit:
                done.append(target)
        elif one["name"] != name:
            continue
        else:
            hit = one.get("hit", False)
            alarm = one["alarm"] and fixed not in (one["kind"], "all false positives")
        hits, alarms = hits + hit, alarms + alarm
        if hit:
            recall.append(hits / len(mine))
            precision.append(hits / (hits + alarms))
    if not mine:
        return 0.0 if alarms else 1.0
    return reference_ap(recall, precision, metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", ["all", *SMALL_SIZES])
def test_ap_lost_against_reference(metric, size, monkeypatch):
    monkeypatch.setattr("DOTA_devkit.error_analysis.losses.SIZES", SMALL_SIZES)
    for seed in range(2):
        found, truth = random_scene(seed, images=4)
        losses = analyze_errors(found, truth, metric=metric).losses[size]
        before, lost = reference_losses(found, truth, metric, SMALL_SIZES.get(size, (0, math.inf)))
        for row in losses:
            assert row.ap == pytest.approx(before[row.name], abs=1e-9, nan_ok=True)
            for cause in CAUSES:
                expected = pytest.approx(lost[cause][row.name], abs=1e-9, nan_ok=True)
                assert row.lost[cause] == expected, (seed, row.name, cause)


def check_sums(found, truth, metric):
    """Errors are counted once each, and the AP is that of the evaluation in each size range."""
    analysis = analyze_errors(found, truth, metric=metric)
    scores = evaluate(found, truth, (0.5,), metric)
    kinds = [kind.value for kind in ErrorKind if kind is not ErrorKind.MISSED]
    for size, rows in analysis.losses.items():
        for row, score in zip(rows, scores.classes, strict=True):
            ap = score.ap[0] if size == "all" else score.ap_by_size[size]
            assert row.ap == pytest.approx(ap, abs=1e-12, nan_ok=True)
            assert sum(row.counts[kind] for kind in kinds) == row.counts["all false positives"]
            if row.objects:
                assert min(row.lost.values()) >= 0
                assert max(row.lost.values()) <= 1 - row.ap + 1e-12
                for kind in kinds[2:]:
                    assert row.lost[kind] <= row.lost["all false positives"] + 1e-12
                if row.counts["all false positives"] == 0:
                    assert row.lost["all false negatives"] == pytest.approx(1 - row.ap)
        if size != "all":
            assert sum(row.objects for row in rows) <= sum(
                row.objects for row in analysis.losses["all"]
            )
    return analysis


@pytest.mark.parametrize("metric", METRICS)
def test_sums_on_real_labels(shared, metric):
    """Made-up detections of real objects: shifted, doubled, renamed, left out and added."""
    folder = shared / "data" / "hit_uav_small"
    truth = load_truth(folder / "labelTxt", read_ids(folder / "test.txt"))
    rng = np.random.default_rng(0)
    rows = {name: [] for name in truth.classes}
    for image, corners, label in zip(truth.images, truth.corners, truth.labels, strict=True):
        for _ in range(rng.integers(0, 3)):
            name = truth.classes[label if rng.random() < 0.8 else rng.integers(len(rows))]
            moved = corners + rng.normal(0, 0.12, 2) * np.ptp(corners, axis=0)
            rows[name].append((truth.image_ids[image], rng.random(), moved))
    analysis = check_sums({name: task1(found) for name, found in rows.items()}, truth, metric)
    mean = analysis.mean()
    assert mean.objects > 100 and min(mean.lost.values()) >= 0
    assert mean.lost["localization"] > 0 < mean.lost["missed"]
    by_size = [sum(row.objects for row in analysis.losses[size]) for size in SIZES]
    assert sum(by_size) == mean.objects


@pytest.mark.parametrize("metric", METRICS)
def test_sums_on_random_scenes(metric):
    for seed in range(3, 6):
        check_sums(*random_scene(seed), metric)
