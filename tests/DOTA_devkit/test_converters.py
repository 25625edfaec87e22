"""Readers and writers of label formats, against values computed by hand."""

import json
import math
import re

import numpy as np
import pytest

from DOTA_devkit.converters.annotation import (
    ClassMap,
    ObjectRecord,
    build_annotation,
    rotated_corners,
)
from DOTA_devkit.converters.coco import coco_dict, read_coco, write_coco
from DOTA_devkit.converters.dota import check_dota_names, format_number, read_dota, write_dota
from DOTA_devkit.converters.hrsc import HRSC_CLASSES, hrsc_classes, read_hrsc
from DOTA_devkit.converters.rolabelimg import read_rolabelimg
from DOTA_devkit.converters.yolo import read_yolo, rejected_by_ultralytics, write_yolo
from DOTA_devkit.errors import InputError

SQUARE = [[10, 20], [30, 20], [30, 60], [10, 60]]


def annotation(tmp_path, objects, size_wh=(100, 200), name="a.txt"):
    """Build an Annotation of (class, corners, difficult) rows, with line numbers from 1."""
    records = [
        ObjectRecord(cls, np.array(corners, float), difficult, line)
        for line, (cls, corners, difficult) in enumerate(objects, 1)
    ]
    return build_annotation(tmp_path / name, records, size_wh)


# --- geometry ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "corners"),
    [
        # not rotated: top left, top right, bottom right, bottom left
        ((20, 40, 20, 40, 0), SQUARE),
        # 90 degrees take +x to +y (down): top left goes to the top right
        ((0, 0, 4, 2, math.pi / 2), [[1, -2], [1, 2], [-1, 2], [-1, -2]]),
        # 180 degrees: the same box, starting at the opposite corner
        ((20, 40, 20, 40, math.pi), [[30, 60], [10, 60], [10, 20], [30, 20]]),
        # 30 degrees: (2, 0), the center of the right edge, goes to (sqrt(3), 1)
        ((0, 0, 4, 0, math.pi / 6), [[-(3**0.5), -1], [3**0.5, 1], [3**0.5, 1], [-(3**0.5), -1]]),
    ],
)
def test_rotated_corners(box, corners):
    np.testing.assert_allclose(rotated_corners(*box), corners, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1323.0, "1323"),
        (12.5, "12.5"),
        (12.346, "12.35"),
        (-0.001, "0"),
        (-7.1, "-7.1"),
        (100.0, "100"),
        (1e6, "1000000"),
        (0.004, "0"),
    ],
)
def test_format_number(value, text):
    assert format_number(value, 2) == text


# --- roLabelImg -------------------------------------------------------------------------------

ROBNDBOX = "<robndbox><cx>20</cx><cy>40</cy><w>20</w><h>40</h><angle>{}</angle></robndbox>"
BNDBOX = "<bndbox><xmin>10</xmin><ymin>20</ymin><xmax>30</xmax><ymax>60</ymax></bndbox>"


def rolabelimg(tmp_path, *objects, size="<size><width>100</width><height>200</height></size>"):
    path = tmp_path / "P0.5 a.xml"
    body = "\n".join(f"<object>\n{entry}</object>" for entry in objects)
    path.write_text(f"<annotation>{size}\n{body}</annotation>", encoding="utf-8")
    return path


def test_rolabelimg_mixed_box_types(tmp_path):
    path = rolabelimg(
        tmp_path,
        "<type>robndbox</type><name>car</name><difficult>1</difficult>"
        + ROBNDBOX.format(math.pi / 2),
        "<type>bndbox</type><name>person</name>" + BNDBOX,
        "<name>佩里级</name>" + ROBNDBOX.format(0),  # no type, no difficult
        # Reversed, as from a drag that starts at the bottom right; not self-intersecting.
        "<name>x</name><bndbox><xmin>30</xmin><ymin>60</ymin><xmax>10</xmax><ymax>20</ymax></bndbox>",
    )
    found = read_rolabelimg(path)
    assert found.image_id == "P0.5 a"
    assert found.size_wh == (100, 200)
    assert list(found.labels.names) == ["car", "person", "佩里级", "x"]
    assert found.labels.difficult.tolist() == [1, 0, 0, 0]
    assert found.labels.lines.tolist() == [2, 4, 6, 8]
    rotated = [[40, 30], [40, 50], [0, 50], [0, 30]]
    np.testing.assert_allclose(found.labels.corners, [rotated, SQUARE, SQUARE, SQUARE], atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "first_x"),
    [("robndbox", 40), ("bndbox", 10), ("", 40)],  # the type decides, else the oriented box
)
def test_rolabelimg_object_with_both_boxes(tmp_path, kind, first_x):
    path = rolabelimg(
        tmp_path, f"<type>{kind}</type><name>car</name>{BNDBOX}{ROBNDBOX.format(math.pi / 2)}"
    )
    assert read_rolabelimg(path).labels.corners[0, 0, 0] == pytest.approx(first_x)


