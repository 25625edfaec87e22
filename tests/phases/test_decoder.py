"""Decoding against recorded rows and a reference decoder in plain loops."""

from math import inf, nan

import numpy as np
import pytest
import torch

from decoder import DecDecoder, max_pool_3x3, rows_to_detections, to_source
from helpers.networks import recorded_model
from structures import boxes
from structures.letterbox import Letterbox

ROTATED, UPRIGHT = 0.9, 0.1


def blank(classes=2, height=6, width=8, batch=1):
    """Maps without a peak; every box would be an axis-aligned one of 4x2 cells."""
    maps = {
        "hm": torch.zeros(batch, classes, height, width),
        "wh": torch.zeros(batch, 10, height, width),
        "reg": torch.zeros(batch, 2, height, width),
        "cls_theta": torch.full((batch, 1, height, width), UPRIGHT),
    }
    maps["wh"][:, 8], maps["wh"][:, 9] = 4, 2
    return maps


def reference_decode(maps, K, conf_thresh, theta_thresh=0.8):
    """Rows of the first image by definition: loops over all cells and a sort of tuples."""
    hm, wh, reg, theta = (maps[n][0].numpy() for n in ("hm", "wh", "reg", "cls_theta"))
    classes, height, width = hm.shape
    found = []
    for label in range(classes):
        for y in range(height):
            for x in range(width):
                around = hm[label, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
                if hm[label, y, x] == around.max() and hm[label, y, x] > conf_thresh:
                    found.append((-hm[label, y, x], label, y, x))
    rows = []
    for score, label, y, x in sorted(found)[:K]:
        center = np.array([x, y]) + reg[:, y, x]
        w, h = wh[8:, y, x]
        vectors = np.array([[0, -h / 2], [w / 2, 0], [0, h / 2], [-w / 2, 0]])
        if theta[0, y, x] > theta_thresh:
            vectors = wh[:8, y, x].reshape(4, 2)
        rows.append([*center, *(center + vectors).flatten(), -score, label])
    return np.array(rows, np.float32).reshape(-1, 12)


def test_nothing_above_the_threshold():
    decoder = DecDecoder(10, 0.5, 2)
    assert decoder.ctdet_decode(blank()).shape == (1, 0, 12)
    (found,) = decoder.decode(blank())
    assert len(found) == 0 and found.corners.shape == (0, 4, 2)


@pytest.mark.parametrize("name", ["det_K500_t0.18", "det_K500_t0.01", "det_K100_t0.1"])
def test_recorded_rows(shared, name):
    fixture = np.load(shared / "fixtures" / "decoder_64.npz")
    maps = {head: torch.from_numpy(fixture[head]) for head in ("hm", "wh", "reg", "cls_theta")}
    K, threshold = (part.lstrip("Kt") for part in name.split("_")[1:])
    rows = DecDecoder(int(K), float(threshold), 15).ctdet_decode(maps)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, fixture[name], atol=1e-4)


def test_recorded_rows_of_a_recorded_checkpoint(shared):
    """File, network, sigmoid and decoder together: published layout, weights for clear peaks."""
    fixture = np.load(shared / "fixtures" / "out_sharp_mobilenetv2.npz")
    model = recorded_model(shared)
    with torch.no_grad():
        image = np.random.RandomState(0).rand(1, 3, 512, 512).astype(np.float32) - 0.5
        maps = model(torch.from_numpy(image))
    for head in maps:
        np.testing.assert_allclose(maps[head].numpy(), fixture[f"{head}_512"], atol=2e-3)
    recorded = {head: torch.from_numpy(fixture[f"{head}_512"]) for head in maps}
    for threshold in ("0.18", "0.01"):
        rows = DecDecoder(500, float(threshold), 15).ctdet_decode(recorded)
        np.testing.assert_allclose(rows, fixture[f"det_512_conf{threshold}"], atol=1e-4)


