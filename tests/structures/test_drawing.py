"""Drawing: the right pixels change, whatever the size of image and box."""

import cv2
import numpy as np
import pytest

from datasets import DataOptions, open_dataset
from helpers.data_folders import line, make_dota
from structures.detections import Detections
from structures.drawing import (
    WHITE,
    class_color,
    contact_sheet,
    draw_detections,
    draw_polygon,
    draw_targets,
    write_picture,
)

SQUARE = np.array([[40, 10], [40, 30], [10, 30], [10, 10]], np.float32)


def gray(height=60, width=80):
    return np.full((height, width, 3), 90, np.uint8)


def changed(before, after):
    return (before != after).any(axis=2)


def test_class_colors_differ():
    colors = {class_color(label) for label in range(18)}
    assert len(colors) == 18
    assert all(len(c) == 3 and all(type(v) is int and 0 <= v <= 255 for v in c) for c in colors)


def test_draw_polygon():
    image = gray()
    draw_polygon(image, SQUARE, WHITE, 1)
    assert image[10, 25].min() > 200 and image[20, 40].min() > 200
    assert tuple(image[20, 25]) == tuple(image[50, 60]) == (90, 90, 90)


@pytest.mark.parametrize("far", [1e5, 1e9, 1e30])
def test_draw_polygon_far_outside_the_image(far):
    """The visible part of a box that extends far to the right is drawn correctly."""
    image = gray()
    draw_polygon(image, np.array([[far, 10], [far, 30], [20, 30], [20, 10]]), WHITE, 1)
    assert image[20, 20].min() > 200  # the left side
    assert image[10, 50].min() > 200 and image[30, 50].min() > 200
    assert tuple(image[20, 50]) == (90, 90, 90)


def test_draw_polygon_in_a_wide_image():
    image = np.zeros((40, 20_000, 3), np.uint8)
    draw_polygon(image, SQUARE + np.array([19_900, 0]), WHITE, 1)
    assert image[:, :19_900].max() == 0
    assert image[10, 19_925].min() > 200


def draw(image, found, names, truth_corners=None):
    return draw_detections(image, found.corners, found.scores, found.labels, names, truth_corners)


def test_draw_detections_on_a_copy():
    image = gray()
    found = Detections(SQUARE[None], np.float32([0.5]), np.array([1]))
    canvas = draw(image, found, ["ship", "plane"], truth_corners=SQUARE[None] + 25)
    assert (image == 90).all()
    assert np.abs(canvas[20, 40].astype(int) - class_color(1)).max() < 60
    assert canvas[45, 65].min() > 200


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (60, 80)])
def test_text_in_tiny_images(shape):
    image = gray(*shape)
    found = Detections(SQUARE[None], np.float32([0.5]), np.array([0]))
    assert draw(image, found, ["ship"]).shape == image.shape


def test_labels_in_dense_scenes():
    """In a row of boxes the one with the highest score is labeled, and so is a separate box."""
    image = gray(300, 400)
    row = np.stack([SQUARE + np.array([7 * k, 150]) for k in range(8)])
    apart = SQUARE[None] + np.array([300, 250])
    scores = np.float32([0.3, 0.4, 0.5, 0.9, 0.6, 0.5, 0.4, 0.3, 0.2])
    found = Detections(np.concatenate([row, apart]), scores, np.array([0] * 8 + [1]))
    bare = draw(image, found[:0], ["ship", "plane"])
    for corners, label in zip(found.corners, found.labels, strict=True):
        draw_polygon(bare, corners, class_color(int(label)), 1)
    text = changed(bare, draw(image, found, ["ship", "plane"]))
    over = np.zeros((300, 400), bool)
    (width, height), _ = cv2.getTextSize("ship 0.90", cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
    for corners in (row[3], apart[0]):
        x, y = corners[:, 0].min(), corners[:, 1].min()
        over[int(y) - height - 6 : int(y) + 2, int(x) - 2 : int(x) + width + 10] = True
    assert text[over].any() and not text[~over].any()


def test_classes_without_room_are_listed_in_the_corner():
    """Boxes in a column, where each label would cover the next box."""
    image = gray(300, 300)
    stack = np.stack([SQUARE + np.array([100, 14 * k + 100]) for k in range(2)])
    found = Detections(stack, np.float32([0.9, 0.8]), np.array([0, 1]))
    both = draw(image, found, ["ship", "plane"])
    assert changed(image, both)[:20, :60].any()  # plane
    one = draw(image, found[:1], ["ship", "plane"])
    assert not changed(image, one)[:20, :60].any()


def test_draw_without_detections_or_truth():
    image = gray()
    assert not changed(image, draw(image, Detections(), ["ship"])).any()
    assert not changed(image, draw(image, Detections(), ["ship"], np.zeros((0, 4, 2)))).any()


def test_draw_targets(tmp_path):
    lines = [line(20, 30, 60, 24, "ship"), line(10, 60, 20, 20, "plane")]
    make_dota(tmp_path, {"a": lines, "b": []}, size=(96, 96), train=["a", "b"])
    options = DataOptions(classes=("plane", "ship"), augment=False)
    dataset = open_dataset("dota", tmp_path, "train", (96, 96), options)
    canvas = draw_targets(dataset[0], dataset.category)
    assert canvas.shape == (96, 96, 3) and canvas.dtype == np.uint8
    # top and bottom of the ship at y = 30 and 54, left end at x = 20
    ship = np.array(class_color(1))
    for y, x in ((30, 30), (54, 70), (42, 20)):
        near = canvas[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).astype(int)
        assert np.abs(near - ship).sum(axis=1).min() < 60, (y, x)

    empty = draw_targets(dataset[1], dataset.category)
    image = dataset.load_image(1)
    assert np.abs(empty.astype(int) - image).max() <= 1  # no glow


def test_contact_sheet():
    images = [np.full((4, 6, 3), value, np.uint8) for value in (1, 2, 3, 4, 5)]
    sheet = contact_sheet(images)
    assert sheet.shape == (8, 24, 3)
    assert [int(sheet[0, 6 * k, 0]) for k in range(4)] == [1, 2, 3, 4]
    assert sheet[4, 0, 0] == 5 and sheet[4:, 6:].max() == 0
    assert contact_sheet(images[:1]).shape == (4, 6, 3)


def test_write_picture(tmp_path):
    path = tmp_path / "new" / "folder" / "ä.png"
    write_picture(path, gray())
    np.testing.assert_array_equal(
        cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR), gray()
    )
    with pytest.raises(OSError, match=r"x\.jpg"):
        write_picture(tmp_path / "x.jpg", np.zeros((2, 70_000, 3), np.uint8))  # above 65535