def test_rolabelimg_type_names_an_absent_box(tmp_path):
    path = rolabelimg(tmp_path, "<type>robndbox</type><name>car</name>" + BNDBOX)
    np.testing.assert_allclose(read_rolabelimg(path).labels.corners, [SQUARE])


ROTATION = "<attributes><attribute><name>{}</name><value>{}</value></attribute></attributes>"


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (30, [[140.72, 92.68], [279.28, 172.68], [259.28, 207.32], [120.72, 127.32]]),
        (90, [[220, 70], [220, 230], [180, 230], [180, 70]]),
        (-270, [[220, 70], [220, 230], [180, 230], [180, 70]]),
        (0, [[120, 130], [280, 130], [280, 170], [120, 170]]),
    ],
)
def test_voc_rotation_of_cvat(tmp_path, rotation, expected):
    """By hand: center 200, 150 and half sides 80 and 20, turned clockwise on the screen."""
    box = "<bndbox><xmin>120</xmin><ymin>130</ymin><xmax>280</xmax><ymax>170</ymax></bndbox>"
    others = ROTATION.format("heading", 45)  # an attribute of the user's own
    entry = f"<name>ship</name>{box}{others}{ROTATION.format('rotation', rotation)}"
    found = read_rolabelimg(rolabelimg(tmp_path, entry))
    np.testing.assert_allclose(found.labels.corners, [expected], atol=0.005)


def test_rolabelimg_empty_fields_of_other_shapes(tmp_path):
    path = rolabelimg(tmp_path, BNDBOX + "<name>car</name><polygon/><angle>0.0</angle>")
    np.testing.assert_allclose(read_rolabelimg(path).labels.corners, [SQUARE])


def test_rolabelimg_without_objects_or_size(tmp_path):
    found = read_rolabelimg(rolabelimg(tmp_path, size=""))
    assert found.labels.corners.shape == (0, 4, 2)
    assert found.size_wh is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (ROBNDBOX.format(0), ":2: <object> has no <name>"),
        ("<name> </name>" + ROBNDBOX.format(0), ":3: <name> is empty"),
        ("<name>car</name>", ":2: <object> has neither <robndbox> nor <bndbox>"),
        ("<name>car</name>" + ROBNDBOX.format("nan"), ":3: <angle> is 'nan', not a number"),
        ("<name>car</name>" + ROBNDBOX.format("inf"), ":3: <angle> is 'inf', not a number"),
        ("<name>car</name>" + ROBNDBOX.format(""), ":3: <angle> is empty"),
        ("<name>car</name>" + ROBNDBOX.replace("angle", "other"), ":3: <robndbox> has no <angle>"),
        ("<name>car</name>" + ROBNDBOX.format(0).replace(">20</w>", ">-20</w>"), ":3: .* size -20"),
        (
            "<name>car</name>" + ROBNDBOX.format(30),
            ":3: <angle> is '30', expected a number from -6.2832 to 6.2832 radians",
        ),
        (
            "<name>car</name>" + ROBNDBOX.format(0).replace("<cx>20", "<cx>1e308"),
            ":3: <cx> is '1e308', expected a number from -1000000000 to 1000000000 pixels",
        ),
        *(
            (
                f"<name>car</name><difficult>{difficult}</difficult>{BNDBOX}",
                f":3: <difficult> is '{difficult}', expected an integer from 0 to 2147483647",
            )
            for difficult in ("-3", "1e300", "0.5", "9999999999")
        ),
        ("<type>polygon</type><name>car</name>", ":3: <type> is 'polygon', allowed are"),
        (
            BNDBOX + "<name>car</name><angle>30</angle>",
            ":3: <object> has <angle>, which may change",
        ),
        (
            BNDBOX + "<name>car</name><polygon><x1>3</x1></polygon>",
            ":3: <object> has <polygon>, which may change",
        ),
        (
            BNDBOX.replace("</bndbox>", "\n<theta>1</theta></bndbox>") + "<name>car</name>",
            ":4: <bndbox> has <theta>, .* expected <xmin>, <ymin>, <xmax>, <ymax>",
        ),
        (
            "<name>car</name>" + ROBNDBOX.format(0) + ROTATION.format("rotation", 30),
            ":2: <object> has a <robndbox> and the attribute rotation",
        ),
        (
            "<name>car</name>" + BNDBOX + ROTATION.format("rotation", "left"),
            ":3: <value> is 'left', not a number",
        ),
        ("<name>car</name><difficult>maybe</difficult>" + BNDBOX, ":3: <difficult> is 'maybe'"),
    ],
)
def test_rolabelimg_errors_name_file_and_line(tmp_path, entry, message):
    with pytest.raises(InputError, match=r"P0\.5 a\.xml" + message):
        read_rolabelimg(rolabelimg(tmp_path, entry))


