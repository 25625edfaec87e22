"""Each check finds its fault, planted in a folder that has none, at the right place."""

import json
import struct
import zlib

import cv2
import numpy as np
import pytest

from DOTA_devkit.doctor import (
    CHECKS,
    ERROR,
    NOTE,
    WARNING,
    ModelClasses,
    Settings,
    examine,
    read_survey,
)
from helpers.data_folders import line, write_image
from helpers.doctor_folders import (
    SIZE,
    add_entry,
    add_label,
    copy_image,
    details,
    healthy,
    image_path,
    labels_of,
    rename_class,
    write_labels,
)


@pytest.fixture
def root(tmp_path):
    return healthy(tmp_path / "data")


def found(root, check=None, **settings):
    """Return (severity, count, first place) of each finding, of one check or all."""
    diagnosis = examine(read_survey(root, **settings))
    return [
        (f.severity, f.count, f.places[0])
        for f in diagnosis.findings
        if check is None or f.check == check
    ]


def test_nothing_is_wrong_with_a_healthy_folder(root):
    assert found(root) == []


# Faults ---------------------------------------------------------------------------------------


def truncated(root):
    path = image_path(root, "im2")
    path.write_bytes(path.read_bytes()[:2000])


def no_image(root):
    image_path(root, "im2").write_text("<html>not found</html>")


def png_bomb(root):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    image_path(root, "im2").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )


def shared_id(root):
    write_image(root / "images/im2.bmp", details(99))


def bad_line(root):
    write_labels(root, "im1", [*labels_of(root, "im1")[:2], "1 2 3 ship 0"])


def without_labels(root):
    (root / "labelTxt/im1.txt").unlink()


def unlisted_without_labels(root):
    write_image(root / "images/extra.png", details(50))


def without_image(root):
    write_labels(root, "IM2", labels_of(root, "im2"))


def broken_list(root):
    (root / "val.txt").write_bytes(b"im6\nim7\0\n")


def empty_list(root):
    (root / "val.txt").write_text("\n\n")


def listed_twice(root):
    add_entry(root, "train", "im3.png")


def in_both_lists(root):
    add_entry(root, "val", "im3")


def patches_in_both(root):
    for image_id, new in (("im2", "P1__1__0___0"), ("im6", "P1__1__90___0")):
        image_path(root, image_id).rename(root / f"images/{new}.png")
        (root / f"labelTxt/{image_id}.txt").rename(root / f"labelTxt/{new}.txt")
        for name in ("train", "val"):
            path = root / f"{name}.txt"
            path.write_text(path.read_text().replace(image_id, new))


def one_color(root):
    write_image(image_path(root, "im4"), np.full((SIZE, SIZE, 3), 90, np.uint8))


def deep(root):
    write_image(image_path(root, "im4"), details(4).astype(np.uint16) * 200)


def transparent(root):
    image = details(4)
    write_image(image_path(root, "im4"), np.dstack([image, image[..., 0]]))


