"""What is read and what is written: the parameters that readers and writers of formats share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import image_size_wh

RADIANS, DEGREES = "radians", "degrees"
ANGLE_UNITS = (RADIANS, DEGREES)


@dataclass(frozen=True)
class Source:
    """A folder of labels, or one label file, and what is needed to read it.

    Attributes:
        path: the folder or file.
        format: a key of `DOTA_devkit.converters.table.FORMATS`.
        images: image id -> file; may be empty if the format includes the image sizes.
        classes: class names in the order of their numbers, for formats that store numbers.
        hrsc_level: level of the class names, for hrsc.
        angle_unit: unit of the angles, for formats whose files do not state it; None: radians for
            rolabelimg and yolo-xywhr, and for coco what the angles show.
        class_property: name of the property with the class, for geojson; None: a usual one.
    """

    path: Path
    format: str
    images: Mapping[str, Path]
    classes: tuple[str, ...] | None = None
    hrsc_level: int = 1
    angle_unit: str | None = None
    class_property: str | None = None

    def image_of(self, label_path: Path) -> Path:
        """Return the image that a label file is named after.

        Raises:
            InputError: there is none.
        """
        image = self.images.get(label_path.stem)
        if image is None:
            raise InputError(
                f"{label_path}: no image called {label_path.stem}, whose size is needed"
            )
        return image

    def size_wh_of(self, label_path: Path) -> tuple[int, int]:
        """Return width and height of the image that a label file is named after.

        Raises:
            InputError: there is no such image, or it cannot be read.
            OSError: the image cannot be read.
        """
        return image_size_wh(self.image_of(label_path))


@dataclass(frozen=True)
class Target:
    """The labels to write and how.

    Attributes:
        path: folder to write into, or the file of a format with one file for all images.
        format: a key of `DOTA_devkit.converters.table.FORMATS`.
        classes: all class names in the order of their numbers, None if only names are written.
        images: image id -> file.
        model_version: name of the model whose predictions the labels are, for Label Studio; None if
            it is unknown.
    """

    path: Path
    format: str
    classes: tuple[str, ...] | None = None
    images: Mapping[str, Path] = field(default_factory=dict)
    model_version: str | None = None

    def file_name(self, annotation: Annotation) -> str:
        """Return the file name of an image; ``<id>.png`` if it is unknown."""
        if annotation.image_id in self.images:
            return self.images[annotation.image_id].name
        return annotation.file_name or f"{annotation.image_id}.png"