@pytest.mark.parametrize(
    "K, conf_thresh",
    [
        (500, 0.0),  # more than there are cells; zeros are not peaks
        (500, 0.5),
        (7, 0.2),  # the cut falls among equal scores
        (1, 0.2),
        (500, 1.0),  # nothing is above 1
    ],
)
def test_ties_match_plain_loops(K, conf_thresh):
    """Few distinct scores: plateaus within a class and equal scores across classes."""
    rng = np.random.default_rng(3)
    maps = blank(3, 9, 13)
    maps["hm"] = torch.from_numpy(rng.integers(0, 4, (1, 3, 9, 13)) / 4).float()
    maps["wh"] = torch.from_numpy(rng.normal(0, 3, (1, 10, 9, 13))).float()
    maps["reg"] = torch.from_numpy(rng.random((1, 2, 9, 13))).float()
    maps["cls_theta"] = torch.from_numpy(rng.choice([0.79, 0.8, 0.81], (1, 1, 9, 13))).float()
    rows = DecDecoder(K, conf_thresh, 3).ctdet_decode(maps)[0]
    theta = float(np.float32(0.8))
    np.testing.assert_allclose(rows, reference_decode(maps, K, conf_thresh, theta), rtol=1e-6)


def test_score_at_the_threshold_is_dropped():
    maps = blank()
    maps["hm"][0, 0, 2, 2] = 0.5
    assert DecDecoder(10, 0.5, 2).ctdet_decode(maps).shape == (1, 0, 12)
    assert DecDecoder(10, 0.49, 2).ctdet_decode(maps).shape == (1, 1, 12)


def test_threshold_of_each_class():
    """A class has its own, and the K best are those of the peaks that are left."""
    maps = blank(3)
    for label, x in ((0, 1), (1, 3), (2, 5)):
        maps["hm"][0, label, 2, x] = 0.5
        maps["hm"][0, label, 4, x] = 0.3

    def kept(K, conf_thresh):
        rows = DecDecoder(K, conf_thresh, 3).ctdet_decode(maps)[0]
        return [(round(float(row[10]), 4), int(row[11])) for row in rows]

    assert kept(10, (0.4, 0.5, 0.2)) == [(0.5, 0), (0.5, 2), (0.3, 2)]
    assert kept(2, (1.0, 0.4, 0.2)) == [(0.5, 1), (0.5, 2)]
    assert kept(10, np.full(3, 0.3, np.float32)) == kept(10, 0.3)
    with pytest.raises(ValueError, match="conf_thresh has 2 values, but num_classes is 3"):
        DecDecoder(10, (0.1, 0.2), 3)


def test_theta_selects_vectors_or_rectangle():
    maps = blank()
    maps["hm"][0, 1, 3, 5] = 0.7
    maps["reg"][0, :, 3, 5] = torch.tensor([0.5, 0.25])
    maps["wh"][0, :8, 3, 5] = torch.tensor([-1.0, -2, 2, -1, 1, 2, -2, 1])
    maps["cls_theta"][0, 0, 3, 5] = ROTATED
    (rotated,) = DecDecoder(10, 0.1, 2).decode(maps)
    # tr = c + t + r, then br, bl, tl, times 4 for input pixels
    center = np.array([5.5, 3.25])
    expected = (np.array([[1, -3], [3, 1], [-1, 3], [-3, -1]]) + center) * 4
    np.testing.assert_allclose(rotated.corners, [expected])
    np.testing.assert_allclose(rotated.scores, [0.7], rtol=1e-6)
    assert rotated.labels.tolist() == [1] and rotated.labels.dtype == np.int64

    (upright,) = DecDecoder(10, 0.1, 2, theta_thresh=0.95).decode(maps)
    expected = (np.array([[2, -1], [2, 1], [-2, 1], [-2, -1]]) + center) * 4
    np.testing.assert_allclose(upright.corners, [expected])


@pytest.mark.parametrize("y, x", [(0, 0), (0, 7), (5, 0), (5, 7)])
def test_peaks_at_the_border(y, x):
    maps = blank()
    maps["hm"][0, 0, y, x] = 0.6
    rows = DecDecoder(10, 0.1, 2).ctdet_decode(maps)[0]
    np.testing.assert_allclose(rows[:, :2], [[x, y]])


def test_batch_gives_a_list_per_image():
    maps = blank(batch=3)
    maps["hm"][0, 0, 1, 1] = 0.9
    maps["hm"][2, 1, 4, 6] = maps["hm"][2, 0, 2, 2] = 0.8
    rows = DecDecoder(10, 0.1, 2).ctdet_decode(maps)
    assert isinstance(rows, list) and [len(r) for r in rows] == [1, 0, 2]
    for image in range(3):
        alone = {head: values[image : image + 1] for head, values in maps.items()}
        np.testing.assert_array_equal(DecDecoder(10, 0.1, 2).ctdet_decode(alone)[0], rows[image])


