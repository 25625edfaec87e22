"""The judge of exported files: what it must accept, and what it must not let through."""

import numpy as np
import pytest
import torch

from deploy.export.parity.comparison import Comparison
from deploy.export.parity.matching import match
from deploy.export.parity.model_pair import ModelPair, Thresholds
from deploy.export.parity.rows import IOU_MARGIN, check_greedy, row_faults
from deploy.export.parity.tolerance import FLOAT32
from deploy.export.parity.verdict import judge
from deploy.export.types import CheckImage
from deploy.metadata import ModelMetadata
from structures.boxes import STRIDE
from structures.detections import Detections

pytest.importorskip("onnx")


def squares(*lefts, side=10.0, top=0.0):
    """Squares side by side [N, 4, 2], by the x of their left sides."""
    box = np.array([[side, 0], [side, side], [0, side], [0, 0]])
    return np.stack([box + np.array((left, top)) for left in lefts]).astype(np.float32)


def detections(corners, scores=None, labels=None):
    count = len(corners)
    scores = np.linspace(0.9, 0.5, count) if scores is None else scores
    labels = np.zeros(count) if labels is None else labels
    return Detections(corners, np.asarray(scores, np.float32), np.asarray(labels, np.int64))


# Squares of side 10 that are shifted by d overlap by (10 - d) / (10 + d): 1/3 at d = 5.
@pytest.mark.parametrize(
    ("lefts", "labels", "kept", "faults"),
    [
        ([], [], [], 0),
        ([0], [0], [0], 0),  # one
        ([0], [0], [], 1),  # one, and it is gone
        ([0, 2], [0, 0], [0], 0),  # 8 / 12 = 0.67: the worse goes
        ([0, 2], [0, 0], [0, 1], 1),  # both stay
        ([0, 2], [0, 0], [1], 1),  # the better goes: nothing suppresses it
        ([0, 2], [0, 1], [0, 1], 0),  # of two classes
        ([0, 2], [0, 1], [0], 1),
        ([0, 2, 4], [0, 0, 0], [0], 0),  # 6 / 14 = 0.43 of the first with the third
        ([0, 4, 8], [0, 0, 0], [0, 2], 0),  # a chain: the second is gone, so the third stays
        ([0, 4, 8], [0, 0, 0], [0], 1),  # the third goes though only a row that is gone meets it
        ([0, 0], [0, 0], [0], 0),  # identical: the first stays
        ([0, 0], [0, 0], [0, 1], 1),
    ],
)
def test_greedy_suppression_at_a_third(lefts, labels, kept, faults):
    corners = squares(*lefts) if lefts else np.zeros((0, 4, 2), np.float32)
    rows = detections(corners, labels=labels)
    near, found = check_greedy(rows, rows[np.array(kept, np.int64)], 0.4)
    assert len(found) == faults and not near


def test_a_pair_at_the_threshold_excuses_its_own_rows_alone():
    """Rows 0 and 1 overlap by the threshold itself, rows 2 and 3 by far more."""
    rows = detections(squares(0, 5, 100, 102))
    threshold = 1 / 3
    for kept in ([0, 2], [0, 1, 2]):  # both are right
        near, faults = check_greedy(rows, rows[kept], threshold)
        assert [(i, j) for i, j, _ in near] == [(0, 1)] and not faults
        assert abs(near[0][2] - threshold) <= IOU_MARGIN
    near, faults = check_greedy(rows, rows[[0, 1, 2, 3]], threshold)
    assert len(near) == 1 and faults == ["row 3 is kept, but a better one suppresses it"]
    _, faults = check_greedy(rows, rows[[0, 1]], threshold)
    assert len(faults) == 2  # nothing suppresses row 2, and then nothing row 3 either


def test_rows_that_were_never_there():
    rows = detections(squares(0, 100))
    moved = rows.with_corners(rows.corners + 1)
    assert check_greedy(rows, moved, 0.5)[1] and check_greedy(rows, rows[[1, 0]], 0.5)[1]


