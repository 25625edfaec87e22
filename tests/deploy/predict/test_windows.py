"""Windows cover the image, and each object comes out of them once."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from shapely import get_coordinates
from shapely.geometry import Polygon

from deploy.predict.plan import Batches, SourceJobs
from deploy.predict.reading import read_window
from deploy.predict.seams import merge_windows
from deploy.predict.windows import Chain, Tiling, own_detections, plan_windows
from DOTA_devkit.errors import InputError
from DOTA_devkit.polygon import iou_matrix
from helpers.drawn_objects import DrawnObjects, corners_of, scene
from structures.detections import Detections


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
        parts.append(own_detections(found, window))
    return merge_windows(parts, 0.1)


def test_windows_are_made_when_they_are_asked_for():
    """A plan takes no memory for the size that a header declares."""
    side = 2**31 - 1
    windows = plan_windows((side, side), Tiling((608, 608), 100, (1.0, 0.5)))
    assert len(windows) > 10**13
    assert (windows[0].left, windows[0].top) == (0, 0)
    last = windows[-1]
    assert (last.left + last.size_wh[0], last.top + last.size_wh[1]) == (side, side)
    with pytest.raises(IndexError):
        windows[len(windows)]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_hold_jobs_of_one_input_size(batch_size):
    """Several images and scales, of which some share their size of input."""
    sizes = [((300, 300), (128, 128)), ((130, 128), (128, 128)), ((500, 90), (96, 96))]
    parts = [
        SourceJobs(number, part)
        for number, (size_wh, tile_wh) in enumerate(sizes)
        for part in plan_windows(size_wh, Tiling(tile_wh, 20, (1.0, 0.5))).parts
    ]
    jobs = Chain(parts)
    batches = Batches(jobs, batch_size)
    assert [job for batch in batches for job in batch] == list(jobs)
    assert [batches.size(number) for number in range(len(batches))] == [len(b) for b in batches]
    for batch in batches:
        assert 1 <= len(batch) <= batch_size
        assert len({job.window.input_wh for job in batch}) == 1
    for batch, following in pairwise(batches):  # none is smaller than it must be
        assert len(batch) == batch_size or (
            batch[0].window.input_wh != following[0].window.input_wh
        )


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
        ((999, 333), None, 100, 1.0, 1),  # one window
    ],
)
def test_windows_cover_every_pixel_and_overlap(size_wh, tile_wh, overlap, scale, count):
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
def test_whole_image_ignores_the_overlap(overlap):
    """Any overlap may be asked for, even one as long as the image."""
    for size_wh in ((640, 512), (100, 100)):
        assert len(plan_windows(size_wh, Tiling(None, overlap))) == 1


def test_windows_begin_at_multiples_of_the_stride():
    for scale in (0.5, 1.0, 2.0):
        windows = plan_windows((1111, 1182), Tiling((608, 608), 100, (scale,)))
        assert all(side * scale % 32 == 0 for w in windows for side in (w.left, w.top))


def test_invalid_scales_and_overlap_are_refused():
    for scales in ((), (0.0,), (-1.0,), (float("inf"),), (float("nan"),)):
        with pytest.raises(InputError, match="scales"):
            Tiling((128, 128), 20, scales)
    with pytest.raises(InputError, match=r"^overlap must be .* got 128 for a window of 128x128"):
        Tiling((128, 128), 128)


def test_window_larger_than_fixed_input_is_refused():
    with pytest.raises(InputError, match=r"300x300 .*608|does not fit.*128x128"):
        plan_windows((1000, 1000), Tiling((300, 300)), input_wh=(128, 128))


@pytest.mark.parametrize("offset", range(0, 44, 3))
def test_object_on_a_seam_comes_out_once_and_whole(offset):
    # the seams of 128 windows with an overlap of 40 over 300 pixels are about 107 and 193
    objects = [("plane", 85 + offset, 150, 30, 14, 25), ("ship", 193, 80 + offset, 12, 34, 5)]
    found = detect(scene((300, 300), objects), Tiling((128, 128), 40))
    assert sorted(found.labels) == [0, 1]
    iou = iou_matrix(corners_of(objects), found.corners[np.argsort(found.labels)])
    assert np.diag(iou).min() > 0.75


def test_many_objects_come_out_once():
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
def test_smaller_scale_replaces_pieces_of_large_object(x):
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
def test_pieces_are_joined(x, degrees):
    objects = [("ship", x, 200, 190, 30, degrees)]
    found = detect(scene((520, 400), objects), Tiling((128, 128), 40))
    assert len(found) == 1
    assert iou_matrix(corners_of(objects), found.corners).item() > 0.75


def test_neighbors_on_a_seam_are_not_joined():
    objects = [("ship", 260, 100 + 16 * k, 90, 9, 4) for k in range(12)]
    found = detect(scene((520, 400), objects), Tiling((128, 128), 40))
    assert len(found) == len(objects)


def test_order_of_scales_does_not_matter():
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

    assert len(merge_windows([], 0.1)) == 0
    assert len(merge_windows([(Detections(), np.zeros(0, bool))], 0.1)) == 0
    # a cut box with a higher score than the whole one is dropped
    merged = merge_windows([part([(square(0, 0, 10), 0.9, 0, True)]),
                    part([(square(0, 0, 14), 0.6, 0, False)])], 0.1)  # fmt: skip
    assert merged.scores.tolist() == [np.float32(0.6)]
    # also if it is so small that the IoU does not reach the threshold
    merged = merge_windows([part([(square(0, 0, 10), 0.9, 0, True)]),
                    part([(square(0, 0, 60), 0.6, 0, False)])], 0.1)  # fmt: skip
    assert len(merged) == 1 and merged.corners.max() == 60
    # but not if the whole one has a low score or another class, nor if it is whole itself
    for rows in (
        [(square(0, 0, 10), 0.9, 0, True), (square(0, 0, 60), 0.3, 0, False)],
        [(square(0, 0, 10), 0.9, 0, True), (square(0, 0, 60), 0.6, 1, False)],
        [(square(0, 0, 10), 0.9, 0, False), (square(0, 0, 60), 0.6, 0, False)],
    ):
        assert len(merge_windows([part(rows)], 0.1)) == 2
    # with agnostic NMS, a cut box ranks behind a whole one of another class
    rows = [(square(0, 0, 10), 0.9, 0, True), (square(0, 0, 11), 0.6, 1, False)]
    assert len(merge_windows([part(rows)], 0.1)) == 2
    assert merge_windows([part(rows)], 0.1, 0.5).labels.tolist() == [1]
    assert len(merge_windows([part(rows)], 0.1, 0.9)) == 2
    # unless the score of that one is much lower
    rows = [(square(0, 0, 10), 0.9, 0, True), (square(0, 0, 11), 0.4, 1, False)]
    assert merge_windows([part(rows)], 0.1, 0.5).labels.tolist() == [0]
    # of equal scores, that of the first window stays
    merged = merge_windows([part([(square(0, 0, 10), 0.5, 0, False)]),
                    part([(square(1, 0, 10), 0.5, 0, False)])], 0.1)  # fmt: skip
    assert merged.corners.min() == 0


def cut_pieces(*rectangles):
    """Return rectangles (left, top, right, bottom), all of them cut and of one score."""
    corners = [[[r, t], [r, b], [x, b], [x, t]] for x, t, r, b in rectangles]
    count = len(rectangles)
    found = Detections(
        np.array(corners, np.float32), np.full(count, 0.5, np.float32), np.zeros(count, np.int64)
    )
    return found, np.ones(count, bool)


@pytest.mark.parametrize(
    ("rectangles", "expected"),
    [
        # two in line become one
        ([(0, 0, 100, 20), (80, 0, 180, 20)], [(0, 0, 180, 20)]),
        # so do all of a chain, even if a short one lies mostly in a long one
        ([(0, 0, 100, 20), (60, 0, 120, 20), (100, 0, 200, 20)], [(0, 0, 200, 20)]),
        # a corner that is not in line is dropped: half of it lies in them
        ([(0, 0, 220, 60), (180, 0, 400, 60), (160, 35, 220, 85)], [(0, 0, 400, 60)]),
        # one that mostly lies beside them stays
        ([(0, 0, 220, 60), (180, 0, 400, 60), (160, 45, 220, 105)],
         [(0, 0, 400, 60), (160, 45, 220, 105)]),
        # a cut box that contains a piece replaces it
        ([(0, 0, 200, 80), (20, 40, 60, 110)], [(0, 0, 200, 80)]),
    ],
)  # fmt: skip
def test_joining_of_pieces(rectangles, expected):
    for order in (slice(None), slice(None, None, -1)):
        merged = merge_windows([cut_pieces(*rectangles[order])], 0.5).corners
        around = np.concatenate([merged.min(axis=1), merged.max(axis=1)], axis=1)
        assert sorted(around.tolist()) == [list(row) for row in sorted(expected)]


def test_cut_margin_grows_with_the_box():
    window = plan_windows((600, 128), Tiling((128, 128), 40))[1]
    found, _ = cut_pieces((25, 20, 125, 50), (85, 60, 125, 75))  # both end 3 pixels before it
    _, cut = own_detections(found, window)
    assert cut.tolist() == [True, False]


TILINGS = {
    "608": (Tiling((608, 608), 100, (0.5, 1.0)), (2400, 1900)),
    "128": (Tiling((128, 128), 40, (0.5, 1.0)), (520, 400)),
    "128 at 1": (Tiling((128, 128), 40), (520, 400)),
}


def boxes_in_window(objects, window, max_side, error, rng):
    """Return the smallest box around the part of each object in a window, as a detector would.

    This is `DrawnObjects` without pixels, so it is fast and objects may overlap. `error` is the
    standard deviation of the boxes' centers in input pixels, and of their sides in percent.
    """
    width, height = window.size_wh
    frame = Polygon([(0, 0), (width, 0), (width, height), (0, height)])
    boxes, scores = [], []
    for corners in corners_of(objects):
        part = Polygon(corners - (window.left, window.top)).intersection(frame)
        area = part.area * np.prod(window.letterbox.scale)
        if area < 12:
            continue
        points = get_coordinates(part) * window.letterbox.scale
        (x, y), sides, degrees = cv2.minAreaRect(points.astype(np.float32))
        x, y = (x, y) + error * rng.normal(0, 1, 2)
        sides = np.array(sides) * (1 + error * rng.normal(0, 0.01))
        if max(sides) <= max_side:
            boxes.append(cv2.boxPoints(((x, y), sides, degrees)))
            scores.append(0.5 + min(area, 4000) / 10000)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4, 2),
        np.array(scores, np.float32),
        np.zeros(len(scores), np.int64),
    )


def assert_each_comes_out_once(objects, name, rng, max_side=np.inf, error=0.0):
    tiling, size_wh = TILINGS[name]
    windows = plan_windows(size_wh, tiling)
    parts = [
        own_detections(boxes_in_window(objects, window, max_side, error, rng), window)
        for window in windows
    ]
    iou = iou_matrix(corners_of(objects), merge_windows(parts, 0.1).corners)
    assert iou.shape == (len(objects), len(objects)), objects
    assert iou.max(axis=1).min() > 0.6, objects


def within(size_wh, objects):
    """Tell whether objects lie in the image and hardly overlap, as NMS asks."""
    corners = corners_of(objects)
    mutual = iou_matrix(corners, corners) - np.eye(len(objects))
    return mutual.max() < 0.08 and (corners >= 0).all() and (corners <= size_wh).all()


def moved(place, degrees, along, across):
    """Return the point that lies a distance from `place`, along and across a direction."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return place[0] + along * cos - across * sin, place[1] + along * sin + across * cos


