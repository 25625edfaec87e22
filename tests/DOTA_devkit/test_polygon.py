"""IoU and NMS against shapely, sampled points, recorded values and brute force."""

import numpy as np
import pytest
import shapely

from DOTA_devkit.polygon import (
    bounding_rectangles,
    grouped_iou,
    iou_matrix,
    overlapping_pairs,
    paired_iou,
    polygon_area,
    polygon_nms,
    rectangle_nms,
)

UNIT = [[0, 0], [1, 0], [1, 1], [0, 1]]
BOW_TIE = [[0, 0], [2, 2], [2, 0], [0, 2]]
ARROW = [[0, 0], [4, 0], [1, 1], [0, 4]]  # concave at (1, 1)
LINE = [[0, 0], [1, 1], [2, 2], [3, 3]]
POINT = [[1, 1]] * 4


def rotated_rectangles(
    rng: np.random.Generator, count: int, extent: float, sides=(5, 40)
) -> np.ndarray:
    """Rotated rectangles ``[N, 4, 2]``."""
    center = rng.uniform(0, extent, (count, 1, 2))
    width, height = rng.uniform(*sides, (2, count, 1))
    angle = rng.uniform(0, 2 * np.pi, (count, 1))
    u = np.hstack([np.cos(angle), np.sin(angle)]) * width / 2
    v = np.hstack([-np.sin(angle), np.cos(angle)]) * height / 2
    return np.stack([-u - v, u - v, u + v, -u + v], axis=1) + center


def shapely_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (shapely.make_valid(shapely.polygons(corners)) for corners in (a, b))
    shared = shapely.area(shapely.intersection(a, b))
    union = shapely.area(a) + shapely.area(b) - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


