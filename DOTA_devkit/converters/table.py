"""The label formats: one row each, which the command, the documentation and the tests walk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.converters.coco import read_coco, write_coco, write_rotated_coco
from DOTA_devkit.converters.cvat import read_cvat, write_cvat
from DOTA_devkit.converters.datasets import RADIANS, Source, Target
from DOTA_devkit.converters.dior import read_dior
from DOTA_devkit.converters.dota import read_dota, write_dota
from DOTA_devkit.converters.fair1m import read_fair1m
from DOTA_devkit.converters.geojson import read_geojson
from DOTA_devkit.converters.hrsc import read_hrsc
from DOTA_devkit.converters.label_studio import (
    read_label_studio,
    write_label_studio,
    write_predictions,
)
from DOTA_devkit.converters.labelimg_obb import read_labelimg_obb, write_labelimg_obb
from DOTA_devkit.converters.labelme import read_labelme, write_labelme, write_xanylabeling
from DOTA_devkit.converters.rolabelimg import read_rolabelimg, write_rolabelimg
from DOTA_devkit.converters.ssdd import read_ssdd
from DOTA_devkit.converters.ucas_aod import read_ucas_aod
from DOTA_devkit.converters.yolo import read_yolo, write_yolo
from DOTA_devkit.converters.yolo_xywhr import read_yolo_xywhr, write_yolo_xywhr

SHOWN, STORED, UNKNOWN = "shown", "stored", "unknown"
"""The pixels that a tool labels of a photo that its EXIF data turns: those of the photo turned by
them, as this project sees it, or those in the file."""

Read = Callable[[Path, Source], Sequence[Annotation]]
Write = Callable[[Path, Sequence[Annotation], Target], int | None]


@dataclass(frozen=True)
class Format:
    """One label format.

    Attributes:
        title: what it is, for people.
        suffix: of its files.
        read: reads one file, which has the labels of one image or of many.
        write: writes one file with the labels of one image, or of all images for `one_file`;
            returns how many objects were changed into their smallest rectangle, None for none. None
            if the format is not written.
        one_file: one file has all images, so that the target is a file.
        numbers: the files have class numbers, whose names must be known to read and to write them.
        sizes_to_read: the images are needed to read the files, for their size or place on earth.
        sizes_to_write: the image sizes must be known to write them.
        frame: `SHOWN`, `STORED` or `UNKNOWN`.
    """

    title: str
    suffix: str
    read: Read
    write: Write | None = None
    one_file: bool = False
    numbers: bool = False
    sizes_to_read: bool = False
    sizes_to_write: bool = True
    frame: str = UNKNOWN


def _one(read: Callable[[Path], Annotation]) -> Read:
    """Adapt a reader of files with one image that takes the path alone."""
    return lambda path, source: [read(path)]


def _read_rolabelimg(path: Path, source: Source) -> list[Annotation]:
    return [read_rolabelimg(path, source.angle_unit or RADIANS)]


def _read_yolo(path: Path, source: Source) -> list[Annotation]:
    return [read_yolo(path, source.size_wh_of(path), source.classes or ())]


def _read_xywhr(path: Path, source: Source) -> list[Annotation]:
    size_wh, unit = source.size_wh_of(path), source.angle_unit or RADIANS
    return [read_yolo_xywhr(path, size_wh, source.classes or (), unit)]


def _read_coco(path: Path, source: Source) -> list[Annotation]:
    return read_coco(path, source.angle_unit)


def _coco_writer(write: Callable[..., int | None]) -> Write:
    """Adapt a writer of COCO json."""

    def write_dataset(path: Path, annotations: Sequence[Annotation], target: Target) -> int | None:
        file_names = {image_id: image.name for image_id, image in target.images.items()}
        return write(path, annotations, target.classes or (), file_names)

    return write_dataset


FORMATS: dict[str, Format] = {
    "dota": Format(
        "DOTA text",
        ".txt",
        _one(read_dota),
        lambda path, found, target: write_dota(path, found[0], target.classes),
        sizes_to_write=False,
        frame=SHOWN,
    ),
    "rolabelimg": Format(
        "roLabelImg XML",
        ".xml",
        _read_rolabelimg,
        lambda path, found, target: write_rolabelimg(path, found[0], target),
        frame=STORED,
    ),
    "yolo": Format(
        "YOLO-OBB and YOLO segmentation text",
        ".txt",
        _read_yolo,
        lambda path, found, target: write_yolo(path, found[0], target.classes or ()),
        numbers=True,
        sizes_to_read=True,
        frame=SHOWN,
    ),
    "yolo-xywhr": Format(
        "YOLO text with center, sides and angle",
        ".txt",
        _read_xywhr,
        lambda path, found, target: write_yolo_xywhr(path, found[0], target.classes or ()),
        numbers=True,
        sizes_to_read=True,
    ),
    "labelimg-obb": Format(
        "labelImg_OBB text",
        ".txt",
        lambda path, source: [read_labelimg_obb(path, source.classes or ())],
        lambda path, found, target: write_labelimg_obb(path, found[0], target.classes or ()),
        numbers=True,
        sizes_to_write=False,
        frame=STORED,
    ),
    "coco": Format(
        "COCO JSON",
        ".json",
        _read_coco,
        _coco_writer(write_coco),
        one_file=True,
        numbers=True,
    ),
    "coco-rotated": Format(
        "COCO JSON with rotated boxes",
        ".json",
        _read_coco,
        _coco_writer(write_rotated_coco),
        one_file=True,
        numbers=True,
    ),
    "labelme": Format(
        "labelme JSON",
        ".json",
        _one(read_labelme),
        lambda path, found, target: write_labelme(path, found[0], target),
        frame=SHOWN,
    ),
    "xanylabeling": Format(
        "X-AnyLabeling JSON",
        ".json",
        _one(read_labelme),
        lambda path, found, target: write_xanylabeling(path, found[0], target),
        frame=SHOWN,
    ),
    "cvat": Format(
        "CVAT XML 1.1 for images",
        ".xml",
        lambda path, source: read_cvat(path),
        write_cvat,
        one_file=True,
        frame=SHOWN,
    ),
    "label-studio": Format(
        "Label Studio JSON",
        ".json",
        read_label_studio,
        write_label_studio,
        one_file=True,
        frame=SHOWN,
    ),
    "label-studio-predictions": Format(
        "Label Studio JSON with predictions",
        ".json",
        read_label_studio,
        write_predictions,
        one_file=True,
        frame=SHOWN,
    ),
    "voc": Format("Pascal VOC XML", ".xml", _one(read_rolabelimg)),
    "hrsc": Format(
        "HRSC2016 XML", ".xml", lambda path, source: [read_hrsc(path, source.hrsc_level)]
    ),
    "dior": Format("DIOR-R XML", ".xml", _one(read_dior)),
    "fair1m": Format("FAIR1M XML", ".xml", _one(read_fair1m)),
    "ssdd": Format("SSDD XML", ".xml", _one(read_ssdd)),
    "ucas-aod": Format("UCAS-AOD text", ".txt", _one(read_ucas_aod)),
    "geojson": Format(
        "GeoJSON on GeoTIFFs", ".geojson", read_geojson, sizes_to_read=True, frame=SHOWN
    ),
}
"""Name -> format, the most used first."""

WRITTEN = tuple(name for name, format_ in FORMATS.items() if format_.write is not None)
"""Names of the formats that are written, too."""