def uniform(rng, low, high):
    return float(rng.uniform(low, high))


@pytest.mark.parametrize("error", [0.0, 0.4])
@pytest.mark.parametrize(
    ("name", "lengths", "widths", "max_side"),
    [
        ("608", (900, 1080), (150, 330), 580),  # thick, and longer than the overlap at scale 0.5
        ("608", (900, 1080), (150, 330), np.inf),  # pieces of any size are found
        ("608", (620, 900), (60, 200), 560),
        ("608", (900, 1216), (100, 400), np.inf),  # as long as a window at scale 0.5
        ("608", (100, 620), (20, 300), np.inf),  # what a window may hold
        ("608", (300, 1100), (20, 500), 580),
        ("128", (150, 230), (20, 70), np.inf),
        ("128", (150, 230), (20, 70), 120),
        ("128", (20, 150), (8, 100), np.inf),
        ("128 at 1", (100, 230), (10, 30), np.inf),  # no window sees it whole
        ("128 at 1", (100, 230), (20, 70), np.inf),
    ],
)
@pytest.mark.slow
def test_object_of_any_size_comes_out_once(name, lengths, widths, max_side, error):
    size_wh = TILINGS[name][1]
    for seed in range(15):
        rng = np.random.default_rng(seed)
        length = uniform(rng, *lengths)
        width = min(uniform(rng, *widths), 0.8 * length)
        place = [uniform(rng, length / 2, side - length / 2) for side in size_wh]
        objects = [("ship", *place, length, width, uniform(rng, 0, 180))]
        assert_each_comes_out_once(objects, name, rng, max_side, error)