def brute_force_nms(iou: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    keep: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if all(iou[i, k] <= threshold for k in keep):
            keep.append(i)
    return keep


class TestArea:
    @pytest.mark.parametrize(
        ("corners", "area"),
        [
            (UNIT, 1),
            (UNIT[::-1], 1),  # reversed orientation
            (BOW_TIE, 2),  # two wings of 1, which a signed area would cancel
            (ARROW, 4),
            (LINE, 0),
            (POINT, 0),
            ([[0, 0], [2, 0], [2, 0], [0, 2]], 2),  # a triangle with a repeated corner
            ([[0, 0], [2, 0], [1, 0], [1, 1]], 0.5),  # with a spike along an edge
        ],
    )
    def test_area_by_hand(self, corners, area):
        assert polygon_area(np.array([corners])) == pytest.approx([area])

    def test_area_of_no_polygons(self):
        assert polygon_area(np.zeros((0, 4, 2))).shape == (0,)

    @pytest.mark.parametrize("offset", [0, 1e6, -1e6])
    def test_area_of_random_quadrilaterals(self, offset):
        corners = np.random.default_rng(0).uniform(0, 30, (2000, 4, 2))
        expected = shapely.area(shapely.make_valid(shapely.polygons(corners)))
        np.testing.assert_allclose(polygon_area(corners + offset), expected, atol=1e-7)

    def test_area_rejects_other_array_shapes(self):
        with pytest.raises(ValueError, match=r"\[N, 4, 2\], got \[3, 8\]"):
            polygon_area(np.zeros((3, 8)))


class TestPairedIou:
    def test_iou_of_no_pairs(self):
        assert paired_iou(np.zeros((0, 4, 2)), np.zeros((0, 4, 2))).shape == (0,)

    @pytest.mark.parametrize(
        ("a", "b", "iou"),
        [
            (UNIT, UNIT, 1),
            (UNIT, UNIT[::-1], 1),
            (UNIT, UNIT[2:] + UNIT[:2], 1),  # begins at another corner
            (UNIT, [[0.5, 0], [1.5, 0], [1.5, 1], [0.5, 1]], 1 / 3),  # collinear edges
            (UNIT, [[1, 0], [2, 0], [2, 1], [1, 1]], 0),  # touch along an edge
            (UNIT, [[1, 1], [2, 1], [2, 2], [1, 2]], 0),  # touch at a corner
            (UNIT, [[5, 5], [6, 5], [6, 6], [5, 6]], 0),
            (UNIT, [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]], 0.25),  # inside
            (UNIT, [[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]], 0.25),  # inside, in a corner
            (UNIT, [[0.5, -0.5], [1.5, 0.5], [0.5, 1.5], [-0.5, 0.5]], 0.5),  # a diamond around
            (UNIT, LINE, 0),
            (LINE, LINE, 0),
            (POINT, POINT, 0),
            (UNIT, BOW_TIE, 0.5 / 2.5),
            (BOW_TIE, BOW_TIE, 1),
            (ARROW, ARROW[::-1], 1),
            (ARROW, [[2, 2], [4, 2], [4, 4], [2, 4]], 0),  # in the notch of the arrow
            (ARROW, UNIT, 1 / 4),
        ],
    )
    def test_iou_by_hand(self, a, b, iou):
        a, b = np.array([a], float), np.array([b], float)
        assert paired_iou(a, b) == pytest.approx([iou], abs=1e-12)
        assert paired_iou(b, a) == pytest.approx([iou], abs=1e-12)

    def test_iou_as_recorded(self, shared):
        recorded = np.load(shared / "fixtures" / "polyiou_3000.npz")
        a, b = recorded["a"].reshape(-1, 4, 2), recorded["b"].reshape(-1, 4, 2)
        iou = paired_iou(a, b)
        # The recorded values are wrong for self-intersecting polygons and nan for degenerate ones.
        simple = shapely.is_valid(shapely.polygons(a)) & shapely.is_valid(shapely.polygons(b))
        assert simple.sum() > 2500
        np.testing.assert_allclose(iou[simple], recorded["iou"][simple], atol=1e-6)
        np.testing.assert_allclose(iou, shapely_iou(a, b), atol=1e-9)

    @pytest.mark.parametrize("offset", [(0, 0), (1e6, -1e6)])
    @pytest.mark.parametrize("kind", ["rectangles", "any", "integers"])
    @pytest.mark.slow
    def test_iou_against_shapely(self, kind, offset):
        rng = np.random.default_rng(1)
        if kind == "rectangles":
            a, b = rotated_rectangles(rng, 3000, 40), rotated_rectangles(rng, 3000, 40)
        else:
            a, b = rng.uniform(0, 20, (2, 3000, 4, 2))
            if kind == "integers":  # many collinear edges, shared corners and degenerate shapes
                a, b = a.round(), b.round()
        expected = shapely_iou(a, b)
        assert (expected > 0).mean() > 0.2
        np.testing.assert_allclose(paired_iou(a + offset, b + offset), expected, atol=1e-9)

    def test_iou_against_sampled_points(self):
        rng = np.random.default_rng(2)
        a, b = rotated_rectangles(rng, 1, 5, (20, 40)), rotated_rectangles(rng, 1, 5, (20, 40))
        both = np.vstack([a[0], b[0]])
        low, high = both.min(axis=0), both.max(axis=0)
        points = rng.uniform(low, high, (200_000, 2))
        inside = [shapely.contains_xy(shapely.polygons(one[0]), *points.T) for one in (a, b)]
        sampled = (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum()
        assert paired_iou(a, b)[0] == pytest.approx(sampled, abs=0.01)

    @pytest.mark.parametrize("noise", [1e-15, 1e-12, 1e-9, 1e-7, 1e-5, 1e-3])
    def test_iou_with_nearly_coincident_edges(self, noise):
        """Where the edges of both polygons could count, or those of neither."""
        rng = np.random.default_rng(3)
        a = rotated_rectangles(rng, 2000, 100)
        moved = a + rng.normal(0, noise, a.shape) * 40
        np.testing.assert_allclose(paired_iou(a, moved), shapely_iou(a, moved), atol=1e-7)
        along = a + (a[:, 1:2] - a[:, :1]) * 0.3  # moved along its own edges
        np.testing.assert_allclose(paired_iou(a, along), 0.7 / 1.3, atol=1e-7)

    def test_iou_of_very_different_sizes(self):
        rng = np.random.default_rng(4)
        small, large = (
            rotated_rectangles(rng, 2000, 1000, (1, 2)),
            rotated_rectangles(rng, 2000, 1000, (800, 1e3)),
        )
        np.testing.assert_allclose(
            paired_iou(small, large), shapely_iou(small, large), rtol=1e-6, atol=1e-12
        )

    def test_iou_accepts_float32(self):
        corners = np.array([UNIT], np.float32)
        assert paired_iou(corners, corners)[0] == 1

    def test_iou_rejects_unequal_lengths(self):
        with pytest.raises(ValueError, match="must have the same length, got 2 and 1"):
            paired_iou(np.array([UNIT, UNIT]), np.array([UNIT]))


class TestManyPairs:
    @pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (1, 1), (70, 45)])
    def test_iou_matrix_against_shapely(self, rows, columns):
        rng = np.random.default_rng(5)
        a, b = rotated_rectangles(rng, rows, 100), rotated_rectangles(rng, columns, 100)
        expected = [[shapely_iou(one[None], other[None])[0] for other in b] for one in a]
        np.testing.assert_allclose(
            iou_matrix(a, b), np.reshape(expected, (rows, columns)), atol=1e-9
        )

    @pytest.mark.parametrize("max_candidates", [1, 7, 1 << 20])
    @pytest.mark.parametrize("per_box", [0, 24])  # with and without strips
    def test_pairs_are_those_that_overlap(self, max_candidates, per_box, monkeypatch):
        monkeypatch.setattr("DOTA_devkit.polygon.sweep.MAX_CANDIDATES_PER_BOX", per_box)
        rng = np.random.default_rng(6)
        a = bounding_rectangles(rotated_rectangles(rng, 80, 300))
        b = bounding_rectangles(rotated_rectangles(rng, 60, 300))
        a[0] = [-50, -50, 400, 400]  # lies in every strip
        groups_a, groups_b = rng.integers(0, 3, 80), rng.integers(0, 3, 60)

        def overlap(one, other):
            return (one[:2] < other[2:]).all() and (other[:2] < one[2:]).all()

        found = [
            pair
            for i, j in overlapping_pairs(a, b, groups_a, groups_b, max_candidates)
            for pair in zip(i.tolist(), j.tolist(), strict=True)
        ]
        expected = {
            (i, j)
            for i in range(80)
            for j in range(60)
            if groups_a[i] == groups_b[j] and overlap(a[i], b[j])
        }
        assert len(found) == len(set(found)) and set(found) == expected
        within_a = [
            frozenset(pair)
            for i, j in overlapping_pairs(a, max_candidates=max_candidates)
            for pair in zip(i.tolist(), j.tolist(), strict=True)
        ]
        expected = {frozenset((i, j)) for i in range(80) for j in range(i) if overlap(a[i], a[j])}
        assert len(within_a) == len(set(within_a)) and set(within_a) == expected

    def test_touching_rectangles_are_not_a_pair(self):
        a = np.array([[0, 0, 1, 1], [1, 0, 2, 1], [0, 1, 1, 2.0]])
        assert sum(len(i) for i, _ in overlapping_pairs(a)) == 0

    def test_grouped_iou_stays_within_groups(self):
        a = np.array([UNIT, UNIT, UNIT], float)
        i, j, iou = grouped_iou(a, a[:2], np.array([4, 7, 7]), np.array([7, 4]))
        assert list(zip(i, j, iou, strict=True)) == [(0, 1, 1), (1, 0, 1), (2, 0, 1)]