def test_rolabelimg_real_files(shared):
    """Corners agree, up to rounding, with the labels shipped with the files, made by other code."""
    folder = shared / "data/rolabelimg_samples"
    files = sorted((folder / "Annotations").glob("*.xml"))
    assert len(files) == 9
    for path in files:
        found = read_rolabelimg(path)
        expected = folder / "labelTxt" / f"{path.stem}.txt"
        if not expected.is_file():
            assert len(found.labels.names) == 7  # number of <object> tags, counted with grep
            continue
        rows = [line.split() for line in expected.read_text(encoding="utf-8").splitlines()]
        assert list(found.labels.names) == [row[8] for row in rows]
        corners = np.array([row[:8] for row in rows], float).reshape(-1, 4, 2)
        np.testing.assert_allclose(found.labels.corners, corners, atol=0.00501)


# --- HRSC -------------------------------------------------------------------------------------

HRSC = """<HRSC_Image>
<Img_SizeWidth>1138</Img_SizeWidth><Img_SizeHeight>833</Img_SizeHeight>
<HRSC_Objects>{}</HRSC_Objects></HRSC_Image>"""
HRSC_OBJECT = """
<HRSC_Object><Class_ID>{}</Class_ID><difficult>1</difficult>
<mbox_cx>20</mbox_cx><mbox_cy>40</mbox_cy><mbox_w>20</mbox_w><mbox_h>40</mbox_h>
<mbox_ang>0</mbox_ang></HRSC_Object>"""


@pytest.mark.parametrize(
    ("level", "class_id", "name"),
    [
        (1, 100000013, "ship"),
        (2, 100000013, "aircraft-carrier"),
        (3, 100000013, "Kuznetsov"),
        (2, 100000016, "aircraft-carrier"),  # Tarawa is a carrier in sysdata.xml
        (2, 100000029, "warcraft"),  # sysdata.xml lists the medical ship there
        (2, 100000022, "merchant-ship"),
        (2, 100000027, "submarine"),
        (2, 100000001, "ship"),  # of unknown category
        (3, 100000003, "warcraft"),
        (1, 100000999, "ship"),
    ],
)
def test_hrsc_levels(tmp_path, level, class_id, name):
    path = tmp_path / "100000001.xml"
    path.write_text(HRSC.format(HRSC_OBJECT.format(class_id)))
    found = read_hrsc(path, level)
    assert list(found.labels.names) == [name]
    assert name in hrsc_classes(level)
    assert found.size_wh == (1138, 833)
    assert found.labels.difficult.tolist() == [1]
    assert found.labels.lines.tolist() == [4]
    np.testing.assert_allclose(found.labels.corners, [SQUARE])


def test_hrsc_class_lists():
    assert [len(hrsc_classes(level)) for level in (1, 2, 3)] == [1, 5, 31]
    assert len(HRSC_CLASSES) == 31
    # Names become fields of label lines and parts of file names.
    assert all(set(name).isdisjoint(' |()[]_/\\:"') for name in hrsc_classes(3))


