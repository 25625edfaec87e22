"""The parity check of exported files: what it must accept, and what it must refuse."""

import numpy as np
import pytest
import torch

from deploy.export.parity.check import warn_if_inconclusive
from deploy.export.parity.comparison import ParityComparison
from deploy.export.parity.matching import match
from deploy.export.parity.model_pair import ModelPair, Thresholds
from deploy.export.parity.report import Report
from deploy.export.parity.rows import IOU_MARGIN, check_greedy, row_faults
from deploy.export.parity.tolerance import FLOAT32
from deploy.export.parity.verdict import judge
from deploy.export.types import CheckImage
from deploy.metadata import ModelMetadata
from structures.boxes import STRIDE
from structures.detections import Detections

pytest.importorskip("onnx")


def squares(*lefts, side=10.0, top=0.0):
    """Return squares [N, 4, 2] in one row, given the x of their left sides."""
    box = np.array([[side, 0], [side, side], [0, side], [0, 0]])
    return np.stack([box + np.array((left, top)) for left in lefts]).astype(np.float32)


def detections(corners, scores=None, labels=None):
    count = len(corners)
    scores = np.linspace(0.9, 0.5, count) if scores is None else scores
    labels = np.zeros(count) if labels is None else labels
    return Detections(corners, np.asarray(scores, np.float32), np.asarray(labels, np.int64))


# Squares of side 10 shifted by d have an IoU of (10 - d) / (10 + d): 1/3 at d = 5.
@pytest.mark.parametrize(
    ("lefts", "labels", "kept", "faults"),
    [
        ([], [], [], 0),
        ([0], [0], [0], 0),  # one
        ([0], [0], [], 1),  # the only one is gone
        ([0, 2], [0, 0], [0], 0),  # 8 / 12 = 0.67: the worse is suppressed
        ([0, 2], [0, 0], [0, 1], 1),  # both are kept
        ([0, 2], [0, 0], [1], 1),  # the better is missing, but nothing suppresses it
        ([0, 2], [0, 1], [0, 1], 0),  # two classes
        ([0, 2], [0, 1], [0], 1),
        ([0, 2, 4], [0, 0, 0], [0], 0),  # 6 / 14 = 0.43 between the first and the third
        ([0, 4, 8], [0, 0, 0], [0, 2], 0),  # a chain: the second is gone, so the third is kept
        (
            [0, 4, 8],
            [0, 0, 0],
            [0],
            1,
        ),  # the third is gone although only a suppressed row overlaps it
        ([0, 0], [0, 0], [0], 0),  # identical: the first is kept
        ([0, 0], [0, 0], [0, 1], 1),
    ],
)
def test_check_greedy(lefts, labels, kept, faults):
    corners = squares(*lefts) if lefts else np.zeros((0, 4, 2), np.float32)
    rows = detections(corners, labels=labels)
    near, found = check_greedy(rows, rows[np.array(kept, np.int64)], 0.4)
    assert len(found) == faults and not near


def test_check_greedy_pair_at_threshold_exempts_own_rows():
    """Rows 0 and 1 overlap by exactly the threshold, rows 2 and 3 by far more."""
    rows = detections(squares(0, 5, 100, 102))
    threshold = 1 / 3
    for kept in ([0, 2], [0, 1, 2]):  # both are right
        near, faults = check_greedy(rows, rows[kept], threshold)
        assert [(i, j) for i, j, _ in near] == [(0, 1)] and not faults
        assert abs(near[0][2] - threshold) <= IOU_MARGIN
    near, faults = check_greedy(rows, rows[[0, 1, 2, 3]], threshold)
    assert len(near) == 1 and faults == ["row 3 is kept, but a better one suppresses it"]
    _, faults = check_greedy(rows, rows[[0, 1]], threshold)
    assert len(faults) == 2  # nothing suppresses row 2, and so nothing suppresses row 3 either


def test_check_greedy_rejects_unknown_rows():
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
        ([0, 40], [40, 0], 2),  # in a different order
        ([0], [8], 0),  # they overlap too little
        ([0, 1], [0.4], 1),  # only the nearer one
    ],
)
def test_match(a, b, pairs):
    none = np.zeros((0, 4, 2), np.float32)
    mine, other = match(*(detections(squares(*x) if x else none) for x in (a, b)))
    assert len(mine) == len(other) == pairs


def test_match_needs_one_class():
    a, b = detections(squares(0)), detections(squares(0), labels=[1])
    assert not len(match(a, b)[0])