def row_of_ships(rng, unit, size_wh):
    """Ships side by side, 2 to 4 pixels apart and not quite aligned."""
    length, width = unit * uniform(rng, 50, 200), unit * uniform(rng, 6, 25)
    degrees, pitch = uniform(rng, 0, 180), width + uniform(rng, 2, 4)
    middle = [uniform(rng, 0.3 * side, 0.7 * side) for side in size_wh]
    count = int(rng.integers(2, 8))
    return [
        ("ship",
         *moved(middle, degrees, uniform(rng, -0.08, 0.08) * length, pitch * (k - count / 2)),
         length, width, degrees) for k in range(count)
    ]  # fmt: skip


def line_of_ships(rng, unit, size_wh):
    """Ships end to end, 3 to 8 pixels apart."""
    length, width, degrees = (
        unit * uniform(rng, 60, 120),
        unit * uniform(rng, 10, 30),
        uniform(rng, 0, 180),
    )
    middle = [side / 2 + uniform(rng, -60, 60) for side in size_wh]
    pitch = length + uniform(rng, 3, 8)
    return [
        ("ship", *moved(middle, degrees, pitch * k, 0), length, width, degrees) for k in (-1, 0, 1)
    ]


def a_small_one_beside(rng, unit, size_wh):
    """A large ship and a small one, which may reach a little over the side of the large one."""
    length, width, degrees = (
        unit * uniform(rng, 100, 220),
        unit * uniform(rng, 20, 70),
        uniform(rng, 0, 180),
    )
    middle = [uniform(rng, 0.2 * side, 0.8 * side) for side in size_wh]
    small = unit * uniform(rng, 12, 60)
    beam = small * uniform(rng, 0.35, 0.8)
    across = (width + beam) / 2 + uniform(rng, -beam / 3, 6)
    place = moved(middle, degrees, uniform(rng, -0.5, 0.5) * length, across * rng.choice([-1, 1]))
    turned = degrees + uniform(rng, 0, 180) * rng.integers(2)
    return [("ship", *middle, length, width, degrees), ("ship", *place, small, beam, turned)]