def test_hrsc_errors_name_file_and_line(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(HRSC.format(HRSC_OBJECT.format(100000021)))
    with pytest.raises(InputError, match=r"a\.xml:4: Class_ID 100000021 is not in the class tree"):
        read_hrsc(path, 3)
    path.write_text(HRSC.format("<HRSC_Object></HRSC_Object>"))
    with pytest.raises(InputError, match=r"a\.xml:3: <HRSC_Object> has no <mbox_cx>"):
        read_hrsc(path)
    path.write_text("<annotation/>")
    with pytest.raises(InputError, match="the format 'rolabelimg' reads it"):
        read_hrsc(path)
    path.write_text("<HRSC_Image/>")
    with pytest.raises(InputError, match="the format 'hrsc' reads it"):
        read_rolabelimg(path)
    assert len(read_hrsc(path).labels.names) == 0
    with pytest.raises(InputError, match="HRSC level 4: expected one of 1, 2, 3"):
        read_hrsc(path, 4)


# --- class names ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("class_map", "names"),
    [
        (ClassMap(), ["Car", "Van", "0", "Person"]),
        (ClassMap(rename={"Car": "v", "Van": "v"}), ["v", "v", "0", "Person"]),
        (ClassMap(drop=frozenset(["Van", "0"])), ["Car", "Person"]),
        (ClassMap(rename={"Car": "v", "Van": "v"}, drop=frozenset("v")), ["0", "Person"]),
        # the old name can be dropped as well, and a name is renamed only once
        (
            ClassMap(rename={"Car": "Van", "Van": "x"}, drop=frozenset(["0"])),
            ["Van", "x", "Person"],
        ),
        # a number is a position in the classes
        (ClassMap(classes=("Person", "Car", "Van")), ["Car", "Van", "Person", "Person"]),
        # unless a class has that name
        (ClassMap(classes=("Person", "Car", "Van", "0")), ["Car", "Van", "0", "Person"]),
    ],
)
def test_class_map(tmp_path, class_map, names):
    objects = [(name, SQUARE, i) for i, name in enumerate(["Car", "Van", "0", "Person"])]
    found = annotation(tmp_path, objects)
    mapped = class_map.apply(found)
    assert list(mapped.labels.names) == names
    assert len(mapped.labels.corners) == len(mapped.labels.difficult) == len(names)
    kept_lines = mapped.labels.lines - 1
    np.testing.assert_array_equal(mapped.labels.difficult, kept_lines)  # the rows stay aligned


def test_class_map_rejects_unknown_class_and_number(tmp_path):
    found = annotation(tmp_path, [("a", SQUARE, 0), ("2", SQUARE, 0)])
    with pytest.raises(InputError, match=r"a\.txt:2: class '2' is not among the classes \(a, b\)"):
        ClassMap(classes=("a", "b")).apply(found)


def test_class_map_finds_unused_names(tmp_path):
    found = annotation(tmp_path, [("Car", SQUARE, 0)])
    class_map = ClassMap(rename={"Car": "v", "Vam": "v"}, drop=frozenset(["v", "Pers"]))
    assert class_map.unused([found]) == ["Pers", "Vam"]


# --- DOTA text --------------------------------------------------------------------------------


def test_dota_text_round_trip(tmp_path):
    found = annotation(tmp_path, [("船", SQUARE, 0), ("b", np.array(SQUARE) / 3 - 20, 2)])
    write_dota(tmp_path / "out.txt", found)
    assert (tmp_path / "out.txt").read_bytes().decode() == (
        "10 20 30 20 30 60 10 60 船 0\n-16.67 -13.33 -10 -13.33 -10 0 -16.67 0 b 2\n"
    )
    again = read_dota(tmp_path / "out.txt")
    assert list(again.labels.names) == ["船", "b"]
    np.testing.assert_allclose(again.labels.corners, found.labels.corners, atol=0.005)
    write_dota(tmp_path / "out.txt", found, classes=("b", "船"))
    assert [row.split()[8:] for row in (tmp_path / "out.txt").read_text().splitlines()] == [
        ["1", "0"],
        ["0", "2"],
    ]


def test_dota_text_rejects_names_with_spaces(tmp_path):
    found = annotation(tmp_path, [("ok", SQUARE, 0), ("small vehicle", SQUARE, 0)])
    message = (
        r"a\.txt:2: .* change it with `rename`, for example 'small vehicle' to 'small-vehicle'"
    )
    with pytest.raises(InputError, match=message):
        check_dota_names(found)


# --- COCO -------------------------------------------------------------------------------------


