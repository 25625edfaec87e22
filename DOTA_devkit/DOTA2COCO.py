"""Convert DOTA labels to one COCO json, with the interface of the DOTA devkit.

The work is done by `DOTA_devkit.convert`.
"""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit.convert import read_folder, write_folder
from DOTA_devkit.converters.annotation import ClassMap
from DOTA_devkit.converters.datasets import Source, Target
from DOTA_devkit.converters.sizes import with_image_sizes
from DOTA_devkit.faults import map_collecting
from DOTA_devkit.formats import DOTA_CLASSES
from DOTA_devkit.images import find_images

wordname_15 = list(DOTA_CLASSES["1.0"])
wordname_16 = list(DOTA_CLASSES["1.5"])
wordname_18 = list(DOTA_CLASSES["2.0"])


def DOTA2COCO(srcpath, destfile, classes=None):
    """Write the labels of a folder as a COCO json.

    Args:
        srcpath: folder with ``labelTxt/`` and ``images/``, which give the sizes.
        destfile: file to write; an existing one is replaced, as in the original.
        classes: names of the categories with ids from 1; None: the 15 classes of DOTA-v1.0.

    Raises:
        InputError: a label has another class; the message names file and line.
    """
    classes = tuple(classes or wordname_15)
    images = find_images(Path(srcpath) / "images")
    source = Source(Path(srcpath) / "labelTxt", "dota", images)
    annotations = map_collecting(ClassMap(classes=classes).apply, read_folder(source))
    annotations = with_image_sizes(annotations, images)
    write_folder(annotations, Target(Path(destfile), "coco", classes, images), overwrite=True)
