"""The metadata of exported files: there and back, and what is refused."""

import pytest

from deploy.metadata import RELEASE, ModelMetadata, read_onnx_metadata
from DOTA_devkit.errors import InputError

METADATA = ModelMetadata(
    classes=("plane", "a, b", "船"),
    backbone="resnet18",
    conf_thresh=0.18,
    theta_thresh=0.8,
    K=500,
)


@pytest.mark.parametrize(
    "metadata",
    [
        METADATA,
        ModelMetadata(
            classes=("ship",),
            backbone="mobilenetv2",
            conf_thresh=0.0,
            theta_thresh=1.0,
            K=1,
            input_size=(320, 608),
            nms_thresh=0.1,
            color="RGB",
            input_type="uint8",
            layout="light-fork",
            precision="int8",
            trained_size=(96, 128),
        ),
    ],
)
def test_there_and_back(metadata):
    props = metadata.to_props()
    assert all(isinstance(value, str) for value in props.values())
    assert ModelMetadata.from_props(props, "a.onnx") == metadata


def test_the_text_of_each_entry():
    """What clients in other languages read."""
    assert METADATA.to_props() == {
        "bbavectors": "1",
        "program": f"bbavectors-light {RELEASE}",
        "classes": '["plane", "a, b", "船"]',
        "backbone": "resnet18",
        "stride": "4",
        "color": "BGR",
        "normalization": "x / 255 - 0.5",
        "input_size": "dynamic",
        "conf_thresh": "0.18",
        "nms_thresh": "",
        "theta_thresh": "0.8",
        "K": "500",
        "input_type": "float32",
        "layout": "corners",
        "precision": "float32",
        "trained_size": "",
    }


def test_files_from_before_the_trained_size():
    props = METADATA.to_props()
    del props["trained_size"]
    assert ModelMetadata.from_props(props, "a.onnx") == METADATA


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbavectors": None}, "without this project's metadata"),
        ({"bbavectors": "2"}, "version '2'"),
        ({"classes": None}, "lacks 'classes'"),
        ({"classes": "plane"}, "broken metadata"),
        ({"classes": '{"plane": 0}'}, "JSON list of names"),
        ({"K": "many"}, "broken metadata"),
        ({"input_size": "608"}, "HxW"),
        ({"trained_size": "dynamic"}, "trained_size must be '' or HxW"),
        ({"input_type": "float64"}, "'float32' or 'uint8' is expected"),
        ({"normalization": "x / 255"}, "'x / 255 - 0.5' is expected"),
    ],
)
def test_what_is_refused(changes, message):
    props = {k: v for k, v in (METADATA.to_props() | changes).items() if v is not None}
    with pytest.raises(InputError, match=message) as caught:
        ModelMetadata.from_props(props, "a.onnx")
    assert str(caught.value).startswith("a.onnx: ")


def test_files(tmp_path):
    onnx = pytest.importorskip("onnx")
    from deploy.export.graph.builder import Graph

    graph = Graph()
    model = graph.model([(graph.rename(graph.input("x", float, ["N"]) + 1, "y"), ["N"])])
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(InputError, match="without this project's metadata"):
        read_onnx_metadata(path)
    onnx.helper.set_model_props(model, METADATA.to_props())
    onnx.save(model, path)
    assert read_onnx_metadata(path) == METADATA


@pytest.mark.parametrize("content", [b"", b"no model at all", b"PK\x03\x04"])
def test_files_of_something_else(tmp_path, content):
    pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.onnx"):
        read_onnx_metadata(path)
    with pytest.raises(InputError, match="no such file"):
        read_onnx_metadata(tmp_path / "none.onnx")
