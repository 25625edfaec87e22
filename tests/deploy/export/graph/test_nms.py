"""NMS in the graph against the one in NumPy, which is tested against brute force."""

import numpy as np
import pytest

from deploy.metadata import ModelMetadata
from DOTA_devkit.imaging import read_image
from DOTA_devkit.polygon import paired_iou, polygon_nms
from helpers.networks import recorded_model
from structures.detections import Detections
from structures.letterbox import Letterbox, normalize

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from deploy.export.graph.assemble import all_nodes, assemble, nms_model
from deploy.export.graph.builder import Graph
from deploy.export.graph.heads import fuse_heads
from deploy.export.graph.nms import pair_iou, suppress
from deploy.export.network import ExportNetwork
from deploy.export.network_onnx import export_network
from deploy.export.parity.rows import check_greedy, outputs_to_detections
from deploy.export.types import BEFORE_NMS, InputShape
from deploy.runtimes.onnx_runtime import open_session

K = 120


@pytest.fixture(scope="module", params=[0.1, 0.5])
def nms(request):
    """(threshold, session)"""
    return request.param, open_session(nms_model(K, request.param))


def turned_boxes(rng, count, extent, size, aspect=2.0, offset=0.0):
    """Parallelograms [N, 4, 2] with centers in a square of side `extent`."""
    center = rng.uniform(0, extent, (count, 1, 2)) + offset
    angle, length = rng.uniform(0, np.pi, count), size * rng.uniform(0.3, 1, count) / 2
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1) * length[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / aspect
    corners = [along - across, along + across, across - along, -along - across]
    return (center + np.stack(corners, axis=1)).astype(np.float32)


def lattice(step):
    """Squares of side 10 in rows, so that at a step of 10 each touches its neighbors."""
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]])
    places = np.stack(np.meshgrid(np.arange(12), np.arange(10)), axis=-1).reshape(-1, 1, 2)
    return (square + step * places).astype(np.float32)


def scattered(seed, *args, **kwargs):
    return lambda: turned_boxes(np.random.default_rng(seed), K, *args, **kwargs)


