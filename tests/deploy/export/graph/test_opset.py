"""A finished model in older and newer opsets: its results, and what cannot be expressed."""

import numpy as np
import pytest

from DOTA_devkit.errors import InputError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from deploy.export.graph.assemble import nms_model
from deploy.export.graph.builder import Graph
from deploy.export.graph.opset import with_opset
from deploy.export.types import OLDEST_OPSET, OPSET
from deploy.runtimes.onnx_runtime import open_session


def model_of(build, shape=(1, 2, 4, 6)):
    """Return a model whose output y is what `build(graph, x)` returns."""
    graph = Graph()
    result = build(graph, graph.input("x", np.float32, shape))
    return graph.model([(graph.rename(result, "y"), [None] * len(shape))])


def reduced_in_loop(graph, x):
    """Reduce in the body of a loop, along axes that are a constant of the graph around it."""
    axes = graph.constant(np.array([2, 3]))
    (total,) = graph.loop(
        3,
        [x],
        [(1, 2, 4, 6)],
        lambda inner, trip, state: (
            None,
            [state + inner.op("ReduceMax", state, inner.value(axes.name, np.int64), keepdims=1)],
            [],
        ),
    )
    return total


def resized(graph, x):
    """Resize with attributes that older opsets do not have, at their defaults."""
    empty = graph.value("", np.float32)
    return graph.op("Resize", x, empty, np.array([1, 1, 2, 2], np.float32), mode="linear",
                    antialias=0, keep_aspect_ratio_policy="stretch")  # fmt: skip


@pytest.mark.parametrize("opset", [OLDEST_OPSET, 16, 17, OPSET, 19, 22, 24])
@pytest.mark.parametrize("build", [reduced_in_loop, resized])
def test_other_opsets_compute_the_same(build, opset):
    model = model_of(build)
    other = with_opset(model, opset)
    assert [one.version for one in other.opset_import] == [opset]
    x = np.random.default_rng(0).normal(size=(1, 2, 4, 6)).astype(np.float32)
    expected, found = (open_session(one).run(None, {"x": x})[0] for one in (model, other))
    assert expected.any()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("opset", [OLDEST_OPSET, 22])
def test_nms_in_other_opsets(opset):
    rng = np.random.default_rng(1)
    square = np.array([[8, 0], [8, 8], [0, 8], [0, 0]], np.float32)
    feed = {
        "corners": square + rng.uniform(0, 30, (1, 40, 1, 2)).astype(np.float32),
        "scores": np.sort(rng.random((1, 40), np.float32))[:, ::-1].copy(),
        "labels": np.zeros((1, 40), np.int64),
    }
    model = nms_model(40, 0.1)
    expected, found = (open_session(m).run(None, feed) for m in (model, with_opset(model, opset)))
    assert 1 < (expected[2] >= 0).sum() < 40
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_model_itself_is_unchanged():
    model = model_of(resized)
    before = model.SerializeToString()
    assert with_opset(model, OPSET) is model
    with_opset(model, OLDEST_OPSET)
    assert model.SerializeToString() == before


@pytest.mark.parametrize(
    ("build", "opset", "message"),
    [
        # antialiasing came with opset 18
        (
            lambda graph, x: graph.op("Resize", x, graph.value("", np.float32),
                                      np.array([1, 1, 0.5, 0.5], np.float32), mode="linear",
                                      antialias=1),
            OLDEST_OPSET,
            "opset 13 cannot express this file; the first one that can is 18 ",
        ),
        # Mish is of opset 18, and LayerNormalization of 17
        (lambda graph, x: graph.op("Mish", x), 14, "opset 14 .* the first one that can is 18 "),
        (
            lambda graph, x: graph.op("LayerNormalization", x, np.ones(6, np.float32)),
            15,
            "opset 15 .* the first one that can is 17 ",
        ),
    ],
)  # fmt: skip
def test_error_names_the_first_supported_opset(build, opset, message):
    with pytest.raises(InputError, match=message):
        with_opset(model_of(build), opset)
