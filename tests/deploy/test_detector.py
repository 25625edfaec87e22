"""`Detector` with checkpoints, images and batches, and the `Detections` that it returns."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import cv2
import numpy as np
import pytest
import torch

from datasets import DataOptions, open_dataset
from deploy.detector import Detector
from deploy.runtimes.base import DetectorSettings
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions
from DOTA_devkit.polygon import polygon_nms
from helpers.data_folders import make_dota, picture, write_image
from helpers.paths import ROOT
from inference import InferenceSettings, run_over
from models import CTRBOX, Checkpoint, load_model, save_checkpoint
from structures.boxes import HEAD_CHANNELS, rectangles_to_corners
from structures.detections import Detections

NAMES = ("plane", "ship", "harbor")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network that finds something in any image."""
    torch.manual_seed(0)
    heads = {"hm": len(NAMES), **HEAD_CHANNELS}
    model = CTRBOX(
        heads, None, 4, 1, 16, backbone="resnet18", classes=NAMES, input_size=(96, 128)
    ).eval()
    with torch.no_grad():
        model.hm[2].bias.fill_(0.0)
        model.hm[2].weight *= 8
        model.wh[2].bias[8:] = 4.0
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    save_checkpoint(path, Checkpoint.of(model))
    return path


@pytest.fixture(scope="module")
def detector(weights):
    """That network with its own settings."""
    return Detector.load(weights)


def assert_same(one, other):
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    np.testing.assert_allclose(one.corners, other.corners, atol=1e-2)


@pytest.mark.slow
def test_detect_matches_test_and_eval(weights, tmp_path):
    make_dota(tmp_path, {f"a{k}": [] for k in range(3)}, size=(150, 90), test=["a0", "a1", "a2"])
    options = DataOptions(classes=NAMES)
    dataset = open_dataset("dota", tmp_path, "test", (96, 128), options)
    settings = InferenceSettings(conf_thresh=0.18, batch_size=3)
    expected = list(run_over(load_model(weights), dataset, settings, torch.device("cpu")))
    detector = Detector.load(weights)
    found = detector.detect([picture(150, 90, seed=k) for k in range(3)])
    assert sum(map(len, found)) > 3
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other.detections)
        assert one.names == NAMES


def test_detect_path_gray_and_batches(weights, tmp_path):
    detector = Detector.load(weights, batch_size=2)
    image = picture(200, 77)
    one = detector.detect(image)
    assert isinstance(one, Detections) and len(one) > 0
    assert_same(one, detector.detect(write_image(tmp_path / "a.png", image)))
    many = detector.detect([image, picture(64, 300, seed=3), image])
    assert len(many) == 3
    assert_same(many[0], one)
    assert_same(many[2], one)
    assert len(detector.detect(np.stack([image, image]))) == 2
    assert detector.detect([]) == detector.detect(()) == []
    assert_same(next(iter(detector.detect(one for one in [image]))), one)
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    assert_same(detector.detect(gray), detector.detect(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)))


def test_16_bit_arrays_are_stretched_like_files(detector, tmp_path):
    for deep in (picture(200, 77).astype(np.uint16) * 8, picture(90, 60)[..., 0] * np.uint16(8)):
        found = detector.detect(deep)
        assert len(found) > 0
        assert_same(found, detector.detect(write_image(tmp_path / "a.png", deep)))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10, 3), np.float32), np.zeros((10, 10, 4), np.uint8),
        np.zeros((0, 10, 3), np.uint8), None, [None], 3, {}, {"image": np.zeros((10, 10, 3))},
        np.zeros((10, 10, 3), np.int16), np.zeros((1, 2, 10, 10, 3), np.uint8),
    ],
)  # fmt: skip
def test_invalid_images_are_refused(detector, image):
    with pytest.raises(InputError, match="image"):
        detector.detect(image)