def repeated(noise):
    def make():
        rng = np.random.default_rng(5)
        boxes = np.tile(turned_boxes(rng, 6, 100, 60), (K // 6, 1, 1))
        return (boxes + rng.normal(0, noise, boxes.shape)).astype(np.float32)

    return make


def turning_either_way():
    boxes = turned_boxes(np.random.default_rng(6), K, 100, 40)
    boxes[::2] = boxes[::2, ::-1]
    return boxes


def without_area():
    boxes = turned_boxes(np.random.default_rng(7), K, 60, 40)
    boxes[::3, 2:] = boxes[::3, 1::-1]  # collapsed to a line
    boxes[::5] = boxes[::5, :1]  # a point
    return boxes


CASES = {
    "far apart": scattered(0, 5000, 40),
    "as in an image": scattered(1, 400, 40),
    "dense: all meet all": scattered(2, 20, 60),
    "identical": repeated(0.0),
    "all but identical, edges all but parallel": repeated(1e-4),
    "touching": lambda: lattice(10.0),
    "each overlaps its neighbors": lambda: lattice(8.0),
    "a chain, each suppressing the next": lambda: (
        lattice(0.0) + np.arange(K)[:, None, None] * np.array([3.0, 0.0])
    ).astype(np.float32),
    "a million from the origin": scattered(3, 200, 60, offset=1e6),
    "slender": scattered(4, 200, 200, aspect=100.0),
    "of both turning directions": turning_either_way,
    "without area": without_area,
}


def rows_of(corners, seed, classes=3):
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.uniform(0.1, 1, K).round(2).astype(np.float32))[::-1]  # with ties
    return corners, scores, rng.integers(0, classes, K)


def assert_same_rows(got, corners, scores, labels, threshold):
    real = scores > 0
    keep = polygon_nms(corners[real], scores[real], threshold, labels=labels[real])
    count = len(keep)
    for value, expected, empty in zip(got, (corners, scores, labels), (0, 0, -1), strict=True):
        np.testing.assert_array_equal(value[:count], expected[keep])
        assert (value[count:] == empty).all()


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_suppress_keeps_the_rows_of_polygon_nms(nms, case, classes):
    threshold, session = nms
    corners, scores, labels = rows_of(CASES[case](), 0, classes)
    got = session.run(None, {"corners": corners[None], "scores": scores[None],
                             "labels": labels[None]})  # fmt: skip
    assert_same_rows([value[0] for value in got], corners, scores, labels, threshold)


def test_suppress_separates_images_of_a_batch(nms):
    threshold, session = nms
    images = [rows_of(make(), seed) for seed, make in enumerate(CASES.values())]
    empty = np.zeros((K, 4, 2), np.float32), np.zeros(K, np.float32), np.full(K, -1)
    few = [value.copy() for value in images[2]]
    few[0][4:], few[1][4:], few[2][4:] = 0, 0, -1
    images += [empty, tuple(few)]
    fed = {
        name: np.stack([image[part] for image in images])
        for part, name in enumerate(("corners", "scores", "labels"))
    }
    got = session.run(None, fed)
    for number, image in enumerate(images):
        assert_same_rows([value[number] for value in got], *image, threshold)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_suppress_at_thresholds_0_and_1(threshold):
    """Boxes that touch share no area and identical boxes share all of it, except for rounding."""
    session = open_session(nms_model(K, threshold))
    makers = [*CASES.values(), *(scattered(20 + k, 400 * 10.0**k, 40, 50.0) for k in range(4))]
    gone = 0
    for seed, make in enumerate(makers):
        corners, scores, labels = rows_of(make(), seed)
        fed = {"corners": corners[None], "scores": scores[None], "labels": labels[None]}
        kept = outputs_to_detections(*(value[0] for value in session.run(None, fed)))
        before = Detections(corners, scores, labels)
        _, faults = check_greedy(before, kept, threshold)
        assert not faults, (seed, faults)
        gone += len(before) - len(kept)
    assert (gone > 0) == (threshold == 0)


def test_suppress_one_row():
    session = open_session(nms_model(1, 0.1))
    corners = lattice(0.0)[:1]
    got = session.run(None, {"corners": corners[None], "scores": np.array([[0.5]], np.float32),
                             "labels": np.array([[2]])})  # fmt: skip
    np.testing.assert_array_equal(got[0][0], corners)
    assert got[2] == 2


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_suppress_on_real_images(shared, threshold):
    """Run batches of four different images through a network that finds something everywhere."""
    paths = sorted(
        path for path in (shared / "data").rglob("*") if path.suffix in (".jpg", ".png", ".tif")
    )
    paths = paths[:: len(paths) // 40]  # of every folder; each image has hundreds of boxes
    assert len(paths) >= 40
    metadata = ModelMetadata(tuple(map(str, range(15))), "mobilenetv2", 0.01, 0.8, 500,
                             min_conf_thresh=0.01, nms_thresh=threshold)  # fmt: skip
    network = ExportNetwork(recorded_model(shared))
    box_heads = fuse_heads(network.box_heads)
    file = assemble(
        export_network(network), box_heads, metadata, InputShape(), show_before_nms=True
    )
    session = open_session(file)
    names = [output.name for output in session.get_outputs()]
    rows = kept = 0
    for start in range(0, len(paths), 4):
        images = [read_image(path) for path in paths[start : start + 4]]
        inputs = [Letterbox.fit(image.shape[1::-1], (256, 256)).apply(image) for image in images]
        got = session.run(None, {"input": np.stack([normalize(one) for one in inputs])})
        got = dict(zip(names, got, strict=True))
        for number, path in enumerate(paths[start : start + 4]):
            before, after = (
                outputs_to_detections(*(got[name][number] for name in group))
                for group in (BEFORE_NMS, ("corners", "scores", "labels"))
            )
            near, faults = check_greedy(before, after, threshold)
            assert not faults, (path, faults)
            if not near:  # then only one result is right
                expected = before.nms(threshold)
                np.testing.assert_array_equal(after.corners, expected.corners)
                np.testing.assert_array_equal(after.scores, expected.scores)
                np.testing.assert_array_equal(after.labels, expected.labels)
            rows, kept = rows + len(before), kept + len(after)
    assert rows > 100 * len(paths) and kept < rows


def test_suppress_uses_only_loops():
    graph = Graph()
    corners = graph.input("corners", np.float32, ["B", 4, 2, K])
    scores = graph.input("scores", np.float32, ["B", K])
    labels = graph.input("labels", np.int64, ["B", K])
    kept = graph.rename(suppress(graph, corners, scores, labels, K, 0.1), "kept")
    kinds = {node.op_type for node in all_nodes(graph.model([(kept, ["B", K])]).graph)}
    assert "Loop" in kinds and not kinds & {"If", "Scan", "SequenceMap"}


@pytest.fixture(scope="module")
def iou():
    graph = Graph()
    pairs = graph.input("pairs", np.float64, [2, 4, 2, "P"])
    model = graph.model([(graph.rename(pair_iou(graph, pairs), "iou"), ["P"])])
    session = open_session(model)

    def run(a, b):
        with np.errstate(all="ignore"):
            return session.run(None, {"pairs": np.stack([a, b]).transpose(0, 2, 3, 1)})[0]

    return run


def test_pair_iou_of_recorded_pairs(iou, shared):
    """Compare all convex pairs: identical, touching and nested ones too.

    Self-intersecting boxes are left out, since no decoder makes them.
    """
    recorded = np.load(shared / "fixtures/polyiou_3000.npz")
    a, b = (recorded[name].reshape(-1, 4, 2).astype(np.float64) for name in "ab")
    convex = is_convex(a) & is_convex(b)
    assert convex.sum() > 2500
    np.testing.assert_allclose(iou(a, b)[convex], paired_iou(a, b)[convex], atol=1e-9)


def is_convex(corners):
    edges = np.roll(corners, -1, axis=1) - corners
    following = np.roll(edges, -1, axis=1)
    turns = edges[..., 0] * following[..., 1] - edges[..., 1] * following[..., 0]
    return (turns > 1e-9).all(axis=1) | (turns < -1e-9).all(axis=1)


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        ([[0, 0], [4, 0], [4, 4], [0, 4]], 1),  # itself
        ([[4, 0], [8, 0], [8, 4], [4, 4]], 0),  # a common edge
        ([[4, 4], [8, 4], [8, 8], [4, 8]], 0),  # a common corner
        ([[2, 0], [6, 0], [6, 4], [2, 4]], 8 / 24),  # half
        ([[1, 1], [1, 3], [3, 3], [3, 1]], 4 / 16),  # inside, in the opposite direction
        ([[2, 0], [4, 2], [2, 4], [0, 2]], 8 / 16),  # its corners on the edges of the other
        ([[0, 0], [4, 0], [2, 4], [0, 4]], 12 / 16),  # a trapezoid, not a parallelogram
        ([[0, 0], [4, 0], [4, 4], [4, 4]], 8 / 16),  # a triangle
    ],
)
def test_pair_iou_known_values(iou, b, expected):
    square = np.array([[[0, 0], [4, 0], [4, 4], [0, 4]]], np.float64)
    b = np.array([b], np.float64)
    for offset in (0, 1e6):
        np.testing.assert_allclose(iou(square + offset, b + offset), [expected], atol=1e-9)
        np.testing.assert_allclose(iou(b + offset, square + offset), [expected], atol=1e-9)
