"""JSON formats: what files of single tools may have in them, besides the samples."""

import json

import cv2
import numpy as np
import pytest

from DOTA_devkit.converters.annotation import build_annotation
from DOTA_devkit.converters.coco import read_coco, write_rotated_coco
from DOTA_devkit.converters.datasets import Source, Target
from DOTA_devkit.converters.label_studio import read_label_studio, write_predictions
from DOTA_devkit.converters.labelme import read_labelme, write_labelme, write_xanylabeling
from DOTA_devkit.errors import InputError
from helpers.label_files import FLAT, SQUARE, one, put
from helpers.label_samples import SHIP

# --- labelme ---


def labelme(tmp_path, *shapes, **document):
    document = {"shapes": list(shapes), "imageWidth": 100, "imageHeight": 80, **document}
    return read_labelme(put(tmp_path, "a.json", document))


def shape(points=SQUARE, kind="polygon", **fields):
    return {"label": "ship", "points": points, "shape_type": kind, **fields}


def test_labelme_shapes(tmp_path):
    found = labelme(
        tmp_path,
        shape([[30, 60], [10, 20]], "rectangle"),
        shape(kind="rectangle"),  # of X-AnyLabeling
        shape(
            difficult=True,
            score=0.25,
            attributes={"kind": "cargo", "list": [1], "bad": "\x01", "half": "\ud800", "\x02": 1},
        ),
        shape(flags={"difficult": True, "dark": True, "wet": False}, description="far", group_id=3),
        shape([*SQUARE, [10, 40]]),
        shape([[1, 2]], "point"),
        shape(difficult="false"),  # of scripts
        {"label": "ship", "points": SQUARE},  # of the first versions
    )
    np.testing.assert_allclose(found.labels.corners[[0, 1, 2, 3, 5, 6]], [SQUARE] * 6)
    assert found.labels.difficult.tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert found.scores[2] == 0.25 and np.isnan(found.scores[[0, 1, 3, 4, 5, 6]]).all()
    assert found.attributes[2] == {"kind": "cargo"}
    assert found.attributes[3] == {"dark": True, "description": "far", "group_id": 3}
    assert found.fitted.tolist() == [5] and found.place(5).endswith("a.json: shape 5")
    assert len(found.left_out) == 1 and found.left_out[0].endswith("shapes[5] (point)")
    assert found.size_wh == (100, 80)
    assert labelme(tmp_path, imageWidth=None).size_wh is None


def test_labelme_keeps_attributes_and_finds_the_image(tmp_path):
    fields = {"dark": True, "kind": "cargo", "description": "far", "group_id": 3}
    record = one(SHIP, difficult=1, score=0.25, attributes=fields)
    found = build_annotation(tmp_path / "a.txt", [record, one([[0, 0], [9, 1], [8, 9], [1, 7]])],
                             (400, 300))  # fmt: skip
    images = {"a": tmp_path / "images/a.jpg"}
    target = Target(tmp_path / "labels", "labelme", images=images)
    for write, kinds in [
        (write_labelme, ["polygon", "polygon"]),
        (write_xanylabeling, ["rotation", "polygon"]),
    ]:
        write(tmp_path / "labels/a.json", found, target)
        document = json.loads((tmp_path / "labels/a.json").read_text())
        assert [s["shape_type"] for s in document["shapes"]] == kinds
        assert document["imagePath"] == "../images/a.jpg"
        again = read_labelme(tmp_path / "labels/a.json")
        assert again.attributes == (fields, {}) and again.scores[0] == 0.25
        assert again.labels.difficult.tolist() == [1, 0]
    assert document["shapes"][0]["direction"] == pytest.approx(np.pi / 6, abs=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (shape([[1, 2], [3, 4]]), r"shapes\[0\].points: expected at least 3 points, got 2"),
        (shape([[1, 2], [3, 4], [5, None]]), r"shapes\[0\].points\[2\]\[1\]: expected a number"),
        ({**shape(), "label": 3}, r"shapes\[0\].label: expected a text, got 3"),
        (shape(difficult="yes"), r"shapes\[0\].difficult: expected true or false, got 'yes'"),
        (shape(score=2), r"shapes\[0\].score: expected a number from 0 to 1, got 2"),
        ([], r"shapes\[0\]: expected an object, got a list"),
    ],
)
def test_labelme_errors(tmp_path, wrong, message):
    with pytest.raises(InputError, match=r"a\.json: " + message):
        labelme(tmp_path, wrong)


