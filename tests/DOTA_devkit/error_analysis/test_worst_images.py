"""Which images cost the most AP, and what is listed of them."""

import numpy as np
import pytest

from DOTA_devkit.error_analysis import analyze_errors, worst_images
from DOTA_devkit.scoring import evaluate
from DOTA_devkit.scoring.truth import select_objects
from helpers.scenes import random_scene, square, task1, truth_of_squares


def listed(found, truth, count=50, metric="voc07"):
    analysis = analyze_errors(found, truth, metric=metric)
    return worst_images(analysis, evaluate(found, truth, (0.5,), metric), count), analysis


def test_cost_is_what_the_image_without_its_errors_gains():
    for seed in range(2):
        found, truth = random_scene(seed, images=3)
        images, analysis = listed(found, truth)
        pool, matched = analysis.matched.pool, analysis.matched
        before = evaluate(found, truth, (0.5,), "voc12", confusion=False).map
        assert [one.lost for one in images] == sorted((one.lost for one in images), reverse=True)
        for one in images:
            keep = ~(matched.miss & (pool.images == one.image))
            rows = {
                name: task1(
                    [(truth.image_ids[pool.images[k]], pool.scores[k], pool.corners[k])
                     for k in np.flatnonzero(keep & (pool.labels == label))]
                )
                for label, name in enumerate(truth.classes)
            }  # fmt: skip
            fixed = select_objects(truth, ~(matched.unfound & (truth.images == one.image)))
            after = evaluate(rows, fixed, (0.5,), "voc12", confusion=False).map
            assert one.lost == pytest.approx(after - before, abs=1e-9)


def test_order_and_number():
    """One image lacks two of its ships, one lacks one, and one is right."""
    boxes = [square(0, 0), square(50, 0), square(100, 0)]
    truth = truth_of_squares(
        {image: [(box, 0, 0) for box in boxes] for image in ("one", "none", "right")}
    )
    found = [("one", 0.9, boxes[0]), ("one", 0.8, boxes[1]), ("none", 0.7, boxes[0])]
    found += [("right", 0.6, box) for box in boxes]
    images, _ = listed({"ship": task1(found)}, truth)
    assert [one.image_id for one in images] == ["none", "one"]
    assert images[0].counts == {"not found": 2} and images[1].counts == {"not found": 1}
    assert len(listed({"ship": task1(found)}, truth, count=1)[0]) == 1
    assert listed({"ship": task1(found)}, truth, count=0)[0] == []


def test_detections_below_the_best_threshold_are_not_listed():
    truth = truth_of_squares({"P": [(square(0, 0), 0, 0), (square(50, 0), 0, 0)]})
    rows = [("P", 0.9, square(0, 0)), ("P", 0.8, square(200, 0)), ("P", 0.1, square(300, 0))]
    (image,), _ = listed({"ship": task1([*rows, ("P", 0.05, square(50, 0))])}, truth)
    # Best F1: both ships and two false alarms, 0.667 as with the first ship alone.
    assert image.hits.tolist() == [0] and image.counts == {"not found": 1}
    assert image.not_found.tolist() == [1] and image.errors.tolist() == []


def test_class_without_true_positives_takes_the_threshold_of_the_others():
    truth = truth_of_squares(
        {"P": [(square(0, 0), 0, 0)], "Q": [(square(0, 0), 1, 0)]}, ("ship", "plane")
    )
    found = {
        "ship": task1([("P", 0.5, square(0, 0))]),
        "plane": task1([("Q", 0.6, square(90, 0)), ("Q", 0.4, square(190, 0))]),
    }
    (image,), _ = listed(found, truth)
    assert image.image_id == "Q" and image.counts == {"background": 1, "not found": 1}


def test_images_without_true_positives_are_ordered_by_their_errors():
    """Without a true positive no single image costs AP."""
    truth = truth_of_squares({image: [(square(0, 0), 0, 0)] for image in ("P", "Q", "R")})
    found = {"ship": task1([("Q", 0.9, square(90, 0)), ("P", 0.8, square(0, 90))])}
    images, _ = listed(found, truth)
    assert [(one.image_id, one.lost) for one in images] == [("P", 0), ("Q", 0), ("R", 0)]
    more = {"ship": task1([("Q", 0.9, square(90, 0)), ("Q", 0.8, square(0, 90))])}
    assert [one.image_id for one in listed(more, truth)[0]] == ["Q", "P", "R"]


@pytest.mark.parametrize("found", [{}, {"ship": task1([])}])
def test_without_detections(found):
    truth = truth_of_squares({"P": [(square(0, 0), 0, 0)], "Q": []})
    (image,), _ = listed(found, truth)
    assert image.lost == 1 and image.counts == {"not found": 1}


def test_images_without_errors_and_without_labels():
    found = {"ship": task1([("P", 0.9, square(0, 0))])}
    assert listed(found, truth_of_squares({"P": [(square(0, 0), 0, 0)], "Q": []}))[0] == []
    (image,), _ = listed(found, truth_of_squares({"P": [], "Q": []}))
    assert (image.image_id, image.lost, image.counts) == ("P", 0, {"background": 1})