@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        ([], [], 0),
        ([0], [], 0),
        ([], [0], 0),
        ([0], [0.01], 1),
        ([0, 40], [40, 0], 2),  # in another order
        ([0], [8], 0),  # overlap too little
        ([0, 1], [0.4], 1),  # the nearer one
    ],
)
def test_matches(a, b, pairs):
    none = np.zeros((0, 4, 2), np.float32)
    mine, other = match(*(detections(squares(*x) if x else none) for x in (a, b)))
    assert len(mine) == len(other) == pairs


def test_matches_are_of_one_class():
    a, b = detections(squares(0)), detections(squares(0), labels=[1])
    assert not len(match(a, b)[0])


def comparison(reported, heatmap=None, vectors=None, theta=1.0):
    """A comparison of a model that finds two boxes with a file that finds `reported` of them.

    heatmap: [16, 16], instead of one of two peaks. vectors: of every cell, as eight numbers in
    cells, instead of upright squares. theta: of every cell, where there are vectors.
    """
    if heatmap is None:
        heatmap = torch.zeros(16, 16)
        heatmap[4, 4], heatmap[10, 12] = 0.9, 0.6

    class Maps(torch.nn.Module):
        def forward(self, batch):
            wh = torch.zeros(len(batch), 10, 16, 16)
            wh[:, 8:] = 4.0
            zeros = torch.zeros(len(batch), 2, 16, 16)
            turned = zeros[:, :1].clone()
            if vectors is not None:
                wh[:, :8] = torch.tensor(vectors)[:, None, None]
                turned += theta
            return {"hm": heatmap.expand(len(batch), 1, 16, 16), "wh": wh, "reg": zeros,
                    "cls_theta": turned}  # fmt: skip

    metadata = ModelMetadata(("ship",), "resnet18", 0.18, 0.8, 4)
    true_rows = true_boxes()

    def run(inputs):
        count = len(inputs["input"])
        corners, scores = (np.zeros((count, 4, *s), np.float32) for s in ((4, 2), ()))
        labels = np.full((count, 4), -1)
        for row, (box, score) in enumerate(reported(true_rows)):
            corners[:, row], scores[:, row], labels[:, row] = box, score, 0
        return {"corners": corners, "scores": scores, "labels": labels}

    compared = float32_comparison(Maps(), metadata, run)
    compared.compare([CheckImage("a", np.full((64, 64, 3), 90, np.uint8))])
    return compared.report


def float32_comparison(model, metadata, run):
    models = ModelPair(model, metadata, (64, 64), Thresholds.of(metadata, FLOAT32), run)
    return Comparison(models, FLOAT32)


def true_boxes():
    """Cells (4, 4) and (12, 10), upright, 4 x 4 cells, as (corners in pixels, score)."""
    around = np.array([[2, -2], [2, 2], [-2, 2], [-2, -2]])
    return [((np.array(c) + around) * STRIDE, s) for c, s in (((4, 4), 0.9), ((12, 10), 0.6))]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda rows: rows, ""),
        (lambda rows: rows[:1], "1 of 2 detections are found by only one of the two"),
        (lambda rows: [*rows, (rows[0][0] + 30, 0.5)], "1 of 3 detections are found by only one"),
        (lambda rows: [rows[0], rows[0], rows[1]], "1 of 3 detections are found by only one"),
        (lambda rows: rows[::-1], "the scores are not in descending order"),
        (lambda rows: [(rows[0][0] + 0.06, 0.9), rows[1]], "corners differ by 0.06"),
        (lambda rows: [(rows[0][0], 0.8995), rows[1]], "scores differ by 0.0005"),
        (lambda rows: [(rows[0][0] + 0.04, 0.90005), rows[1]], ""),  # within both limits
        (lambda rows: [(rows[0][0], np.nan), rows[1]], "scores"),
        (lambda rows: [(rows[0][0] * np.nan, 0.9), rows[1]], "detections are found by only one"),
    ],
)
def test_faults_of_a_file(change, fault):
    faults = judge(comparison(change), FLOAT32).faults
    assert bool(faults) == bool(fault) and fault in "; ".join(faults)