@pytest.mark.slow
def test_settings_by_name(weights):
    image = picture(150, 90)
    loose = Detector.load(weights, conf_thresh=0.05).detect(image)
    strict = Detector.load(weights, conf_thresh=0.6).detect(image)
    assert len(strict) < len(loose) and (strict.scores > 0.6).all()
    assert len(Detector.load(weights, K=2).detect(image)) <= 2
    by_class = Detector.load(weights, conf_thresh={"ship": 0.6, "default": 0.05})
    assert by_class.conf_thresh == {"plane": 0.05, "ship": 0.6, "harbor": 0.05}
    assert_same(by_class.detect(image), loose[(loose.labels != 1) | (loose.scores > 0.6)])
    assert Detector.load(weights, conf_thresh={"ship": 0.18}).conf_thresh == 0.18
    with pytest.raises(InputError, match=r"conf_thresh is given for sip \(did you mean ship\?\)"):
        Detector.load(weights, conf_thresh={"sip": 0.5})
    assert Detector.load(weights, input_hw=(64, 64)).detect(image).corners.dtype == np.float32
    with pytest.raises(InputError, match=r"input_hw must be multiples of 32, got 50x64"):
        Detector.load(weights, input_hw=(50, 64))
    with pytest.raises(InputError, match="classes"):
        Detector.load(weights, classes=("a", "b"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("conf", r"no setting conf \(did you mean conf_thresh\?\); its settings are device, .*K"),
        ("nms_tresh", r"\(did you mean nms_thresh\?\)"),
        ("zoom", r"no setting zoom; its settings are .*tta$"),
    ],
)
def test_error_about_unknown_settings_lists_the_known_ones(name, told):
    with pytest.raises(TypeError, match=told):
        Detector.load("no file is read", **{name: 0.3})


@pytest.mark.parametrize(
    "settings",
    [
        {"conf_thresh": 18}, {"conf_thresh": "0.3"}, {"conf_thresh": [0.3]}, {"nms_thresh": -0.1},
        {"agnostic_nms_thresh": 1.5},
        {"theta_thresh": float("nan")}, {"K": 0}, {"K": 2.5}, {"K": True}, {"batch_size": 0},
        {"batch_size": None}, {"threads": 0}, {"classes": "ship"}, {"tta": True},
    ],
)  # fmt: skip
def test_settings_out_of_range(settings):
    (name,) = settings
    with pytest.raises(InputError, match=f"^{name} must be "):
        DetectorSettings(**settings)


def test_settings_of_numpy_and_at_the_ends():
    DetectorSettings(conf_thresh=np.float32(1), nms_thresh=0, K=np.int64(1), threads=1)


def test_every_setting_is_documented():
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    for field in fields(DetectorSettings):
        assert f"\n        {field.name}: " in DetectorSettings.__doc__
        assert f"`{field.name}`" in Detector.load.__doc__ and f"\n| `{field.name}`" in page


def test_agnostic_nms(weights):
    image = picture(150, 90)
    found = Detector.load(weights, conf_thresh=0.01).detect(image)
    agnostic = Detector.load(weights, conf_thresh=0.01, agnostic_nms_thresh=0.2).detect(image)
    expected = found[polygon_nms(found.corners, found.scores, 0.2)]
    assert 0 < len(agnostic) < len(found) and len(set(agnostic.labels.tolist())) > 1
    np.testing.assert_allclose(agnostic.corners, expected.corners, atol=1e-3)
    assert agnostic.labels.tolist() == expected.labels.tolist()
    # Windows, whose pieces of an object are joined within a class, keep the boxes of all classes.
    views = [picture(128, 96)]
    plain = Detector.load(weights, conf_thresh=0.01).detect_inputs(views)[0]
    of_window = Detector.load(weights, conf_thresh=0.01, agnostic_nms_thresh=0.2)
    np.testing.assert_array_equal(of_window.detect_inputs(views)[0].corners, plain.corners)


def test_full_outputs_are_reported(weights):
    image = picture(150, 90)
    everything = Detector.load(weights).detect(image)
    assert everything.complete
    few = Detector.load(weights, K=2)
    assert not few.detect(image).complete
    # more in proportion if the input is larger than the model's
    large = Detector.load(weights, K=20, nms_thresh=1.0)
    assert len(large.detect_inputs([picture(128, 96)])[0]) == 20
    assert 20 < len(large.detect_inputs([picture(256, 192)])[0]) <= 80
    assert len(large.detect_inputs([picture(64, 64)])[0]) == 20