# --- COCO ---


def coco(tmp_path, *objects, **document):
    return read_coco(coco_file(tmp_path, *objects, **document))


def coco_file(tmp_path, *objects, **document):
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 6, "height": 4}],
        "categories": [{"id": 5, "name": "ship"}],
        "annotations": [{"id": n, "image_id": 1, "category_id": 5, **o}
                        for n, o in enumerate(objects)],
        **document,
    }  # fmt: skip
    return put(tmp_path, "x.json", document)


def test_coco_boxes_and_polygons(tmp_path):
    (found,) = coco(
        tmp_path,
        {"bbox": [10, 20, 20, 40]},
        # Detectron2: 90 degrees counterclockwise on the screen take the top left to the bottom left
        {"bbox": [0, 0, 4, 2, 90], "segmentation": [], "bbox_mode": 4},
        # CVAT: the box before it is turned clockwise, and its turn as an attribute
        {"bbox": [10, 20, 20, 40], "segmentation": [], "attributes": {"rotation": 90.0}},
        {"segmentation": [[0, 0, 4, 0, 4, 2], [6, 0, 6, 2, 4, 2]], "iscrowd": 0, "bbox": [0] * 4},
        {"segmentation": [FLAT], "ignore": True, "score": 0.5, "attributes": {"a": 1, "b": [2]}},
    )
    corners = found.labels.corners
    np.testing.assert_array_equal(corners[0], SQUARE)
    np.testing.assert_allclose(corners[1], [[-1, 2], [-1, -2], [1, -2], [1, 2]], atol=1e-12)
    np.testing.assert_allclose(corners[2], [[40, 30], [40, 50], [0, 50], [0, 30]], atol=1e-9)
    assert np.ptp(corners[3], axis=0).tolist() == pytest.approx([6, 2])  # both parts
    assert found.fitted.tolist() == [4]
    assert found.labels.difficult.tolist() == [0, 0, 0, 0, 1]
    assert found.scores[4] == 0.5 and found.attributes[4] == {"a": 1}


def test_rotated_coco_as_detectron2_reads_it(tmp_path):
    corners = [SHIP, TURNED, [[0, 0], [9, 1], [8, 9], [1, 7]]]
    found = build_annotation(tmp_path / "a.txt", [one(box) for box in corners], (400, 300))
    assert write_rotated_coco(tmp_path / "x.json", [found], ("ship",)) == 1
    ship, turned, _ = json.loads((tmp_path / "x.json").read_text())["annotations"]
    assert ship["bbox"] == pytest.approx([200, 150, 160, 40, -30], abs=0.001)
    assert turned["bbox"] == pytest.approx([0, 0, 4, 2, 90]) and turned["area"] == pytest.approx(8)
    assert ship["bbox_mode"] == 4 and "segmentation" not in ship
    (again,) = read_coco(tmp_path / "x.json")
    np.testing.assert_allclose(again.labels.corners[:2], corners[:2], atol=0.001)


TURNED = [[-1, 2], [-1, -2], [1, -2], [1, 2]]  # by a quarter, counterclockwise on the screen


@pytest.mark.parametrize(
    ("angles", "unit", "corners"),
    [
        ([90], None, TURNED),  # more than a turn in radians
        ([90, 0.5], None, TURNED),
        ([-np.pi / 2], "radians", TURNED),  # MMRotate: clockwise
        ([90], "degrees", TURNED),
        ([0], None, [[-2, -1], [2, -1], [2, 1], [-2, 1]]),
    ],
)
def test_coco_angles(tmp_path, angles, unit, corners):
    objects = [{"bbox": [0, 0, 4, 2, angle]} for angle in angles]
    path = coco_file(tmp_path, *objects)
    (found,) = read_coco(path, unit)
    np.testing.assert_allclose(found.labels.corners[0], corners, atol=1e-9)


