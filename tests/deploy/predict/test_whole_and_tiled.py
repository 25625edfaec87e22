"""The model in weights/ finds in windows what it finds in the whole image, each object once."""

import functools
import json
import sys

import cv2
import numpy as np
import pytest

from DOTA_devkit.formats import read_labels
from DOTA_devkit.polygon import iou_matrix, paired_iou
from helpers import forked_python
from helpers.paths import ROOT

WEIGHTS = ROOT / "weights/hit_uav_mobilenetv2.pth"
CLASSES = ("bicycle", "vehicle")
MOSAICS = ("first", "second")
COLUMNS, ROWS = 3, 3
CELL_WH = (416, 333)  # each image as the network was trained with it

CERTAIN_SCORE = 0.3  # such a detection must have a partner in the other run
PARTNER_SCORE = 0.2  # which has at least this score
PARTNER_IOU = 0.7


@pytest.fixture(scope="module")
def samples(shared, tmp_path_factory):
    """A folder of two mosaics of test images, and the corners and classes of their labels."""
    source = shared / "data" / "hit_uav_small"
    if not source.is_dir():
        pytest.skip("no images of HIT-UAV")
    folder, labels = tmp_path_factory.mktemp("mosaics"), {}
    names = iter((source / "test.txt").read_text().split())
    for mosaic in MOSAICS:
        picture = np.zeros((ROWS * CELL_WH[1], COLUMNS * CELL_WH[0], 3), np.uint8)
        corners, classes = [], []
        for cell in range(ROWS * COLUMNS):
            name = next(names)
            image = cv2.imread(str(next((source / "images").glob(f"{name}.*"))))
            place = np.array([cell % COLUMNS, cell // COLUMNS]) * CELL_WH
            window = tuple(slice(begin, begin + n) for begin, n in zip(place, CELL_WH, strict=True))
            picture[window[::-1]] = cv2.resize(image, CELL_WH, interpolation=cv2.INTER_AREA)
            found = read_labels(source / f"labelTxt/{name}.txt")
            corners.append(found.corners * np.divide(CELL_WH, image.shape[1::-1]) + place)
            classes += [CLASSES.index(one) for one in found.names]
        cv2.imwrite(str(folder / f"{mosaic}.png"), picture)
        labels[mosaic] = np.concatenate(corners), np.array(classes)
    return folder, labels


def predict(folder, output, *flags):
    """Return image -> corners, scores and labels of the JSON file, and the log."""
    words = ["main.py", "--phase", "predict", "--weights", WEIGHTS, "--output", output, "--device",
             "cpu", "--formats", "json", "--scales", 1, "--source",
             *(folder / f"{name}.png" for name in MOSAICS), *flags]  # fmt: skip
    done = forked_python.run([sys.executable, *words], cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for image in json.loads((output / "detections.json").read_text())["images"]:
        rows = image["detections"]
        found[image["image"]] = (
            np.array([row["corners"] for row in rows]).reshape(-1, 4, 2),
            np.array([row["score"] for row in rows]),
            np.array([row["label"] for row in rows], int),
        )
    assert tuple(found) == MOSAICS
    return found, done.stdout


@pytest.fixture(scope="module")
def found(samples, tmp_path_factory):
    """Return a function that searches the mosaics in windows of a size, each size once."""

    @functools.cache
    def search(tile, overlap):
        root = tmp_path_factory.mktemp(f"windows{tile}")
        return predict(samples[0], root / "out", "--tile", tile, "--overlap", overlap)

    return search


def without_partner(one, other, iou=PARTNER_IOU):
    """Return the corners of certain detections that another run lacks, and how many are certain."""
    (corners, scores, labels), (others, other_scores, other_labels) = one, other
    certain = scores >= CERTAIN_SCORE
    same = iou_matrix(corners[certain], others) >= iou
    same &= (labels[certain][:, None] == other_labels) & (other_scores >= PARTNER_SCORE)
    assert (same.sum(axis=1) <= 1).all(), "an object comes out twice"
    return corners[certain][~same.any(axis=1)], int(certain.sum())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tile", "overlap", "max_unmatched_share"),
    [
        (608, 100, 0.02),  # the defaults of `predict`
        # With a quarter of the surroundings the outputs of the network differ, and it finds another
        # box where `cls_theta` crosses its threshold because of that.
        (320, 64, 0.04),
    ],
)
def test_windows_find_what_the_whole_image_holds(found, tile, overlap, max_unmatched_share):
    """Few of the certain detections have no partner in the other run."""
    whole, log = found(0, 100)
    assert "2 windows" in log and "all K" not in log
    tiled, log = found(tile, overlap)
    assert "all K" not in log
    for one, other in ((whole, tiled), (tiled, whole)):
        unmatched, certain = [], 0
        for name in MOSAICS:
            corners, count = without_partner(one[name], other[name])
            unmatched += corners.tolist()
            certain += count
        assert certain >= 100
        assert len(unmatched) <= max_unmatched_share * certain, unmatched


@pytest.mark.slow
def test_most_detections_match_labels(samples, found):
    """The test above is one of a working detector: its vehicles lie on those of the labels."""
    truth, hits = samples[1], []
    for name in MOSAICS:
        corners, scores, labels = found(608, 100)[0][name]
        vehicles = corners[(scores >= CERTAIN_SCORE) & (labels == CLASSES.index("vehicle"))]
        labeled = truth[name][0][truth[name][1] == CLASSES.index("vehicle")]
        nearest = labeled[iou_matrix(vehicles, labeled).argmax(axis=1)]
        hits += (paired_iou(vehicles, nearest) >= 0.5).tolist()
    assert len(hits) >= 50
    assert np.mean(hits) >= 0.8


@pytest.mark.slow
def test_16_bits_are_detected_like_8_bits(samples, found, tmp_path):
    """Some 10 bits in 16, with haze that is strongest in blue.

    Stretching them to 8 bits changes the contrast, and with it scores and the size of boxes: 7 of
    125 certain detections have no partner. Images of 8 bits that are stretched in the same way give
    the same detections.
    """
    (tmp_path / "images").mkdir()
    (tmp_path / "stretched").mkdir()
    folder, _ = samples
    for name in MOSAICS:
        picture = cv2.imread(str(folder / f"{name}.png"))
        measured = picture.astype(np.uint16) * 4 + np.array((320, 180, 100), np.uint16)
        assert cv2.imwrite(str(tmp_path / f"images/{name}.png"), measured)
        low, high = np.percentile(picture, (0.1, 99.9), axis=(0, 1))
        stretched = np.rint((picture - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
        assert cv2.imwrite(str(tmp_path / f"stretched/{name}.png"), stretched)
    eight, _ = found(608, 100)
    sixteen, log = predict(tmp_path / "images", tmp_path / "sixteen", "--tile", 608)
    assert log.count("16 bits are stretched to 8") == 2
    for one, other in ((eight, sixteen), (sixteen, eight)):
        counts = [without_partner(one[name], other[name], 0.5) for name in MOSAICS]
        unmatched = sum(len(corners) for corners, _ in counts)
        certain = sum(count for _, count in counts)
        assert certain >= 100
        assert unmatched <= 0.08 * certain
    alike, _ = predict(tmp_path / "stretched", tmp_path / "alike", "--tile", 608)
    for name in MOSAICS:
        for one, other in ((alike, sixteen), (sixteen, alike)):
            corners, certain = without_partner(one[name], other[name])
            assert certain >= 25 and len(corners) <= 0.02 * certain
