"""From images to detections in source pixels: coordinate frames, batches, order, timing."""

import signal

import numpy as np
import pytest
import torch

from datasets import DataOptions, open_dataset
from datasets.batching import iterate_loader
from decoder import DecDecoder
from DOTA_devkit.errors import InputError
from helpers.data_folders import CLASSES, make_dota, make_small_dota
from helpers.networks import FixedBoxesNetwork, tiny_model
from inference import InferenceSettings, Timing, postprocess, run_over

CPU = torch.device("cpu")


def corners_of(x, y, w, h):
    """Return the corners tr, br, bl, tl of a horizontal box that is given by its center."""
    return np.array([[x + w / 2, y - h / 2], [x + w / 2, y + h / 2],
                     [x - w / 2, y + h / 2], [x - w / 2, y - h / 2]])  # fmt: skip


def make_test_set(root, size_wh, ids=("a",), input_hw=(64, 64), **options):
    make_dota(root, {name: [] for name in ids}, size=size_wh, test=list(ids))
    options = DataOptions(classes=CLASSES, **options)
    return open_dataset("dota", root, "test", input_hw, options)


# Source (width, height), input (height, width), squash, then (x, y) scale and (x, y) pad, computed
# by hand: input = scale * source + pad.
FRAMES = {
    "same": ((64, 64), (64, 64), False, (1, 1), (0, 0)),
    "landscape": ((128, 64), (64, 64), False, (0.5, 0.5), (0, 16)),
    "portrait": ((64, 128), (64, 64), False, (0.5, 0.5), (16, 0)),
    "enlarged": ((32, 16), (64, 64), False, (2, 2), (0, 16)),
    "much larger than the input": ((640, 320), (64, 64), False, (0.1, 0.1), (0, 16)),
    "wide input": ((64, 64), (64, 128), False, (1, 1), (32, 0)),
    "odd border": ((64, 33), (64, 64), False, (1, 1), (0, 15)),
    "squashed": ((128, 64), (64, 64), True, (0.5, 1), (0, 0)),
}


@pytest.mark.parametrize("frame", FRAMES)
def test_boxes_are_mapped_back_to_the_source(tmp_path, frame):
    size_wh, input_hw, squash, (sx, sy), (px, py) = FRAMES[frame]
    x, y, w, h = 0.4 * size_wh[0], 0.6 * size_wh[1], 0.5 * size_wh[0], 0.25 * size_wh[1]
    model = FixedBoxesNetwork([[(x * sx + px, y * sy + py, w * sx, h * sy, 0.75, 1)]])
    dataset = make_test_set(tmp_path, size_wh, input_hw=input_hw, squash=squash)
    (one,) = run_over(model, dataset, InferenceSettings(squash=squash), CPU)
    assert one.image_id == "a" and one.source is None
    np.testing.assert_allclose(one.detections.corners, [corners_of(x, y, w, h)], atol=2e-3)
    np.testing.assert_allclose(one.detections.scores, [0.75])
    assert one.detections.labels.tolist() == [1]


@pytest.mark.parametrize("workers", [0, 2])
def test_run_over_keeps_order_and_batch_size(tmp_path, workers):
    ids = ["e", "a", "d", "b", "c"]
    found = [[(8 + 8 * k, 32, 8, 8, 0.5, 0)] for k in range(5)]
    model = FixedBoxesNetwork(found).train()
    dataset = make_test_set(tmp_path, (64, 64), ids)
    settings = InferenceSettings(batch_size=2, num_workers=workers)
    result = list(run_over(model, dataset, settings, CPU))
    assert model.batch_sizes == [2, 2, 1]
    assert [one.image_id for one in result] == ids
    centers = [one.detections.corners.mean(axis=(0, 1))[0] for one in result]
    np.testing.assert_allclose(centers, [8, 16, 24, 32, 40], atol=1e-3)
    assert not model.training


def test_images_of_several_sizes_in_one_batch(tmp_path):
    make_dota(tmp_path, {"a": []}, size=(128, 64), test=["a", "b", "c"])
    make_dota(tmp_path, {"b": []}, size=(64, 128))
    make_dota(tmp_path, {"c": []}, size=(32, 32))
    dataset = open_dataset("dota", tmp_path, "test", (64, 64), DataOptions(classes=CLASSES))
    model = FixedBoxesNetwork([[(32, 32, 16, 8, 0.5, 0)]] * 3)
    a, b, c = (one.detections for one in run_over(model, dataset, InferenceSettings(), CPU))
    np.testing.assert_allclose(a.corners, [corners_of(64, 32, 32, 16)], atol=1e-3)
    np.testing.assert_allclose(b.corners, [corners_of(32, 64, 32, 16)], atol=1e-3)
    np.testing.assert_allclose(c.corners, [corners_of(16, 16, 8, 4)], atol=1e-3)


def test_no_detections(tmp_path):
    dataset = make_test_set(tmp_path, (50, 30))
    (one,) = run_over(FixedBoxesNetwork([[]]), dataset, InferenceSettings(), CPU)
    assert len(one.detections) == 0


