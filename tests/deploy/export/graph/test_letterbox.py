"""The letterbox in the graph against `structures.letterbox`, which resizes with OpenCV."""

import numpy as np
import pytest

from deploy.runtimes import openvino_files
from structures.letterbox import Letterbox, normalize

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from deploy.export.graph import letterbox as letterbox_graph
from deploy.export.graph.assemble import check_model
from deploy.export.graph.builder import Graph
from deploy.runtimes.onnx_runtime import open_session

INPUT_HW = (96, 128)


def letterbox_model(input_hw=INPUT_HW, rgb=False, squash=False):
    graph = Graph()
    image = graph.input("input", np.uint8, ["B", "h", "w", 3])
    corners = graph.input("corners", np.float32, ["B", 4, 2, "K"])
    rows, columns = letterbox_graph.fit(graph, image, input_hw, squash)
    network_input = letterbox_graph.letterbox(graph, image, rows, columns, rgb)
    moved = letterbox_graph.to_source(graph, corners, rows, columns)
    model = graph.model(
        [
            (graph.rename(network_input, "image"), ["B", 3, *input_hw]),
            (graph.rename(moved, "moved"), ["B", 4, 2, "K"]),
        ]
    )
    check_model(model)
    return model


@pytest.fixture(scope="module")
def sessions():
    return {squash: open_session(letterbox_model(squash=squash)) for squash in (False, True)}


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize(
    "size_wh",
    [
        (128, 96),  # the size of the input: not resized
        (256, 192),  # exactly half, for which OpenCV has a separate method
        (64, 48),  # twice
        (640, 512),
        (97, 31),  # wide: padded above and below
        (31, 97),  # tall: padded left and right
        (1, 1),
        (3, 200),
        (999, 7),
        (127, 95),
    ],
)
def test_letterbox_equals_opencv(sessions, size_wh, squash):
    width, height = size_wh
    rng = np.random.default_rng(width)
    images = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    corners = rng.uniform(-50, 200, (2, 4, 2, 5)).astype(np.float32)
    scaled, moved = sessions[squash].run(None, {"input": images, "corners": corners})
    box = Letterbox.fit(size_wh, INPUT_HW[::-1], squash)
    for number in range(2):
        expected = normalize(box.apply(images[number]))
        np.testing.assert_allclose(scaled[number], expected, rtol=0, atol=1e-7)
        back = box.to_source(corners[number].transpose(2, 0, 1)).astype(np.float32)
        np.testing.assert_array_equal(moved[number].transpose(2, 0, 1), back)


@pytest.mark.parametrize(
    "size_wh",
    [
        (1301, 999), (3000, 2000), (960, 675), (211, 97),
        (832, 169), (338, 1664), (448, 77),  # scaled to an integer plus half a pixel
    ],
)  # fmt: skip
def test_letterbox_in_openvino(tmp_path, size_wh):
    """OpenVINO has no float64, and the pixel positions of a large image need more than float32."""
    import onnx

    pytest.importorskip("openvino")
    onnx.save(letterbox_model((608, 608)), tmp_path / "a.onnx")
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino_files.core().compile_model(str(tmp_path / "a.onnx"), "CPU", config)
    width, height = size_wh
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    corners = rng.uniform(0, 608, (1, 4, 2, 5)).astype(np.float32)
    found = compiled({"input": image, "corners": corners})
    box = Letterbox.fit(size_wh, (608, 608))
    off = np.abs(found["image"][0] - normalize(box.apply(image[0]))) * 255
    assert off.max() < 1.01 and (off > 0.5).mean() < 2e-5
    back = box.to_source(corners[0].transpose(2, 0, 1))
    np.testing.assert_allclose(found["moved"][0].transpose(2, 0, 1), back, atol=2e-3)


def test_letterbox_reverses_rgb():
    image = np.random.default_rng(0).integers(0, 256, (1, 50, 60, 3), dtype=np.uint8)
    corners = np.zeros((1, 4, 2, 1), np.float32)
    bgr, _ = open_session(letterbox_model()).run(None, {"input": image, "corners": corners})
    rgb, _ = open_session(letterbox_model(rgb=True)).run(
        None, {"input": image[..., ::-1].copy(), "corners": corners}
    )
    np.testing.assert_array_equal(bgr, rgb)
