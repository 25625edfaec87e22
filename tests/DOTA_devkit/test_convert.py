"""The convert command on whole folders: what it writes, rejects and draws."""

import json

import cv2
import numpy as np
import pytest

from DOTA_devkit.class_lists import parse_class_list
from DOTA_devkit.commands import main
from DOTA_devkit.formats import DOTA_CLASSES, read_labels
from helpers.data_folders import write_turned_jpeg

XML = """<annotation><object><name>{}</name>
<robndbox><cx>20</cx><cy>40</cy><w>20</w><h>40</h><angle>0</angle></robndbox>
</object></annotation>"""
LINE = "10 20 30 20 30 60 10 60"


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes a folder of label files, and 100 x 80 images into images/."""
    (tmp_path / "images").mkdir()

    def make(name, files, images=()):
        target = tmp_path / name
        target.mkdir()
        for file, text in files.items():
            (target / file).write_text(text, encoding="utf-8")
        for image_id in images:
            _, png = cv2.imencode(".png", np.full((80, 100, 3), 90, np.uint8))
            (tmp_path / "images" / f"{image_id}.png").write_bytes(png.tobytes())
        return target

    return make


def convert(*arguments):
    return main(["convert", *map(str, arguments)])


@pytest.mark.slow
def test_convert_reproduces_the_labels_of_hit_uav(shared, tmp_path, capsys):
    source = shared / "data/hit_uav_small"
    assert (
        convert(
            "rolabelimg",
            source / "Annotations",
            tmp_path / "labelTxt",
            "--rename",
            "Car=vehicle,OtherVehicle=vehicle,Bicycle=bicycle",
            "--drop",
            "Person,DontCare",
            "--preview",
            "2",
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "objects removed, as their class is in --drop: 495" in out
    expected = sorted((source / "labelTxt").glob("*.txt"))
    assert [p.name for p in expected] == sorted(p.name for p in (tmp_path / "labelTxt").iterdir())
    for path in expected:
        ours, theirs = read_labels(tmp_path / "labelTxt" / path.name), read_labels(path)
        assert ours.names == theirs.names
        np.testing.assert_array_equal(ours.difficult, theirs.difficult)
        np.testing.assert_allclose(ours.corners, theirs.corners, atol=1e-9)
    assert len(list((tmp_path / "labelTxt_preview").glob("*.jpg"))) == 2


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ([], [f"{LINE} car 0", f"{LINE} 1 0"]),
        (["--classes", "car,van"], [f"{LINE} car 0", f"{LINE} van 0"]),
        (["--classes", "van,car", "--numbers"], [f"{LINE} 1 0", f"{LINE} 1 0"]),
        (["--rename", "1=van"], [f"{LINE} car 0", f"{LINE} van 0"]),
        (["--drop", "1"], [f"{LINE} car 0", ""]),
    ],
)
def test_convert_class_names_and_numbers(folder, tmp_path, options, lines):
    source = folder("xml", {"a.xml": XML.format("car"), "b.xml": XML.format("1")})
    assert convert("rolabelimg", source, tmp_path / "out", *options) == 0
    assert [(tmp_path / "out" / f"{n}.txt").read_text().strip() for n in "ab"] == lines


def test_convert_one_file(folder, tmp_path):
    source = folder("xml", {"a.xml": XML.format("car"), "b.xml": "broken"})
    assert convert("rolabelimg", source / "a.xml", tmp_path / "out") == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.txt"]


def test_convert_reports_all_faults_and_writes_nothing(folder, tmp_path, capsys):
    good, bad = XML.format("car"), XML.format("car").replace(">20</cx>", ">x</cx>")
    source = folder("xml", {"a.xml": bad, "b.xml": good, "c.xml": "<annotation>"})
    assert convert("rolabelimg", source, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "error: 2 files cannot be used" in error
    assert "a.xml:2: <cx> is 'x', not a number" in error
    assert "c.xml:1: not well-formed" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "van"], "a.xml:1: class 'small vehicle' is not among the classes (van)"),
        ([], "change it with --rename, for example 'small vehicle' to 'small-vehicle'"),
        (["--numbers"], "--numbers works with --to dota only, and needs --classes"),
        (["--preview", "1"], "--preview: found no image with objects for"),
        (["--to", "coco"], "no image called a, whose size is needed (--images)"),
        (["--images", "none"], ""),  # not needed here, so not checked
    ],
)
def test_convert_rejects_bad_options(folder, tmp_path, capsys, options, message):
    source = folder("xml", {"a.xml": XML.format("small vehicle")})
    if "--images" in options:
        options = [*options, "--rename", "small vehicle=van"]
        assert convert("rolabelimg", source, tmp_path / "out", *options) == 0
        return
    assert convert("rolabelimg", source, tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_convert_warns_about_a_misspelled_class(folder, tmp_path, caplog):
    source = folder("xml", {"a.xml": XML.format("car")})
    assert convert("rolabelimg", source, tmp_path / "out", "--drop", "Car") == 0
    assert "classes that no label has: Car (the labels have car)" in caplog.text


def test_convert_replaces_files_only_with_overwrite(folder, tmp_path, capsys):
    source = folder("xml", {"a.xml": XML.format("car"), "b.xml": XML.format("car")})
    target = folder("out", {"b.txt": "mine\n", "c.txt": "other\n"})
    assert convert("rolabelimg", source, target) == 2
    assert "b.txt would be replaced" in capsys.readouterr().err
    assert (target / "b.txt").read_text() == "mine\n" and not (target / "a.txt").exists()
    assert convert("rolabelimg", source, target, "--overwrite") == 0
    assert (target / "b.txt").read_text() == f"{LINE} car 0\n"
    assert (target / "c.txt").read_text() == "other\n"


def test_convert_drops_and_reports_boxes_without_area(folder, tmp_path, capsys):
    flat = XML.format("car").replace("<w>20", "<w>0")
    source = folder("xml", {"a.xml": flat})
    assert convert("rolabelimg", source, tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "boxes without area removed: 1 " in out and "a.xml:1)" in out
    assert (tmp_path / "out" / "a.txt").read_text() == ""


def test_previews_show_the_written_labels(folder, tmp_path):
    source = folder("xml", {f"{n}.xml": XML.format("佩里级") for n in "abcde"}, images="abcde")
    for to, classes in [
        ("dota", []),
        ("coco", ["--classes", "佩里级"]),
        ("yolo", ["--classes", "佩里级"]),
    ]:
        target = tmp_path / (to + (".json" if to == "coco" else ""))
        assert convert("rolabelimg", source, target, "--to", to, *classes, "--preview", 3) == 0
        pictures = sorted((tmp_path / f"{to}_preview").iterdir())
        assert [p.name for p in pictures] == ["a.jpg", "c.jpg", "e.jpg"]
        picture = cv2.imread(str(pictures[0])).astype(int)
        assert picture.shape[1] == 100 and picture.shape[0] > 80  # the legend is below the image
        colored = np.ptp(picture, axis=2) > 60
        assert colored[40, 29:32].any() and colored[60, 20]  # right and bottom edge
        assert not colored[30:50, 15:25].any() and not colored[:80, 40:].any()


def test_convert_dota_to_yolo_and_back(shared, tmp_path, capsys):
    folder = shared / "data/dota_samples"
    images = ["--images", folder / "images"]
    assert convert("dota", folder / "labelTxt", tmp_path / "labels", "--to", "yolo", *images) == 0
    names = (tmp_path / "labels" / "classes.txt").read_text().split()
    assert tuple(names) == DOTA_CLASSES["1.0"]  # all, not only those that occur
    assert convert("yolo", tmp_path / "labels", tmp_path / "back", *images) == 0
    for path in (folder / "labelTxt").iterdir():
        before, after = read_labels(path), read_labels(tmp_path / "back" / path.name)
        assert before.names == after.names
        np.testing.assert_allclose(before.corners, after.corners, atol=0.0051)


def test_yolo_image_without_label_file_has_no_objects(folder, tmp_path, capsys):
    labels = folder("labels", {"a.txt": "1 .1 .25 .3 .25 .3 .75 .1 .75\n"}, images="ab")
    assert convert("yolo", labels, tmp_path / "out") == 2
    assert "name the classes with --classes" in capsys.readouterr().err
    (tmp_path / "classes.txt").write_text("ship\nplane\n")
    assert convert("yolo", labels, tmp_path / "out", "--rename", "plane=jet") == 0
    assert (tmp_path / "out" / "a.txt").read_text() == f"{LINE} jet 0\n"
    assert (tmp_path / "out" / "b.txt").read_text() == ""
    assert convert("yolo", labels, tmp_path / "x.json", "--to", "coco", "--drop", "ship") == 0
    data = json.loads((tmp_path / "x.json").read_text())
    assert [c["name"] for c in data["categories"]] == ["plane"]
    assert [i["file_name"] for i in data["images"]] == ["a.png", "b.png"]


def test_class_numbers_of_renamed_classes(folder, tmp_path):
    labels = folder("labels", {"a.txt": "0 .1 .1 .2 .1 .2 .2 .1 .2\n1 .1 .1 .2 .1 .2 .2 .1 .2\n"})
    options = ["--classes", "ship,plane", "--rename", "plane=jet", "--numbers"]
    cv2.imwrite(str(labels / "a.png"), np.zeros((100, 100, 3), np.uint8))
    assert convert("yolo", labels, tmp_path / "out", *options, "--images", labels) == 0
    found = [line.split()[8:] for line in (tmp_path / "out/a.txt").read_text().splitlines()]
    assert found == [["0", "0"], ["1", "0"]]


def test_yolo_label_without_an_image_is_an_error(folder, tmp_path, capsys):
    labels = folder("labels", {"a.txt": "", "classes.txt": "x"}, images="b")
    assert convert("yolo", labels, tmp_path / "out") == 2
    assert "a.txt: no image called a" in capsys.readouterr().err


def test_convert_to_coco_needs_the_class_order(folder, tmp_path, capsys):
    source = folder("labelTxt", {"a.txt": f"{LINE} van 0\n{LINE} car 1\n"}, images="a")
    target = tmp_path / "x.json"
    assert convert("dota", source, target, "--to", "coco") == 2
    assert (
        "the order of the classes car, van is unknown; give it with --classes"
        in capsys.readouterr().err
    )
    assert convert("dota", source, target, "--to", "coco", "--classes", "bus,van,car") == 0
    data = json.loads(target.read_text())
    assert [c["name"] for c in data["categories"]] == ["bus", "van", "car"]
    assert [a["category_id"] for a in data["annotations"]] == [2, 3]
    assert [a["difficult"] for a in data["annotations"]] == [0, 1]
    assert (data["images"][0]["width"], data["images"][0]["height"]) == (100, 80)
    (tmp_path / "classes.txt").write_text("van\ncar\n")
    assert convert("dota", source, target, "--to", "coco", "--overwrite") == 0
    assert json.loads(target.read_text())["annotations"][1]["category_id"] == 2
    (tmp_path / "classes.txt").write_text("van\n")
    assert convert("dota", source, target, "--to", "coco", "--overwrite") == 2
    assert "classes.txt does not have all of them" in capsys.readouterr().err


def test_convert_hrsc_levels(folder, tmp_path):
    text = (
        "<HRSC_Image><HRSC_Objects><HRSC_Object><Class_ID>100000006</Class_ID>"
        "<mbox_cx>20</mbox_cx><mbox_cy>40</mbox_cy><mbox_w>20</mbox_w><mbox_h>40</mbox_h>"
        "<mbox_ang>0</mbox_ang></HRSC_Object></HRSC_Objects></HRSC_Image>"
    )
    source = folder("Annotations", {"100000001.xml": text}, images=["100000001"])
    for level, name in [(1, "ship"), (2, "aircraft-carrier"), (3, "Enterprise")]:
        target = tmp_path / f"level{level}"
        assert convert("hrsc", source, target, "--level", level) == 0
        assert (target / "100000001.txt").read_text() == f"{LINE} {name} 0\n"
    assert convert("hrsc", source, tmp_path / "x.json", "--to", "coco", "--level", 2) == 0
    categories = json.loads((tmp_path / "x.json").read_text())["categories"]
    assert [c["name"] for c in categories] == [
        "ship",
        "aircraft-carrier",
        "warcraft",
        "merchant-ship",
        "submarine",
    ]


def test_convert_rejects_wrong_folders(folder, tmp_path, capsys):
    assert convert("rolabelimg", tmp_path / "none", tmp_path / "out") == 2
    assert "no such folder of labels" in capsys.readouterr().err
    assert convert("rolabelimg", folder("empty", {}), tmp_path / "out") == 2
    assert "no .xml files in this folder" in capsys.readouterr().err
    source = folder("xml", {"a.xml": XML.format("car")})
    target = folder("file", {"out": ""}) / "out"
    assert convert("rolabelimg", source, target) == 2  # a file where a folder should be
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "Traceback" not in error


def test_historical_dota2coco(shared, folder, tmp_path):
    from DOTA_devkit.DOTA2COCO import DOTA2COCO, wordname_15

    destination = tmp_path / "x.json"
    for _ in range(2):  # the second replaces the first
        DOTA2COCO(str(shared / "data/dota_samples"), str(destination))
    data = json.loads(destination.read_text())
    assert [c["name"] for c in data["categories"]] == wordname_15
    assert len(data["images"]) == 15 and len(data["annotations"]) == 831
    image = next(i for i in data["images"] if i["file_name"] == "P1888.png")
    boxes = [a for a in data["annotations"] if a["image_id"] == image["id"]]
    first = (shared / "data/dota_samples/labelTxt/P1888.txt").read_text().splitlines()[2].split()
    assert boxes[0]["segmentation"] == [[float(v) for v in first[:8]]]
    assert data["categories"][boxes[0]["category_id"] - 1]["name"] == first[8]

    folder("labelTxt", {"a.txt": f"{LINE} van 0\n"}, images="a")
    with pytest.raises(ValueError, match=r"a\.txt:1: class 'van' is not among the classes"):
        DOTA2COCO(tmp_path, destination)
    DOTA2COCO(tmp_path, destination, classes=["van"])
    assert len(json.loads(destination.read_text())["annotations"]) == 1


SIZED = XML.replace("<object>", "<size><width>{}</width><height>{}</height></size><object>", 1)


def turned_jpeg(path, orientation, width=100, height=80):
    """Write a JPEG that EXIF data turns; `width` and `height` are those of its stored pixels."""
    write_turned_jpeg(path, orientation, np.full((height, width, 3), 90, np.uint8))


@pytest.mark.parametrize("target", ["dota", "coco", "yolo"])
def test_labels_of_stored_pixels_are_refused(folder, tmp_path, capsys, target):
    """roLabelImg shows a photo as it is stored; this project shows it as EXIF data says."""
    source = folder("Annotations", {"a.xml": SIZED.format(100, 80, "ship")})
    turned_jpeg(tmp_path / "images/a.jpg", 6)
    assert convert("rolabelimg", source, tmp_path / "out", "--to", target) == 2
    told = capsys.readouterr().err
    assert "a.xml: the labels are of an image of 100x80, but" in told
    assert "orientation tag 6 and is shown as 80x100 (width x height): exiftool" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("orientation", "size", "warning"),
    [
        (1, (100, 80), None),
        (6, (80, 100), "does not show whether it was labeled as it is stored"),
        (3, (100, 80), "does not show whether it was labeled as it is stored"),
        (1, (200, 160), "the labels are of an image of 200x160, but"),
        (6, (200, 160), "the labels are of an image of 200x160, but"),
        (1, (0, 0), None),  # older files of roLabelImg
    ],
)
def test_sizes_in_labels_are_compared(folder, tmp_path, caplog, orientation, size, warning):
    source = folder("Annotations", {"a.xml": SIZED.format(*size, "ship")})
    turned_jpeg(tmp_path / "images/a.jpg", orientation)
    assert convert("rolabelimg", source, tmp_path / "out") == 0
    assert [warning in message for message in caplog.messages] == ([True] if warning else [])


def test_unreadable_images_do_not_stop_a_conversion(folder, tmp_path, caplog):
    source = folder("Annotations", {"a.xml": SIZED.format(100, 80, "ship")})
    (tmp_path / "images/a.png").write_bytes(b"no image")
    assert convert("rolabelimg", source, tmp_path / "out") == 0
    assert "its size is not compared with that in the labels" in caplog.text
    (tmp_path / "images/a.jpg").write_bytes(b"no image")  # a second image of this id
    assert convert("rolabelimg", source, tmp_path / "again") == 0
    assert "share the id a" in caplog.text


CVAT_BOX = """<annotations><image name="a.jpg" width="{}" height="{}">
<box label="ship" xtl="10" ytl="20" xbr="30" ybr="60"/></image></annotations>"""
LABELME = '{{"shapes": [{{"label": "ship", "points": [[10, 20], [30, 60]], \
"shape_type": "rectangle"}}], "imageWidth": {}, "imageHeight": {}}}'
STUDIO = '[{{"data": {{"image": "a.jpg"}}, "annotations": [{{"result": [{{"original_width": {}, \
"original_height": {}, "value": {{"x": 5, "y": 6, "width": 7, "height": 8, \
"rectanglelabels": ["ship"]}}}}]}}]}}]'


@pytest.mark.parametrize(
    ("name", "file", "text"),
    [
        ("cvat", "annotations.xml", CVAT_BOX),
        ("labelme", "a.json", LABELME),
        ("label-studio", "tasks.json", STUDIO),
    ],
)
def test_tools_that_turn_photos_label_what_is_shown(
    folder, tmp_path, capsys, caplog, name, file, text
):
    turned_jpeg(tmp_path / "images/a.jpg", 6)  # stored as 100 x 80
    source = folder("labels", {file: text.format(80, 100)})
    assert convert(name, source, tmp_path / "out") == 0
    assert not caplog.messages
    (source / file).write_text(text.format(100, 80))
    assert convert(name, source, tmp_path / "other") == 2
    assert "the labels are of an image of 100x80" in capsys.readouterr().err
    turned_jpeg(tmp_path / "images/a.jpg", 3)  # rotated by 180 degrees: the size does not show it
    assert convert(name, source, tmp_path / "other") == 0
    assert not caplog.messages


def test_labelimg_obb_does_not_turn_photos(folder, tmp_path, caplog):
    source = folder("labels", {"a.txt": "YOLO_OBB\n0 20 40 20 40 0\n", "classes.txt": "ship\n"})
    turned_jpeg(tmp_path / "images/a.jpg", 6)
    assert convert(source, tmp_path / "out") == 0
    assert "does not show whether it was labeled as it is stored" in caplog.text


@pytest.mark.parametrize(
    ("name", "is_refused"), [("rolabelimg", True), ("labelimg-obb", True), ("labelme", False)]
)
def test_labels_of_turned_photos_for_tools_that_do_not_turn_them(
    folder, tmp_path, capsys, name, is_refused
):
    source = folder("labelTxt", {"a.txt": f"{LINE} ship 0\n", "b.txt": ""})
    turned_jpeg(tmp_path / "images/a.jpg", 6)
    turned_jpeg(tmp_path / "images/b.jpg", 6)  # without objects, nothing can lie elsewhere
    code = convert("dota", source, tmp_path / "out", "--to", name, "--classes", "ship")
    error = capsys.readouterr().err
    assert (code == 2) == is_refused and "b.jpg" not in error
    if is_refused:
        assert "a.jpg has the orientation tag 6" in error and "exiftran -ai a.jpg" in error
        assert not (tmp_path / "out").exists()


def test_yolo_labels_come_with_the_class_names(folder, tmp_path):
    pytest.importorskip("yaml")
    source = folder("labelTxt", {"a.txt": f"{LINE} ship 0\n"}, images="a")
    names = ["--classes", 'no,ship,"x":'], ("no", "ship", '"x":')
    assert convert("dota", source, tmp_path / "labels", "--to", "yolo", *names[0]) == 0
    assert parse_class_list(str(tmp_path / "labels/data.yaml")) == names[1]
    assert parse_class_list(str(tmp_path / "labels/classes.txt")) == names[1]
    (tmp_path / "labels/classes.txt").unlink()
    assert convert("yolo", tmp_path / "labels", tmp_path / "back") == 0
    assert (tmp_path / "back/a.txt").read_text() == f"{LINE} ship 0\n"
    assert convert("dota", source, tmp_path / "labels", "--to", "yolo", *names[0]) == 2


def test_shapes_that_are_not_boxes_are_reported(folder, tmp_path, capsys, caplog):
    shapes = [{"label": "x", "points": [[1, 2]] * n, "shape_type": kind}
              for n, kind in ((1, "point"), (2, "line"))]  # fmt: skip
    shapes.append({"label": "x", "points": [[0, 0], [9, 0], [9, 9], [4, 12], [0, 9]]})
    source = folder("labels", {"a.json": json.dumps({"shapes": shapes})})
    assert convert(source, tmp_path / "out") == 0
    assert "2 shapes are neither boxes nor polygons and are left out (first: " in caplog.text
    assert "a.json: shapes[0] (point)" in caplog.text
    told = "1 outlines of other than four points became their smallest rectangle (first: "
    assert told in capsys.readouterr().out
    (corners,) = read_labels(tmp_path / "out/a.txt").corners
    assert [*corners.min(axis=0), *corners.max(axis=0)] == [0, 0, 9, 12]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["rolabelimg", "xml"], ["car", "van"]),
        (["rolabelimg", "xml", "--classes", "van,bus,car"], ["van", "bus", "car"]),
        (["rolabelimg", "xml", "--map", "van=bus"], ["bus", "car"]),
        (["yolo", "labels", "--classes", "van,bus,car"], ["van", "bus", "car"]),
        (["yolo", "labels", "--classes", "van,bus,car", "--drop", "bus"], ["van", "car"]),
    ],
)
def test_classes_are_written_beside_the_labels(folder, tmp_path, capsys, arguments, names):
    folder("xml", {"a.xml": XML.format("van"), "b.xml": XML.format("car")}, images="ab")
    folder("labels", {"a.txt": "0 .1 .25 .3 .25 .3 .75 .1 .75\n"})
    name, source, *options = arguments
    command = [name, tmp_path / source, tmp_path / "mine/labelTxt", *options, "--write_classes"]
    assert convert(*command) == 0
    assert (tmp_path / "mine/classes.txt").read_text().split() == names
    (tmp_path / "mine/classes.txt").write_text("mine\n")
    for file in (tmp_path / "mine/labelTxt").iterdir():
        file.unlink()
    assert convert(*command) == 2
    assert "mine/classes.txt would be replaced" in capsys.readouterr().err
    assert not list((tmp_path / "mine/labelTxt").iterdir())


def test_categories_of_coco_give_the_class_numbers(folder, tmp_path):
    folder("labelTxt", {"a.txt": f"{LINE} van 0\n"}, images="a")
    coco, numbers = tmp_path / "x.json", {"van": 3, "car": 20, "bus": 100}
    assert convert("dota", tmp_path / "labelTxt", coco, "--to", "coco", "--classes", "van") == 0
    document = json.loads(coco.read_text())
    document["categories"] = [{"id": numbers[name], "name": name} for name in ("bus", "van", "car")]
    document["annotations"][0]["category_id"] = 20
    coco.write_text(json.dumps(document))
    assert convert(coco, tmp_path / "labels", "--to", "yolo", "--map", "van=lorry") == 0
    assert (tmp_path / "labels/classes.txt").read_text().split() == ["lorry", "car", "bus"]
    assert (tmp_path / "labels/a.txt").read_text().startswith("1 ")
    assert convert(coco, tmp_path / "two/labelTxt", "--write_classes", "--drop", "bus") == 0
    assert (tmp_path / "two/classes.txt").read_text().split() == ["van", "car"]
    options = ["--to", "yolo", "--classes", "bus,car"]
    assert convert(coco, tmp_path / "three", *options) == 0
    assert (tmp_path / "three/a.txt").read_text().startswith("1 ")


def test_a_list_of_the_images_is_written(folder, tmp_path, capsys):
    images = [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate("ba")]
    document = {"images": images, "annotations": [], "categories": []}
    source = folder("annotations", {"train.json": json.dumps(document)}) / "train.json"
    command = [source, tmp_path / "labelTxt", "--write_list", tmp_path / "train.txt"]
    assert convert(*command) == 0
    assert (tmp_path / "train.txt").read_text() == "a\nb\n"
    (tmp_path / "labelTxt/a.txt").unlink()
    (tmp_path / "labelTxt/b.txt").unlink()
    assert convert(*command) == 2
    assert "train.txt would be replaced" in capsys.readouterr().err
    assert not list((tmp_path / "labelTxt").iterdir())
