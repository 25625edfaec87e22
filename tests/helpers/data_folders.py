"""Small data folders for the tests of the data sets."""

from pathlib import Path

import cv2
import numpy as np


def picture(width=120, height=90, seed=0):
    """A smooth random image [height, width, 3], so that resampling changes little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def write_image(path, image):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(path.suffix.lower(), image)
    assert ok
    path.write_bytes(data.tobytes())
    return path


def line(x, y, width, height, name, difficult=0):
    """A label line of an axis-aligned box, its top left corner first."""
    corners = (x, y, x + width, y, x + width, y + height, x, y + height)
    return " ".join(map(str, (*corners, name, difficult)))


def make_dota(root, labels, suffix=".png", size=(120, 90), **lists):
    """A folder in DOTA layout: image id -> lines of its label file (None: no file), and lists."""
    for number, (image_id, lines) in enumerate(labels.items()):
        write_image(root / "images" / f"{image_id}{suffix}", picture(*size, seed=number))
        (root / "labelTxt").mkdir(exist_ok=True)
        if lines is not None:
            (root / "labelTxt" / f"{image_id}.txt").write_text("".join(f"{x}\n" for x in lines))
    for name, ids in lists.items():
        (root / f"{name}.txt").write_text("".join(f"{i}\n" for i in ids))
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
    """A folder in the layout of HRSC2016: image id -> [(Class_ID, cx, cy, w, h, radians, dif)]."""
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
