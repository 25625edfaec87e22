"""The export phase from the command line: what an ONNX file holds, and its equality in results."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from decoder import DecDecoder, to_source
from decoder import rows_to_detections as light_fork_detections
from deploy.detector import Detector
from deploy.metadata import read_onnx_metadata
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import read_image
from DOTA_devkit.polygon import iou_matrix
from helpers.small_exports import CLASSES, CONF, SIZE_HW, K, export, sharp_model
from main import main
from models import Checkpoint, load_model, save_checkpoint
from structures.boxes import ROW_SCORE
from structures.letterbox import Letterbox, normalize

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

import onnx

from deploy.export.graph.assemble import all_nodes
from deploy.export.network import ExportNetwork, check_same_maps
from deploy.export.parity.rows import outputs_to_detections
from deploy.export.settings import MIN_CONF_THRESH, ExportSettings
from deploy.runtimes.onnx_runtime import open_session

pytestmark = pytest.mark.slow  # exports networks or runs exported files


@pytest.fixture(scope="module")
def folder(tiny_folder):
    return tiny_folder


def eager(folder, images, conf=CONF):
    """Return the checkpoint's detections in pixels of the network's input."""
    model = load_model(folder / "checkpoint.pth")
    with torch.no_grad():
        maps = model(torch.from_numpy(images))
    return DecDecoder(K, conf, 3, 0.8).decode(maps)


def assert_near(rows, expected):
    """Compare the rows of an image with detections, no two of which have similar scores."""
    found = outputs_to_detections(*rows)
    assert len(found) == len(expected)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.corners, expected.corners, atol=0.05)


def inputs(batch, height, width):
    rng = np.random.default_rng(height)
    return rng.random((batch, 3, height, width), np.float32) - np.float32(0.5)


def test_onnx_takes_any_batch_height_and_width(folder):
    session = open_session(export(folder, "free.onnx"))
    assert [value.name for value in session.get_inputs()] == ["input"]
    assert not session.get_overridable_initializers()
    assert [value.name for value in session.get_outputs()] == ["corners", "scores", "labels"]
    for batch, height, width in ((1, 96, 128), (3, 64, 32), (2, 32, 160)):
        images = inputs(batch, height, width)
        rows = session.run(None, {"input": images})
        assert [v.shape for v in rows] == [(batch, K, 4, 2), (batch, K), (batch, K)]
        assert [v.dtype for v in rows] == [np.float32, np.float32, np.int64]
        expected = eager(folder, images, MIN_CONF_THRESH)
        assert sum(map(len, expected)) > 10
        for number, one in enumerate(expected):
            assert_near([v[number] for v in rows], one)


@pytest.mark.parametrize("flags", [(), ("--nms", "graph")])
def test_rows_above_any_threshold_are_those_of_that_threshold(sharp_folder, flags):
    """Whoever compares the scores afterwards gets what a file with that threshold outputs."""
    session = open_session(export(sharp_folder, f"low{len(flags)}.onnx", *flags))
    images = normalize(read_image(sharp_folder / "images/0.png"))[None]
    corners, scores, labels = (value[0] for value in session.run(None, {"input": images}))
    counts = []
    for conf in (MIN_CONF_THRESH, CONF, 0.37, 1.0):
        keep = scores > conf
        (expected,) = eager(sharp_folder, images, conf)
        assert_near((corners[keep], scores[keep], labels[keep]), expected.nms(0.1 if flags else 1))
        counts.append(keep.sum())
    assert counts[0] > counts[2] > counts[3] == 0


def test_threshold_below_the_lowest_is_the_file_s_own(folder):
    """A file for a lower threshold than the lowest of other files outputs such rows."""
    path = folder / "zero.onnx"
    code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"), "--K", str(K),
                 "--output", str(path), "--source", str(folder / "images"),
                 "--conf_thresh", "0"])  # fmt: skip
    metadata = read_onnx_metadata(path)
    assert (code, metadata.conf_thresh, metadata.min_conf_thresh) == (0, 0.0, 0.0)
    black = np.full((1, 3, 32, 32), -0.5, np.float32)
    scores = open_session(path).run(None, {"input": black})[1]
    assert (scores > 0).sum() == len(eager(folder, black, 0.0)[0])


@pytest.mark.parametrize("tool", ["onnxslim", "onnxsim"])
@pytest.mark.parametrize("name", ["free.onnx", "conf.onnx"])
def test_simplified_files_keep_their_results(folder, tool, name):
    """Such tools freeze an input that has a default value."""
    module = pytest.importorskip(tool)
    model = onnx.load(export(folder, name, *(["--conf_input"] if name == "conf.onnx" else [])))
    simplified = module.slim(model) if tool == "onnxslim" else module.simplify(model)[0]
    before, after = open_session(model), open_session(simplified)
    feed = {"input": inputs(1, 96, 128)}
    for conf in (0.0, 0.345) if name == "conf.onnx" else (None,):
        if conf is not None:
            feed["conf_thresh"] = np.array(conf, np.float32)
        for found, expected in zip(after.run(None, feed), before.run(None, feed), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_onnx_threshold_is_an_input(folder):
    session = open_session(export(folder, "conf.onnx", "--conf_input"))
    assert [value.name for value in session.get_inputs()] == ["input", "conf_thresh"]
    assert session.get_inputs()[1].shape == [] and not session.get_overridable_initializers()
    with pytest.raises(ValueError, match="conf_thresh"):  # it must be fed
        session.run(None, {"input": inputs(1, 96, 128)})
    images = inputs(1, 96, 128)
    counts = []
    for conf in (0.0, CONF, 1.0):
        rows = session.run(None, {"input": images, "conf_thresh": np.array(conf, np.float32)})
        (expected,) = eager(folder, images, conf)
        assert_near([v[0] for v in rows], expected)
        counts.append(len(expected))
    assert counts[0] >= counts[1] > counts[2] == 0


def test_onnx_metadata_and_operators(folder):
    path = export(folder, "free.onnx")
    metadata = read_onnx_metadata(path)
    assert (metadata.classes, metadata.backbone, metadata.K) == (CLASSES, "tiny", K)
    assert (metadata.conf_thresh, metadata.input_size) == (CONF, None)
    assert metadata.min_conf_thresh == MIN_CONF_THRESH
    asked = export(folder, "conf.onnx", "--conf_input")
    assert read_onnx_metadata(asked).min_conf_thresh is None
    fixed = export(folder, "fixed.onnx", "--fix_conf")
    assert read_onnx_metadata(fixed).min_conf_thresh == CONF
    model = onnx.load(path)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
    kinds = {node.op_type for node in all_nodes(model.graph)}
    assert "BatchNormalization" not in kinds and "Loop" not in kinds
    assert str(folder.parent) not in str(model.metadata_props) + str(
        [node.metadata_props for node in model.graph.node]
    )


def test_onnx_with_fixed_input_and_threshold(folder):
    session = open_session(
        export(folder, "static.onnx", "--static", "64", "96", "2", "--fix_conf", "--nms", "graph")
    )
    assert session.get_inputs()[0].shape == [2, 3, 64, 96]
    assert not session.get_overridable_initializers()
    images = inputs(2, 64, 96)
    rows = session.run(None, {"input": images})
    for number, one in enumerate(eager(folder, images)):
        assert_near([v[number] for v in rows], one.nms(0.1))


@pytest.mark.parametrize("color", ["BGR", "RGB"])
def test_onnx_uint8_input_of_any_size(folder, color):
    path = export(folder, f"{color}.onnx", "--input", "uint8", "--color", color, "--nms", "graph")
    session = open_session(path)
    metadata = read_onnx_metadata(path)
    assert (metadata.input_size, metadata.color, metadata.nms_thresh) == (SIZE_HW, color, 0.1)
    order = slice(None, None, -1 if color == "RGB" else 1)
    for name in ("0", "1"):
        image = cv2.imread(str(folder / f"images/{name}.png"))
        box = Letterbox.fit(image.shape[1::-1], SIZE_HW[::-1])
        (found,) = eager(folder, normalize(box.apply(image))[None], MIN_CONF_THRESH)
        rows = session.run(None, {"input": image[None, ..., order].copy()})
        assert_near([v[0] for v in rows], to_source(found, box).nms(0.1))


def test_onnx_half(sharp_folder, caplog):
    path = export(sharp_folder, "half.onnx", "--half")
    assert read_onnx_metadata(path).precision == "float16"
    assert path.stat().st_size < 0.6 * export(sharp_folder, "free.onnx").stat().st_size
    rows = open_session(path).run(None, {"input": inputs(1, 96, 128)})
    assert rows[0].dtype == np.float32 and (rows[1] > 0).any()


def test_onnx_light_fork_layout(folder):
    path = export(folder, "fork.onnx", "--layout", "light-fork", "--static", "96", "128", "1")
    images = inputs(1, 96, 128)
    (rows,) = open_session(path).run(None, {"input": images})
    model = load_model(folder / "checkpoint.pth")
    with torch.no_grad():
        expected = DecDecoder(K, 0.0, 3, 0.8).ctdet_decode(model(torch.from_numpy(images)))
    np.testing.assert_allclose(rows, expected, atol=0.02)


def test_report_is_printed(folder, capsys):
    path = folder / "free.onnx"
    path.unlink(missing_ok=True)
    export(folder, "free.onnx")
    text = capsys.readouterr().out
    assert "parity on 4 images" in text and "1 batches of several" in text


FOLDED = [
    (backbone, head_bn, neck)
    for backbone in ("resnet18", "mobilenetv2")
    for head_bn, neck in ((False, None), (True, None), (True, 24))
]


@pytest.mark.parametrize(
    ("backbone", "head_bn", "neck"),
    [*FOLDED, ("mobilenet_v3_large", False, None), ("efficientnet_b0", False, None)],
)
def test_folding_batch_norms_keeps_the_maps(backbone, head_bn, neck):
    model = sharp_model(backbone, head_bn, neck=neck)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    network = ExportNetwork(model)
    check_same_maps(network, model)
    assert not any(isinstance(one, torch.nn.BatchNorm2d) for one in network.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("flags", [[], ["--int8", "--calibrate"]])
def test_checkpoint_with_a_neck_is_exported(folder, tmp_path, flags):
    """`export` compares the file with the checkpoint; here the detections are those of eager."""
    weights = tmp_path / "neck.pth"
    save_checkpoint(weights, Checkpoint.of(sharp_model(neck=24)))
    images = str(folder / "images")
    code = main(["--phase", "export", "--weights", str(weights), "--output",
                 str(tmp_path / "neck.onnx"), "--source", images, "--K", str(K),
                 "--conf_thresh", str(CONF), *flags, *([images] if flags else [])])  # fmt: skip
    assert code == 0
    image = read_image(folder / "images/0.png")
    found = Detector.load(tmp_path / "neck.onnx").detect(image)
    expected = Detector.load(weights, conf_thresh=CONF, K=K).detect(image)
    assert len(expected) > 5 and len(found) > 0
    if not flags:
        assert len(found) == len(expected)
        np.testing.assert_allclose(found.corners, expected.corners, atol=0.05)


def test_check_same_maps_finds_changed_heads():
    model = sharp_model()
    network = ExportNetwork(model)
    network.hm[0].bias.data += 1
    with pytest.raises(ValueError, match="changed hm"):
        check_same_maps(network, model)
    network = ExportNetwork(model)
    network.box_heads[1][-1].bias.data += 1
    with pytest.raises(ValueError, match="changed the boxes"):
        check_same_maps(network, model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": 0}, "K must be 1 to 3840, got 0"),
        ({"K": 3841}, "K must be 1 to 3840, got 3841"),
        ({"static": (100, 96, 1)}, "multiples of 32, got 100"),
        ({"static": (96, 96, 0)}, "batch size must be at least 1, got 0"),
        ({"color": "RGB"}, "color RGB needs input_type uint8"),
        ({"layout": "light-fork"}, "fixed input of one image"),
        ({"layout": "light-fork", "static": (96, 96, 1), "nms_thresh": 0.1}, "no NMS"),
        ({"layout": "light-fork", "static": (96, 96, 1), "nms_thresh": 0.0}, "no NMS"),
        ({"layout": "light-fork", "static": (96, 96, 1), "conf_input": True}, "no `conf_input`"),
        ({"fix_conf": True, "conf_input": True}, "exclude each other"),
        ({"opset": 12}, r"opset must be 13 to \d+, the newest of .*, got 12"),
        ({"opset": 1000}, r"opset must be 13 to \d+, the newest of .*, got 1000"),
        ({"format": "torch", "opset": 17}, "format torch does not support `opset`"),
        ({"format": "openvino", "opset": 17}, "format openvino does not support `opset`"),
        ({"layout": "heads"}, "layout heads needs a fixed input"),
        (
            {"layout": "heads", "static": (96, 96, 1), "half": True, "fix_conf": True},
            "layout heads does not support `fix_conf`, `half`: ",
        ),
        ({"layout": "heads", "static": (96, 96, 1), "nms_thresh": 0.1}, "NMS in the graph"),
        ({"layout": "heads", "static": (96, 96, 1), "input_type": "uint8"}, "input_type uint8"),
        ({"layout": "heads", "static": (96, 96, 1), "int8": True}, "`int8`"),
        (
            {"layout": "heads", "static": (96, 96, 1), "conf_input": True},
            "layout heads does not support `conf_input`",
        ),
    ],
)
def test_export_settings_rejects_invalid_values(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(ExportSettings(), **changes)


def test_export_checkpoint_without_class_names(tmp_path, capsys):
    path = tmp_path / "unnamed.pth"
    save_checkpoint(path, Checkpoint.of(sharp_model(classes=None)))
    flags = ["--phase", "export", "--weights", str(path), "--output", str(tmp_path / "a.onnx")]
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.zeros((32, 32, 3), np.uint8))
    assert main([*flags, "--source", str(image)]) == 2
    assert "does not name its 3 classes" in capsys.readouterr().err
    assert not (tmp_path / "a.onnx").exists()


def test_export_checkpoint_with_nan_weights(folder, tmp_path, capsys):
    model = sharp_model()
    model.hm[-1].bias.data[1] = np.nan
    save_checkpoint(tmp_path / "nan.pth", Checkpoint.of(model))
    flags = ["--phase", "export", "--weights", str(tmp_path / "nan.pth")]
    assert main([*flags, "--source", str(folder / "images")]) == 2
    assert "hm.2.bias holds values that are not finite" in capsys.readouterr().err


def test_export_checkpoint_whose_output_overflows(folder, tmp_path, capsys):
    model = sharp_model()
    with torch.no_grad():
        model.wh[0].weight *= 1e25
        model.wh[-1].weight *= 1e25
    save_checkpoint(tmp_path / "huge.pth", Checkpoint.of(model))
    flags = ["--phase", "export", "--weights", str(tmp_path / "huge.pth")]
    assert main([*flags, "--source", str(folder / "images")]) == 2
    assert "the output of its network is not finite" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_export_file_that_is_not_a_checkpoint(tmp_path, content, capsys):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    assert main(["--phase", "export", "--weights", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_export_does_not_write_differing_file(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("deploy.export.graph.decode.STRIDE", 4.01)
    flags = ["--phase", "export", "--weights", str(folder / "checkpoint.pth"),
             "--output", str(tmp_path / "a.onnx"), "--source", str(folder / "images")]  # fmt: skip
    assert main(flags) == 2
    assert "the exported file differs from the checkpoint" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_int8_export(sharp_folder, capsys):
    path = export(sharp_folder, "int8.onnx", "--int8", "--calibrate", str(sharp_folder / "images"))
    text = capsys.readouterr().out
    assert "calibrating int8 on 3 images" in text and "detections matched" in text
    assert read_onnx_metadata(path).precision == "int8"
    kinds = {node.op_type for node in all_nodes(onnx.load(path).graph)}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    rows = open_session(path).run(None, {"input": inputs(2, 96, 128)})
    assert (rows[2] >= 0).any() and np.isfinite(rows[0]).all()


def test_int8_does_not_calibrate_with_source_images(folder, capsys):
    code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"), "--int8",
                 "--source", str(folder / "images"),
                 "--output", str(folder / "no.onnx")])  # fmt: skip
    assert code == 2 and "--calibrate PATH" in capsys.readouterr().err
    assert not (folder / "no.onnx").exists()


def test_int8_does_not_calibrate_with_sample_set(folder, tmp_path, monkeypatch, capsys):
    """The images of the sample set are not the user's."""
    monkeypatch.chdir(tmp_path)
    code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"), "--int8",
                 "--output", str(tmp_path / "no.onnx")])  # fmt: skip
    assert code == 2 and "--calibrate PATH" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_int8_missing_calibration_images(folder, tmp_path, capsys):
    code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"), "--int8",
                 "--calibrate", str(tmp_path / "none"),
                 "--output", str(tmp_path / "no.onnx")])  # fmt: skip
    assert code == 2 and f"calibrate {tmp_path}/none: no such" in capsys.readouterr().err