@pytest.mark.parametrize(
    ("column", "score", "away", "lost"),
    [
        (4, 0.5, 0.0, 0),  # the checkpoint's own
        (9, 0.5, 0.0, 0),  # five cells along the plateau, where only rounding makes no peak
        (9, 0.5, 0.04, 0),
        (9, 0.5, 0.06, 1),  # no cell of the plateau has this box
        (9, 0.4998, 0.0, 1),  # nor this score
        (12, 0.5, 0.0, 1),  # beyond the plateau
    ],
)
def test_a_plateau_has_its_peak_where_rounding_puts_it(column, score, away, lost):
    """A row of nine cells of one score but for rounding, as black pictures have them. The boxes
    of an untrained model lie anywhere: here their middle is 40 pixels from their cell."""
    heatmap = torch.zeros(16, 16)
    heatmap[8, 3:12] = 0.5 - 1e-6 * (torch.arange(3, 12) - 4).abs()
    vectors = torch.tensor([10.0, 8, 12, 10, 10, 12, 8, 10])
    # a corner lies at the sum of the vectors of its two edges
    top, right, bottom, left = vectors.reshape(4, 2).numpy()
    corners = np.stack([top + right, bottom + right, bottom + left, top + left])

    def file_finds(_):
        return [((np.array([column, 8]) + corners) * STRIDE + away, score)]

    report = comparison(file_finds, heatmap, vectors.tolist())
    assert (report.detections, len(report.unmatched)) == (1, lost), report


@pytest.mark.parametrize(
    ("theta", "faults"), [(0.8 + 5e-5, False), (0.8 - 5e-5, False), (0.9, True), (0.7, True)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_rounding_turns_a_box_at_the_threshold(theta, turned, faults):
    """The vectors are those of a diamond that the upright square lies around; the file has either
    for the first of the two, whatever the checkpoint has."""
    diamond = [4.0, -4.0, 4.0, 4.0, -4.0, 4.0, -4.0, -4.0]
    heatmap = torch.zeros(16, 16)
    heatmap[8, 8] = 0.7
    corners = [[8, 0], [0, 8], [-8, 0], [0, -8]] if turned else [[2, -2], [2, 2], [-2, 2], [-2, -2]]

    def file_finds(_):
        return [((8 + np.array(corners)) * STRIDE, 0.7)]

    report = comparison(file_finds, heatmap, diamond, theta)
    right = turned == (theta > 0.8)
    assert bool(judge(report, FLOAT32).faults) == (faults and not right), report
    assert bool(report.ambiguous) == (not faults and not right)
    assert report.matched == right


def test_rows_in_order_and_empty_ones_behind():
    corners, scores = np.ones((4, 4, 2)), np.array([0.9, 0.5, 0.5, 0.0])
    labels = np.array([2, 0, 1, -1])
    corners[3] = 0
    assert row_faults(corners, scores, labels) == []
    assert row_faults(corners[:3], scores[:3], labels[:3]) == []
    assert row_faults(corners[3:], scores[3:], labels[3:]) == []
    wrong = {
        "of two equal scores the higher class": (corners, scores, labels[[0, 2, 1, 3]]),
        "the scores are not in descending order": (corners, scores[[1, 0, 2, 3]], labels),
        "there are empty rows among": (corners, scores, labels[[0, 3, 1, 2]]),
        "empty rows hold values other": (corners[[0, 1, 2, 2]], scores, labels),
    }
    for message, rows in wrong.items():
        assert row_faults(*rows)[0].startswith(message)
        assert bool(row_faults(*rows, ordered_ties=False)) == ("equal" not in message)
    for rows in ((corners, scores + 0.1, labels), (corners, scores, labels - (labels == -1))):
        assert row_faults(*rows)[0].startswith("empty rows hold values other")


def test_suppression_in_a_file_is_judged():
    metadata = ModelMetadata(("ship",), "resnet18", 0.18, 0.8, 2, nms_thresh=0.3)
    corners = squares(0, 2)[None]
    rows = (corners, np.array([[0.9, 0.8]], np.float32), np.zeros((1, 2), np.int64))
    compared = float32_comparison(torch.nn.Identity(), metadata, run=dict)
    compared.check_nms("a", [value[0] for value in rows], [value[0] for value in rows])
    assert judge(compared.report, FLOAT32).faults == [
        "a: row 1 is kept, but a better one suppresses it"
    ]
