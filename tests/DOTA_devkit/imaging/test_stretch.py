"""Contrast stretch of 16 bits to 8: limits, sampling, and equality with and without rasterio."""

import logging
import sys

import cv2
import numpy as np
import pytest

from deploy.detector import Detector
from deploy.predict.pipeline import predict
from deploy.predict.settings import PredictSettings, Shard
from deploy.predict.sources import inspect_images
from DOTA_devkit.imaging import read_image, read_stretched
from DOTA_devkit.imaging.stretch import WINDOW_SIDE_PX, Stretch
from DOTA_devkit.polygon import paired_iou
from helpers.drawn_objects import DrawnObjects, scene
from helpers.small_exports import sharp_model
from models import Checkpoint, save_checkpoint

SIZE_WH = (400, 240)


def eleven_bits(size_wh=SIZE_WH, seed=0):
    """An image [H, W, 3] uint16 in BGR like those of satellites: skewed, and blue from haze."""
    values = np.random.default_rng(seed).gamma(3, 60, (*size_wh[::-1], 3))
    return np.clip(values + np.array((300, 180, 90)), 1, 2047).astype(np.uint16)


def full_range(size_wh=SIZE_WH):
    return np.minimum(eleven_bits(size_wh).astype(int) * 45, 65535).astype(np.uint16)


def by_hand(image, counted):
    """The stretch by definition, value by value. counted: [H, W] bool."""
    expected = np.empty(image.shape)
    for channel in range(image.shape[2]):
        values = np.sort(image[:, :, channel][counted])
        low, high = (
            float(values[int(np.ceil(share * len(values))) - 1]) for share in (0.001, 0.999)
        )
        high = max(high, low + 255)
        expected[:, :, channel] = np.clip((image[:, :, channel] - low) / (high - low) * 255, 0, 255)
    return expected


