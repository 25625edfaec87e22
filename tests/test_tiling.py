"""Windows cover the image and hand each object out once."""

from itertools import pairwise

import numpy as np
import pytest
from drawn_objects import DrawnObjects, corners_of, scene

from detections import Detections
from DOTA_devkit.errors import InputError
from DOTA_devkit.polygon import iou_matrix
from predict import read_window
from tiling import Tiling, in_source, merge, plan_windows


class Pixels:
    def __init__(self, image):
        self.image = image

    def window(self, left, top, size_wh, shrink=1):
        return self.image[top : top + size_wh[1], left : left + size_wh[0]]


def detect(image, tiling, detector=None):
    detector = detector or DrawnObjects()
    parts = []
    for window in plan_windows(image.shape[1::-1], tiling):
        found = detector.detect_inputs([read_window(Pixels(image), window)])[0]
        parts.append(in_source(found, window))
    return merge(parts, 0.1)


@pytest.mark.parametrize(
    ("size_wh", "tile_wh", "overlap", "scale", "count"),
    [
        ((128, 128), (128, 128), 20, 1.0, 1),  # exactly one
        ((1, 1), (128, 128), 20, 1.0, 1),  # smaller than a window
        ((129, 128), (128, 128), 20, 1.0, 2),  # one pixel more
        ((224, 128), (128, 128), 20, 1.0, 2),  # two windows, 96 apart: a multiple of 32
        ((225, 128), (128, 128), 20, 1.0, 3),
        ((300, 500), (128, 96), 0, 1.0, 18),  # no overlap, off-diagonal
        ((1000, 700), (128, 128), 20, 0.25, 6),
        ((100, 60), (128, 128), 20, 3.0, 6),  # enlarged
        ((999, 333), None, 100, 1.0, 1),  # in one piece
    ],
)
def test_windows_cover_every_pixel_and_overlap_as_asked(size_wh, tile_wh, overlap, scale, count):
    windows = plan_windows(size_wh, Tiling(tile_wh, overlap, (scale,)))
    assert len(windows) == count
    covered, cores = np.zeros(size_wh[::-1], int), np.zeros(size_wh[::-1], int)
    y, x = np.mgrid[: size_wh[1], : size_wh[0]] + 0.5
    for window in windows:
        width, height = window.size_wh
        assert window.left >= 0 and window.left + width <= size_wh[0]
        assert window.top >= 0 and window.top + height <= size_wh[1]
        covered[window.top : window.top + height, window.left : window.left + width] += 1
        left, top, right, bottom = window.core
        cores += (x >= left) & (x < right) & (y >= top) & (y < bottom)
        assert window.input_wh[0] % 32 == 0 and window.input_wh[1] % 32 == 0
        assert max(window.letterbox.inner_wh[0] - window.input_wh[0], 0) == 0
        for axis in (0, 1):
            assert window.letterbox.scale[axis] == pytest.approx(scale, rel=0.02)
    assert covered.min() >= 1 and cores.min() >= 1
    lefts = sorted({(window.left, window.size_wh[0]) for window in windows})
    for (left, width), (following, _) in pairwise(lefts):
        assert (left + width - following) * scale >= overlap - scale


@pytest.mark.parametrize("overlap", [0, 100, 640, 1000])
def test_an_image_in_one_piece_has_no_overlap(overlap):
    """Whatever is asked for: its side may be that of the overlap."""
    for size_wh in ((640, 512), (100, 100)):
        assert len(plan_windows(size_wh, Tiling(None, overlap))) == 1


def test_windows_begin_in_phase_with_the_network():
    for scale in (0.5, 1.0, 2.0):
        windows = plan_windows((1111, 1182), Tiling((608, 608), 100, (scale,)))
        assert all(side * scale % 32 == 0 for w in windows for side in (w.left, w.top))


def test_scales_and_overlap_that_make_no_sense():
    for scales in ((), (0.0,), (-1.0,), (float("inf"),), (float("nan"),)):
        with pytest.raises(InputError, match="scales"):
            Tiling((128, 128), 20, scales)
    with pytest.raises(InputError, match=r"--overlap 128: .*128x128"):
        Tiling((128, 128), 128)


def test_a_window_larger_than_a_fixed_input():
    with pytest.raises(InputError, match=r"300x300 .*608|does not fit.*128x128"):
        plan_windows((1000, 1000), Tiling((300, 300)), input_wh=(128, 128))


@pytest.mark.parametrize("offset", range(0, 44, 3))
def test_an_object_on_a_seam_comes_out_once_and_whole(offset):
    # the seams of 128 windows with an overlap of 40 over 300 pixels are about 107 and 193
    objects = [("plane", 85 + offset, 150, 30, 14, 25), ("ship", 193, 80 + offset, 12, 34, 5)]
    found = detect(scene((300, 300), objects), Tiling((128, 128), 40))
    assert sorted(found.labels) == [0, 1]
    iou = iou_matrix(corners_of(objects), found.corners[np.argsort(found.labels)])
    assert np.diag(iou).min() > 0.75


