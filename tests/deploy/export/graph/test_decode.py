"""The decoder in the graph against the eager one on hand-made maps: equal to the last bit."""

import numpy as np
import pytest
import torch

from decoder import DecDecoder

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from deploy.export.graph.assemble import check_model
from deploy.export.graph.builder import Graph
from deploy.export.graph.decode import (
    apply_threshold,
    box_corners,
    decode_boxes,
    find_peaks,
    light_fork_rows,
    pack_rows,
)
from deploy.export.parity.rows import outputs_to_detections
from deploy.runtimes.onnx_runtime import open_session

K, CLASSES, CONF, THETA = 20, 3, 0.3, 0.8
CHANNELS = {"hm": CLASSES, "wh": 10, "reg": 2, "cls_theta": 1}


def decoder_session(light_fork=False):
    graph = Graph()
    maps = {
        name: graph.input(name, np.float32, ["B", channels, "H", "W"])
        for name, channels in CHANNELS.items()
    }
    peaks = find_peaks(graph, maps["hm"], K)
    others = graph.concat([maps[name] for name in ("wh", "reg", "cls_theta")], axis=1)
    cells = graph.op("Expand", peaks.cells.unsqueeze(1), np.array([1, 13, 1]))
    values = graph.op("GatherElements", others.reshape(0, 13, -1), cells, axis=2)
    boxes = decode_boxes(graph, values, peaks, THETA)
    if light_fork:
        outputs = [(light_fork_rows(graph, peaks, boxes, CLASSES), ["B", K, 12])]
    else:
        corners = box_corners(graph, boxes)
        conf = graph.input("conf_thresh", np.float32, [])
        rows = pack_rows(
            graph, corners, apply_threshold(graph, corners, peaks.scores, conf), peaks.labels, K
        )
        outputs = list(zip(rows, (["B", K, 4, 2], ["B", K], ["B", K]), strict=True))
    model = graph.model([(graph.rename(v, f"out{i}"), s) for i, (v, s) in enumerate(outputs)])
    check_model(model)
    return open_session(model)


@pytest.fixture(scope="module")
def session():
    return decoder_session()


def random_maps(batch=1, height=16, width=24, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "hm": rng.random((batch, CLASSES, height, width), np.float32),
        "wh": rng.normal(0, 8, (batch, 10, height, width)).astype(np.float32),
        "reg": rng.random((batch, 2, height, width), np.float32),
        "cls_theta": rng.uniform(0.6, 1, (batch, 1, height, width)).astype(np.float32),
    }


def assert_same(session, maps, conf=CONF):
    got = session.run(None, {**maps, "conf_thresh": np.array(conf, np.float32)})
    decoder = DecDecoder(K, conf, CLASSES, THETA)
    expected = decoder.decode({name: torch.from_numpy(values) for name, values in maps.items()})
    assert got[0].shape == (len(expected), K, 4, 2) and got[2].dtype == np.int64
    for rows, one in zip(zip(*got, strict=True), expected, strict=True):
        found = outputs_to_detections(*rows)
        np.testing.assert_array_equal(found.corners, one.corners)
        np.testing.assert_array_equal(found.scores, one.scores)
        np.testing.assert_array_equal(found.labels, one.labels)
        corners, scores, labels = (value[len(one) :] for value in rows)
        assert not corners.any() and not scores.any() and (labels == -1).all()
    return expected


def with_peaks(cells, height=16, width=24):
    """Return random maps whose heat map has only these cells, (label, y, x) -> score."""
    maps = random_maps(height=height, width=width)
    maps["hm"][:] = 0
    for (label, y, x), score in cells.items():
        maps["hm"][0, label, y, x] = score
    return maps


def test_decode_without_peaks(session):
    assert len(assert_same(session, with_peaks({}))[0]) == 0


@pytest.mark.parametrize("conf", [0.0, 0.3, 0.99])
def test_decode_random_maps(session, conf):
    assert len(assert_same(session, random_maps(batch=3), conf)[0]) > (conf < 0.9)


def test_decode_orders_ties_by_class_row_and_column(session):
    order = [(0, 2, 9), (0, 5, 1), (0, 5, 7), (1, 0, 0), (2, 0, 3)]
    (found,) = assert_same(session, with_peaks(dict.fromkeys(reversed(order), 0.5)))
    np.testing.assert_array_equal(found.labels, [label for label, _, _ in order])


def test_decode_more_ties_than_rows(session):
    cells = {(c, y, x): 0.7 for c in range(3) for y in range(0, 16, 3) for x in range(0, 24, 3)}
    assert len(assert_same(session, with_peaks(cells))[0]) == K


def test_decode_plateau_has_a_peak_in_each_cell(session):
    maps = random_maps()
    maps["hm"][:] = 0.5
    assert len(assert_same(session, maps)[0]) == K


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2)])
def test_decode_maps_with_fewer_cells_than_rows(session, size):
    assert_same(session, random_maps(2, *size), conf=0.0)


def test_decode_score_at_threshold_is_dropped(session):
    score = np.float32(CONF)
    above = np.nextafter(score, np.float32(1))
    (found,) = assert_same(session, with_peaks({(0, 3, 3): score, (1, 3, 3): above}))
    np.testing.assert_array_equal(found.labels, [1])


def test_decode_batch_of_different_images(session):
    maps = random_maps(batch=4)
    maps["hm"][1] = 0
    maps["hm"][2] *= 0.31
    expected = assert_same(session, maps)
    assert [len(one) == 0 for one in expected] == [False, True, False, False]


def test_decode_drops_boxes_that_are_not_finite(session):
    maps = with_peaks({(0, 3, 3): 0.9, (1, 8, 8): 0.8, (2, 12, 12): 0.7})
    maps["wh"][0, :, 3, 3] = np.nan
    maps["reg"][0, 0, 8, 8] = np.inf
    assert len(assert_same(session, maps)[0]) == 1


@pytest.mark.slow
def test_decode_map_beyond_float32_integers(session):
    """Use indices beyond 2 ** 24, so that no step may go through float32."""
    height, width = 2368, 2368
    maps = {
        name: np.zeros((1, channels, height, width), np.float32)
        for name, channels in CHANNELS.items()
        if name != "wh"
    }
    maps["wh"] = np.broadcast_to(np.float32(2), (1, 10, height, width)).copy()
    maps["hm"][0, 2, height - 1, width - 1] = 0.9
    (found,) = assert_same(session, maps)
    center = (width - 1) * 4
    np.testing.assert_array_equal(found.corners[0].mean(axis=0), [center, center])


def test_light_fork_rows_equal_the_decoder():
    maps = random_maps()
    (rows,) = decoder_session(light_fork=True).run(None, maps)
    expected = DecDecoder(K, 0.0, CLASSES, THETA).ctdet_decode(
        {name: torch.from_numpy(values) for name, values in maps.items()}
    )
    np.testing.assert_array_equal(rows, expected)


def test_light_fork_rows_beyond_the_map_have_a_class():
    (rows,) = decoder_session(light_fork=True).run(None, random_maps(1, 1, 1))
    assert rows.shape == (1, K, 12) and set(rows[0, :, 11]) <= {0, 1, 2}
    assert (rows[0, 3:, 10] == 0).all()