class TestNms:
    @pytest.mark.parametrize("threshold", [0, 0.1, 0.5, 1])
    @pytest.mark.parametrize(("count", "extent"), [(0, 1), (1, 1), (2, 5), (150, 100), (150, 40)])
    @pytest.mark.slow
    def test_nms_against_brute_force(self, count, extent, threshold):
        rng = np.random.default_rng(7)
        corners = rotated_rectangles(rng, count, extent)
        scores = rng.random(count).round(1)  # many ties
        iou = np.reshape([shapely_iou(corners, np.repeat(one[None], count, 0)) for one in corners],
                         (count, count))  # fmt: skip
        keep = polygon_nms(corners, scores, threshold)
        assert keep.dtype == np.int64
        assert keep.tolist() == brute_force_nms(iou, scores, threshold)

    def test_nms_is_per_label(self):
        rng = np.random.default_rng(8)
        corners, scores = rotated_rectangles(rng, 100, 40), rng.random(100)
        labels = rng.integers(0, 3, 100)
        iou = np.array([shapely_iou(corners, np.repeat(one[None], 100, 0)) for one in corners])
        iou *= labels[:, None] == labels
        keep = polygon_nms(corners, scores, 0.1, labels).tolist()
        assert keep == brute_force_nms(iou, scores, 0.1)

    def test_nms_keeps_iou_equal_to_threshold(self):
        half = [[0, 0], [1, 0], [1, 0.5], [0, 0.5]]
        corners = np.array([UNIT, half], float)
        assert polygon_nms(corners, np.array([0.9, 0.8]), 0.5).tolist() == [0, 1]
        assert polygon_nms(corners, np.array([0.9, 0.8]), 0.49).tolist() == [0]

    def test_nms_keeps_first_of_equal_scores(self):
        corners = np.array([UNIT] * 3, float)
        assert polygon_nms(corners, np.array([0.5, 0.5, 0.5]), 0.1).tolist() == [0]

    def test_nms_degenerate_boxes_suppress_nothing(self):
        corners = np.array([POINT, POINT, LINE, UNIT], float)
        assert polygon_nms(corners, np.array([4, 3, 2, 1.0]), 0.1).tolist() == [0, 1, 2, 3]

    def test_nms_suppressed_box_suppresses_nothing(self):
        """In a long chain of overlaps every other box stays, whatever the number of rounds."""
        corners = np.array([UNIT], float) + np.arange(500)[:, None, None] * [0.6, 0]
        keep = polygon_nms(corners, -np.arange(500.0), 0.1)
        assert keep.tolist() == list(range(0, 500, 2))

    @pytest.mark.parametrize("inclusive", [False, True])
    def test_rectangle_nms_against_brute_force(self, inclusive):
        rng = np.random.default_rng(9)
        low = rng.integers(0, 40, (120, 2))
        boxes = np.hstack([low, low + rng.integers(0, 20, (120, 2))]).astype(float)
        scores = rng.random(120)
        border = int(inclusive)

        def iou(a, b):
            side = [min(a[2 + k], b[2 + k]) - max(a[k], b[k]) + border for k in range(2)]
            shared = max(side[0], 0) * max(side[1], 0)
            areas = [(c[2] - c[0] + border) * (c[3] - c[1] + border) for c in (a, b)]
            union = sum(areas) - shared
            return shared / union if union else 0

        table = np.array([[iou(a, b) for b in boxes] for a in boxes])
        keep = rectangle_nms(boxes, scores, 0.2, inclusive=inclusive).tolist()
        assert keep == brute_force_nms(table, scores, 0.2)