def test_thresholds_and_K_are_used(tmp_path):
    """Two boxes of one class that overlap by 1/3, and a weak one apart."""
    boxes = [(20, 20, 16, 8, 0.9, 0), (28, 20, 16, 8, 0.8, 0), (48, 48, 8, 8, 0.3, 0)]

    def scores(**settings):
        dataset = make_test_set(tmp_path, (64, 64))
        (one,) = run_over(FixedBoxesNetwork([boxes]), dataset, InferenceSettings(**settings), CPU)
        return [round(float(score), 4) for score in one.detections.scores]

    assert scores() == [0.9, 0.3]
    assert scores(nms_thresh=0.34) == [0.9, 0.8, 0.3]
    assert scores(conf_thresh=0.5) == [0.9]
    assert scores(nms_thresh=1.0, K=2) == [0.9, 0.8]
    boxes.append((20, 48, 8, 8, 0.2, 1))
    assert scores(agnostic_nms_thresh=0.1) == [0.9, 0.3, 0.2]
    boxes.append((24, 20, 16, 8, 0.7, 1))  # it overlaps the first by 3/5
    assert scores() == [0.9, 0.7, 0.3, 0.2]
    assert scores(agnostic_nms_thresh=0.61) == [0.9, 0.7, 0.3, 0.2]
    assert scores(agnostic_nms_thresh=0.59) == [0.9, 0.3, 0.2]
    boxes.pop()
    assert scores(conf_thresh={"ship": 0.5}) == [0.9, 0.2]
    assert scores(conf_thresh={"plane": 0.3, "default": 0.1}) == [0.9, 0.3]
    with pytest.raises(InputError, match=r"conf_thresh is given for ships \(did you mean ship\?\)"):
        scores(conf_thresh={"ships": 0.5})


def test_views_of_an_image_are_averaged(tmp_path):
    """A flip mirrors the box; the last view misses it."""
    x, y, w, h, score, label = box = 19.0, 41.0, 16.0, 8.0, 0.8, 1
    flipped = [(64 - x, y, w, h, score, label), (x, 64 - y, w, h, score, label)]
    model = FixedBoxesNetwork([[box], *([one] for one in flipped), []])
    dataset = make_test_set(tmp_path, (64, 64))
    (one,) = run_over(model, dataset, InferenceSettings(tta="flips"), CPU)
    np.testing.assert_allclose(one.detections.corners, [corners_of(x, y, w, h)], atol=1e-2)
    np.testing.assert_allclose(one.detections.scores, [0.6], atol=1e-6)
    assert one.detections.labels.tolist() == [1] and model.images_seen == 4


def test_source_images_are_kept_on_request(tmp_path):
    dataset = make_test_set(tmp_path, (50, 30), keep_source=True)
    (one,) = run_over(FixedBoxesNetwork([[]]), dataset, InferenceSettings(), CPU)
    np.testing.assert_array_equal(one.source, dataset.load_image(0))


def test_results_do_not_depend_on_the_batch_size(tmp_path):
    """In a real network, the other images of a batch do not change the result of an image."""
    make_small_dota(tmp_path, train=1, val=3)
    dataset = open_dataset("dota", tmp_path, "test", (64, 64), DataOptions())
    model = tiny_model()
    results = [
        list(run_over(model, dataset, InferenceSettings(0.001, batch_size=size), CPU))
        for size in (1, 3)
    ]
    for alone, together in zip(*results, strict=True):
        assert len(alone.detections) == len(together.detections) > 0
        np.testing.assert_allclose(alone.detections.corners, together.detections.corners, atol=1e-2)


def test_postprocess_rejects_fewer_sizes_than_images():
    maps = FixedBoxesNetwork([[], []])(torch.zeros(2, 3, 64, 64))
    with pytest.raises(ValueError):
        postprocess(maps, [(64, 64)], DecDecoder(5, 0.1, 2), InferenceSettings())


def test_timing_excludes_the_first_of_several_batches():
    timing = Timing()
    assert str(timing) == "no image was timed"
    timing.add(4, network=9.0, postprocess=9.0, total=20.0)
    assert "mean of 4" in str(timing)
    timing.add(4, network=0.04, postprocess=0.02, total=0.08)
    timing.add(2, network=0.02, postprocess=0.01, total=0.04)
    assert str(timing) == (
        "network 10.0 ms, decode and NMS 5.0 ms, end to end 20.0 ms per image "
        "(50.0 images/s, mean of 6)"
    )


def test_timing_excludes_the_caller(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("inference.time.perf_counter", lambda: now[0])
    dataset = make_test_set(tmp_path, (64, 64), ["a", "b"])
    timing = Timing()
    model = FixedBoxesNetwork([[], []])
    for _ in run_over(model, dataset, InferenceSettings(batch_size=1), CPU, timing):
        now[0] += 100
    assert timing.total == 0 and timing.images == 1


def test_ctrl_c_while_workers_are_started():
    """The interrupt, which the hooks of a fork swallow, is raised once the workers are started.

    The signal handlers are then the same as before.
    """

    class InterruptedLoader:
        def __iter__(self):
            signal.raise_signal(signal.SIGINT)
            return iter([{}])

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        iterate_loader(InterruptedLoader())
    assert signal.getsignal(signal.SIGINT) is before
    assert list(iterate_loader([{"a": 1}])) == [{"a": 1}]
    assert signal.getsignal(signal.SIGINT) is before
