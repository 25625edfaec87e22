"""The export phase from the command line: what the file holds, that it equals the checkpoint."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from datasets.images import read_image
from decoder import DecDecoder, to_source
from decoder import rows_to_detections as light_fork_detections
from deploy.detector import Detector
from deploy.metadata import read_onnx_metadata
from DOTA_devkit.errors import InputError
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

from deploy.export.graph.assemble import every_node
from deploy.export.network import ExportNetwork, check_same_maps, fold_batch_norms
from deploy.export.parity.rows import outputs_to_detections
from deploy.export.settings import ExportSettings
from deploy.runtimes.onnx_runtime import open_session

pytestmark = pytest.mark.slow  # it exports networks or runs files of them


@pytest.fixture(scope="module")
def folder(sharp_folder):
    return sharp_folder


def eager(folder, images, conf=CONF):
    """Detections of the checkpoint in pixels of the network's input."""
    model = load_model(folder / "checkpoint.pth")
    with torch.no_grad():
        maps = model(torch.from_numpy(images))
    return DecDecoder(K, conf, 3, 0.8).decode(maps)


def assert_near(rows, expected):
    """Rows of an image against detections of which no two scores are near each other."""
    found = outputs_to_detections(*rows)
    assert len(found) == len(expected)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.corners, expected.corners, atol=0.05)


def inputs(batch, height, width):
    rng = np.random.default_rng(height)
    return rng.random((batch, 3, height, width), np.float32) - np.float32(0.5)


def test_any_batch_height_and_width(folder):
    path = export(folder, "free.onnx")
    session = open_session(path)
    assert [value.name for value in session.get_inputs()] == ["input"]
    assert [value.name for value in session.get_overridable_initializers()] == ["conf_thresh"]
    assert [value.name for value in session.get_outputs()] == ["corners", "scores", "labels"]
    for batch, height, width in ((1, 96, 128), (3, 64, 32), (2, 32, 160)):
        images = inputs(batch, height, width)
        rows = session.run(None, {"input": images})
        assert [v.shape for v in rows] == [(batch, K, 4, 2), (batch, K), (batch, K)]
        assert [v.dtype for v in rows] == [np.float32, np.float32, np.int64]
        expected = eager(folder, images)
        assert sum(map(len, expected)) > 10
        for number, one in enumerate(expected):
            assert_near([v[number] for v in rows], one)


def test_the_threshold_is_an_input(folder):
    session = open_session(export(folder, "free.onnx"))
    images = inputs(1, 96, 128)
    counts = []
    for conf in (0.0, CONF, 1.0):
        rows = session.run(None, {"input": images, "conf_thresh": np.array(conf, np.float32)})
        (expected,) = eager(folder, images, conf)
        assert_near([v[0] for v in rows], expected)
        counts.append(len(expected))
    assert counts[0] >= counts[1] > counts[2] == 0


def test_metadata_and_operators(folder):
    path = export(folder, "free.onnx")
    metadata = read_onnx_metadata(path)
    assert (metadata.classes, metadata.backbone, metadata.K) == (CLASSES, "resnet18", K)
    assert (metadata.conf_thresh, metadata.input_size) == (CONF, None)
    model = onnx.load(path)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
    kinds = {node.op_type for node in every_node(model.graph)}
    assert "BatchNormalization" not in kinds and "Loop" not in kinds
    assert str(folder.parent) not in str(model.metadata_props) + str(
        [node.metadata_props for node in model.graph.node]
    )


def test_fixed_sizes_and_threshold(folder):
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
def test_bytes_of_any_size(folder, color):
    path = export(folder, f"{color}.onnx", "--input", "uint8", "--color", color, "--nms", "graph")
    session = open_session(path)
    metadata = read_onnx_metadata(path)
    assert (metadata.input_size, metadata.color, metadata.nms_thresh) == (SIZE_HW, color, 0.1)
    order = slice(None, None, -1 if color == "RGB" else 1)
    for name in ("0", "1"):
        picture = cv2.imread(str(folder / f"images/{name}.png"))
        box = Letterbox.fit(picture.shape[1::-1], SIZE_HW[::-1])
        (found,) = eager(folder, normalize(box.apply(picture))[None])
        rows = session.run(None, {"input": picture[None, ..., order].copy()})
        assert_near([v[0] for v in rows], to_source(found, box).nms(0.1))


