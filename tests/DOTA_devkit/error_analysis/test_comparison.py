"""The bootstrap: what a draw scores, the interval, and its edge cases."""

import math

import numpy as np
import pytest

from DOTA_devkit.error_analysis import compare_results
from DOTA_devkit.error_analysis.losses import MatchedPool
from DOTA_devkit.error_analysis.pool import DetectionPool
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import Task1
from DOTA_devkit.scoring import COCO_THRESHOLDS, METRICS, Truth, evaluate
from helpers.scenes import random_scene, square, task1, truth_of_squares


def repeated(found, truth, times):
    """Return detections and truth with each image as often as `times` says, under new ids."""
    objects, rows = {}, {name: [] for name in truth.classes}
    for k, count in enumerate(times):
        mine = truth.images == k
        for copy in range(count):
            objects[f"{k}-{copy}"] = (truth.corners[mine], truth.labels[mine],
                                      truth.difficult[mine])  # fmt: skip
            for name, table in found.items():
                rows[name] += [
                    (f"{k}-{copy}", score, box)
                    for image, score, box in zip(
                        table.image_ids, table.scores, table.corners, strict=True
                    )
                    if image == truth.image_ids[k]
                ]
    tables = {name: task1(one) for name, one in rows.items()}
    return tables, Truth.from_arrays(objects, truth.classes)


@pytest.mark.parametrize("metric", METRICS)
def test_a_weighted_image_scores_as_that_many_copies(metric):
    for seed in range(2):
        found, truth = random_scene(seed)
        times = np.random.default_rng(seed).integers(0, 3, len(truth.image_ids))
        expected = evaluate(*repeated(found, truth, times), (0.5,), metric).ap[:, 0]
        matched = MatchedPool.of(DetectionPool.of(found, truth), metric, 0.5)
        for label in range(len(truth.classes)):
            ap = matched.ranking(label).ap(metric, times)
            assert ap == pytest.approx(expected[label], abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("metric", ["voc07", "coco"])
def test_interval_is_that_of_scoring_each_draw(metric):
    """The same draws, each scored by the evaluation on copies of the images."""
    (found, truth), resamples = random_scene(0, images=4), 4
    other = {name: Task1(one.image_ids, one.scores[::-1], one.corners)
             for name, one in found.items()}  # fmt: skip
    thresholds = COCO_THRESHOLDS[::5] if metric == "coco" else (0.5,)
    result = compare_results(found, other, truth, thresholds, metric, resamples=resamples, seed=3)
    rng = np.random.default_rng(3)
    count = len(truth.image_ids)
    differences = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(count, size=count), minlength=count)
        scores = [evaluate(*repeated(one, truth, times), thresholds, metric, confusion=False).map
                  for one in (found, other)]  # fmt: skip
        differences.append(scores[0] - scores[1])
    assert result.mean.low == pytest.approx(np.quantile(differences, 0.025), abs=1e-9)
    assert result.mean.high == pytest.approx(np.quantile(differences, 0.975), abs=1e-9)
    assert result.mean.better == np.mean(np.array(differences) > 0)
    aps = [evaluate(one, truth, thresholds, metric).map for one in (found, other)]
    assert [result.mean.ap, result.mean.against] == pytest.approx(aps)
    assert result.mean.difference == pytest.approx(aps[0] - aps[1])


def scene_of(images, found_in, name="P"):
    """One ship in each image; `found_in` says in which it is detected."""
    truth = truth_of_squares({name.format(k): [(square(0, 0), 0, 0)] for k in range(images)})
    rows = [(name.format(k), 1 - k / 1000, square(0, 0)) for k in found_in]
    return {"ship": task1(rows)}, truth