def comparison(reported, heatmap=None, vectors=None, theta=1.0):
    """Return the report on a model that finds two boxes and a file that finds `reported` of them.

    Args:
        reported: Called with the rows of the model, returns those of the file.
        heatmap: [16, 16], by default with two peaks.
        vectors: Eight numbers in cells, the same for every cell, by default of upright squares.
        theta: `cls_theta` of every cell, if there are vectors.
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
    models = ModelPair(
        model, metadata, (64, 64), Thresholds.of(metadata, FLOAT32, metadata.conf_thresh), run
    )
    return ParityComparison(models, FLOAT32)


def true_boxes():
    """Return upright boxes of 4x4 cells at cells (4, 4) and (12, 10) as (corners in px, score)."""
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
        (lambda rows: [(rows[0][0] + 0.04, 0.90005), rows[1]], ""),  # within both tolerances
        (lambda rows: [(rows[0][0], np.nan), rows[1]], "scores"),
        (lambda rows: [(rows[0][0] * np.nan, 0.9), rows[1]], "detections are found by only one"),
    ],
)
def test_judge_float32_faults(change, fault):
    faults = judge(comparison(change), FLOAT32).faults
    assert bool(faults) == bool(fault) and fault in "; ".join(faults)


@pytest.mark.parametrize(
    ("column", "score", "away", "unmatched"),
    [
        (4, 0.5, 0.0, 0),  # the peak of the checkpoint
        (9, 0.5, 0.0, 0),  # five cells along the plateau, where only rounding prevents a peak
        (9, 0.5, 0.04, 0),
        (9, 0.5, 0.06, 1),  # no cell of the plateau has this box
        (9, 0.4998, 0.0, 1),  # nor this score
        (12, 0.5, 0.0, 1),  # beyond the plateau
    ],
)
def test_matching_allows_any_peak_of_a_plateau(column, score, away, unmatched):
    """Nine cells in a row have the same score except for rounding, as in black images.

    The boxes of an untrained model may be anywhere: here their centers are 40 pixels from their
    cells.
    """
    heatmap = torch.zeros(16, 16)
    heatmap[8, 3:12] = 0.5 - 1e-6 * (torch.arange(3, 12) - 4).abs()
    vectors = torch.tensor([10.0, 8, 12, 10, 10, 12, 8, 10])
    # A corner is the sum of the vectors of its two edges.
    top, right, bottom, left = vectors.reshape(4, 2).numpy()
    corners = np.stack([top + right, bottom + right, bottom + left, top + left])

    def file_finds(_):
        return [((np.array([column, 8]) + corners) * STRIDE + away, score)]

    report = comparison(file_finds, heatmap, vectors.tolist())
    assert (report.detections, len(report.unmatched)) == (1, unmatched), report


@pytest.mark.parametrize(
    ("theta", "faults"), [(0.8 + 5e-5, False), (0.8 - 5e-5, False), (0.9, True), (0.7, True)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_matching_allows_either_box_at_theta_thresh(theta, turned, faults):
    """The vectors are those of a diamond within the upright square.

    The file has either of the two, whichever the checkpoint has.
    """
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


def test_row_faults():
    corners, scores = np.ones((4, 4, 2)), np.array([0.9, 0.5, 0.5, 0.0])
    labels = np.array([2, 0, 1, -1])
    corners[3] = 0
    assert row_faults(corners, scores, labels) == []
    assert row_faults(corners[:3], scores[:3], labels[:3]) == []
    assert row_faults(corners[3:], scores[3:], labels[3:]) == []
    wrong = {
        "rows of equal scores are not ordered": (corners, scores, labels[[0, 2, 1, 3]]),
        "the scores are not in descending order": (corners, scores[[1, 0, 2, 3]], labels),
        "there are empty rows among": (corners, scores, labels[[0, 3, 1, 2]]),
        "empty rows hold values other": (corners[[0, 1, 2, 2]], scores, labels),
    }
    for message, rows in wrong.items():
        assert row_faults(*rows)[0].startswith(message)
        assert bool(row_faults(*rows, ordered_ties=False)) == ("equal" not in message)
    for rows in ((corners, scores + 0.1, labels), (corners, scores, labels - (labels == -1))):
        assert row_faults(*rows)[0].startswith("empty rows hold values other")


def test_judge_reports_nms_faults():
    metadata = ModelMetadata(("ship",), "resnet18", 0.18, 0.8, 2, nms_thresh=0.3)
    corners = squares(0, 2)[None]
    rows = (corners, np.array([[0.9, 0.8]], np.float32), np.zeros((1, 2), np.int64))
    compared = float32_comparison(torch.nn.Identity(), metadata, run=dict)
    compared.check_nms("a", [value[0] for value in rows], [value[0] for value in rows])
    assert judge(compared.report, FLOAT32).faults == [
        "a: row 1 is kept, but a better one suppresses it"
    ]


@pytest.mark.parametrize(
    ("report", "warning"),
    [
        (Report(empty_images=1), "the checkpoint finds no detections"),
        (Report(empty_images=1, detections=4, matched=2), None),
        (Report(empty_images=1, detections=4, matched=1, ambiguous=3), "depend on rounding"),
        (Report(empty_images=1, detections=4, matched=1, unmatched=["a"] * 3), None),
        (Report(detections=1, matched=1), "every image has detections"),
    ],
)
def test_weak_comparisons_are_warned_of(caplog, report, warning):
    """Detections that truly differ do not depend on rounding; they are an error."""
    warn_if_inconclusive(report)
    assert len(caplog.messages) == (warning is not None)
    assert warning is None or warning in caplog.messages[0]