def crossing_ships(rng, unit, size_wh):
    degrees, middle = (
        uniform(rng, 0, 180),
        [uniform(rng, 0.2 * side, 0.8 * side) for side in size_wh],
    )
    place = moved(middle, degrees, unit * uniform(rng, -30, 30), 0)
    return [
        ("ship", *middle, unit * uniform(rng, 60, 200), unit * uniform(rng, 8, 30), degrees),
        ("ship", *place, unit * uniform(rng, 60, 200), unit * uniform(rng, 8, 30),
         degrees + uniform(rng, 35, 145)),
    ]  # fmt: skip


@pytest.mark.parametrize("name", TILINGS)
@pytest.mark.parametrize("make", [row_of_ships, line_of_ships, a_small_one_beside, crossing_ships])
@pytest.mark.slow
def test_neighbors_of_any_size_all_come_out(make, name):
    size_wh = TILINGS[name][1]
    unit = 4.0 if name == "608" else 1.0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        objects = make(rng, unit, size_wh)
        while not within(size_wh, objects):
            objects = make(rng, unit, size_wh)
        assert_each_comes_out_once(objects, name, rng, 580 if name == "608" else np.inf)


@pytest.mark.parametrize(
    ("name", "lengths", "widths", "detector", "count"),
    [
        ("128", (150, 230), (20, 70), DrawnObjects(), 12),
        pytest.param(
            "608", (900, 1080), (150, 330), DrawnObjects((608, 608), max_side=580), 6,
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_drawn_thick_object_comes_out_once(name, lengths, widths, detector, count):
    tiling, size_wh = TILINGS[name]
    for seed in range(count):
        rng = np.random.default_rng(seed)
        length = uniform(rng, *lengths)
        place = [uniform(rng, length / 2, side - length / 2) for side in size_wh]
        objects = [("ship", *place, length, uniform(rng, *widths), uniform(rng, 0, 180))]
        found = detect(scene(size_wh, objects), tiling, detector)
        assert len(found) == 1, objects
        assert iou_matrix(corners_of(objects), found.corners).item() > 0.7, objects
