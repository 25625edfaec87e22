"""SSDD XML: the rotated boxes of the Official-SSDD, in its VOC style (`rotated_bndbox`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.converters.rolabelimg import voc_annotation
from DOTA_devkit.errors import InputError
from DOTA_devkit.xml_tree import XmlElement, read_xml


def read_ssdd(path: Path | str) -> Annotation:
    """Read one file.

    The corners `x1` to `y4` of a `rotated_bndbox` are read; its center, sides and angle say the
    same once more.

    Args:
        path: the XML file; its stem is the image id.

    Raises:
        InputError: the file is another one, or a tag is absent or not what was expected; the
            message has file and line.
        OSError: the file cannot be read.
    """
    root = read_xml(path)
    if root.tag != "annotation":
        raise InputError(f"{root.where}: expected <annotation> (SSDD), got <{root.tag}>")
    return voc_annotation(path, root, _corners)


def _corners(element: XmlElement) -> np.ndarray:
    box = element.required("rotated_bndbox")
    return np.array([[box.number(f"{axis}{corner}") for axis in "xy"] for corner in (1, 2, 3, 4)])