def test_many_objects_anywhere_come_out_once():
    rng = np.random.default_rng(0)
    objects = [
        (("plane", "ship")[rng.integers(2)], x + rng.integers(-8, 9), y + rng.integers(-8, 9),
         rng.integers(16, 30), rng.integers(9, 15), rng.uniform(0, 180))
        for x in range(30, 580, 50) for y in range(30, 440, 50)
    ]  # fmt: skip
    found = detect(scene((600, 460), objects), Tiling((128, 128), 40))
    assert len(found) == len(objects)
    best = iou_matrix(corners_of(objects), found.corners).max(axis=1)
    assert best.min() > 0.6


@pytest.mark.parametrize("x", [200, 260, 281])
def test_an_object_larger_than_a_window_is_found_at_the_smaller_scale_and_its_parts_give_way(x):
    objects = [("ship", x, 200, 190, 36, 20), ("plane", 60, 300, 24, 12, 0)]
    image = scene((520, 400), objects)
    pieces = detect(image, Tiling((128, 128), 40), DrawnObjects(max_side=100))
    assert iou_matrix(corners_of(objects[:1]), pieces.corners).max() < 0.5
    found = detect(image, Tiling((128, 128), 40, (0.4, 1.0)))
    assert sorted(found.labels) == [0, 1]
    iou = iou_matrix(corners_of(objects), found.corners)
    assert iou.max(axis=1).min() > 0.75


@pytest.mark.parametrize("x", range(200, 330, 10))
@pytest.mark.parametrize("degrees", [0, 20, 90])
def test_pieces_of_an_object_that_no_window_sees_whole_are_joined(x, degrees):
    objects = [("ship", x, 200, 190, 30, degrees)]
    found = detect(scene((520, 400), objects), Tiling((128, 128), 40))
    assert len(found) == 1
    assert iou_matrix(corners_of(objects), found.corners).item() > 0.75


def test_neighbours_on_a_seam_are_not_joined():
    objects = [("ship", 260, 100 + 16 * k, 90, 9, 4) for k in range(12)]
    found = detect(scene((520, 400), objects), Tiling((128, 128), 40))
    assert len(found) == len(objects)


def test_the_order_of_scales_does_not_matter():
    image = scene((520, 400), [("ship", 260, 200, 190, 36, 20), ("plane", 60, 300, 24, 12, 0)])
    one = detect(image, Tiling((128, 128), 40, (0.4, 1.0)))
    other = detect(image, Tiling((128, 128), 40, (1.0, 0.4)))
    np.testing.assert_array_equal(one.corners, other.corners)


def square(x, y, side):
    return [[x + side, y], [x + side, y + side], [x, y + side], [x, y]]


def test_merge_rules():
    def part(rows):
        corners, scores, labels, cut = zip(*rows, strict=True)
        found = Detections(
            np.array(corners, np.float32), np.array(scores, np.float32), np.array(labels)
        )
        return found, np.array(cut)

    assert len(merge([], 0.1)) == 0
    assert len(merge([(Detections(), np.zeros(0, bool))], 0.1)) == 0
    # a cut box that is surer than the whole one gives way to it
    merged = merge([part([(square(0, 0, 10), 0.9, 0, True)]),
                    part([(square(0, 0, 14), 0.6, 0, False)])], 0.1)  # fmt: skip
    assert merged.scores.tolist() == [np.float32(0.6)]
    # also where it is so small that its IoU does not reach the threshold
    merged = merge([part([(square(0, 0, 10), 0.9, 0, True)]),
                    part([(square(0, 0, 60), 0.6, 0, False)])], 0.1)  # fmt: skip
    assert len(merged) == 1 and merged.corners.max() == 60
    # but not where the whole one is unlikely, nor of another class, nor when it is whole itself
    for rows in (
        [(square(0, 0, 10), 0.9, 0, True), (square(0, 0, 60), 0.3, 0, False)],
        [(square(0, 0, 10), 0.9, 0, True), (square(0, 0, 60), 0.6, 1, False)],
        [(square(0, 0, 10), 0.9, 0, False), (square(0, 0, 60), 0.6, 0, False)],
    ):
        assert len(merge([part(rows)], 0.1)) == 2
    # equal scores: the first window's stays
    merged = merge([part([(square(0, 0, 10), 0.5, 0, False)]),
                    part([(square(1, 0, 10), 0.5, 0, False)])], 0.1)  # fmt: skip
    assert merged.corners.min() == 0