def with_palette(root):
    size = struct.pack(">IIBBBBB", 2, 2, 8, 3, 0, 0, 0)
    rows = zlib.compress(b"\0\0\1\0\1\0")
    palette = bytes([0, 0, 0, 250, 9, 9])
    parts = ((b"IHDR", size), (b"PLTE", palette), (b"IDAT", rows), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts
    )
    (root / "images/table.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def turned(root, sides=(SIZE, SIZE)):
    """Save a photo of `sides` (width, height) with the orientation tag 6: a quarter turn."""
    image_path(root, "im4").unlink()
    image = cv2.resize(details(4), sides)
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    tags = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tags
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (root / "images/im4.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])


def turned_beside_labels(root):
    turned(root, (SIZE, 100))
    write_labels(root, "im4", [line(120, 30, 30, 12, "ship"), labels_of(root, "im4")[0]])


def large_image(root):
    write_image(image_path(root, "im4"), details(4, 1300))


def tiny_image(root):
    write_image(root / "images/icon.png", details(4, 24))


def stripe(root):
    write_image(root / "images/stripe.png", cv2.resize(details(4), (300, 33)))


def same_in_val(root):
    copy_image(root, "im1", "copy", suffix=".bmp")


def same_in_train(root):
    copy_image(root, "im1", "copy")
    (root / "val.txt").write_text("im6\nim7\n")
    add_entry(root, "train", "copy")


def brighter(image):
    return np.clip(image * 0.8 + 40, 0, 255).astype(np.uint8)


def collapsed(root):
    add_label(root, "im1", "10 10 10 10 10 10 10 10 ship 0")


def bow_tie(root):
    first = labels_of(root, "im1")[0].split()
    first[4:8] = first[6:8] + first[4:6]
    write_labels(root, "im1", [" ".join(first), *labels_of(root, "im1")[1:]])


def giant(root):
    add_label(root, "im1", line(1, 1, SIZE - 2, SIZE - 2, "ship"))


def far_larger_than_its_class(root):
    """A plane of 4 pixels among those of 36."""
    for k in range(6):
        add_label(root, f"im{k}", "80 20 112 32 107 46 75 34 plane 0")
    add_label(root, "im1", "80 80 83 81 82 83 79 82 plane 0")


def upright(root):
    for k in range(8):
        boxes = [line(30 + 60 * (n % 2), 30 + 60 * (n // 2), 36, 15, c)
                 for n, c in enumerate(("ship", "plane", "ship", "plane"))]  # fmt: skip
        write_labels(root, f"im{k}", boxes)


def upright_class(root):
    for k in range(8):
        boxes = [line(8 + 44 * n, 120, 30, 15, "ship") for n in range(3)]
        others = [text for text in labels_of(root, f"im{k}") if "plane" in text]
        write_labels(root, f"im{k}", others + boxes)


def few(root):
    for k in range(1, 6):
        rename_class(root, f"im{k}", "plane", "ship", 2)


def no_plane_in_val(root):
    for k in (6, 7):
        rename_class(root, f"im{k}", "plane", "ship", 2)


def never_labeled(root):
    (root / "classes.txt").write_text("ship\nplane\ntank\n")


def no_class_list(root):
    (root / "classes.txt").unlink()
    for k in range(8):
        rename_class(root, f"im{k}", "plane", "kite", 2)


def slip_without_list(root):
    (root / "classes.txt").unlink()
    rename_class(root, "im1", "ship", "Ship")


def dota_names_without_list(root):
    (root / "classes.txt").unlink()


def class_list_with_repeats(root):
    (root / "classes.txt").write_text("ship\nplane\nship\n")


FAULTS = [
    # check, severity, count, part of the first place, what makes the folder ill
    ("unreadable_images", ERROR, 1, "im2.png", truncated),
    ("unreadable_images", ERROR, 1, "im2.png", no_image),
    ("unreadable_images", ERROR, 1, "60000x60000", png_bomb),
    ("image_names", ERROR, 1, "im2", shared_id),
    ("label_text", ERROR, 1, "im1.txt:3", bad_line),
    ("missing_labels", ERROR, 1, "images/im1.png", without_labels),
    ("missing_labels", NOTE, 1, "images/extra.png", unlisted_without_labels),
    ("missing_images", WARNING, 1, "labelTxt/IM2.txt", without_image),
    ("list_text", ERROR, 1, "val.txt:2", broken_list),
    ("list_text", ERROR, 1, "val.txt", empty_list),
    ("list_text", ERROR, 1, "leads out", lambda root: add_entry(root, "train", "../secret")),
    ("list_entries", ERROR, 1, "train.txt:7: im33 (did you mean im3?)",
     lambda root: add_entry(root, "train", "im33")),
    ("list_entries", WARNING, 1, "train.txt:7: im3.png, as in line 4", listed_twice),
    ("list_overlap", ERROR, 1, "images/im3.png", in_both_lists),
    ("list_overlap", ERROR, 1, "P1", patches_in_both),
    ("unlisted_images", NOTE, 1, "images/extra.png", unlisted_without_labels),
    ("empty_images", ERROR, 1, "images/im4.png", one_color),
    ("pixel_kinds", WARNING, 1, "images/im4.png: 16 bits", deep),
    ("pixel_kinds", NOTE, 1, "images/im4.png", transparent),
    ("pixel_kinds", NOTE, 1, "images/table.png", with_palette),
    ("turned_images", WARNING, 1, "images/im4.jpg: orientation 6", turned),
    ("turned_images", ERROR, 1, "images/im4.jpg: orientation 6", turned_beside_labels),
    ("image_sizes", WARNING, 1, "images/im4.png: 1300x1300", large_image),
    ("image_sizes", WARNING, 1, "images/icon.png: 24x24", tiny_image),
    ("image_sizes", WARNING, 1, "images/stripe.png: 300x33", stripe),
    ("same_pixels", ERROR, 1, "images/copy.bmp is images/im1.png", same_in_val),
    ("same_pixels", WARNING, 1, "images/im1.png is images/copy.png", same_in_train),
    *(
        ("near_duplicates", WARNING, 1, "images/copy.png looks like images/im1.png",
         lambda root, change=change: copy_image(root, "im1", "copy", change))
        for change in (
            brighter,
            lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [1, 40])[1], 1),
            lambda image: cv2.resize(image, (100, 100), interpolation=cv2.INTER_AREA),
            lambda image: np.ascontiguousarray(np.rot90(image)),
            lambda image: np.ascontiguousarray(brighter(image)[:, ::-1]),
        )
    ),
    ("outside", ERROR, 1, "labelTxt/im1.txt:5 ship",
     lambda root: add_label(root, "im1", "170 10 200 20 195 35 165 25 ship 0")),
    ("outside", WARNING, 1, "labelTxt/im1.txt:5 ship",
     lambda root: add_label(root, "im1", "155 60 185 70 180 85 150 75 ship 0")),
    ("outside", NOTE, 1, "labelTxt/im1.txt:5 ship",
     lambda root: add_label(root, "im1", "135 60 165 70 160 85 130 75 ship 0")),
    ("degenerate", ERROR, 1, "labelTxt/im1.txt:5 ship", collapsed),
    ("degenerate", WARNING, 1, "labelTxt/im1.txt:5 ship",
     lambda root: add_label(root, "im1", "10 80 40 84 40 84.5 10 80.5 ship 0")),
    ("crossing", WARNING, 1, "labelTxt/im1.txt:1 ship", bow_tie),
    ("duplicates", WARNING, 1, "labelTxt/im1.txt:5 ship",
     lambda root: add_label(root, "im1", labels_of(root, "im1")[0])),
    ("duplicates", WARNING, 1, "labelTxt/im1.txt:5 plane",
     lambda root: add_label(root, "im1", labels_of(root, "im1")[0].replace("ship", "plane"))),
    ("too_large", WARNING, 1, "labelTxt/im1.txt:5 ship", giant),
    ("too_large", WARNING, 1, "labelTxt/im1.txt:6 plane", far_larger_than_its_class),
    ("min_size", NOTE, 1, "labelTxt/im1.txt:5 ship",
     lambda root: add_label(root, "im1", "80 20 86 22 85 25 79 23 ship 0")),
    ("shared_cells", WARNING, 1, "labelTxt/im1.txt:5 ship",
     lambda root: add_label(root, "im1", line(37, 24, 16, 42, "ship"))),
    ("upright_labels", WARNING, 2, "ship: 16", upright),
    ("upright_labels", WARNING, 1, "ship: 24", upright_class),
    ("class_list", ERROR, 1, "has ship more than once", class_list_with_repeats),
    ("class_list", WARNING, 1, "kite", no_class_list),
    ("class_list", NOTE, 1, "2 of these 15 classes", dota_names_without_list),
    ("unknown_classes", ERROR, 1, "labelTxt/im1.txt:1 Ships",
     lambda root: rename_class(root, "im1", "ship", "Ships")),
    ("misspelled_classes", WARNING, 1, "labelTxt/im1.txt:1 Ship", slip_without_list),
    ("rare_classes", WARNING, 1, "plane: 2", few),
    ("rare_classes", WARNING, 1, "plane: 12 for training", no_plane_in_val),
    ("rare_classes", WARNING, 1, "tank", never_labeled),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "severity", "count", "place", "plant"),
    FAULTS,
    ids=[f"{k}-{row[0]}-{row[1]}" for k, row in enumerate(FAULTS)],
)
def test_a_planted_fault_is_found(root, check, severity, count, place, plant):
    plant(root)
    matching = [one for one in found(root, check) if one[0] == severity]
    assert [one[1] for one in matching] == [count]
    assert place in matching[0][2]


# Faults that show with other settings ---------------------------------------------------------


def test_objects_below_a_cell_and_beyond_the_maximum(root):
    add_label(root, "im1", "80 20 93 24 92 29 79 25 ship 0")
    ((severity, count, place),) = found(root, "below_cell", settings=Settings((32, 32)))
    assert (severity, count, place) == (WARNING, 1, "labelTxt/im1.txt:5 ship")
    beyond = found(root, "max_objs", settings=Settings(max_objs=4))
    assert beyond == [(WARNING, 1, "labelTxt/im1.txt:5 ship")]
    assert found(root, "max_objs", settings=Settings(max_objs=5)) == []


def test_min_size_that_takes_most_of_a_class_is_a_warning(root):
    ((severity, count, _),) = found(root, "min_size", settings=Settings(min_size=40))
    assert (severity, count) == (WARNING, 24)  # all objects of the training list


@pytest.mark.parametrize(
    ("names", "count", "expected"),
    [
        (("ship", "plane"), 2, []),
        (
            ("plane", "ship"),
            2,
            [(ERROR, 2, "channel 0: ship in the list, plane in the")],
        ),
        (("ship", "plane", "tank"), 3, [(ERROR, 1, "channel 2: none in the list, tank in the")]),
        (None, 2, [(NOTE, 1, "2 classes whose order it does not state")]),
        (None, 15, [(ERROR, 1, "15 classes, the data have 2")]),
    ],
)
def test_classes_of_a_checkpoint(root, names, count, expected):
    told = found(root, "checkpoint_classes", model=ModelClasses(root / "a.pth", count, names))
    assert [one[:2] for one in told] == [one[:2] for one in expected]
    assert all(want[2] in got[2] for got, want in zip(told, expected, strict=True))


def test_labels_of_classes_that_the_checkpoint_lacks(root):
    model = ModelClasses(root / "a.pth", 2, ("ship", "planes"))
    told = found(root, "checkpoint_classes", model=model)
    assert (ERROR, 1, "plane (did you mean planes?)") in told


# Labels in other formats ----------------------------------------------------------------------


def as_labelme(root, size=(SIZE, SIZE)):
    """Replace the labels by one labelme JSON for each image."""
    (root / "Annotations").mkdir()
    for path in sorted((root / "labelTxt").iterdir()):
        shapes = []
        for text in path.read_text().splitlines():
            values = text.split()
            points = np.array(values[:8], float).reshape(4, 2).tolist()
            shapes.append({"label": values[8], "points": points, "shape_type": "polygon"})
        content = {"shapes": shapes, "imagePath": f"{path.stem}.png",
                   "imageWidth": size[0], "imageHeight": size[1]}  # fmt: skip
        (root / f"Annotations/{path.stem}.json").write_text(json.dumps(content))
        path.unlink()
    (root / "labelTxt").rmdir()


def test_labels_of_a_tool_are_judged_as_they_are(root):
    add_label(root, "im1", labels_of(root, "im1")[0])
    as_labelme(root)
    assert found(root) == [(WARNING, 1, "Annotations/im1.json: shape 5 ship")]


def test_labels_of_an_image_of_another_size(root):
    as_labelme(root, (320, 160))
    ((severity, count, place),) = found(root, "label_sizes")
    assert (severity, count) == (ERROR, 8)
    assert "im0.json: made for im0 of 320x160, but the image has 160x160" in place


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<annotation><object><name>&b;</name></object></annotation>"""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("im0.xml", BOMB, "entit"),
        ("im0.json", "[" * 100_000, "nested too deep"),
        (
            "all.json",
            '{"images": [{"id": 1, "file_name": "../../a.png", "width": 9, "height": 9}], '
            '"annotations": [], "categories": []}',
            "expected the name of an image",
        ),
    ],
)  # fmt: skip
def test_decompression_bombs_and_outside_paths_are_refused(root, name, text, message):
    as_labelme(root)
    for path in (root / "Annotations").iterdir():
        path.unlink()
    (root / "Annotations" / name).write_text(text)
    ((severity, _, place),) = found(root, "label_text")
    assert severity == ERROR
    assert message in place and name in place


# The table --------------------------------------------------------------------------------------


def test_every_check_has_a_fault_here_or_in_its_own_test():
    elsewhere = {"below_cell", "max_objs", "checkpoint_classes", "label_sizes"}
    of_results = {"submission", "low_scores"}  # test_results.py
    assert {row[0] for row in FAULTS} | elsewhere | of_results == set(CHECKS)


def test_checks_of_a_folder_without_labels_and_lists(tmp_path):
    write_image(tmp_path / "images/a.png", details(0))
    told = found(tmp_path)
    assert told == [(ERROR, 1, "images/a.png")]  # it has no labels


def test_class_numbers_without_names_are_one_fault(root):
    (root / "labelTxt").rename(root / "labels")
    (root / "classes.txt").unlink()
    for path in (root / "labels").iterdir():
        path.write_text("0 0.1 0.1 0.3 0.1 0.3 0.2 0.1 0.2\n")
    ((severity, count, place),) = found(root, "label_text")
    assert (severity, count) == (ERROR, 1)
    assert "name the classes with `classes`" in place


def test_checks_with_missing_inputs_are_not_run(root):
    few = set(examine(read_survey(root, settings=Settings(pixels=False))).checked)
    assert set(CHECKS) - few == {
        "same_pixels", "near_duplicates", "empty_images", "checkpoint_classes", "submission",
        "low_scores",
    }  # fmt: skip
    assert len(examine(read_survey(root)).checked) == len(few) + 3