def test_half(folder, caplog):
    path = export(folder, "half.onnx", "--half")
    assert read_onnx_metadata(path).precision == "float16"
    assert path.stat().st_size < 0.6 * export(folder, "free.onnx").stat().st_size
    rows = open_session(path).run(None, {"input": inputs(1, 96, 128)})
    assert rows[0].dtype == np.float32 and (rows[1] > 0).any()


def test_light_fork_layout(folder):
    path = export(folder, "fork.onnx", "--layout", "light-fork", "--static", "96", "128", "1")
    images = inputs(1, 96, 128)
    (rows,) = open_session(path).run(None, {"input": images})
    model = load_model(folder / "checkpoint.pth")
    with torch.no_grad():
        expected = DecDecoder(K, 0.0, 3, 0.8).ctdet_decode(model(torch.from_numpy(images)))
    np.testing.assert_allclose(rows, expected, atol=0.02)


def test_the_report(folder, capsys):
    path = folder / "free.onnx"
    path.unlink(missing_ok=True)
    export(folder, "free.onnx")
    text = capsys.readouterr().out
    assert "parity on 4 images" in text and "1 batches of several" in text


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2"])
@pytest.mark.parametrize("head_bn", [False, True])
def test_folding_changes_nothing(backbone, head_bn):
    model = sharp_model(backbone, head_bn)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    network = ExportNetwork(model)
    check_same_maps(network, model)
    assert not any(isinstance(one, torch.nn.BatchNorm2d) for one in network.modules())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_network_that_cannot_be_folded_is_told():
    model = sharp_model()
    network = ExportNetwork(model)
    network.hm[0].bias.data += 1
    with pytest.raises(ValueError, match="changed hm"):
        check_same_maps(network, model)
    network = ExportNetwork(model)
    network.box_heads[1][-1].bias.data += 1
    with pytest.raises(ValueError, match="changed the boxes"):
        check_same_maps(network, model)


def test_only_a_norm_right_behind_its_convolution_is_folded():
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU(), torch.nn.BatchNorm2d(3)
    ).eval()
    fold_batch_norms(layers)
    assert isinstance(layers[2], torch.nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"K": 0}, "1 to 3840"),
        ({"K": 3841}, "1 to 3840"),
        ({"static": (100, 96, 1)}, "multiples of 32, not 100"),
        ({"static": (96, 96, 0)}, "batch of 0"),
        ({"color": "RGB"}, "uint8"),
        ({"layout": "light-fork"}, "fixed input of one image"),
        ({"layout": "light-fork", "static": (96, 96, 1), "nms_thresh": 0.1}, "no NMS"),
        ({"layout": "light-fork", "static": (96, 96, 1), "nms_thresh": 0.0}, "no NMS"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(ExportSettings(), **changes)


def test_a_checkpoint_without_names(tmp_path, capsys):
    path = tmp_path / "unnamed.pth"
    save_checkpoint(path, Checkpoint.of(sharp_model(classes=None)))
    flags = ["--phase", "export", "--weights", str(path), "--output", str(tmp_path / "a.onnx")]
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.zeros((32, 32, 3), np.uint8))
    assert main([*flags, "--source", str(image)]) == 2
    assert "does not name its 3 classes" in capsys.readouterr().err
    assert not (tmp_path / "a.onnx").exists()


def test_a_checkpoint_that_diverged(folder, tmp_path, capsys):
    model = sharp_model()
    model.hm[-1].bias.data[1] = np.nan
    save_checkpoint(tmp_path / "nan.pth", Checkpoint.of(model))
    flags = ["--phase", "export", "--weights", str(tmp_path / "nan.pth")]
    assert main([*flags, "--source", str(folder / "images")]) == 2
    assert "hm.2.bias holds values that are not finite" in capsys.readouterr().err


