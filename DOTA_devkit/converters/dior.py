"""DIOR-R XML: `robndbox` with the four corners by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.converters.rolabelimg import voc_annotation
from DOTA_devkit.errors import InputError
from DOTA_devkit.xml_tree import XmlElement, read_xml

CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")


def read_dior(path: Path | str) -> Annotation:
    """Read one file of "Oriented Bounding Boxes" of DIOR-R.

    The <angle> beside the corners is not read: the corners have it.

    Args:
        path: the XML file; its stem is the image id.

    Raises:
        InputError: the file is another one, or a tag is absent or not what was expected; the
            message has file and line.
        OSError: the file cannot be read.
    """
    root = read_xml(path)
    if root.tag != "annotation":
        raise InputError(f"{root.where}: expected <annotation> (DIOR-R), got <{root.tag}>")
    return voc_annotation(path, root, _corners)


def _corners(element: XmlElement) -> np.ndarray:
    box = element.required("robndbox")
    return np.array([[box.number(f"{axis}_{corner}") for axis in "xy"] for corner in CORNERS])