def test_coco_angles_of_an_unclear_unit_are_refused(tmp_path):
    path = coco_file(tmp_path, {"bbox": [0, 0, 4, 2, 0]}, {"bbox": [0, 0, 4, 2, 0.5]})
    with pytest.raises(InputError, match=r"annotations\[1\]\.bbox: .* got 0\.5; give `angle_unit`"):
        read_coco(path)
    path = coco_file(tmp_path, {"bbox": [0, 0, 4, 2, 400]})
    for unit, expected in [("degrees", "360 degrees"), ("radians", r"6\.2832 radians")]:
        with pytest.raises(InputError, match=rf"bbox\[4\]: expected .* {expected}, got 400"):
            read_coco(path, unit)
    path = coco_file(tmp_path, {"bbox": [0, 0, 4, 2, 0.5], "bbox_mode": 4})
    (found,) = read_coco(path)
    assert found.labels.corners[0, 1, 1] == pytest.approx(-1.017, abs=0.001)  # half a degree upward


@pytest.mark.parametrize(
    "counts",
    [
        [9, 2, 2, 2, 9],  # rows 1 and 2 of the columns 2 and 3 of an image of 6 x 4
        "92207",  # the same: from the fourth run on, the difference to the run before the last
    ],
)
def test_coco_masks(tmp_path, counts):
    (found,) = coco(tmp_path, {"segmentation": {"size": [4, 6], "counts": counts}, "iscrowd": 1})
    corners = found.labels.corners[0]
    assert [*corners.min(axis=0), *corners.max(axis=0)] == pytest.approx([2, 1, 4, 3])
    assert found.fitted.tolist() == [1] and found.labels.difficult.tolist() == [1]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"bbox": [1, 2, 3]}, r"annotations\[0\].bbox: expected a segmentation, or a bbox of 4"),
        ({}, r"annotations\[0\]: expected a segmentation, or a bbox of 4 or 5 numbers"),
        ({"bbox": [1, 2, 3, "4"]}, r"annotations\[0\].bbox\[3\]: expected a number"),
        ({"segmentation": [[1, 2, 3, 4]]}, r"segmentation\[0\]: expected x and y of at least 3"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "points, got 7 numbers"),
        ({"category_id": 6}, r"annotations\[0\].category_id: expected the id of a category, got 6"),
        ({"image_id": "1"}, r"annotations\[0\].image_id: expected the id of an image, got '1'"),
        ({"segmentation": {"size": [4], "counts": ""}}, "size: expected height and width"),
        ({"segmentation": {"size": [4, 6], "counts": "é"}}, "counts: expected the runs of a mask"),
        ({"segmentation": {"size": [4, 6], "counts": "9P"}}, "the last of them complete"),
        ({"segmentation": {"size": [4, 6], "counts": "P" * 99}}, "expected the runs of a mask"),
        ({"segmentation": {"size": [4, 6], "counts": [9, 9]}}, "runs that make 4 x 6 pixels"),
        ({"segmentation": {"size": [10**9, 10**9], "counts": [1]}}, "runs that make 1000000000 x"),
        (
            {"segmentation": {"size": [4, 6], "counts": [24]}},
            "a mask with pixels, got an empty one",
        ),
    ],
)
def test_coco_errors(tmp_path, item, message):
    with pytest.raises(InputError, match=r"x\.json: .*" + message):
        coco(tmp_path, item)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"categories": [{"id": 5, "name": "a"}] * 2},
            r"categories\[1\].id: expected an id that no",
        ),
        ({"images": [{"id": 1}]}, r"images\[0\]: expected 'file_name', which is absent"),
        ({"images": 3}, "images: expected a list, got 3"),
    ],
)
def test_coco_document_errors(tmp_path, document, message):
    with pytest.raises(InputError, match=message):
        coco(tmp_path, **document)


