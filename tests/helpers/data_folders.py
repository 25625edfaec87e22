"""Small folders of images and labels."""

import struct
from pathlib import Path

import cv2
import numpy as np

CLASSES = ("ship", "plane")
"""Classes of `make_small_dota`."""


def picture(width=120, height=90, seed=0):
    """Return a random image [height, width, 3], smooth so that resampling changes little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def write_image(path, image):
    """Write an image in the format of the suffix, make its folder, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(path.suffix.lower(), image)
    assert ok
    path.write_bytes(data.tobytes())
    return path


def write_turned_jpeg(path, orientation, stored):
    """Write the stored pixels [height, width, 3] as a JPEG that EXIF data turns."""
    tag = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tag
    _, data = cv2.imencode(".jpg", stored)
    jpeg = data.tobytes()
    exif = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    path.write_bytes(jpeg[:2] + exif + jpeg[2:])


def line(x, y, width, height, name, difficult=0):
    """Return a label line of a horizontal box, given by its top left corner and its size."""
    corners = (x, y, x + width, y, x + width, y + height, x, y + height)
    return " ".join(map(str, (*corners, name, difficult)))


def centered_line(x, y, width, height, name, difficult=0):
    """Return a label line of a horizontal box, given by its center and its size."""
    return line(x - width / 2, y - height / 2, width, height, name, difficult)


def make_dota(root, labels, suffix=".png", size=(120, 90), **lists):
    """Make a folder in DOTA layout.

    Args:
        root: the folder.
        labels: image id -> lines of its label file, None for an image without one.
        suffix: of the image files.
        size: (width, height) of the images.
        **lists: name of an image list, such as `train` -> image ids.
    """
    for number, (image_id, lines) in enumerate(labels.items()):
        write_image(root / "images" / f"{image_id}{suffix}", picture(*size, seed=number))
        (root / "labelTxt").mkdir(exist_ok=True)
        if lines is not None:
            (root / "labelTxt" / f"{image_id}.txt").write_text("".join(f"{x}\n" for x in lines))
    for name, ids in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{i}\n" for i in ids))
    return root


def make_small_dota(root, train=6, val=2, size=(64, 64)):
    """Make a DOTA folder of images with one large ship and one large plane each.

    The last image of the training list has no objects. The test list is the validation list.
    """
    ids = [f"im{k}" for k in range(train + val)]
    lines = [
        [centered_line(20 + k, 24, 24, 16, "ship"), centered_line(44, 46, 18, 18 + k, "plane")]
        for k in range(train + val)
    ]
    lines[train - 1] = []
    labels = dict(zip(ids, lines, strict=True))
    make_dota(root, labels, size=size, train=ids[:train], val=ids[train:], test=ids[train:])
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return root


SHIP_XML = """<?xml version='1.0' encoding='utf-8'?>
<HRSC_Image>
  <Img_SizeWidth>{width}</Img_SizeWidth>
  <Img_SizeHeight>{height}</Img_SizeHeight>
  <HRSC_Objects>
{objects}
  </HRSC_Objects>
</HRSC_Image>
"""

SHIP_OBJECT = """    <HRSC_Object>
      <Class_ID>{class_id}</Class_ID>
      <difficult>{difficult}</difficult>
      <box_xmin>0</box_xmin><box_ymin>0</box_ymin><box_xmax>1</box_xmax><box_ymax>1</box_ymax>
      <mbox_cx>{cx}</mbox_cx>
      <mbox_cy>{cy}</mbox_cy>
      <mbox_w>{w}</mbox_w>
      <mbox_h>{h}</mbox_h>
      <mbox_ang>{angle}</mbox_ang>
    </HRSC_Object>"""


def make_hrsc(root, ships, size=(120, 90), **lists):
    """Make a folder in the layout of HRSC2016.

    Args:
        root: the folder.
        ships: image id -> rows (Class_ID, center x, center y, width, height, radians, difficult).
        size: (width, height) of the images.
        **lists: name of an image list, such as `train` -> image ids.
    """
    keys = ("class_id", "cx", "cy", "w", "h", "angle", "difficult")
    for number, (image_id, rows) in enumerate(ships.items()):
        write_image(root / "AllImages" / f"{image_id}.bmp", picture(*size, seed=number))
        objects = [SHIP_OBJECT.format(**dict(zip(keys, row, strict=True))) for row in rows]
        path = root / "Annotations" / f"{image_id}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(SHIP_XML.format(width=size[0], height=size[1], objects="\n".join(objects)))
    for name, ids in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{i}\n" for i in ids))
    return root
