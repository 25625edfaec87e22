"""Real data sets: no false alarm on them as they are, and every fault planted in copies found."""

import shutil

import cv2
import numpy as np
import pytest

from DOTA_devkit.doctor import ERROR, NOTE, WARNING, examine, read_survey
from helpers.data_folders import write_image

pytestmark = pytest.mark.slow


def counts(survey):
    return {(f.check, f.severity): f.count for f in examine(survey).findings}


# Each finding has been looked at: ssdd_small has one image twice, 000273 and 000276; of the
# mmrotate tile in dota_samples, three objects lie outside and one is a bow-tie.
AS_THEY_ARE = {
    "hit_uav_small": (("vehicle", "bicycle"), {}),
    "ssdd_small": (
        ("ship",),
        {("same_pixels", WARNING): 1, ("outside", NOTE): 4, ("min_size", NOTE): 8},
    ),
    "dota_samples": (
        None,
        {
            ("outside", ERROR): 3,
            ("image_sizes", WARNING): 3,
            ("crossing", WARNING): 1,
            ("max_objs", WARNING): 36,
            ("rare_classes", WARNING): 6,
            ("class_list", NOTE): 1,
            ("pixel_kinds", NOTE): 1,
            ("outside", NOTE): 17,
        },
    ),
}


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_no_false_alarm(shared, name):
    classes, expected = AS_THEY_ARE[name]
    assert counts(read_survey(shared / "data" / name, classes=classes)) == expected


def part_of(source, target, images=12):
    """Copy some images with their labels; every third one is for val, all others for training."""
    labels = sorted((source / "labelTxt").glob("*.txt"), key=lambda path: -path.stat().st_size)
    ids = [path.stem for path in labels if path.stem not in ("000273", "P0004__1__0___0")][:images]
    lists = {"val": ids[::3], "train": [i for k, i in enumerate(ids) if k % 3]}
    for folder in ("images", "labelTxt"):
        (target / folder).mkdir(parents=True)
    for image_id in ids:
        (image,) = (source / "images").glob(f"{image_id}.*")
        shutil.copy(image, target / "images")
        shutil.copy(source / "labelTxt" / f"{image_id}.txt", target / "labelTxt")
    for name, listed in lists.items():
        (target / f"{name}.txt").write_text("\n".join(listed))
    return lists["train"], lists["val"]


def image_of(root, image_id):
    (path,) = (root / "images").glob(f"{image_id}.*")
    return path


def new_lines(root, image_id, *lines):
    path = root / f"labelTxt/{image_id}.txt"
    path.write_text(path.read_text().rstrip() + "\n" + "\n".join(lines) + "\n")
    return [f"labelTxt/{image_id}.txt:{len(path.read_text().splitlines()) - k}"
            for k in range(len(lines))][::-1]  # fmt: skip


def plant_in_labels(root, image_id):
    """Plant five faulty objects, and return check -> place."""
    height, width = cv2.imread(str(image_of(root, image_id))).shape[:2]
    path = root / f"labelTxt/{image_id}.txt"
    first = next(text for text in path.read_text().splitlines() if text[0].isdigit())
    name = first.split()[8]
    box = np.array([[20.0, 5], [60, 25], [55, 35], [15, 15]])

    def text(corners, name=name):
        return " ".join(f"{value:.1f}" for value in np.ravel(corners)) + f" {name} 0"

    places = new_lines(
        root,
        image_id,
        text(box + np.array([width + 9, 0])),
        text(np.repeat(box[:1], 4, axis=0)),
        text(box[[0, 1, 3, 2]] + np.array([50, 60])),
        first,
        text([[1, 1], [width - 1, 1], [width - 1, height - 1], [1, height - 1]]),
        text(box + np.array([80, 9]), name + "s"),
    )
    checks = ("outside", "degenerate", "crossing", "duplicates", "too_large", "unknown_classes")
    return dict(zip(checks, places, strict=True))


def plant_in_files(root, train, val):
    """Plant faults in images and lists, and return check -> a part of its place."""
    broken = image_of(root, train[1])
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    (root / f"labelTxt/{train[2]}.txt").unlink()
    shutil.copy(root / f"labelTxt/{train[3]}.txt", root / "labelTxt/nobody.txt")
    pixels = cv2.imread(str(image_of(root, train[4])))
    write_image(root / "images/same.bmp", pixels)
    smaller = cv2.resize(pixels, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    near = cv2.imdecode(cv2.imencode(".jpg", smaller * 0.9 + 9, [1, 60])[1], cv2.IMREAD_COLOR)
    write_image(root / "images/near.png", near)
    write_image(root / "images/deep.png", pixels[:, ::-1].astype(np.uint16) * 150)
    write_image(root / "images/black.png", pixels * 0)
    for image_id in ("same", "near", "deep", "black"):
        (root / f"labelTxt/{image_id}.txt").write_text("")
    (root / "val.txt").write_text("\n".join([*val, "same", "near", "missing", train[5]]))
    return {
        "unreadable_images": train[1],
        "missing_labels": train[2],
        "missing_images": "nobody",
        "same_pixels": "same.bmp",
        "near_duplicates": "near.png",
        "pixel_kinds": "deep.png",
        "empty_images": "black.png",
        "list_entries": "missing",
        "list_overlap": train[5],
    }


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_planted_faults_are_found(shared, tmp_path, name):
    train, val = part_of(shared / "data" / name, tmp_path)
    names = {text.split()[8] for path in (tmp_path / "labelTxt").iterdir()
             for text in path.read_text().splitlines() if text[0].isdigit()}  # fmt: skip
    before = {f.check for f in examine(read_survey(tmp_path, classes=tuple(names))).findings}
    assert before <= {"image_sizes", "rare_classes", "outside", "max_objs", "min_size",
                      "shared_cells", "pixel_kinds"}  # fmt: skip
    planted = plant_in_labels(tmp_path, train[0]) | plant_in_files(tmp_path, train, val)
    findings = examine(read_survey(tmp_path, classes=tuple(names))).findings
    places = {check: [p for f in findings if f.check == check for p in f.places]
              for check in planted}  # fmt: skip
    missed = {c: p for c, p in planted.items() if not any(p in place for place in places[c])}
    assert not missed
    errors = {f.check for f in findings if f.severity == ERROR}
    assert errors == {
        "unreadable_images", "missing_labels", "list_entries", "list_overlap", "same_pixels",
        "outside", "degenerate", "unknown_classes",
    }  # fmt: skip