WHOLE = {
    "images": [{"id": 7, "file_name": "in/P0.png", "width": 100, "height": 200}],
    "annotations": [
        {"id": 5, "image_id": 7, "category_id": 2, "segmentation": [[1, 2, 9, 2, 9, 8, 1, 8]]}
    ],
    "categories": [{"id": 2, "name": "ship"}],
}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((), []),
        ((), {"boxes": 1}),
        (("images",), {}),
        (("images", 0), 3),
        (("images", 0), {}),
        (("images",), WHOLE["images"] * 2),
        (("images", 0, "id"), True),
        (("images", 0, "height"), 10**400),
        (("images", 0, "height"), float("inf")),
        (("images", 0, "file_name"), None),
        (("images", 0, "file_name"), "a" * 2000),
        (("categories", 0, "name"), ["ship"]),
        (("categories", 0, "name"), "a" * 2000),
        (("annotations", 0), None),
        (("annotations", 0, "image_id"), 8),
        (("annotations", 0, "difficult"), 1e300),
        (("annotations", 0, "segmentation"), 3),
        (("annotations", 0, "segmentation", 0, 3), float("nan")),
        (("annotations", 0, "segmentation", 0, 3), 10**400),
    ],
)
def test_coco_damage_is_an_error_with_the_file(tmp_path, place, value):
    assert read_coco(put(tmp_path, "whole.json", WHOLE))[0].labels.names == ("ship",)
    content = json.loads(json.dumps(WHOLE))
    if place:
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
    else:
        content = value
    with pytest.raises(InputError, match=r"x\.json: "):
        read_coco(put(tmp_path, "x.json", content))


# --- Label Studio ---


def region(value, kind="rectanglelabels", **fields):
    return {
        "id": "r1",
        "type": kind,
        "original_width": 200,
        "original_height": 100,
        "value": value,
        **fields,
    }


RECTANGLE = {"x": 5, "y": 20, "width": 10, "height": 40, "rotation": 0, "rectanglelabels": ["ship"]}


def studio(tmp_path, *regions, images=(), **task):
    task = {"data": {"image": "/data/upload/1/a.png"}, "annotations": [{"result": regions}], **task}
    source = Source(tmp_path, "label-studio", {name: tmp_path / f"{name}.png" for name in images})
    (found,) = read_label_studio(put(tmp_path, "t.json", [task]), source)
    return found


def test_label_studio_regions(tmp_path):
    points = [[5, 20], [15, 20], [15, 60], [5, 60]]
    found = studio(
        tmp_path,
        region(RECTANGLE),
        # turned about the top left corner (10, 20): the right edge becomes the bottom one
        region({**RECTANGLE, "rotation": 90}, score=0.5),
        region({"points": points, "polygonlabels": ["ship"]}, "polygonlabels"),
        region({"points": [*points, [5, 40]], "polygonlabels": ["ship"]}, "polygonlabels"),
        # a rectangle whose class is a result of its own
        region({**RECTANGLE, "rectanglelabels": None}, "rectangle", id="r2"),
        region({**RECTANGLE, "rectanglelabels": None, "labels": ["car"]}, "labels", id="r2"),
        region({"x": 5, "y": 20, "width": 1, "keypointlabels": ["a"]}, "keypointlabels"),
        region({"format": "rle", "rle": [1], "brushlabels": ["a"]}, "brushlabels"),
        {"id": "c", "type": "choices", "value": {"choices": ["cloudy"]}},
    )
    corners = found.labels.corners
    np.testing.assert_allclose(corners[[0, 2, 4]], [SQUARE] * 3)
    np.testing.assert_allclose(corners[1], [[10, 20], [10, 40], [-30, 40], [-30, 20]], atol=1e-9)
    assert found.labels.names == ("ship", "ship", "ship", "ship", "car")
    assert found.fitted.tolist() == [4] and found.scores[1] == 0.5
    assert len(found.left_out) == 2 and found.size_wh == (200, 100)


@pytest.mark.parametrize(
    ("data", "images", "name"),
    [
        ({"image": "/data/upload/1/0a1b2c3d-a.png"}, ["a"], "a"),
        ({"image": "/data/upload/1/0a1b2c3d-a.png"}, [], "0a1b2c3d-a"),
        ({"image": "/data/upload/1/0a1b2c3d-a.png"}, ["a", "0a1b2c3d-a"], "0a1b2c3d-a"),
        ({"image": "/data/local-files/?d=images%5Cb%20c.jpg"}, [], "b c"),
        ({"text": "hello", "img": "s3://bucket/x/d.tif"}, [], "d"),
        ({"image": "https://a.org/e%20f.png?size=1"}, [], "e f"),
        ({"image": "/image2"}, [], "image2"),
    ],
)
def test_label_studio_image_names(tmp_path, data, images, name):
    assert studio(tmp_path, data=data, images=images).image_id == name


