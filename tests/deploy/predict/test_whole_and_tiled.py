"""A trained network finds in windows what it finds in the whole image, each object once."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from DOTA_devkit.polygon import iou_matrix, paired_iou
from helpers.paths import ROOT

IMAGES = ("P0706", "P1888")
CERTAIN_SCORE = 0.3  # such a detection must have a partner in the other run
PARTNER_SCORE = 0.2  # which has at least this score
PARTNER_IOU = 0.7


def run(*words):
    """Run a Python command that must succeed and return its output."""
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def samples(shared):
    folder = shared / "data" / "dota_samples"
    if not folder.is_dir():
        pytest.skip("no DOTA samples")
    return folder


@pytest.fixture(scope="module")
def weights(samples, shared, tmp_path_factory):
    """A network overfitted to twelve harbor patches with hundreds of ships, in a minute or two."""
    root = tmp_path_factory.mktemp("trained")
    (root / "full.txt").write_text("P0706\n")
    run("-m", "DOTA_devkit", "split", samples, root / "patches", "--list", root / "full.txt",
        "--size", 320, "--gap", 64)  # fmt: skip
    patches = (root / "patches/full.txt").read_text().split()
    (root / "train.txt").write_text("\n".join(patches[::2][:12]))
    run("main.py", "--phase", "train", "--data_dir", root / "patches", "--train_list",
        root / "train.txt", "--classes", "ship,small-vehicle,harbor", "--backbone", "mobilenetv2",
        "--head_conv", 64, "--pretrained", shared / "weights/mobilenet_v2_imagenet.pth",
        "--no_augment", "--input_h", 320, "--input_w", 320, "--batch_size", 2, "--num_epoch", 24,
        "--init_lr", 2e-3, "--schedule", "cosine", "--num_workers", 0, "--save_every", 0,
        "--run_dir", root, "--device", "cpu")  # fmt: skip
    return root / "weights_dota/model_last.pth"


def predict(weights, samples, output, *flags):
    """Return image -> corners, scores and labels of the JSON file, and the log."""
    sources = [samples / f"images/{name}.png" for name in IMAGES]
    log = run("main.py", "--phase", "predict", "--weights", weights, "--output", output,
              "--device", "cpu", "--formats", "json", "--source", *sources, *flags)  # fmt: skip
    found = {}
    for image in json.loads((output / "detections.json").read_text())["images"]:
        rows = image["detections"]
        found[image["image"]] = (
            np.array([row["corners"] for row in rows]).reshape(-1, 4, 2),
            np.array([row["score"] for row in rows]),
            np.array([row["label"] for row in rows], int),
        )
    assert tuple(found) == IMAGES
    return found, log


def without_partner(one, other):
    """Return the corners of certain detections that another run lacks, and how many are certain."""
    (corners, scores, labels), (others, other_scores, other_labels) = one, other
    certain = scores >= CERTAIN_SCORE
    same = iou_matrix(corners[certain], others) >= PARTNER_IOU
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
def test_windows_find_what_the_whole_image_holds(
    weights, samples, tmp_path, tile, overlap, max_unmatched_share
):
    """Few of the certain detections have no partner in the other run."""
    whole, log = predict(weights, samples, tmp_path / "whole", "--tile", 0)
    assert "2 windows" in log and "all K" not in log
    tiled, log = predict(weights, samples, tmp_path / "tiled",
                         "--tile", tile, "--overlap", overlap, "--scales", 1)  # fmt: skip
    assert "all K" not in log
    for one, other in ((whole, tiled), (tiled, whole)):
        unmatched, certain = [], 0
        for name in IMAGES:
            corners, count = without_partner(one[name], other[name])
            unmatched += corners.tolist()
            certain += count
        assert certain >= 100, "the training has failed"
        assert len(unmatched) <= max_unmatched_share * certain, unmatched


@pytest.mark.slow
def test_most_detections_match_labels(weights, samples, tmp_path):
    """The test above is one of a working detector: its ships lie on those of the labels."""
    from DOTA_devkit.formats import read_labels

    found, _ = predict(weights, samples, tmp_path, "--tile", 608, "--scales", 1)
    corners, scores, labels = found["P0706"]
    ships = corners[(scores >= CERTAIN_SCORE) & (labels == 0)]
    truth = read_labels(samples / "labelTxt/P0706.txt")
    overlap = iou_matrix(ships, truth.corners)
    nearest = truth.corners[overlap.argmax(axis=1)]
    assert len(ships) >= 100
    assert np.mean(paired_iou(ships, nearest) >= 0.5) >= 0.8


@pytest.mark.slow
def test_16_bits_are_detected_like_8_bits(weights, samples, tmp_path):
    """Some 10 bits in 16, with haze that is strongest in blue."""
    (tmp_path / "images").mkdir()
    for name in IMAGES:
        picture = cv2.imread(str(samples / f"images/{name}.png"))
        measured = picture.astype(np.uint16) * 4 + np.array((320, 180, 100), np.uint16)
        assert cv2.imwrite(str(tmp_path / f"images/{name}.png"), measured)
    flags = ("--tile", 608, "--scales", 1)
    eight, _ = predict(weights, samples, tmp_path / "eight", *flags)
    sixteen, log = predict(weights, tmp_path, tmp_path / "sixteen", *flags)
    assert log.count("16 bits are stretched to 8") == 2
    for one, other in ((eight, sixteen), (sixteen, eight)):
        counts = [without_partner(one[name], other[name]) for name in IMAGES]
        unmatched = sum(len(corners) for corners, _ in counts)
        certain = sum(count for _, count in counts)
        assert certain >= 100
        assert unmatched <= 0.05 * certain
