"""A data folder with nothing wrong in it, and what makes it ill."""

import shutil

import cv2
import numpy as np

from helpers.data_folders import write_image

SIZE = 160
TRAIN, VAL = 6, 2


def lines_of(number):
    """Return the label lines of one image: two ships and two planes, all of them rotated."""
    lines = []
    for k, name in enumerate(("ship", "plane", "ship", "plane")):
        center = ((45 + 70 * (k % 2), 45 + 70 * (k // 2)), (36, 16 + number), 20 + 30 * k)
        corners = cv2.boxPoints(center).ravel()
        lines.append(" ".join(f"{value:.1f}" for value in corners) + f" {name} 0")
    return lines


def details(number, size=SIZE):
    """Return an image [size, size, 3] with details that no other number has."""
    coarse = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)


def healthy(root):
    """Make the folder: im0 to im5 for training, im6 and im7 to measure."""
    ids = [f"im{k}" for k in range(TRAIN + VAL)]
    (root / "labelTxt").mkdir(parents=True)
    for k, image_id in enumerate(ids):
        write_image(root / "images" / f"{image_id}.png", details(k))
        write_labels(root, image_id, lines_of(k))
    (root / "train.txt").write_text("\n".join(ids[:TRAIN]))
    (root / "val.txt").write_text("\n".join(ids[TRAIN:]))
    (root / "classes.txt").write_text("ship\nplane\n")
    return root


def labels_of(root, image_id):
    return (root / "labelTxt" / f"{image_id}.txt").read_text().splitlines()


def write_labels(root, image_id, lines):
    (root / "labelTxt" / f"{image_id}.txt").write_text("".join(f"{line}\n" for line in lines))


def add_label(root, image_id, line):
    """Add a line to the labels of an image; it is line 5 where these have four."""
    write_labels(root, image_id, [*labels_of(root, image_id), line])


def rename_class(root, image_id, old, new, count=1):
    """Rename the class of some objects of an image."""
    text = "\n".join(labels_of(root, image_id)).replace(f" {old} ", f" {new} ", count)
    write_labels(root, image_id, text.splitlines())


def image_path(root, image_id):
    (path,) = (root / "images").glob(f"{image_id}.*")
    return path


def add_entry(root, name, entry):
    path = root / f"{name}.txt"
    path.write_text(f"{path.read_text()}\n{entry}\n")


def copy_image(root, image_id, new_id, change=lambda image: image, suffix=".png"):
    """Copy an image and its labels under a new id, into the list of val."""
    image = change(cv2.imread(str(image_path(root, image_id))))
    write_image(root / "images" / f"{new_id}{suffix}", image)
    shutil.copy(root / "labelTxt" / f"{image_id}.txt", root / "labelTxt" / f"{new_id}.txt")
    add_entry(root, "val", new_id)