def test_label_studio_file_upload_and_image_size(tmp_path):
    """Predictions of scripts lack the size of the image; it is that of the file."""
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((100, 200, 3), np.uint8))
    task = {"data": {"image": "/image2"}, "file_upload": "0a1b2c3d-b.png"}
    bare = {"value": RECTANGLE, "type": "rectanglelabels"}
    found = studio(tmp_path, bare, images=["b"], **task)
    assert found.image_id == "b" and found.size_wh == (200, 100)
    np.testing.assert_allclose(found.labels.corners, [SQUARE])
    with pytest.raises(InputError, match="expected 'original_width', which is absent"):
        studio(tmp_path, bare)


def test_label_studio_min_export_and_several_annotations(tmp_path):
    value = {**RECTANGLE, "original_width": 200, "original_height": 100}
    path = put(tmp_path, "t.json", [{"image": "a.png", "id": 1, "label": [value], "annotator": 1}])
    (found,) = read_label_studio(path, Source(tmp_path, "label-studio", {}))
    np.testing.assert_allclose(found.labels.corners, [SQUARE])

    result, other = [region(RECTANGLE)], [region({**RECTANGLE, "rectanglelabels": ["car"]})]
    two = [{"result": other, "was_cancelled": True}, {"result": result}]
    assert studio(tmp_path, annotations=two).labels.names == ("ship",)
    two = [{"result": other}, {"result": result, "ground_truth": True}]
    assert studio(tmp_path, annotations=two).labels.names == ("ship",)
    with pytest.raises(InputError, match=r"t\.json: \[0\]: expected one of the annotations, got 2"):
        studio(tmp_path, annotations=[{"result": other}, {"result": result}])
    assert studio(tmp_path, annotations=[], predictions=[{"result": other}]).labels.names == (
        "car",
    )
    assert studio(tmp_path, annotations=[]).size_wh is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (region(RECTANGLE, image_rotation=90), "expected an image that is not turned"),
        (region({**RECTANGLE, "rectanglelabels": ["a", "b"]}), "expected one class, got 2"),
        (region({**RECTANGLE, "rectanglelabels": None}), "got a region without a label"),
        (region({**RECTANGLE, "x": None}), r"value: expected 'x', which is absent"),
        (region({**RECTANGLE, "x": 1e6}), "value.x: expected a number from -1000 to 1000 percent"),
        (region(RECTANGLE, original_width=0), "original_width: expected an integer"),
        (region({"points": [[1, 2]], "polygonlabels": ["a"]}), "at least 3 points, got 1"),
        (region(True), "value: expected an object, got true or false"),
    ],
)
def test_label_studio_errors(tmp_path, wrong, message):
    with pytest.raises(InputError, match=r"t\.json: \[0\].*" + message):
        studio(tmp_path, wrong)
    with pytest.raises(InputError, match="expected one size of the image"):
        studio(tmp_path, region(RECTANGLE), region(RECTANGLE, original_width=300))
    with pytest.raises(InputError, match="expected the name of an image, found none"):
        studio(tmp_path, data={"text": "hello"})


def test_label_studio_predictions_have_scores(tmp_path):
    found = build_annotation(
        tmp_path / "a.txt", [one(SQUARE, score=0.25), one(SHIP, score=0.75)], (400, 300)
    )
    images = {"a": tmp_path / "images/a.png"}
    target = Target(tmp_path / "t.json", "label-studio-predictions", images=images)
    write_predictions(tmp_path / "t.json", [found], target)
    (task,) = json.loads((tmp_path / "t.json").read_text())
    assert task["data"] == {"image": "/data/local-files/?d=images/a.png"}
    (prediction,) = task["predictions"]
    assert prediction["score"] == 0.5 and [r["score"] for r in prediction["result"]] == [0.25, 0.75]
    value = prediction["result"][1]["value"]
    assert value["rotation"] == pytest.approx(30, abs=1e-3)
    assert (value["width"], value["height"]) == pytest.approx((40, 40 / 3), abs=1e-3)
    (again,) = read_label_studio(tmp_path / "t.json", Source(tmp_path, "label-studio", images))
    assert again.scores.tolist() == [0.25, 0.75]