def test_each_channel_is_stretched_separately():
    image = eleven_bits()
    stretch = Stretch.of_image(image)
    found = stretch(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert found.dtype == np.uint8
    assert np.abs(found - by_hand(image, np.ones(image.shape[:2], bool))).max() <= 0.5 + 1e-9
    shares = [(found == end).mean(axis=(0, 1)) for end in (0, 255)]
    assert np.all(np.array(shares) < 0.004) and np.all(np.array(shares) > 0.0005)


@pytest.mark.parametrize(
    ("make", "limits"),
    [
        (lambda: np.zeros((40, 40, 3)), None),  # no data
        (lambda: np.full((40, 40, 3), 700), ((700, 955),) * 3),
        (lambda: np.full((1, 1, 1), 700), ((700, 955),)),
        # 8 bits in 16 are not stretched: steps finer than those of the image would be noise
        (lambda: np.arange(40, 140).reshape(10, 10, 1).repeat(3, 2), ((40, 295),) * 3),
        (lambda: full_range(), None),  # the upper 8 bits
        (lambda: np.array([[[0, 9, 0], [5000, 9, 30000]]]), ((0, 5000), (9, 264), (0, 30000))),
        (lambda: np.array([[[0, 0, 0], [5000, 9, 33000]]]), None),  # one channel is enough
    ],
)
def test_stretch_limits(make, limits):
    image = make().astype(np.uint16)
    stretch = Stretch.of_image(image)
    assert stretch.limits == limits
    if limits is None:
        found = stretch(image.transpose(2, 0, 1))
        np.testing.assert_array_equal(found.transpose(1, 2, 0), image // 256)


def test_border_without_data_is_excluded():
    image = eleven_bits()
    image[:, :200] = 0
    counted = np.zeros(image.shape[:2], bool)
    counted[:, 200:] = True
    found = Stretch.of_image(image)(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert np.abs(found - by_hand(image, counted)).max() <= 0.5 + 1e-9
    assert found[:, :200].max() == 0


def counting(image, valid=True):
    """A sample function and the numbers of pixels that it was asked for."""
    asked = []

    def sample(left, top, width, height):
        assert 0 <= left <= left + width <= image.shape[1] and 0 < width <= WINDOW_SIDE_PX
        assert 0 <= top <= top + height <= image.shape[0] and 0 < height <= WINDOW_SIDE_PX
        asked.append(width * height)
        part = image[top : top + height, left : left + width].transpose(2, 0, 1)
        return part, np.full((height, width), valid)

    return sample, asked


@pytest.mark.parametrize("size_wh", [(1, 1), (3, 500), (2047, 9), (5000, 2100)])
def test_sampled_windows(size_wh):
    image = np.zeros((*size_wh[::-1], 1), np.uint16) + np.uint16(500)
    sample, asked = counting(image)
    assert Stretch.of(size_wh, 1, sample).limits == ((500, 755),)
    assert sum(asked) == min(size_wh[0], 8 * WINDOW_SIDE_PX) * min(size_wh[1], 8 * WINDOW_SIDE_PX)
    columns, rows = (min(8, -(-side // WINDOW_SIDE_PX)) for side in size_wh)
    assert len(asked) == columns * rows  # no more than cover a small image


def test_second_grid_finds_sparse_data():
    image = np.zeros((3000, 5000, 1), np.uint16)
    image[1440:1500, 2200:2600] = eleven_bits((400, 60))[:, :, :1]
    sample, _ = counting(image[:, :, :1])
    ((low, high),) = Stretch.of((5000, 3000), 1, sample).limits
    assert 300 <= low < 340 and 700 < high < 1500


def write(path, image):
    assert cv2.imwrite(str(path), image)
    return path


def test_8_bit_files_are_unchanged(tmp_path):
    path = write(tmp_path / "a.png", scene(SIZE_WH, []))
    image, stretch = read_stretched(path)
    assert stretch is None
    np.testing.assert_array_equal(image, read_image(path))


def test_gray_and_alpha(tmp_path):
    image = eleven_bits()
    expected, stretch = read_stretched(write(tmp_path / "a.png", image))
    with_alpha = np.dstack([image, np.full(image.shape[:2], 65535, np.uint16)])
    found, same = read_stretched(write(tmp_path / "b.png", with_alpha))
    np.testing.assert_array_equal(found, expected)
    assert same.limits == stretch.limits
    gray, one = read_stretched(write(tmp_path / "c.png", image[:, :, 0]))
    assert one.limits == (stretch.limits[2],) * 3  # red first
    np.testing.assert_array_equal(gray, np.dstack([expected[:, :, 0]] * 3))


@pytest.mark.parametrize("kind", ["uint16", "int16", "full range"])
def test_with_and_without_rasterio(tmp_path, kind, monkeypatch):
    pytest.importorskip("rasterio")
    image = (full_range if kind == "full range" else eleven_bits)((4200, 250))
    image[:, :700] = 0
    path = write(tmp_path / "a.tif", image)
    if kind == "int16":
        import rasterio

        with rasterio.open(path, "w", driver="GTiff", width=4200, height=250, count=3,
                           dtype="int16") as dataset:  # fmt: skip
            dataset.write(image[:, :, ::-1].transpose(2, 0, 1).astype(np.int16))
    windows = []
    for available in (True, False):
        if not available:
            monkeypatch.setitem(sys.modules, "rasterio", None)
        (source,), _ = inspect_images([path])
        assert source.raster == available
        with source.open() as reader:
            windows.append(reader.window(650, 20, (300, 200)))
            assert (reader.stretch.limits is None) == (kind == "full range")
    np.testing.assert_array_equal(*windows)
    assert windows[0][:, 60:].mean() > 60


@pytest.fixture
def pictures(tmp_path):
    """An image of 8 bits, and one of 10 bits that shows the same."""
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    image = cv2.resize(image, (320, 192), interpolation=cv2.INTER_CUBIC)
    write(tmp_path / "eight.png", image)
    write(tmp_path / "ten.png", image.astype(np.uint16) * 4)
    return tmp_path


@pytest.mark.slow
def test_predictions_match_the_8_bit_image(pictures, tmp_path, caplog):
    save_checkpoint(tmp_path / "model.pth", Checkpoint.of(sharp_model()))
    detector = Detector.load(tmp_path / "model.pth", conf_thresh=0.3)
    sources = [pictures / "eight.png", pictures / "ten.png"]
    with caplog.at_level(logging.INFO):
        done = predict(detector, sources, PredictSettings(), tmp_path / "out")
    eight, ten = (one.detections for one in done.images)
    assert len(eight) > 20
    np.testing.assert_array_equal(eight.labels, ten.labels)
    assert paired_iou(eight.corners, ten.corners).min() > 0.95
    np.testing.assert_allclose(eight.scores, ten.scores, atol=0.02)
    messages = [r.getMessage() for r in caplog.records if "16 bits" in r.getMessage()]
    assert len(messages) == 1
    assert (
        "ten.png: 16 bits are stretched to 8: red 0-1020, green 0-1020, blue 0-1020" in messages[0]
    )
    # in one call from Python as well
    alone = [detector.detect(path) for path in sources]
    assert len(alone[0]) == len(alone[1]) > 5
    np.testing.assert_allclose(alone[0].scores, alone[1].scores, atol=0.02)


def test_shards_match_one_process(tmp_path):
    objects = [("plane", 70, 60, 30, 14, 25), ("ship", 150, 118, 40, 12, 70)]
    path = write(tmp_path / "a.png", scene(SIZE_WH, objects).astype(np.uint16) * 5 + 90)
    settings = PredictSettings(batch_size=3)
    one = predict(DrawnObjects(), [path], settings, tmp_path / "one")
    assert len(one.images[0].detections) == 2
    for index in (0, 1):
        settings = PredictSettings(batch_size=3, shard=Shard(index, 2))
        done = predict(DrawnObjects(), [path], settings, tmp_path / "out")
    np.testing.assert_array_equal(
        done.images[0].detections.corners, one.images[0].detections.corners
    )
