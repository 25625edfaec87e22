"""What holds for every row of the table of label formats: guess, read, write, refuse, document."""

import json

import cv2
import numpy as np
import pytest

from DOTA_devkit.commands import main
from DOTA_devkit.converters.guess import guess_format
from DOTA_devkit.converters.table import FORMATS, WRITTEN
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_labels
from helpers.label_samples import FILES, SHIP, SIZE_WH
from helpers.paths import ROOT

RECTANGLES_ALONE = ("rolabelimg", "yolo-xywhr", "labelimg-obb", "coco-rotated")
NO_DIFFICULTY = ("yolo", "yolo-xywhr", "labelimg-obb", "label-studio", "label-studio-predictions")
GUESSED_AS = {
    "xanylabeling": "labelme",
    "label-studio-predictions": "label-studio",
    "coco-rotated": "coco",
}


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the image a1, and a function that writes label files beside it."""
    (tmp_path / "images").mkdir()
    image = np.full((SIZE_WH[1], SIZE_WH[0], 3), 90, np.uint8)
    cv2.imwrite(str(tmp_path / "images/a1.png"), image)

    def make(name, files):
        labels = tmp_path / name
        labels.mkdir()
        for file, text in files.items():
            (labels / file).write_text(text, encoding="utf-8")
        return labels

    return make


def geotiff(path):
    rasterio = pytest.importorskip("rasterio")
    width, height = SIZE_WH
    transform = rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 4e6)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(
        path, "w", width=width, height=height, transform=transform, **profile
    ) as image:
        image.write(np.full((3, height, width), 90, np.uint8))


def sample(folder, tmp_path, name):
    if name == "geojson":
        (tmp_path / "images/a1.png").unlink()
        geotiff(tmp_path / "images/a1.tif")
    return folder("labels", FILES[name])


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


def distance(corners, others):
    """The largest distance of corners [4, 2] to their partners, in any order around the box."""
    orders = [np.roll(order, k, axis=0) for order in (others, others[::-1]) for k in range(4)]
    return min(np.abs(corners - order).max() for order in orders)


def test_every_format_has_a_sample():
    assert FILES.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_samples_are_guessed_and_read(folder, tmp_path, capsys, name):
    labels = sample(folder, tmp_path, name)
    assert convert(labels, tmp_path / "out", "--preview", 1) == 0
    out = capsys.readouterr().out
    assert f"(--from {GUESSED_AS.get(name, name)})" in out
    found = read_labels(tmp_path / "out/a1.txt")
    assert found.names == ("ship",)
    # The corners are those of the file, in their order, and not those of another box.
    np.testing.assert_allclose(found.corners, [SHIP], atol=0.01)
    assert (tmp_path / "out_preview/a1.jpg").is_file()
    # The same file alone, and the format named in front.
    labeled = next(file for file in labels.iterdir() if file.name != "classes.txt")
    assert convert(name, labeled, "--images", tmp_path / "images", tmp_path / "again") == 0
    assert (tmp_path / "again/a1.txt").read_text() == (tmp_path / "out/a1.txt").read_text()


BOXES = {
    # three turned rectangles, one of them counterclockwise, and one that is upright
    "rectangles": [
        (SHIP, "ship"),
        (SHIP[::-1], "ship"),
        ([[50.5, 60], [30.5, 60], [30.5, 20.25], [50.5, 20.25]], 'a&b<c>"d"'),
        ([[99.5, 200], [150, 250.5], [100, 300.5], [49.5, 250]], "佩里级"),
    ],
    "quadrilaterals": [([[10, 20], [90, 25], [70, 66], [15, 80]], "plane")],
}


@pytest.mark.parametrize("kind", BOXES)
@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "dota"])
def test_round_trip(folder, tmp_path, capsys, name, kind):
    lines = [" ".join(f"{v}" for xy in box for v in xy) + f" {cls} 1" for box, cls in BOXES[kind]]
    labels = folder("labelTxt", {"a1.txt": "\n".join(lines)})
    classes = ["--classes", "plane,ship,佩里级," + 'a&b<c>"d"']
    target = tmp_path / (f"all{FORMATS[name].suffix}" if FORMATS[name].one_file else "there")
    options = ["--images", tmp_path / "images", *classes]
    assert convert(labels, target, "--to", name, *options) == 0
    changed = name in RECTANGLES_ALONE and kind == "quadrilaterals"
    told = "1 boxes that are no rectangles became their smallest one" in capsys.readouterr().out
    assert told == changed
    assert convert(name, target, tmp_path / "back", "--images", tmp_path / "images") == 0
    before, after = read_labels(labels / "a1.txt"), read_labels(tmp_path / "back/a1.txt")
    assert after.names == before.names
    if name not in NO_DIFFICULTY:
        np.testing.assert_array_equal(after.difficult, before.difficult)
    if not changed:
        distances = map(distance, before.corners, after.corners)
        assert max(distances) <= 0.0101
        if name not in RECTANGLES_ALONE:  # the first corner is the first again
            np.testing.assert_allclose(after.corners[0], before.corners[0], atol=0.0101)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_reported_together(folder, tmp_path, capsys, name):
    suffix = FORMATS[name].suffix
    text = {".xml": "<annotation><object>", ".txt": "0 1 x\n"}.get(suffix, '{"shapes": [\n1')
    labels = folder("labels", {f"{n}{suffix}": text for n in ("a1", "a2")})
    (labels / "classes.txt").write_text("ship\n")
    cv2.imwrite(str(tmp_path / "images/a2.png"), np.zeros((9, 9, 3), np.uint8))
    assert convert(name, labels, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert f"a1{suffix}:" in error and f"a2{suffix}:" in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "header", "places"),
    [
        ("coco", '2, "segm', '9, "segm', "2 objects", ["annotations[0].", "annotations[1]."]),
        ("cvat", 'label="ship"', "", "2 images", ["annotations.xml:6", "annotations.xml:10"]),
        ("label-studio", '"ship"', "7", "2 tasks", ["[0].annotations", "[1].annotations"]),
    ],
)
def test_faults_within_a_file_are_reported_together(
    folder, tmp_path, capsys, name, old, new, header, places
):
    ((file, text),) = FILES[name].items()
    if name == "cvat":
        image = text[text.index("  <image") : text.index("</annotations>")]
        text = text.replace(image, image + image.replace("a1.png", "a2.png"))
    else:
        document = json.loads(text)
        tasks = document["annotations"] if name == "coco" else document
        tasks += [json.loads(json.dumps(tasks[0]).replace("a1.png", "a2.png"))]
        text = json.dumps(document)
    assert text.count(old) == 2
    labels = folder("labels", {file: text.replace(old, new)})
    assert convert(name, labels, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert f"error: {header} cannot be used:" in error
    assert all(place in error for place in places)


BOMBS = {
    ".xml": '<!DOCTYPE a [<!ENTITY b "bbb"><!ENTITY c "&b;&b;&b;">]><annotation>&c;</annotation>',
    ".json": "[" * 200_000,
    ".geojson": '{"type":' * 200_000,
}


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].suffix != ".txt"])
def test_bombs_are_refused(folder, tmp_path, capsys, name):
    suffix = FORMATS[name].suffix
    labels = folder("labels", {f"a1{suffix}": BOMBS[suffix]})
    assert convert(name, labels, tmp_path / "out") == 2
    assert f"a1{suffix}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["coco", "cvat", "label-studio"])
@pytest.mark.parametrize("path", ["../../a1.png", "/etc/a1.png", "C:\\\\a1.png", "x/../../a1.png"])
def test_image_names_that_lead_out_of_the_folder_are_refused(folder, tmp_path, capsys, name, path):
    (file, text), *_ = FILES[name].items()
    if name == "label-studio":
        old, path = "/data/upload/1/0a1b2c3d-a1.png", f"/data/local-files/?d={path}"
    else:
        old = "images/a1.png" if name == "cvat" else "a1.png"
    labels = folder("labels", {file: text.replace(old, path)})
    assert convert(name, labels, tmp_path / "out") == 2
    assert "expected the name of an image, in the folder of images" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["coco", "cvat"])
def test_two_images_of_one_id_are_refused(folder, tmp_path, capsys, name):
    (file, text), *_ = FILES[name].items()
    labels = folder("labels", {f"1{file}": text, f"2{file}": text})
    assert convert(name, labels, tmp_path / "out") == 2
    assert "both have the image id a1, which must be unique" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.xml": "<kml/>"}, "expected label files of one known format, got none that is known"),
        ({"a.txt": "hello world\n"}, "got none that is known; name it with --from (dota, "),
        ({"a.xml": "<a/>", "b.json": "{}"}, "of one kind, got .json and .xml; name the format"),
        ({"a.json": "3"}, "none that is known"),
        ({"a.json": '{"x": 1}', "b.json": "[]"}, "none that is known"),
        ({"a.txt": "YOLO_OBB\n", "b.txt": "1 2 3 4 5 6 7 8 ship 0\n"}, "labelimg-obb (a.txt)"),
        ({}, "no .geojson, .json, .txt, .xml files in this folder"),
    ],
)
def test_format_that_cannot_be_guessed_is_an_error(folder, tmp_path, capsys, files, message):
    assert convert(folder("labels", files), tmp_path / "out") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1 2 3 4 5 6 7 8 large vehicle 0\n", "dota"),
        ("gsd:0.1\n10 20 30 20 30 60 10 60 3\n", "dota"),  # a class number
        ("10 20 30 20 30 60 10 60 3 0\n", "dota"),
        ("3 .1 .2 .3 .2 .3 .6 .1 .6\n", "yolo"),
        ("3 .1 .2 .3 .2 .3 .6\n", "yolo"),  # an outline of three points
        ("3 .1 .2 .3 .2 .3\n", "yolo-xywhr"),
        ("\n YOLO_OBB\n", "labelimg-obb"),
    ],
)
def test_text_formats_are_distinguished(folder, text, name):
    labels = folder("labels", {"a.txt": "", "b.txt": text})  # the first tells nothing
    assert guess_format(labels) == name


def test_a_guess_opens_the_first_files_alone(folder):
    labels = folder("labels", {f"{n:02}.txt": "1 2 3 4 5 6 7 8 ship 0\n" for n in range(25)})
    (labels / "24.txt").write_bytes(b"\xff\xfe\xff")
    assert guess_format(labels) == "dota"
    (labels / "00.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"00\.txt:1: expected UTF-8 text"):
        guess_format(labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kml", "a", "b"], "got the format 'kml'; formats are dota, "),
        (["dota", "a", "b", "--from", "yolo"], "expected one format, got dota and --from yolo"),
        (["a"], "expected SOURCE and TARGET, got 'a'"),
        (["dota", "a", "b", "c"], "expected SOURCE and TARGET"),
    ],
)
def test_wrong_arguments_are_errors(capsys, arguments, message):
    assert convert(*arguments) == 2
    assert message in capsys.readouterr().err


def test_images_beside_a_file_of_all_images_are_found(folder, tmp_path):
    """As CVAT exports a task: annotations.xml, and the folder of images beside it."""
    folder("labels", FILES["cvat"])
    (tmp_path / "images").rename(tmp_path / "labels/images")
    labels = tmp_path / "labels/annotations.xml"
    assert convert(labels, tmp_path / "out", "--preview", 1) == 0
    assert (tmp_path / "out_preview/a1.jpg").is_file()


def test_options_may_stand_anywhere(folder, tmp_path):
    labels = folder("labels", FILES["cvat"])
    for number, words in enumerate(
        [
            ["cvat", "--map", "ship=boat", labels, tmp_path / "0"],
            ["cvat", labels, "--map", "ship=boat", tmp_path / "1"],
            ["--map", "ship=boat", "--from", "cvat", labels, tmp_path / "2"],
            [labels, "--from", "cvat", tmp_path / "3", "--rename", "ship=boat"],
        ]
    ):
        assert convert(*words) == 0
        assert read_labels(tmp_path / f"{number}/a1.txt").names == ("boat",)


def test_empty_labels_are_written_on_request(folder, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "images/a2.png"), np.zeros((9, 9, 3), np.uint8))
    labels = folder("labels", FILES["cvat"])
    assert convert(labels, tmp_path / "one") == 0
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["a1.txt"]
    assert convert(labels, tmp_path / "two", "--empty") == 0
    assert (tmp_path / "two/a2.txt").read_text() == ""
    assert convert(labels, tmp_path / "x.json", "--empty", "--to", "coco", "--classes", "ship") == 0
    images = json.loads((tmp_path / "x.json").read_text())["images"]
    assert [(i["file_name"], i["width"]) for i in images] == [("a1.png", 400), ("a2.png", 9)]


def test_documentation_lists_every_format():
    page = (ROOT / "docs/devkit.md").read_text(encoding="utf-8")
    assert f"labels of {len(FORMATS)} formats to any of {len(WRITTEN)} of them" in page
    for name, format_ in FORMATS.items():
        row = next((line for line in page.splitlines() if line.startswith(f"| `{name}` |")), None)
        assert row is not None, name
        assert ("read and written" in row) == (format_.write is not None), row


def test_help_lists_every_format(capsys):
    with pytest.raises(SystemExit):
        convert("--help")
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in FORMATS)