@pytest.mark.parametrize(
    ("data", "asked", "expected"),
    [
        ({}, {}, ReadOptions()),  # a file of an earlier version: as predict always did
        ({"data": {"min_size": 10.0}}, {}, ReadOptions()),
        ({"data": {"depth": "high_byte", "bands": ""}}, {}, ReadOptions("high_byte")),
        ({"data": {"depth": "stretch", "bands": "3,2,1"}}, {}, ReadOptions(bands=(3, 2, 1))),
        ({"data": {"depth": "high_byte", "bands": "3,2,1"}}, {"depth": "stretch"},
         ReadOptions(bands=(3, 2, 1))),
        ({"data": {"depth": "high_byte", "bands": ""}}, {"bands": (4,)},
         ReadOptions("high_byte", (4,))),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_images_are_read_as_in_training(weights, tmp_path, data, asked, expected):
    save_checkpoint(tmp_path / "a.pth", Checkpoint.of(load_model(weights), extras=data))
    assert Detector.load(tmp_path / "a.pth", **asked).reading == expected


@pytest.mark.parametrize("data", ["x", {"depth": 7, "bands": []}])
@pytest.mark.slow
def test_damaged_data_options_are_refused(weights, tmp_path, data):
    save_checkpoint(tmp_path / "a.pth", Checkpoint.of(load_model(weights), extras={"data": data}))
    with pytest.raises(InputError, match=r"a\.pth: its data is .* expected"):
        Detector.load(tmp_path / "a.pth")


@pytest.mark.slow
def test_threads_share_a_detector(weights):
    detector = Detector.load(weights)
    images = [picture(100 + 9 * k, 90, seed=k) for k in range(12)]
    alone = [detector.detect(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(detector.detect, images))
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)


def test_files_that_are_not_models_are_refused(tmp_path, weights):
    (tmp_path / "a.pth").write_text("not a model")
    (tmp_path / "empty.pth").write_bytes(b"")
    for path, message in (
        (tmp_path / "gone.pth", "no such file"),
        (tmp_path, "a folder"),
        (tmp_path / "a.pth", "not a file of torch.save"),
        (tmp_path / "empty.pth", "empty"),
    ):
        with pytest.raises(InputError, match=message):
            Detector.load(path)
    with pytest.raises(InputError, match=r"openvino cannot run this file, but pytorch can"):
        Detector.load(weights, runtime="openvino")
    with pytest.raises(InputError, match=r"runtime must be one of pytorch, .*, got 'cuda'"):
        Detector.load(weights, runtime="cuda")


def test_checkpoint_without_class_names(shared):
    path = shared / "fixtures/model_mobilenetv2.pth"
    with pytest.raises(
        InputError, match=r"does not name its 15 classes: give their names as classes"
    ):
        Detector.load(path)
    names = tuple(f"c{k}" for k in range(15))
    assert Detector.load(path, classes=names).classes == names


# The value type -----------------------------------------------------------------------------------


def one_box(corners, name="ship"):
    return Detections(
        np.array([corners], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64), (name,)
    )


@pytest.mark.parametrize(
    ("rectangle", "expected"),
    [
        ((50, 40, 30, 10, 0), (50, 40, 30, 10, 0)),
        ((50, 40, 10, 30, 0), (50, 40, 30, 10, -90)),  # the longer side is vertical
        ((50, 40, 30, 10, 30), (50, 40, 30, 10, 30)),  # clockwise on the image
        ((50, 40, 10, 30, 30), (50, 40, 30, 10, -60)),
        ((50, 40, 30, 10, -45), (50, 40, 30, 10, -45)),
        ((50, 40, 30, 10, 179), (50, 40, 30, 10, -1)),
        ((50, 40, 30, 10, 90), (50, 40, 30, 10, -90)),
    ],
)
def test_rectangles(rectangle, expected):
    corners = rectangles_to_corners(np.array([rectangle]))[0]
    for turn in range(4):  # whichever corner is the first
        (found,) = one_box(np.roll(corners, turn, axis=0)).rectangles()
        if abs(expected[4]) == 90:
            found[4] = -abs(found[4])  # -90 or almost 90, by rounding
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_rectangles_of_parallelogram_and_of_no_detections():
    (found,) = one_box([(30, 0), (40, 10), (10, 10), (0, 0)]).rectangles()
    assert found[2] >= found[3] and found[2] * found[3] >= 300
    assert Detections().rectangles().shape == (0, 5)


def test_names_are_kept():
    found = one_box([(1, 0), (1, 1), (0, 1), (0, 0)])
    for same in (found[:1], found[[0]], found.nms(0.1), found.with_corners(found.corners + 1)):
        assert same.class_names() == ["ship"]
    assert Detections(found.corners, found.scores, found.labels).class_names() == ["0"]


def ring(feature):
    return np.array(feature["geometry"]["coordinates"][0])


def signed_area(points):
    x, y = np.asarray(points, float).T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2


def test_geojson():
    found = one_box([(30, 10), (30, 20), (10, 20), (10, 10)])
    plain = found.to_geojson()
    assert plain["type"] == "FeatureCollection" and "crs" not in plain
    assert signed_area(ring(plain["features"][0])) == 200
    assert plain["features"][0]["properties"] == {"class": "ship", "label": 0, "score": 1.0}
    # one pixel is 1e-5 degrees, and rows go south
    earth = found.to_geojson(lambda p: p * (1e-5, -1e-5) + (8.5, 47.3), {"image": "a"})
    points = ring(earth["features"][0])
    assert points[0].tolist() == points[-1].tolist() and len(points) == 5
    assert signed_area(points) > 0  # counterclockwise, as north is up
    assert points[:, 0].min() == pytest.approx(8.5001) and points[:, 1].max() < 47.3
    assert earth["features"][0]["properties"]["image"] == "a"
    assert Detections().to_geojson()["features"] == []
    json.dumps(earth)


def test_geojson_across_the_antimeridian():
    found = one_box([(30, 10), (30, 20), (10, 20), (10, 10)])
    lonlat = np.array([(-179.9, 1), (-179.9, 0), (179.8, 0), (179.8, 1)])
    (feature,) = found.to_geojson(lambda _: lonlat)["features"]
    assert feature["geometry"]["type"] == "MultiPolygon"
    parts = [np.array(part[0]) for part in feature["geometry"]["coordinates"]]
    assert sorted(round(signed_area(part), 6) for part in parts) == [0.1, 0.2]
    assert all(np.ptp(part[:, 0]) < 1 and abs(part[:, 0]).max() <= 180 for part in parts)


@pytest.mark.parametrize(
    "lonlat",
    [
        [(179.5, 1), (-179.5, 1), (179.5, 1), (-179.5, 1)],  # without area
        [
            (0, 89),
            (90, 89),
            (180, 89),
            (-90, 89),
        ],  # around the pole, which no ring in degrees encloses
    ],
)
def test_geojson_of_a_box_without_geometry(lonlat):
    found = one_box([(30, 10), (30, 20), (10, 20), (10, 10)])
    (feature,) = found.to_geojson(lambda _: np.array(lonlat, float))["features"]
    assert feature["geometry"] is None and feature["properties"]["class"] == "ship"


def test_geojson_outside_the_projection():
    found = one_box([(30, 10), (30, 20), (10, 20), (10, 10)])
    with pytest.raises(InputError, match="outside its map projection"):
        found.to_geojson(lambda points: points * np.inf)


def test_draw():
    image = picture(200, 100)
    before = image.copy()
    drawn = one_box([(90, 30), (90, 60), (20, 60), (20, 30)]).draw(image)
    assert (image == before).all() and (drawn != image).any()
    assert (Detections().draw(image) == image).all()


@pytest.mark.slow
def test_supervision():
    supervision = pytest.importorskip("supervision")
    found = one_box([(30, 10), (32, 20), (12, 22), (10, 12)]).to_supervision()
    assert isinstance(found, supervision.Detections) and len(found) == 1
    np.testing.assert_array_equal(found.xyxy, [[10, 10, 32, 22]])
    np.testing.assert_array_equal(found.data["xyxyxyxy"][0, 0], [30, 10])
    assert found.data["class_name"].tolist() == ["ship"]
    assert len(Detections().to_supervision()) == 0
    annotated = supervision.OrientedBoxAnnotator().annotate(picture(60, 50), found)
    assert annotated.shape == (50, 60, 3)