def test_a_checkpoint_whose_values_overflow(folder, tmp_path, capsys):
    model = sharp_model()
    with torch.no_grad():
        model.wh[0].weight *= 1e25
        model.wh[-1].weight *= 1e25
    save_checkpoint(tmp_path / "huge.pth", Checkpoint.of(model))
    flags = ["--phase", "export", "--weights", str(tmp_path / "huge.pth")]
    assert main([*flags, "--source", str(folder / "images")]) == 2
    assert "what its network gives is not finite" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_file_that_is_no_checkpoint(tmp_path, content, capsys):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    assert main(["--phase", "export", "--weights", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_a_file_that_differs_is_not_written(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("deploy.export.graph.decode.STRIDE", 4.01)
    flags = ["--phase", "export", "--weights", str(folder / "checkpoint.pth"),
             "--output", str(tmp_path / "a.onnx"), "--source", str(folder / "images")]  # fmt: skip
    assert main(flags) == 2
    assert "would not equal the checkpoint" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_8_bits_from_the_command_line(folder, capsys):
    path = export(folder, "int8.onnx", "--int8", "--calibrate", str(folder / "images"))
    text = capsys.readouterr().out
    assert "calibrating 8 bits with 3 images" in text and "detections matched" in text
    assert read_onnx_metadata(path).precision == "int8"
    kinds = {node.op_type for node in every_node(onnx.load(path).graph)}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    rows = open_session(path).run(None, {"input": inputs(2, 96, 128)})
    assert (rows[2] >= 0).any() and np.isfinite(rows[0]).all()


def test_8_bits_are_not_calibrated_with_images_of_another_kind(folder, capsys):
    code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"), "--int8",
                 "--source", str(folder / "images"),
                 "--output", str(folder / "no.onnx")])  # fmt: skip
    assert code == 2 and "--calibrate PATH" in capsys.readouterr().err
    assert not (folder / "no.onnx").exists()


def test_8_bits_are_not_calibrated_with_drawn_scenes_unasked(folder, tmp_path, monkeypatch, capsys):
    """Those of the sample set are no images of the user's."""
    monkeypatch.chdir(tmp_path)
    code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"), "--int8",
                 "--output", str(tmp_path / "no.onnx")])  # fmt: skip
    assert code == 2 and "--calibrate PATH" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_images_to_calibrate_with_that_are_not_there(folder, tmp_path, capsys):
    code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"), "--int8",
                 "--calibrate", str(tmp_path / "none"),
                 "--output", str(tmp_path / "no.onnx")])  # fmt: skip
    assert code == 2 and f"--calibrate {tmp_path}/none: no such" in capsys.readouterr().err


COMBINED = {
    "8 bits, pictures in RGB, NMS": (
        ".onnx", "--int8", "--nms", "graph", "--input", "uint8", "--color", "RGB"
    ),
    "8 bits, OpenVINO": (".xml", "--int8", "--format", "openvino"),
    "8 bits, light fork": (
        ".onnx", "--int8", "--layout", "light-fork", "--static", "96", "128", "1"
    ),
    "8 bits, fixed": (".onnx", "--int8", "--static", "96", "128", "2", "--fix_conf"),
    "16 bits, pictures, NMS, fixed": (
        ".onnx", "--half", "--nms", "graph", "--input", "uint8", "--static", "96", "128", "2"
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", COMBINED)
def test_precisions_with_all_the_rest(folder, name):
    """Each file finds what the checkpoint finds, but for rounding."""
    suffix, *flags = COMBINED[name]
    if suffix == ".xml":
        pytest.importorskip("openvino")
    if "--int8" in flags:
        flags += ["--calibrate", str(folder / "images")]
    path, image = export(folder, f"{name}{suffix}", *flags), folder / "images" / "0.png"
    if "light-fork" in flags:  # whose files the detector does not run
        batch = normalize(read_image(image))[None]
        rows = open_session(path).run(None, {"input": batch})[0][0]
        found = light_fork_detections(rows[rows[:, ROW_SCORE] > CONF])
    else:
        found = Detector.load(path).detect(image)
    checkpoint = Detector.load(folder / "checkpoint.pth", conf_thresh=CONF / 2, nms_thresh=1.0)
    expected = checkpoint.detect(image)
    assert len(found) > 5
    overlap = iou_matrix(found.corners, expected.corners)
    overlap *= found.labels[:, None] == expected.labels[None]
    assert (
        np.mean(overlap.max(axis=1) > 0.5) > 0.6
    )  # of the rest another cell of a plateau is taken


def test_8_bits_and_16_are_two_precisions(folder, capsys):
    code = main(["--phase", "export", "--weights", str(folder / "checkpoint.pth"), "--int8",
                 "--half", "--output", str(folder / "no.onnx")])  # fmt: skip
    assert code == 2 and "two precisions" in capsys.readouterr().err
    assert not (folder / "no.onnx").exists()
