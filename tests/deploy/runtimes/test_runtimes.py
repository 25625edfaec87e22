"""Exported files give the detections of their checkpoint in every runtime."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deploy.detector import Detector
from deploy.metadata import read_onnx_metadata
from deploy.predict.pipeline import predict
from deploy.predict.settings import PredictSettings
from deploy.runtimes import openvino_files, registry
from deploy.runtimes.exported import translate_out_of_memory
from deploy.runtimes.onnx_runtime import OnnxRuntime, open_session
from DOTA_devkit.errors import InputError
from DOTA_devkit.polygon import iou_matrix
from helpers.fixed_output_onnx import NAMES, PROPS, ROWS, onnx_file
from helpers.small_exports import CLASSES, CONF, SIZE_HW, K, export, make_folder
from models import read_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow  # exports networks or runs exported files

RUNTIMES = registry.runtimes_of_file(Path("model.onnx"))


def require(runtime):
    """Skip the test if the package of the runtime is not installed."""
    pytest.importorskip(registry.RUNTIMES[runtime].package)


# Files of the export phase ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sharp(sharp_folder):
    for module in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(module)
    return sharp_folder


def checkpoint(folder, **settings):
    return Detector.load(folder / "checkpoint.pth", K=K, **{"conf_thresh": CONF, **settings})


def pictures(folder):
    """Five images of three sizes, one of them black; batches of two do not hold all evenly."""
    there = [cv2.imread(str(folder / f"images/{number}.png")) for number in range(3)]
    return [*there, there[1][:, ::-1].copy(), cv2.resize(there[0], (301, 202))]


def assert_same(found, expected, corner=0.05, score=1e-4):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.labels.tolist(), one.names) == (other.labels.tolist(), CLASSES)
        np.testing.assert_allclose(one.scores, other.scores, atol=score)
        np.testing.assert_allclose(one.corners, other.corners, atol=corner)


FILES = {
    "free.onnx": (),
    "conf.onnx": ("--conf_input",),
    "two.onnx": ("--static", "96", "128", "2"),
    "nms.onnx": ("--nms", "graph", "--fix_conf"),
    "BGR.onnx": ("--input", "uint8", "--nms", "graph"),
    "RGB.onnx": ("--input", "uint8", "--color", "RGB", "--nms", "graph"),
    "two_bytes.onnx": ("--input", "uint8", "--static", "96", "128", "2"),
    "maps.onnx": ("--layout", "heads", "--static", "96", "128", "2"),
}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", FILES)
def test_exported_file_detects_like_its_checkpoint(sharp, name, runtime):
    require(runtime)
    expected = checkpoint(sharp).detect(pictures(sharp))
    assert min(map(len, expected)) > 3
    path = export(sharp, name, *FILES[name])
    detector = Detector.load(path, runtime=runtime, input_hw=SIZE_HW)
    assert detector.fixed_hw == (name not in ("free.onnx", "conf.onnx", "nms.onnx"))
    assert_same(detector.detect(pictures(sharp)), expected)
    # one image alone: it is padded to the batch of a file with a fixed one
    assert_same([detector.detect(pictures(sharp)[1])], expected[1:2])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_half_precision_finds_nearly_the_same(sharp, runtime):
    require(runtime)
    path = export(sharp, "half.onnx", "--half")
    # detections with high scores, whose order does not change with rounding
    expected = checkpoint(sharp).detect(pictures(sharp)[0])
    found = Detector.load(path, runtime=runtime, input_hw=SIZE_HW).detect(pictures(sharp)[0])
    assert abs(len(found) - len(expected)) <= 0.1 * len(expected)
    overlap = iou_matrix(expected.corners, found.corners)
    overlap[expected.labels[:, None] != found.labels] = 0
    best = overlap.argmax(axis=1)
    matched = overlap.max(axis=1) > 0.9
    assert matched.mean() >= 0.9
    np.testing.assert_allclose(found.scores[best[matched]], expected.scores[matched], atol=0.01)


def earlier_file(source, path, fixed=False):
    """Write what earlier versions exported: the threshold as an input with a default value.

    Args:
        source: A file of this version whose threshold is an input.
        path: The file to write.
        fixed: Whether the threshold is a constant instead.
    """
    import onnx

    model = onnx.load(source)
    graph, name = model.graph, "bbavectors.constant" if fixed else "conf_thresh"
    if fixed:
        (asked,) = [one for one in graph.input if one.name == "conf_thresh"]
        graph.input.remove(asked)
        for node in graph.node:
            node.input[:] = [name if one == "conf_thresh" else one for one in node.input]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(CONF, np.float32), name))
    kept = [(one.key, one.value) for one in model.metadata_props if one.key in EARLIER_KEYS]
    del model.metadata_props[:]
    for key, value in kept:
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


EARLIER_KEYS = (
    "bbavectors", "program", "classes", "backbone", "stride", "color", "normalization",
    "input_size", "conf_thresh", "nms_thresh", "theta_thresh", "K", "input_type", "layout",
    "precision", "trained_size",
)  # fmt: skip


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", ["constant", "input", "earlier input"])
def test_conf_thresh_of_an_exported_file(sharp, tmp_path, runtime, kind):
    require(runtime)
    image = pictures(sharp)[0]
    path = export(sharp, "free.onnx") if kind == "constant" else export(
        sharp, "conf.onnx", "--conf_input")  # fmt: skip
    if kind == "earlier input":
        path = earlier_file(path, tmp_path / "old.onnx")
    options = {"runtime": runtime, "input_hw": SIZE_HW}
    for conf in (0.05, 0.37):
        expected = checkpoint(sharp, conf_thresh=conf).detect(image)
        detector = Detector.load(path, conf_thresh=conf, **options)
        assert_same([detector.detect(image)], [expected])
    assert Detector.load(path, **options).conf_thresh == CONF
    if kind == "constant":
        with pytest.raises(InputError, match=r"conf_thresh 0.001: it outputs scores above 0.01"):
            Detector.load(path, conf_thresh=0.001, **options)
    else:
        expected = checkpoint(sharp, conf_thresh=0.001).detect(image)
        found = Detector.load(path, conf_thresh=0.001, **options).detect(image)
        assert_same([found], [expected])


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["free.onnx", "conf.onnx", "nms.onnx", "maps.onnx"])
def test_conf_thresh_of_single_classes(sharp, runtime, name):
    """A file with a decoder filters by the lowest one at most, and the rest behind its K rows.

    Head maps are decoded by the detector, which knows all of them before it takes K peaks.
    """
    require(runtime)
    path = export(sharp, name, *FILES[name])
    loose = Detector.load(path, runtime=runtime, input_hw=SIZE_HW, conf_thresh=0.3)
    loose = loose.detect(pictures(sharp))
    label = np.bincount(np.concatenate([one.labels for one in loose])).argmax()
    scores = np.concatenate([one.scores[one.labels == label] for one in loose])
    cut = float(np.sort(scores)[len(scores) // 2 :][:2].mean())  # equals no score
    asked = {CLASSES[label]: cut, "default": 0.3}
    strict = Detector.load(path, runtime=runtime, input_hw=SIZE_HW, conf_thresh=asked)
    assert strict.conf_thresh == dict.fromkeys(CLASSES, 0.3) | {CLASSES[label]: cut}
    if name == "maps.onnx":
        expected = checkpoint(sharp, conf_thresh=asked).detect(pictures(sharp))
        assert_same(strict.detect(pictures(sharp)), expected)
        return
    kept = [(one.labels != label) | (one.scores > cut) for one in loose]
    assert 0 < sum(map(np.sum, kept)) < sum(map(len, loose))
    for one, other, mask in zip(strict.detect(pictures(sharp)), loose, kept, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels[mask])
        np.testing.assert_array_equal(one.corners, other.corners[mask])


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("earlier", [False, True])
def test_fixed_conf_thresh_of_an_exported_file(sharp, tmp_path, runtime, earlier):
    require(runtime)
    image = pictures(sharp)[0]
    fixed = export(sharp, "nms.onnx", *FILES["nms.onnx"])
    if earlier:
        free = export(sharp, "nms_conf.onnx", "--nms", "graph", "--conf_input")
        fixed = earlier_file(free, tmp_path / "nms.onnx", fixed=True)
    strict = Detector.load(fixed, runtime=runtime, input_hw=SIZE_HW, conf_thresh=0.6)
    assert_same([strict.detect(image)], [checkpoint(sharp, conf_thresh=0.6).detect(image)])
    with pytest.raises(InputError, match=r"nms\.onnx .*conf_thresh 0.1: .* above 0.2"):
        Detector.load(fixed, runtime=runtime, conf_thresh=0.1)
    with pytest.raises(InputError, match=r"nms_thresh 0.3: it suppresses above 0.1 already"):
        Detector.load(fixed, runtime=runtime, nms_thresh=0.3)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_exported_file_reports_full_outputs(sharp, runtime):
    require(runtime)
    free = export(sharp, "free.onnx")
    for conf in (0.05, 0.6):
        expected = checkpoint(sharp, conf_thresh=conf).detect(pictures(sharp))
        detector = Detector.load(free, runtime=runtime, input_hw=SIZE_HW, conf_thresh=conf)
        complete = [one.complete for one in detector.detect(pictures(sharp))]
        assert complete == [one.complete for one in expected]
        assert any(complete) == (conf == 0.6)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_maps_of_a_file_are_decoded_as_the_settings_say(sharp, runtime):
    """Unlike in other files, all of them may differ from those of the export."""
    require(runtime)
    path = export(sharp, "maps.onnx", *FILES["maps.onnx"])
    settings = {"conf_thresh": 0.1, "K": 70, "theta_thresh": 0.5, "nms_thresh": 0.4}
    expected = Detector.load(sharp / "checkpoint.pth", **settings).detect(pictures(sharp)[0])
    found = Detector.load(path, runtime=runtime, **settings).detect(pictures(sharp)[0])
    assert len(expected) > K and found.complete == expected.complete
    assert_same([found], [expected])
    with pytest.raises(InputError, match=r"maps\.onnx .*classes x: it has a, b, c"):
        Detector.load(path, runtime=runtime, classes=("x",))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_views_of_a_file_of_maps(sharp, runtime):
    """Like those of the checkpoint, also where the file takes batches of another size."""
    require(runtime)
    path = export(sharp, "maps.onnx", *FILES["maps.onnx"])
    images = pictures(sharp)[:1]
    (plain,), (expected,) = (checkpoint(sharp, tta=tta).detect(images) for tta in (None, "flips"))
    assert len(expected) > 3
    assert sorted(plain.scores.tolist()) != sorted(expected.scores.tolist())
    assert_same(Detector.load(path, runtime=runtime, tta="flips").detect(images), [expected])


def test_views_of_a_file_of_maps_keep_the_shift_of_the_centers(tmp_path, sharp):
    make_folder(tmp_path)
    stored = read_checkpoint(tmp_path / "checkpoint.pth")
    stored.extras["center_shift"] = {"right": 0.4, "down": -0.3}
    save_checkpoint(tmp_path / "checkpoint.pth", stored)
    path = export(tmp_path, "maps.onnx", *FILES["maps.onnx"])
    assert read_onnx_metadata(path).center_shift == (0.4, -0.3)
    images = pictures(sharp)[:1]
    (without,), (expected,) = (
        checkpoint(folder, tta="flips").detect(images) for folder in (sharp, tmp_path)
    )
    assert np.abs(expected.corners - without.corners).max() > 1
    assert_same(Detector.load(path, tta="flips").detect(images), [expected])


def test_light_fork_layout_is_refused(sharp):
    path = export(sharp, "fork.onnx", "--layout", "light-fork", "--static", "96", "128", "1")
    with pytest.raises(InputError, match=r"fork\.onnx: .*'light-fork'.* in the default layout"):
        Detector.load(path)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["free.onnx", "two_bytes.onnx", "RGB.onnx", "maps.onnx"])
def test_predict_with_an_exported_file(sharp, tmp_path, name, runtime):
    """Seven windows in batches of three; a file with batches of two pads some of them."""
    require(runtime)
    large = cv2.resize(pictures(sharp)[0], (400, 170), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "large.png"), large)
    settings = PredictSettings(batch_size=3, formats=(), scales=(1.0,))
    expected = predict(checkpoint(sharp), [tmp_path / "large.png"], settings, tmp_path / "a")
    path = export(sharp, name, *FILES[name])
    detector = Detector.load(path, runtime=runtime, input_hw=SIZE_HW)
    found = predict(detector, [tmp_path / "large.png"], settings, tmp_path / "b")
    assert found.windows == expected.windows > 6
    assert len(expected.images[0].detections) > 20
    assert_same([found.images[0].detections], [expected.images[0].detections])
    if detector.fixed_hw:
        with pytest.raises(InputError, match=r"160x160 .*does not fit.*128x96 .*fixed"):
            predict(detector, [tmp_path / "large.png"], PredictSettings(tile=160), tmp_path / "c")


@pytest.fixture(scope="module")
def openvino_file(sharp):
    """An exported ONNX file as a user converts it to an OpenVINO model, with its metadata."""
    openvino = pytest.importorskip("openvino")
    path = export(sharp, "nms.onnx", *FILES["nms.onnx"])
    model = openvino.convert_model(str(path))  # this takes seconds
    openvino.save_model(model, str(sharp / "bare.xml"), compress_to_fp16=False)
    for key, value in read_onnx_metadata(path).to_props().items():
        model.set_rt_info(value, ["model_info", key])
    openvino.save_model(model, str(sharp / "own.xml"), compress_to_fp16=False)
    return sharp / "own.xml"


def test_openvino_file_detects_like_its_checkpoint(sharp, openvino_file):
    detector = Detector.load(openvino_file, input_hw=SIZE_HW)
    assert (detector.runtime.name, detector.classes) == ("OpenVINO", CLASSES)
    assert_same(detector.detect(pictures(sharp)), checkpoint(sharp).detect(pictures(sharp)))
    with pytest.raises(InputError, match=r"own\.xml: onnxruntime cannot run this file"):
        Detector.load(openvino_file, runtime="onnxruntime")
    with pytest.raises(InputError, match=r"bare\.xml: a model without this project's metadata"):
        Detector.load(openvino_file.with_name("bare.xml"))


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_threads_share_an_exported_file(sharp, openvino_file, suffix):
    path = openvino_file if suffix == "xml" else export(sharp, "free.onnx")
    detector = Detector.load(path, input_hw=SIZE_HW)
    images = pictures(sharp) * 3
    alone = [detector.detect(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert_same(list(pool.map(detector.detect, images)), alone)


def test_trained_size_is_default_of_dynamic_file(tmp_path):
    pytest.importorskip("onnxruntime")
    path = onnx_file(tmp_path / "a.onnx", {**PROPS, "trained_size": "64x96"})
    assert Detector.load(path).input_hw == (64, 96)
    assert not Detector.load(path).fixed_hw
    assert Detector.load(path, input_hw=(32, 32)).input_hw == (32, 32)
    assert Detector.load(onnx_file(tmp_path / "b.onnx")).input_hw == (608, 608)


def test_size_and_fit_that_the_file_is_meant_for(tmp_path):
    pytest.importorskip("onnxruntime")
    props = {**PROPS, "trained_size": "64x64", "default_size": "64x96", "fit": "squash"}
    path = onnx_file(tmp_path / "a.onnx", props)
    detector = Detector.load(path)
    assert (detector.input_hw, detector.squash) == ((64, 96), True)
    image = np.full((64, 192, 3), 7, np.uint8)  # half as wide in the input, and as high
    expected = ROWS[0][0, 0] * (2, 1)
    np.testing.assert_allclose(detector.detect(image).corners[0], expected, atol=1e-5)
    padded = Detector.load(path, squash=False).detect(image)
    expected = (ROWS[0][0, 0] - (0, 16)) * 2
    np.testing.assert_allclose(padded.corners[0], expected, atol=1e-5)
    # whole images of predict, which are hardly larger than the input
    image = np.random.default_rng(0).integers(0, 256, (64, 120, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    found = predict(detector, [tmp_path / "a.png"], PredictSettings(formats=()), tmp_path)
    expected = ROWS[0][0, 0] * (120 / 96, 1)
    np.testing.assert_allclose(found.images[0].detections.corners[0], expected, atol=1e-4)


# Exported files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("batch", ["batch", 2])
def test_onnx_file_with_known_rows(tmp_path, runtime, batch):
    require(runtime)
    props = {**PROPS, "input_size": "64x96"}
    path = onnx_file(tmp_path / "known.onnx", props, batch, (64, 96))
    detector = Detector.load(path, runtime=runtime)
    assert (detector.classes, detector.input_hw, detector.conf_thresh) == (NAMES, (64, 96), 0.3)
    # 192x64 in an input of 96x64 (width x height): half the size, 16 rows of padding on top
    found = detector.detect([np.full((64, 192, 3), 7, np.uint8)] * 3)
    assert len(found) == 3
    for one in found:
        assert one.class_names() == ["harbor", "ship"]
        expected = (ROWS[0][0, 0] - (0, 16)) * 2
        np.testing.assert_allclose(one.corners, [expected, expected], atol=1e-5)
    assert len(Detector.load(path, runtime=runtime, conf_thresh=0.5).detect(found and np.zeros(
        (64, 96, 3), np.uint8))) == 1  # fmt: skip
    image = np.zeros((64, 96, 3), np.uint8)
    for asked, names in (({"ship": 0.5}, ["harbor"]), ({"plane": 0.9, "harbor": 0.95}, ["ship"])):
        detector = Detector.load(path, runtime=runtime, conf_thresh=asked)
        assert detector.detect(image).class_names() == names


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"conf_thresh": 0.1}, r"conf_thresh 0.1: it outputs scores above 0.3"),
        ({"conf_thresh": 0}, r"conf_thresh 0: it outputs scores above 0.3"),
        ({"conf_thresh": {"ship": 0.1}}, r"conf_thresh ship 0.1: it outputs scores above 0.3"),
        ({"conf_thresh": {"ships": 0.9}}, r"conf_thresh is given for ships \(did you mean ship\?"),
        ({"theta_thresh": 0.5}, r"theta_thresh 0.5: it has 0.8"),
        ({"K": 100}, r"K 100: it has 3"),
        ({"classes": ("a",)}, r"classes a: it has plane, ship, harbor"),
        ({"input_hw": (128, 128)}, r"input_hw must be 64x96 \(height x width\), .*, got 128x128"),
    ],
)
def test_settings_against_an_exported_file(tmp_path, asked, message):
    pytest.importorskip("onnxruntime")
    path = onnx_file(tmp_path / "a.onnx", {**PROPS, "input_size": "64x96"}, size=(64, 96))
    with pytest.raises(InputError, match=message):
        Detector.load(path, **asked)


def test_a_file_that_holds_the_decoder_has_no_views(tmp_path):
    pytest.importorskip("onnxruntime")
    path = onnx_file(tmp_path / "a.onnx", PROPS, size=(64, 96))
    message = r"a\.onnx holds the decoder, .*\(`tta`\).* use the checkpoint, or .* the layout heads"
    with pytest.raises(InputError, match=message):
        Detector.load(path, tta="flips")


@pytest.mark.parametrize(
    ("tta", "message"),
    [
        ("turns", r"only takes inputs of 96x128 \(height x width\), but right angles exchange"),
        ("flips,0.8", r"only takes inputs of 96x128 \(height x width\): leave the scale factors"),
    ],
)
def test_views_that_a_file_of_maps_cannot_take(sharp, tta, message):
    path = export(sharp, "maps.onnx", *FILES["maps.onnx"])
    with pytest.raises(InputError, match=message):
        Detector.load(path, tta=tta)


@pytest.mark.parametrize(
    ("props", "message"),
    [
        ({}, r"a\.onnx: .*without this project's metadata"),
        ({**PROPS, "bbavectors": "99"}, "version '99'"),
        ({**PROPS, "layout": "light-fork"}, "layout 'light-fork'"),
        ({**PROPS, "classes": "plane"}, "broken metadata"),
    ],
)
def test_foreign_onnx_files_are_refused(tmp_path, props, message):
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match=message):
        Detector.load(onnx_file(tmp_path / "a.onnx", props))


def test_threads_of_onnx_runtime_wait_briefly(tmp_path):
    pytest.importorskip("onnxruntime")
    options = open_session(onnx_file(tmp_path / "a.onnx"), threads=2).get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.get_session_config_entry("session.intra_op.spin_duration_us") == "100"


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", ["CPUExecutionProvider"]),
        ("cuda", [("CUDAExecutionProvider", {"device_id": 0}), "CPUExecutionProvider"]),
        ("cuda:3", [("CUDAExecutionProvider", {"device_id": 3}), "CPUExecutionProvider"]),
    ],
)
def test_providers_of_onnx_runtime(device, expected):
    there = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert OnnxRuntime._providers(there, torch.device(device)) == expected
    if device != "cpu":
        with pytest.raises(InputError, match=rf"^device {device}: .* onnxruntime-gpu"):
            OnnxRuntime._providers(["CPUExecutionProvider"], device)


@pytest.mark.parametrize(
    "text",  # from ONNX Runtime and OpenVINO in a process whose memory is limited
    [
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. "
        "Status Message: bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 5",
        "Check 'ptr' failed at cpu_memory.cpp:257:\nFailed to allocate 836829184 bytes of memory",
        "[CPU] TopK node with name 'bbavectors.TopK_9' std::bad_alloc",
    ],
)
def test_out_of_memory_errors_are_translated(text):
    with pytest.raises(MemoryError, match=r"llocate|bad_alloc"), translate_out_of_memory():
        raise RuntimeError(text)


def test_other_runtime_errors_are_not_translated():
    with pytest.raises(RuntimeError, match="bug"), translate_out_of_memory():
        raise RuntimeError("a bug")


def test_openvino_without_rows_is_out_of_memory(tmp_path, monkeypatch):
    """Short of memory, it was seen to return without an error and without rows."""
    openvino = pytest.importorskip("openvino")
    detector = Detector.load(onnx_file(tmp_path / "a.onnx"), runtime="openvino", input_hw=(64, 64))

    class Empty:
        infer = staticmethod(lambda inputs: None)
        get_tensor = staticmethod(lambda name: openvino.Tensor(np.zeros((0, 3), np.float32)))

    detector.runtime._requests.put(Empty())
    with pytest.raises(MemoryError):
        detector.detect(np.zeros((64, 64, 3), np.uint8))


def test_file_that_onnx_runtime_does_not_run(tmp_path):
    """It claims to take any size, but takes one."""
    pytest.importorskip("onnxruntime")
    path = onnx_file(tmp_path / "a.onnx", size=(64, 96))
    detector = Detector.load(path, input_hw=(32, 32))
    with pytest.raises(InputError, match=rf"^{path}: ONNX Runtime cannot run it \(\S.*\)\. The "):
        detector.detect(np.zeros((32, 32, 3), np.uint8))


def test_file_that_openvino_does_not_run(tmp_path):
    pytest.importorskip("openvino")
    path = onnx_file(tmp_path / "a.onnx")
    detector = Detector.load(path, runtime="openvino", input_hw=(64, 64))

    class Failing:
        def infer(self, inputs):
            raise RuntimeError(
                "Exception from infer_request.cpp:79:\nCheck failed\nno such shape\n"
            )

    detector.runtime._requests.put(Failing())
    text = rf"^{path}: OpenVINO cannot run it \(no such shape\)\. The file is damaged"
    with pytest.raises(InputError, match=text):
        detector.detect(np.zeros((64, 64, 3), np.uint8))


def test_file_that_openvino_does_not_compile(tmp_path, monkeypatch):
    pytest.importorskip("openvino")

    def fail(*_):
        raise RuntimeError("Exception from core.cpp:129:\nCheck 'a' failed\nno such operator\n")

    monkeypatch.setattr(openvino_files, "compile_model", fail)
    with pytest.raises(InputError, match=r"a\.onnx: .* OpenVINO can run \(no such operator\)$"):
        Detector.load(onnx_file(tmp_path / "a.onnx"), runtime="openvino")


def test_torch_export_program_is_refused(tmp_path):
    (tmp_path / "a.pt2").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"a\.pt2: a program of torch\.export .* ONNX file"):
        Detector.load(tmp_path / "a.pt2")


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_other_files_are_refused(tmp_path, suffix):
    pytest.importorskip("onnxruntime" if suffix == "onnx" else "openvino")
    path = tmp_path / f"a.{suffix}"
    path.write_text("no model")
    with pytest.raises(InputError, match=f"a.{suffix}: not a"):
        Detector.load(path)