def test_coco_dict_and_round_trip(tmp_path):
    diamond = [[50, 10], [60, 30], [50, 50], [40, 30]]
    sets = [
        annotation(tmp_path, [("b", SQUARE, 0), ("a", diamond, 1)], name="P0.txt"),
        annotation(tmp_path, [], (30, 40), name="empty.txt"),
    ]
    data = coco_dict(sets, ("a", "b", "c"), {"P0": "P0.bmp"})
    assert data["images"] == [
        {"id": 1, "file_name": "P0.bmp", "width": 100, "height": 200},
        {"id": 2, "file_name": "empty.png", "width": 30, "height": 40},
    ]
    assert [(c["id"], c["name"]) for c in data["categories"]] == [(1, "a"), (2, "b"), (3, "c")]
    assert data["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 2,
            "iscrowd": 0,
            "difficult": 0,
            "segmentation": [[10, 20, 30, 20, 30, 60, 10, 60]],
            "bbox": [10, 20, 20, 40],
            "area": 800,
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "difficult": 1,
            "segmentation": [[50, 10, 60, 30, 50, 50, 40, 30]],
            "bbox": [40, 10, 20, 40],
            "area": 400,
        },  # half of the rectangle around it
    ]
    write_coco(tmp_path / "x.json", sets, ("a", "b", "c"), {"P0": "P0.bmp"})
    assert json.loads((tmp_path / "x.json").read_text()) == data
    again = read_coco(tmp_path / "x.json")
    assert [a.image_id for a in again] == ["P0", "empty"]
    assert list(again[0].labels.names) == ["b", "a"]
    np.testing.assert_array_equal(again[0].labels.corners, sets[0].labels.corners)


COCO = {
    "images": [{"id": 7, "file_name": "in/P0.png", "width": 100, "height": 200}],
    "annotations": [
        {"id": 5, "image_id": 7, "category_id": 2, "segmentation": [[1, 2, 9, 2, 9, 8, 1, 8]]}
    ],
    "categories": [{"id": 2, "name": "ship"}],
}


