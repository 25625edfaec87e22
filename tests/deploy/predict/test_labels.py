"""Detections as labels of annotation tools: written, read again by `convert`, and never lost."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.predict import labels as label_writer
from deploy.predict.settings import FORMATS as RESULT_FORMATS
from deploy.predict.settings import LABEL_FORMATS
from deploy.predict.sources import ImageSource
from DOTA_devkit.commands import main as devkit
from DOTA_devkit.convert import read_folder
from DOTA_devkit.converters.datasets import Source
from DOTA_devkit.converters.table import FORMATS
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_labels
from DOTA_devkit.images import find_images
from helpers.data_folders import write_turned_jpeg
from helpers.drawn_objects import NAMES, DrawnObjects, scene
from helpers.paths import ROOT
from helpers.prediction_runs import OBJECTS, SIZE_WH, Killed, run, write
from structures.boxes import rectangles_to_corners
from structures.detections import Detections

RECTANGLES_ALONE = ("rolabelimg", "yolo-xywhr", "labelimg-obb", "coco-rotated")
WITH_SCORES = ("labelme", "xanylabeling", "coco", "coco-rotated", "labelstudio")

# Center, sides and degrees of boxes: upright, turned, beyond the border of the image.
RECTANGLES = np.array(
    [[50.25, 40, 30.5, 12, 0], [120, 80, 41.3, 10.7, 35], [240, 30, 25, 25, -70],
     [395, 120, 40, 16, 17]], np.float32,
)  # fmt: skip
SHEARED = np.array([[[60, 200], [110, 210], [100, 240], [50, 230]]], np.float32)  # no rectangle


class Known(DrawnObjects):
    """Finds given boxes in bright images, whatever else they show."""

    def __init__(self, corners, scores=None):
        super().__init__(SIZE_WH[::-1])
        count = len(corners)
        scores = np.linspace(0.9, 0.31, count, dtype=np.float32) if scores is None else scores
        self.found = Detections(corners, scores, np.arange(count) % 2, NAMES)

    def find(self, image):
        return self.found if image.mean() > 50 else Detections()


def target_of(out, name):
    row = FORMATS[LABEL_FORMATS[name]]
    return out / (f"{name}{row.suffix}" if row.one_file else name)


def distance(corners, others):
    """The largest distance of corners [4, 2] to their partners, from any first corner on."""
    return min(np.abs(corners - np.roll(others, k, axis=0)).max() for k in range(4))


def convert(*words):
    return devkit(["convert", *map(str, words)])


@pytest.fixture
def pictures(tmp_path):
    """Return a folder with a bright image, in which there is something, and a dark one."""
    for name, value in (("bright", 70), ("dark", 20)):
        image = np.full((SIZE_WH[1], SIZE_WH[0], 3), value, np.uint8)
        image[::7, ::5] += 9
        write(tmp_path / "images" / f"{name}.png", image)
    return tmp_path / "images"


@pytest.fixture
def no_images_are_read(monkeypatch):
    def fail(*_):
        raise AssertionError("the work has started")

    monkeypatch.setattr("deploy.predict.reading.read_window", fail)


@pytest.mark.parametrize("boxes", ["rectangles", "sheared"])
@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_labels_come_back_as_they_were_found(tmp_path, pictures, capsys, caplog, name, boxes):
    caplog.set_level("INFO")
    corners = rectangles_to_corners(RECTANGLES) if boxes == "rectangles" else SHEARED
    detector = Known(corners.astype(np.float32))
    done = run(pictures, tmp_path / "out", detector, formats=(name,), tile=0)
    assert [len(one.detections) for one in done.images] == [len(corners), 0] and not done.faults
    target = target_of(tmp_path / "out", name)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [target.name]
    changed = name in RECTANGLES_ALONE and boxes == "sheared"
    assert ("1 boxes that are no rectangles became their smallest" in caplog.text) == changed

    images = find_images(pictures)
    source = Source(target, LABEL_FORMATS[name], images, NAMES, angle_unit=None)
    bright, dark = read_folder(source)
    assert (bright.image_id, dark.image_id) == ("bright", "dark") and not len(dark.labels)
    assert bright.size_wh in (SIZE_WH, None)
    assert bright.labels.names == ("plane", "ship", "plane", "ship")[: len(corners)]
    if not changed:
        assert max(map(distance, corners, bright.labels.corners)) < 0.01
    expected = detector.found.scores if name in WITH_SCORES else np.full(len(corners), np.nan)
    np.testing.assert_allclose(bright.scores, expected, atol=1e-6)

    # as a user converts them back, without a word about the format unless none can tell it
    assert convert(target, tmp_path / "labelTxt", "--images", pictures) == 0
    again = read_labels(tmp_path / "labelTxt/bright.txt")
    assert again.names == bright.labels.names
    np.testing.assert_allclose(again.corners, bright.labels.corners, atol=0.0051)
    assert (tmp_path / "labelTxt/dark.txt").read_text() == ""


def stored_shapes(out):
    """Name of each tool that can turn boxes -> the kind of each object in its file."""
    cvat = ElementTree.parse(out / "cvat.xml").getroot()
    (task,) = json.loads((out / "labelstudio.json").read_text())
    (xanylabeling,) = (out / "xanylabeling").iterdir()
    (rolabelimg,) = (out / "rolabelimg").iterdir()
    return {
        "cvat": [shape.tag for shape in cvat.find("image")],
        "labelstudio": [one["type"] for one in task["predictions"][0]["result"]],
        "xanylabeling": [
            one["shape_type"] for one in json.loads(xanylabeling.read_text())["shapes"]
        ],
        "rolabelimg": [one.text for one in ElementTree.parse(rolabelimg).getroot().iter("type")],
    }


RECTANGLES_OF_TOOLS = {
    "cvat": "box",
    "labelstudio": "rectanglelabels",
    "xanylabeling": "rotation",
    "rolabelimg": "robndbox",
}
TOOLS = (*RECTANGLES_OF_TOOLS, "labelme", "yolo")


@pytest.mark.parametrize(
    "search", [{}, {"tile": 0, "scales": (0.318,)}, {"tile": 96, "scales": (0.317,)}]
)
def test_network_that_finds_rectangles_gives_rectangles_to_tools(tmp_path, caplog, search):
    """The image is scaled by other factors in x and y, which makes parallelograms of them."""
    caplog.set_level("INFO")
    image = np.full((333, 1001, 3), 90, np.uint8)
    image[::7, ::5] += 9  # windows of a single color are not searched
    path = write(tmp_path / "images/a.png", image)
    detector = Known(rectangles_to_corners(RECTANGLES * (0.7, 0.5, 0.7, 0.7, 1)))
    detector.input_hw = (352, 1024)  # of which the image fills 341 rows, instead of 340.65
    out = tmp_path / "polygons"
    done = run(path, out, detector, formats=TOOLS, **search)
    (found,) = [one.detections for one in done.images]
    assert len(found) >= len(RECTANGLES)
    assert "polygon" in stored_shapes(out)["cvat"]

    detector.finds_rectangles = True
    caplog.clear()
    out = tmp_path / "rectangles"
    run(path, out, detector, formats=TOOLS, **search)
    assert stored_shapes(out) == {
        tool: [kind] * len(found) for tool, kind in RECTANGLES_OF_TOOLS.items()
    }
    assert "no rectangles" not in caplog.text
    for tool in TOOLS:
        source = Source(target_of(out, tool), LABEL_FORMATS[tool], find_images(path.parent), NAMES)
        (read,) = read_folder(source)
        a, b, c, d = read.labels.corners.transpose(1, 0, 2)
        np.testing.assert_allclose(((b - a) * (c - b)).sum(axis=1), 0, atol=0.02)
        np.testing.assert_allclose(a + c, b + d, atol=1e-3)
        assert max(map(distance, found.corners, read.labels.corners)) < 0.3


@pytest.mark.parametrize("far", [0, 90_000])
def test_rectangles_far_from_the_origin_and_of_squashed_images(tmp_path, far):
    """Neither the digits of float32 nor a large difference of the scales makes them polygons."""
    corners = rectangles_to_corners(RECTANGLES).astype(np.float64) * (1, 0.6) + far
    found = Detections(corners.astype(np.float32), np.ones(4, np.float32), np.zeros(4, np.int64))
    source = ImageSource("a", Path("images/a.png"), (100_000, 100_000))
    for name in RECTANGLES_OF_TOOLS:
        label_writer.write_labels(name, [(source, found)], NAMES, tmp_path, rectangles=True)
    assert stored_shapes(tmp_path) == {
        tool: [kind] * 4 for tool, kind in RECTANGLES_OF_TOOLS.items()
    }
    image = ElementTree.parse(tmp_path / "cvat.xml").getroot().find("image")
    # The first is upright, 30.5 x 12 about (50.25, 40), so only its height and place change.
    left, top, right, bottom = (float(image[0].get(key)) for key in ("xtl", "ytl", "xbr", "ybr"))
    center = (left + right) / 2 - far, (top + bottom) / 2 - far
    np.testing.assert_allclose(center, (50.25, 24), atol=0.01)
    np.testing.assert_allclose(sorted((right - left, bottom - top)), (7.2, 30.5), atol=0.02)


def test_labels_of_an_image_in_windows(tmp_path, picture):
    """What is merged from windows is written as it is in the other files."""
    done = run(picture, tmp_path / "out", formats=("labelme", "json"))
    assert done.windows > 1
    (image,) = json.loads((tmp_path / "out/detections.json").read_text())["images"]
    document = json.loads((tmp_path / "out/labelme/harbor.json").read_text())
    assert (document["imageWidth"], document["imageHeight"]) == SIZE_WH
    assert len(document["shapes"]) == len(OBJECTS)
    for shape, one in zip(document["shapes"], image["detections"], strict=True):
        assert (shape["label"], shape["score"]) == (one["class"], one["score"])
        np.testing.assert_allclose(shape["points"], one["corners"], atol=0.0051)


def test_label_studio_gets_predictions(tmp_path, pictures):
    detector = Known(rectangles_to_corners(RECTANGLES[:2]), np.array([0.8, 0.6], np.float32))
    run(pictures, tmp_path / "out", detector, formats=("labelstudio",), tile=0)
    bright, dark = json.loads((tmp_path / "out/labelstudio.json").read_text())
    assert bright["data"]["image"] == "/data/local-files/?d=images/bright.png"
    assert "annotations" not in bright and dark["predictions"][0]["result"] == []
    (prediction,) = bright["predictions"]
    assert prediction["score"] == pytest.approx(0.7)
    assert [region["score"] for region in prediction["result"]] == [0.8, 0.6]


def test_images_beside_the_labels_are_found_by_the_tool(tmp_path, pictures):
    run(pictures, tmp_path, Known(SHEARED), formats=("labelme",), tile=0)
    document = json.loads((tmp_path / "labelme/bright.json").read_text())
    assert document["imagePath"] == "../images/bright.png"


def test_boxes_without_area_are_left_out(tmp_path, pictures, caplog):
    flat = np.array([[[9, 9], [30, 9], [30, 9], [9, 9]]], np.float32)
    detector = Known(np.concatenate([SHEARED, flat]))
    done = run(pictures, tmp_path / "out", detector, formats=("dota", "csv"), tile=0)
    assert len(done.images[0].detections) == 2
    assert len(read_labels(tmp_path / "out/dota/bright.txt")) == 1
    assert "dota: 1 detections without area are left out (first: " in caplog.text
    assert "bright.png: detection 2)" in caplog.text


@pytest.mark.parametrize("orientation", [3, 6])
def test_labels_of_a_turned_photo_are_in_the_frame_of_the_tool(tmp_path, orientation):
    """An object in the stored pixels, found where the tool shows it."""
    shown = scene((120, 90), [("ship", 30, 25, 40, 12, 0)])
    turned = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_COUNTERCLOCKWISE}[orientation]
    (tmp_path / "images").mkdir()
    write_turned_jpeg(tmp_path / "images/a.jpg", orientation, cv2.rotate(shown, turned))
    formats = ("labelme", "cvat", "labelstudio", "yolo", "coco", "dota")
    run(tmp_path / "images", tmp_path / "out", formats=formats, tile=0)
    expected = [[10, 19], [50, 19], [50, 31], [10, 31]]
    for name in formats:
        labels = target_of(tmp_path / "out", name)
        folder = tmp_path / "back" / name
        assert convert(labels, folder, "--images", tmp_path / "images") == 0
        (corners,) = read_labels(folder / "a.txt").corners
        left_first = np.roll(corners, -int(np.argmin(corners.sum(axis=1))), axis=0)
        np.testing.assert_allclose(left_first, expected, atol=2)
    document = json.loads((tmp_path / "out/labelme/a.json").read_text())
    assert (document["imageWidth"], document["imageHeight"]) == (120, 90)


def test_turned_photo_is_refused_for_a_tool_that_does_not_turn_it(tmp_path, no_images_are_read):
    for name in ("a", "b"):
        write_turned_jpeg(tmp_path / f"{name}.jpg", 6, np.full((80, 100, 3), 90, np.uint8))
    with pytest.raises(InputError) as error:
        run(tmp_path, tmp_path / "out", formats=("json", "rolabelimg"))
    assert "a.jpg has the orientation tag 6" in str(error.value)
    assert "exiftran -ai b.jpg" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_images_of_one_name_are_refused(tmp_path, no_images_are_read):
    for folder in ("x", "y"):
        write(tmp_path / folder / "a.png", scene((50, 40), []))
    sources = [tmp_path / "x", tmp_path / "y"]
    with pytest.raises(InputError, match=r"x/a.png and .*y/a.png share the name a, by which"):
        run(sources, tmp_path / "out", formats=("coco",))


def test_class_names_with_spaces(tmp_path, pictures):
    detector = Known(SHEARED)
    detector.classes = ("small vehicle", "ship")
    with pytest.raises(InputError, match="dota: class 'small vehicle' contains white space"):
        run(pictures, tmp_path / "out", detector, formats=("labelme", "dota"), tile=0)
    assert detector.batches == [] and not (tmp_path / "out").exists()
    run(pictures, tmp_path / "out", detector, formats=("labelme", "yolo"), tile=0)
    shapes = json.loads((tmp_path / "out/labelme/bright.json").read_text())["shapes"]
    assert [shape["label"] for shape in shapes] == ["small vehicle"]


@pytest.mark.parametrize("name", ["labelme", "coco", "yolo"])
def test_corrected_labels_are_not_replaced(tmp_path, pictures, name):
    out, detector = tmp_path / "out", Known(SHEARED)
    run(pictures, out, detector, formats=(name, "csv"), tile=0)
    path = target_of(out, name)
    path = path if path.is_file() else path / f"bright{FORMATS[name].suffix}"
    written = path.read_text()
    path.write_text("corrected")
    again = Known(SHEARED)
    with pytest.raises(InputError, match=re.escape(f"{target_of(out, name)}") + ".*`overwrite`"):
        run(pictures, out, again, formats=(name, "csv"), tile=0)
    assert path.read_text() == "corrected" and again.batches == []
    assert not list(out.glob("progress-*"))
    run(pictures, out, again, formats=("csv",), tile=0)  # other formats do not touch them
    assert path.read_text() == "corrected"
    run(pictures, out, again, formats=(name,), tile=0, overwrite=True)
    assert path.read_text() == written
    # labels of other images stay
    if name == "labelme":
        write(tmp_path / "more/new.png", np.full((40, 50, 3), 90, np.uint8))
        run(tmp_path / "more", out, Known(SHEARED), formats=(name,), tile=0)
        assert path.read_text() == written and (path.parent / "new.json").is_file()


def test_run_that_was_stopped_while_writing_is_resumed(tmp_path, pictures, monkeypatch):
    """Its own labels are in the way of the second start, but nobody has corrected them yet."""
    write_folder = label_writer.write_folder

    def killed(annotations, target, overwrite):
        write_folder(annotations[:1], target, overwrite)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(label_writer, "write_folder", killed)
        run(pictures, tmp_path / "out", Known(SHEARED), formats=("labelme",), tile=0)
    assert [path.name for path in (tmp_path / "out/labelme").iterdir()] == ["bright.json"]
    again = Known(SHEARED)
    run(pictures, tmp_path / "out", again, formats=("labelme",), tile=0)
    assert again.batches == []
    assert len(list((tmp_path / "out/labelme").iterdir())) == 2


def test_name_of_the_model_is_stored_where_the_format_has_a_field(tmp_path):
    source = ImageSource("a", Path("images/a.png"), (50, 40))
    found = [(source, Detections(SHEARED[:1], np.ones(1, np.float32), np.zeros(1, np.int64)))]
    label_writer.write_labels("labelstudio", found, NAMES, tmp_path, "model_best.pth")
    (task,) = json.loads((tmp_path / "labelstudio.json").read_text())
    assert task["predictions"][0]["model_version"] == "model_best.pth"


def test_labels_take_no_name_of_the_other_results():
    assert not LABEL_FORMATS.keys() & set(RESULT_FORMATS)


def test_page_names_every_format():
    page = (ROOT / "docs/predict.md").read_text(encoding="utf-8")
    for name in LABEL_FORMATS:
        assert f"| `{target_of(Path(), name)}" in page, name