COMBINED = {
    "int8, RGB images, NMS": (
        ".onnx", "--int8", "--nms", "graph", "--input", "uint8", "--color", "RGB"
    ),
    "int8, OpenVINO": (".xml", "--int8", "--format", "openvino"),
    "int8, light fork": (
        ".onnx", "--int8", "--layout", "light-fork", "--static", "96", "128", "1"
    ),
    "int8, fixed": (".onnx", "--int8", "--static", "96", "128", "2", "--fix_conf"),
    "float16, images, NMS, fixed": (
        ".onnx", "--half", "--nms", "graph", "--input", "uint8", "--static", "96", "128", "2"
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", COMBINED)
def test_precisions_combined_with_other_settings(sharp_folder, name):
    """Each file finds what the checkpoint finds, except for rounding."""
    suffix, *flags = COMBINED[name]
    if suffix == ".xml":
        pytest.importorskip("openvino")
    if "--int8" in flags:
        flags += ["--calibrate", str(sharp_folder / "images")]
    path, image = export(sharp_folder, f"{name}{suffix}", *flags), sharp_folder / "images" / "0.png"
    if "light-fork" in flags:  # the detector does not run files of this layout
        batch = normalize(read_image(image))[None]
        rows = open_session(path).run(None, {"input": batch})[0][0]
        found = light_fork_detections(rows[rows[:, ROW_SCORE] > CONF])
    else:
        found = Detector.load(path).detect(image)
    checkpoint = Detector.load(
        sharp_folder / "checkpoint.pth", conf_thresh=CONF / 2, nms_thresh=1.0
    )
    expected = checkpoint.detect(image)
    assert len(found) > 5
    overlap = iou_matrix(found.corners, expected.corners)
    overlap *= found.labels[:, None] == expected.labels[None]
    # For the rest, the file takes another cell of a plateau.
    assert np.mean(overlap.max(axis=1) > 0.5) > 0.6


def test_int8_and_half_are_exclusive(folder, capsys):
    code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"), "--int8",
                 "--half", "--output", str(folder / "no.onnx")])  # fmt: skip
    assert code == 2 and "--half and --int8 exclude each other" in capsys.readouterr().err
    assert not (folder / "no.onnx").exists()