def test_read_coco_of_other_tools(tmp_path):
    """Without the key `difficult`, with a byte order mark, and with whole numbers as floats."""
    content = json.dumps(COCO).replace('"width": 100', '"width": 100.0')
    (tmp_path / "x.json").write_text(content, encoding="utf-8-sig")
    (found,) = read_coco(tmp_path / "x.json")
    assert (found.image_id, found.size_wh, found.labels.names) == ("P0", (100, 200), ("ship",))
    assert found.labels.corners.tolist() == [[[1, 2], [9, 2], [9, 8], [1, 8]]]
    assert found.labels.difficult.tolist() == [0] and found.labels.lines.tolist() == [5]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((), [], "x.json: expected a dictionary, got a list of 0 entries"),
        ((), {"boxes": 1}, "x.json: expected the key 'categories', got 'boxes'"),
        (("images",), {}, "x.json: images: expected a list, got a dictionary of 0 entries"),
        (("images", 0), 3, "x.json: images[0]: expected a dictionary, got 3"),
        (("images", 0), {}, "x.json: images[0]: expected the key 'id', got nothing"),
        (("images",), COCO["images"] * 2, "x.json: expected each id in images once"),
        (("images", 0, "id"), "7", "images[0]: id: expected an integer from 0"),
        (("images", 0, "id"), True, "images[0]: id: expected an integer from 0"),
        (("images", 0, "width"), 0, "images[0]: width: expected an integer from 1"),
        (("images", 0, "width"), 1.5, "images[0]: width: expected an integer from 1"),
        (("images", 0, "height"), 10**400, "images[0]: height: expected an integer from 1"),
        (("images", 0, "height"), math.inf, "got inf"),
        (("images", 0, "file_name"), None, "images[0]: file_name: expected a text, got None"),
        (("images", 0, "file_name"), "a" * 2000, "images[0]: expected the id of an image of at"),
        (("categories", 0, "name"), ["ship"], "categories[0]: name: expected a text, got a list"),
        (("categories", 0, "name"), "a" * 2000, "categories[0]: expected a class name of at most"),
        (("annotations", 0), None, "annotations[0]: expected a dictionary, got None"),
        (("annotations", 0, "image_id"), 8, "annotations[0]: image_id: expected one of the ids in"),
        (("annotations", 0, "category_id"), 1, "expected one of the ids in categories, got 1"),
        (("annotations", 0, "category_id"), -1, "category_id: expected an integer from 0"),
        (("annotations", 0, "difficult"), 1e300, "annotations[0]: difficult: expected an integer"),
        (("annotations", 0, "segmentation"), [], "annotations[0]: segmentation: expected a list"),
        (("annotations", 0, "segmentation"), {"counts": [1], "size": [9, 9]}, "4 corners"),
        (("annotations", 0, "segmentation"), [[1, 2, 3, 4, 5, 6]], "polygon of 8 coordinates"),
        (("annotations", 0, "segmentation"), [[1] * 8] * 2, "one polygon of 8 coordinates"),
        (("annotations", 0, "segmentation", 0, 3), math.nan, "segmentation: expected coordinates"),
        (("annotations", 0, "segmentation", 0, 3), "4", "got '4'"),
        (("annotations", 0, "segmentation", 0, 3), 10**400, "got a huge number"),
    ],
)
def test_read_coco_says_what_is_wrong_and_where(tmp_path, place, value, message):
    content = json.loads(json.dumps(COCO))
    if place:
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
    else:
        content = value
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_coco(tmp_path / "x.json")
    assert str(caught.value).startswith(f"{tmp_path}/x.json:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.json:1: expected COCO json, got Expecting value"),
        ('{"images":\n[1,}', "x.json:2: expected COCO json"),
        ("[" * 100_000, "x.json: expected COCO json, got numbers or lists"),
        ("1" * 5000, "x.json: expected COCO json, got numbers or lists"),
        ("[]\n\udcff!", "x.json:2: expected UTF-8 text"),
    ],
)
def test_read_coco_refuses_other_files(tmp_path, text, message):
    (tmp_path / "x.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=re.escape(message)):
        read_coco(tmp_path / "x.json")


def test_coco_needs_the_size(tmp_path):
    with pytest.raises(InputError, match="the size of its image is unknown; give `images`"):
        coco_dict([annotation(tmp_path, [], None)], ("a",))


# --- YOLO-OBB ---------------------------------------------------------------------------------


def test_yolo_text_round_trip(tmp_path):
    found = annotation(tmp_path, [("b", SQUARE, 1), ("a", np.array(SQUARE) - 20, 0)])
    write_yolo(tmp_path / "out.txt", found, ("a", "b"))
    assert (tmp_path / "out.txt").read_text() == (
        "1 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3\n0 -0.1 0 0.1 0 0.1 0.2 -0.1 0.2\n"
    )
    again = read_yolo(tmp_path / "out.txt", (100, 200), ("a", "b"))
    assert list(again.labels.names) == ["b", "a"]
    np.testing.assert_allclose(again.labels.corners, found.labels.corners, atol=1e-6)
    with pytest.raises(InputError, match="the size of its image is unknown; give `images`"):
        write_yolo(tmp_path / "out.txt", annotation(tmp_path, [], None), ("a",))


def test_yolo_tolerates_odd_white_space(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf\r\n1.0\t.1  .1 .3 .1 .3 .3 .1 .3 \r\n\r\n")
    found = read_yolo(path, (100, 200), ("a", "b"))
    assert list(found.labels.names) == ["b"]
    assert found.labels.lines.tolist() == [2]
    path.write_text("")
    assert read_yolo(path, (100, 200), ("a",)).labels.corners.shape == (0, 4, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .1 .1 .3 .1", ":2: 5 fields, expected 9.*axis-aligned boxes"),
        ("0 .1 .1 .3 .1 .3 .3 .1 .3 .9", ":2: 10 fields, expected 9"),
        ("2 .1 .1 .3 .1 .3 .3 .1 .3", r":2: class 2, expected 0 to 1 \(a, b\)"),
        ("-1 .1 .1 .3 .1 .3 .3 .1 .3", ":2: class -1"),
        ("0.5 .1 .1 .3 .1 .3 .3 .1 .3", ":2: class 0.5"),
        ("nan .1 .1 .3 .1 .3 .3 .1 .3", ":2: class nan"),
        ("a .1 .1 .3 .1 .3 .3 .1 .3", ":2: expected nine numbers, got"),
        ("0 .1 .1 .3 .1 .3 .3 .1 nan", ":2: expected corners normalized"),
        ("0 10 20 30 20 30 60 10 60", ":2: expected corners normalized"),
    ],
)
def test_yolo_errors_name_file_and_line(tmp_path, line, message):
    path = tmp_path / "a.txt"
    path.write_text(f"0 .1 .1 .3 .1 .3 .3 .1 .3\n{line}\n")
    with pytest.raises(InputError, match=r"a\.txt" + message):
        read_yolo(path, (100, 200), ("a", "b"))


def test_rejected_by_ultralytics(tmp_path):
    cases = [
        (SQUARE, False),
        (np.subtract(SQUARE, [20, 0]), False),  # center on the border
        (np.subtract(SQUARE, [21, 0]), True),
        (np.add(SQUARE, [81, 0]), True),
        ([[0, 0], [101, 0], [101, 9], [0, 9]], True),  # wider than the image
    ]
    found = annotation(tmp_path, [("a", corners, 0) for corners, _ in cases])
    assert rejected_by_ultralytics(found).tolist() == [outside for _, outside in cases]