@pytest.mark.parametrize("head", ["hm", "wh", "reg", "cls_theta"])
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_non_finite_boxes_are_dropped(head, value):
    """Maps of a broken model give no boxes with NaN; valid boxes of the same image are kept."""
    maps = blank()
    maps["hm"][0, 0, 1, 1] = maps["hm"][0, 0, 4, 6] = 0.9
    maps[head][0, :, 1, 1] = value
    rows = DecDecoder(10, 0.1, 2).ctdet_decode(maps)[0]
    assert np.isfinite(rows).all()
    assert [4.0] in rows[:, 1:2] and [6.0] in rows[:, :1]
    broken = {name: torch.full_like(values, nan) for name, values in maps.items()}
    assert DecDecoder(10, 0.1, 2).ctdet_decode(broken).shape == (1, 0, 12)


def test_half_precision_maps():
    maps = blank()
    maps["hm"][0, 0, 1, 1] = 0.75
    rows = DecDecoder(10, 0.1, 2).ctdet_decode({k: v.half() for k, v in maps.items()})
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, DecDecoder(10, 0.1, 2).ctdet_decode(maps))


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"2 channels.*3"):
        DecDecoder(10, 0.1, 3).ctdet_decode(blank())
    with pytest.raises(ValueError, match=r"at least 1.*0"):
        DecDecoder(0, 0.1, 3)


@pytest.mark.parametrize(
    "source_wh, squash",
    [((100, 50), False), ((50, 100), False), ((37, 91), False), ((37, 91), True)],
)
def test_to_source(source_wh, squash):
    """A source box, mapped to the input by hand, is mapped back."""
    letterbox = Letterbox.fit(source_wh, (64, 32), squash)
    box = np.array([[[30, 20], [30, 40], [10, 40], [10, 20]]], np.float32)
    (sx, sy), (px, py) = letterbox.scale, letterbox.pad
    center = np.array([20 * sx + px, 30 * sy + py]) / 4
    half = np.array([10 * sx, 10 * sy]) / 4
    midpoints = [center + d * half for d in np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])]
    rows = np.array([[*center, *np.ravel(midpoints), 0.5, 1]], np.float32)
    found = to_source(rows_to_detections(rows), letterbox)
    np.testing.assert_allclose(found.corners, box, atol=1e-3)
    assert found.corners.dtype == np.float32


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 1), (2, 2), (9, 13)])
def test_max_pool_3x3_matches_pytorch(size):
    heatmap = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.max_pool2d(heatmap[None], 3, stride=1, padding=1)[0]
    assert torch.equal(max_pool_3x3(heatmap), expected)


def test_encoded_boxes_are_decoded():
    corners = boxes.rectangles_to_corners([[10, 10, 8, 4, 20]])
    center, vectors, size = boxes.corners_to_vectors(corners)

    def decoded(theta):
        maps = {name: torch.zeros(1, n, 20, 20) for name, n in boxes.HEAD_CHANNELS.items()}
        maps["hm"] = torch.zeros(1, 1, 20, 20)
        maps["hm"][0, 0, 10, 10] = 0.9
        maps["reg"][0, :, 10, 10] = torch.from_numpy(center[0] - 10)
        maps["wh"][0, :, 10, 10] = torch.from_numpy(np.concatenate([vectors[0], size[0]]))
        maps["cls_theta"][0, :, 10, 10] = theta
        return DecDecoder(10, 0.1, 1).decode(maps)[0].corners[0] / boxes.STRIDE

    rotated, upright = decoded(0.9), decoded(0.7)
    distance = np.linalg.norm(rotated[:, None] - corners[0][None], axis=2)
    assert (distance.min(axis=0) < 1e-5).all() and (distance.min(axis=1) < 1e-5).all()
    np.testing.assert_allclose(np.ptp(upright, axis=0), size[0], rtol=1e-6)
    assert upright[0, 0] > 10 > upright[0, 1], "top right comes first"