def test_clear_and_unclear_differences():
    everything, truth = scene_of(40, range(40), "P{}")
    half, _ = scene_of(40, range(20), "P{}")
    one_less, _ = scene_of(40, range(39), "P{}")
    better = compare_results(everything, half, truth, metric="voc12", resamples=60)
    assert better.mean.difference == 0.5 and better.mean.verdict == "better"
    assert better.mean.low > 0.3 and better.mean.high < 0.7 and better.mean.better == 1
    worse = compare_results(half, everything, truth, metric="voc12", resamples=60)
    assert worse.mean.verdict == "worse" and worse.mean.low == pytest.approx(-better.mean.high)
    unclear = compare_results(everything, one_less, truth, metric="voc12", resamples=60)
    assert unclear.mean.verdict == "no clear difference" and unclear.mean.low == 0
    assert "no clear difference" in unclear.summary() and "+2.50" in unclear.summary()


def test_equal_results_do_not_differ():
    found, truth = random_scene(1)
    result = compare_results(found, found, truth, resamples=20)
    assert (result.mean.difference, result.mean.low, result.mean.high) == (0, 0, 0)
    assert result.mean.better == 0 and result.mean.verdict == "no clear difference"


def test_seed():
    found, truth = random_scene(1)
    other = {name: Task1(one.image_ids, one.scores[::-1], one.corners)
             for name, one in found.items()}  # fmt: skip
    first, again, changed = (
        compare_results(found, other, truth, metric="voc12", resamples=20, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first.table() == again.table() and first.to_dict()["seed"] == 0
    assert (first.mean.low, first.mean.high) == (again.mean.low, again.mean.high)
    assert (first.mean.low, first.mean.high) != (changed.mean.low, changed.mean.high)


def test_patches_of_an_image_are_drawn_together():
    """Two images of 20 patches each: the share that is found is 0, 1/2 or 1."""
    ids = [f"P{k // 20}__1__{k}___0" for k in range(40)]
    truth = truth_of_squares({one: [(square(0, 0), 0, 0)] for one in ids})
    found = {"ship": task1([(one, 0.9, square(0, 0)) for one in ids[:20]])}
    result = compare_results(found, {}, truth, metric="voc12", resamples=100)
    assert result.drawn == result.mean.images == 2
    assert (result.mean.low, result.mean.high) == (0, 1)


@pytest.mark.parametrize("images", [0, 1])
def test_no_interval_of_a_single_image(images):
    found, truth = scene_of(images, range(images), "P{}")
    result = compare_results(found, {}, truth)
    assert math.isnan(result.mean.low) and result.mean.verdict == "no interval"
    assert "at least two" in result.summary() and "-" in result.table()


def test_class_that_some_draws_lack():
    """A draw without any of the two planes says nothing about planes."""
    truth = truth_of_squares(
        {"a": [(square(0, 0), 1, 0)], "b": [(square(0, 0), 0, 0)], "c": [(square(0, 0), 0, 0)]},
        ("ship", "plane", "car"),
    )
    found = {"plane": task1([("a", 0.9, square(0, 0))])}
    ship, plane, car = compare_results(found, {}, truth, metric="voc12", resamples=50).classes
    assert (plane.low, plane.high, plane.better) == (1, 1, 1)
    assert ship.difference == ship.low == ship.high == 0
    assert math.isnan(car.ap) and math.isnan(car.low)


@pytest.mark.parametrize(("images", "few"), [(19, True), (20, False)])
def test_warning_about_few_images(images, few):
    """Only images with objects tell anything about a class."""
    truth = truth_of_squares({f"P{k}": [(square(0, 0), 0, 0)] * (k < images) for k in range(25)})
    found = {"ship": task1([(f"P{k}", 0.9, square(0, 0)) for k in range(25)])}
    result = compare_results(found, {}, truth, resamples=5)
    assert result.drawn == 25 and result.mean.images == result.classes[0].images == images
    assert ("rough guide" in result.summary()) == few
    assert result.mean.verdict == ("better, but few images" if few else "better")


def test_resamples_must_be_positive():
    found, truth = scene_of(2, range(2), "P{}")
    with pytest.raises(InputError, match="`resamples` must be at least 1, got 0"):
        compare_results(found, {}, truth, resamples=0)
