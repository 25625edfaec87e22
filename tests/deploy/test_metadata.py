"""The metadata of exported files: round trip, and what is refused."""

from dataclasses import replace

import pytest

from deploy.metadata import RELEASE, ModelMetadata, read_onnx_metadata
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions

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
            min_conf_thresh=0.0,
            input_size=(320, 608),
            nms_thresh=0.1,
            color="RGB",
            input_type="uint8",
            layout="light-fork",
            precision="int8",
            trained_size=(96, 128),
            default_size=(64, 160),
            squash=True,
        ),
    ],
)
def test_round_trip(metadata):
    props = metadata.to_props()
    assert all(isinstance(value, str) for value in props.values())
    assert ModelMetadata.from_props(props, "a.onnx") == metadata


def test_text_of_each_entry():
    """Clients in other languages read these texts."""
    assert METADATA.to_props() == {
        "bbavectors": "1",
        "program": f"bbavectors-light {RELEASE}",
        "classes": '["plane", "a, b", "船"]',
        "backbone": "resnet18",
        "stride": "4",
        "color": "BGR",
        "normalization": "x / 255 - 0.5",
        "input_size": "dynamic",
        "default_size": "",
        "fit": "letterbox",
        "conf_thresh": "0.18",
        "min_conf_thresh": "",
        "nms_thresh": "",
        "theta_thresh": "0.8",
        "K": "500",
        "input_type": "float32",
        "layout": "corners",
        "precision": "float32",
        "trained_size": "",
    }


def test_box_coding_is_stored_if_known():
    assert "box_coding" not in METADATA.to_props()
    told = replace(METADATA, box_coding="rectangle")
    assert told.to_props()["box_coding"] == "rectangle"
    assert ModelMetadata.from_props(told.to_props(), "a.onnx") == told
    with pytest.raises(InputError, match=r"'diamond' where .* 'vectors' or 'rectangle'"):
        ModelMetadata.from_props(told.to_props() | {"box_coding": "diamond"}, "a.onnx")


def test_files_of_earlier_versions():
    props = METADATA.to_props()
    for added in ("trained_size", "min_conf_thresh", "default_size", "fit"):
        del props[added]
    assert ModelMetadata.from_props(props, "a.onnx") == METADATA


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bbavectors": None}, "without this project's metadata"),
        ({"bbavectors": "2"}, "version '2'"),
        ({"classes": None}, "lacks 'classes'"),
        ({"classes": "plane"}, "broken metadata"),
        ({"classes": '{"plane": 0}'}, "JSON list of names"),
        ({"classes": "[" * 100_000}, "JSON list of names"),
        ({"classes": '["plane", "plane"]'}, "each once"),
        ({"classes": "[]"}, "JSON list of names"),
        ({"K": "many"}, "broken metadata"),
        ({"K": "0"}, "above 0"),
        ({"stride": "0"}, "'4' is expected"),
        ({"nms_thresh": "nan"}, "from 0 to 1"),  # nothing would be suppressed
        ({"conf_thresh": "inf"}, "from 0 to 1"),
        ({"min_conf_thresh": "low"}, "broken metadata"),
        ({"min_conf_thresh": "-1"}, "from 0 to 1"),
        ({"theta_thresh": "-1"}, "from 0 to 1"),
        ({"input_size": "0x0"}, "multiples of 32"),
        ({"trained_size": "33x17"}, "multiples of 32"),
        ({"default_size": "320"}, "default_size must be '' or HxW"),
        ({"fit": "stretch"}, "'letterbox' or 'squash' is expected"),
        ({"trained_size": "32x10000000"}, "multiples of 32"),
        ({"trained_size": "²x32"}, "multiples of 32"),
        ({"input_size": "608"}, "HxW"),
        ({"trained_size": "dynamic"}, "trained_size must be '' or HxW"),
        ({"input_type": "float64"}, "'float32' or 'uint8' is expected"),
        ({"normalization": "x / 255"}, "'x / 255 - 0.5' is expected"),
    ],
)
def test_invalid_entries_are_refused(changes, message):
    props = {k: v for k, v in (METADATA.to_props() | changes).items() if v is not None}
    with pytest.raises(InputError, match=message) as caught:
        ModelMetadata.from_props(props, "a.onnx")
    assert str(caught.value).startswith("a.onnx: ")


def test_metadata_of_an_onnx_file(tmp_path):
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


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04"])
def test_other_files_are_refused(tmp_path, content):
    pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.onnx"):
        read_onnx_metadata(path)
    with pytest.raises(InputError, match="no such file"):
        read_onnx_metadata(tmp_path / "none.onnx")


def test_how_images_were_read():
    """Files of earlier versions, which do not tell, are read as ever."""
    assert "depth" not in METADATA.to_props()
    assert ModelMetadata.from_props(METADATA.to_props(), "a.onnx").reading is None
    told = replace(METADATA, reading=ReadOptions("high_byte", (3, 2, 1)))
    assert told.to_props()["depth"] == "high_byte" and told.to_props()["bands"] == "3,2,1"
    assert ModelMetadata.from_props(told.to_props(), "a.onnx") == told
    with pytest.raises(InputError, match=r"a\.onnx: broken metadata: depth must be one of"):
        ModelMetadata.from_props(told.to_props() | {"depth": "low"}, "a.onnx")


def test_shift_of_the_centers():
    assert "center_shift" not in METADATA.to_props()
    assert ModelMetadata.from_props(METADATA.to_props(), "a.onnx").center_shift == (0, 0)
    told = replace(METADATA, center_shift=(0.25, -0.1))
    assert told.to_props()["center_shift"] == "0.25,-0.1"
    assert ModelMetadata.from_props(told.to_props(), "a.onnx") == told
    for broken in ("0.1", "0.1,", "0.1,nan", "0.1,inf", "right,down", "1,2,3"):
        with pytest.raises(InputError, match=r"a\.onnx: broken metadata: "):
            ModelMetadata.from_props(told.to_props() | {"center_shift": broken}, "a.onnx")


def test_scale_of_the_training():
    assert "train_scale" not in METADATA.to_props()
    told = replace(METADATA, train_scale=0.65)
    assert told.to_props()["train_scale"] == "0.65"
    assert ModelMetadata.from_props(told.to_props(), "a.onnx") == told
    for broken in ("0.0", "-1.0", "nan", "inf", "half"):
        with pytest.raises(InputError, match=r"a\.onnx: broken metadata: "):
            ModelMetadata.from_props(told.to_props() | {"train_scale": broken}, "a.onnx")
