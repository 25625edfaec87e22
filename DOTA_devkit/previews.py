"""Pictures of labels drawn on their images: proof that a conversion or a split is right."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.files import replacing
from DOTA_devkit.images import import_cv2, read_image
from DOTA_devkit.progress import progress

LONGEST_SIDE = 1600
_LEGEND_LINE = 22
_SMALL = 40  # pixels of the picture, below which a thick outline would hide the object
_FONT_SCALE = 0.5


def choose_examples(
    annotations: Sequence[Annotation], images: Mapping[str, Path], count: int
) -> list[Annotation]:
    """`count` annotations that have objects and an image, spread evenly over the set."""
    usable = [a for a in annotations if len(a.labels.names) and a.image_id in images]
    if len(usable) <= count:
        return usable
    return [usable[index] for index in np.linspace(0, len(usable) - 1, count).round().astype(int)]


def preview_files(annotations: Sequence[Annotation], folder: Path) -> list[Path]:
    """The pictures that `draw_previews` makes."""
    return [folder / f"{annotation.image_id}.jpg" for annotation in annotations]


def draw_previews(
    annotations: Sequence[Annotation], images: Mapping[str, Path], folder: Path
) -> list[Path]:
    """Draw the boxes of each annotation on its image, as `<image id>.jpg` in `folder`.

    Returns:
        The files written.
    """
    cv2 = import_cv2()

    colours = class_colours({name for a in annotations for name in a.labels.names})
    files = preview_files(annotations, folder)
    for annotation, path in zip(progress(annotations, "drawing"), files, strict=True):
        picture = draw_labels(read_image(images[annotation.image_id]), annotation, colours)
        _, data = cv2.imencode(".jpg", picture)
        with replacing(path, "wb") as file:
            file.write(data.tobytes())
    return files


def class_colours(names: set[str]) -> dict[str, tuple[int, int, int]]:
    """A BGR colour for each class, hues as far from each other as their number allows."""
    colours = {}
    for index, name in enumerate(sorted(names)):
        red, green, blue = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.85, 1.0)
        colours[name] = (round(255 * blue), round(255 * green), round(255 * red))
    return colours


def draw_labels(
    image: np.ndarray, annotation: Annotation, colours: Mapping[str, tuple[int, int, int]]
) -> np.ndarray:
    """A copy of the image, no larger than LONGEST_SIDE, with the boxes and a legend below.

    A dot marks the first corner of each box, a thin outline a difficult one.
    """
    cv2 = import_cv2()

    scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    legend = _legend(annotation, colours, image.shape[1])
    picture = np.concatenate([image, legend])
    labels = annotation.labels
    # Four more bits of position keep the outline of small boxes true.
    corners = np.round(labels.corners * scale * 16).clip(-(2**30), 2**30).astype(np.int32)
    for box, name, difficult in zip(corners, labels.names, labels.difficult, strict=True):
        small = np.ptp(box, axis=0).max() < _SMALL * 16
        cv2.polylines(
            picture,
            [box.reshape(-1, 1, 2)],
            True,
            colours[name],
            1 if small or difficult else 2,
            cv2.LINE_AA,
            4,
        )
        x, y = (int(value) for value in box[0])
        cv2.circle(picture, (x, y), (2 if small else 3) * 16, colours[name], -1, cv2.LINE_AA, 4)
    picture[image.shape[0] :] = legend  # boxes that reach below the image
    return picture


def _legend(
    annotation: Annotation, colours: Mapping[str, tuple[int, int, int]], width: int
) -> np.ndarray:
    """A strip as wide as the image: image id, then one line a class with its number of objects."""
    cv2 = import_cv2()

    names = sorted(set(annotation.labels.names))
    strip = np.zeros((_LEGEND_LINE * (len(names) + 1), width, 3), dtype=np.uint8)
    lines = [(f"{annotation.image_id}: {len(annotation.labels.names)} objects", (255, 255, 255))]
    for name in names:
        count = list(annotation.labels.names).count(name)
        lines.append((f"{_drawable(name, colours)}: {count}", colours[name]))
    for row, (text, colour) in enumerate(lines):
        cv2.putText(
            strip,
            text.encode("ascii", "replace").decode(),
            (6, _LEGEND_LINE * (row + 1) - 7),
            cv2.FONT_HERSHEY_SIMPLEX,
            _FONT_SCALE,
            colour,
            1,
            cv2.LINE_AA,
        )
    return strip


def _drawable(name: str, colours: Mapping[str, tuple[int, int, int]]) -> str:
    """OpenCV draws ASCII alone: other names become their number in the sorted class list."""
    return name if name.isascii() else f"class {sorted(colours).index(name)}"
