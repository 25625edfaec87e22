"""Objects that are smaller than a cell in the input, against what training samples show of them."""

import logging
import re
from collections import Counter

import numpy as np
import pytest

from datasets import DOTA, DataOptions
from datasets.augment import ROTATIONS, random_view
from helpers.data_folders import line, make_dota, picture, write_image
from structures.letterbox import Letterbox

CELL = 4
CLASSES = ("ship", "plane", "car")


def opened(root, size_hw=(64, 96), phase="train", **options):
    options = {"min_size": 0, "min_visible": 0.6, "classes": CLASSES, **options}
    return DOTA(root, phase, *size_hw, CELL, options=DataOptions(**options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of images of several shapes with random, also rotated and cut, boxes."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("sizes")
    labels = {}
    sizes = {"wide": (700, 250), "tall": (260, 640), "tiny": (30, 20), "exact": (96, 64)}
    for name, (width, height) in sizes.items():
        lines = []
        for _ in range(80):
            center = rng.uniform((0, 0), (width, height))
            half, angle = rng.uniform(1, 0.05 * width, 2) / 2, rng.uniform(0, np.pi)
            corners = half * [[-1, -1], [1, -1], [1, 1], [-1, 1]]
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            values = (corners @ turn + center).ravel().round(2)
            lines.append(" ".join(map(str, (*values, rng.choice(CLASSES), 0))))
        labels[name] = lines
    make_dota(root, {**labels, "empty": []}, train=[*labels, "empty"])
    for number, (name, size) in enumerate(sizes.items()):
        write_image(root / "images" / f"{name}.png", picture(*size, seed=number))
    return root


def counted_in_samples(dataset):
    """Count the training targets below a cell in the samples themselves."""
    counts = Counter()
    for index in range(len(dataset)):
        _, found = dataset.data_transform(dataset.load_image(index), dataset.load_annotation(index))
        small = found["rect"][:, 2:4].max(axis=1, initial=0) < 1  # in cells
        counts.update(CLASSES[label] for label in found["cat"][small])
    return dict(counts)


@pytest.mark.parametrize("min_visible", [0, 0.6, 1])
@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("size_hw", [(64, 96), (256, 128)])
def test_count_equals_the_count_in_the_samples(folder, size_hw, squash, min_visible):
    dataset = opened(folder, size_hw, squash=squash, min_visible=min_visible, augment=False)
    small = dataset.check_labels().small
    assert small.objects == counted_in_samples(dataset)
    assert 20 < len(small) < 300


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_random_views_change_the_sizes_by_a_tenth_at_most(rotation):
    box = Letterbox.fit((700, 250), (96, 64))
    rng = np.random.default_rng(0)
    areas = [abs(np.linalg.det(random_view(rng, box, rotation)[:, :2])) for _ in range(300)]
    zooms = np.sqrt(np.array(areas) / np.prod(box.scale))
    assert zooms.min() > 0.9 and zooms.max() < 1.12  # upright views are rounded to whole pixels
    assert 0.5 < np.isclose(zooms, 1).mean() < 0.9


def test_the_warning_names_classes_and_an_input_that_is_large_enough(folder, caplog):
    with caplog.at_level(logging.INFO):
        summary = opened(folder).check_labels()
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    counts = ", ".join(f"{n} {k} of {summary.objects[n]}" for n, k in summary.small.objects.items())
    assert counts in warning and "input of 64x96" in warning and "below 4 px" in warning
    assert "python -m DOTA_devkit split DATA_DIR TARGET --size 64" in warning
    assert f"; {len(summary.small)} are smaller than a cell in the input of 64x96" in str(summary)
    height, width = map(int, re.search(r"(\d+)x(\d+) \(input_h x input_w\)", warning).groups())
    assert height % 32 == width % 32 == 0
    assert opened(folder, (height, width)).check_labels().small is None
    assert opened(folder, (height // 2, width // 2)).check_labels().small is not None


@pytest.mark.parametrize(
    ("longer", "small"),
    [(39.9, True), (40, False)],  # in an image of ten times the input: 3.99 and 4 px
)
def test_the_border_of_a_cell(tmp_path, longer, small):
    make_dota(tmp_path, {"a": [line(100, 100, longer, 9, "ship")]}, size=(960, 640), train=["a"])
    assert (opened(tmp_path).check_labels().small is not None) is small


def test_only_targets_of_the_training_set_are_counted(tmp_path, caplog):
    labels = [line(100, 100, 30, 9, "ship"), line(200, 100, 5, 5, "ship"), line(9, 9, 0, 0, "car")]
    labels += [line(300, 300, 200, 90, "plane"), line(400, 400, 20, 20, "plane")]
    make_dota(tmp_path, {"a": labels}, size=(960, 640), train=["a"], val=["a"])
    dataset = opened(tmp_path, min_size=10, allow_overlap=True)
    dataset.max_objs = 2  # the ship and the large plane
    assert dataset.check_labels().small.objects == {"ship": 1}
    caplog.clear()
    assert opened(tmp_path, phase="val").check_labels().small is None
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_images_of_unknown_size_are_not_counted(tmp_path):
    class Own(DOTA):
        def load_image(self, index):
            raise AssertionError("the labels are checked without the images")

    labels = {"a": [line(100, 100, 30, 9, "ship")]}
    make_dota(tmp_path, labels, size=(960, 640), train=["a"])
    assert Own(tmp_path, "train", 64, 96, CELL).check_labels().small is None
    assert DOTA(tmp_path, "train").check_labels().small is None  # no input size
    (tmp_path / "images/a.png").write_bytes(b"no image")
    assert opened(tmp_path).check_labels().small is None


def test_typical_scale_is_the_median_of_what_testing_does(folder):
    dataset = opened(folder)  # an input of 64x96
    scales = []
    for index in range(len(dataset)):
        box = Letterbox.fit(dataset.load_image(index).shape[1::-1], (96, 64))
        scales.append(box.scale[0] * box.scale[1])
    assert dataset.typical_scale() == pytest.approx(np.median(scales) ** 0.5)
    single = opened(folder, squash=True)
    single.img_ids = ["wide"]
    assert single.typical_scale() == pytest.approx((96 / 700 * 64 / 250) ** 0.5)


def test_typical_scale_of_a_large_set_is_sampled(folder, monkeypatch):
    dataset = opened(folder)
    dataset.img_ids = dataset.img_ids * 200
    asked = []
    monkeypatch.setattr(DOTA, "source_wh", lambda self, index: asked.append(index) or (192, 128))
    assert dataset.typical_scale() == 0.5
    assert 256 <= len(asked) <= 512 and asked[0] == 0 and asked[-1] > len(dataset) - 5


def test_typical_scale_of_images_of_unknown_size(folder, monkeypatch):
    monkeypatch.setattr(DOTA, "source_wh", lambda self, index: None)
    assert opened(folder).typical_scale() is None
