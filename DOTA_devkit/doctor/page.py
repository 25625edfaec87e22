"""The page of a diagnosis: findings by severity, with pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from DOTA_devkit.doctor.angles import upright_share
from DOTA_devkit.doctor.diagnosis import Diagnosis
from DOTA_devkit.doctor.findings import SEVERITIES, Example, Finding
from DOTA_devkit.doctor.lists import set_sizes
from DOTA_devkit.doctor.pixels import size_table
from DOTA_devkit.doctor.sizes import cell_table
from DOTA_devkit.doctor.survey import Survey
from DOTA_devkit.errors import InputError
from DOTA_devkit.html_page import Html, element, figure, folded, gallery, page, picture, table
from DOTA_devkit.imaging import import_cv2, read_image
from DOTA_devkit.progress import progress

logger = logging.getLogger(__name__)

_PICTURE_PX = 320
_MARGIN = 1.5
"""Shown of the surroundings of a box, in its longer sides to each direction."""
_LEAST_CROP_PX = 48
_BOX_COLOR = (0, 80, 255)  # BGR
_JPEG_QUALITY = 80
_MAX_PLACES = 50


def diagnosis_page(diagnosis: Diagnosis) -> str:
    """Return the page as HTML, complete in itself."""
    survey = diagnosis.survey
    parts = [element("p", f"{diagnosis.headline()} in {len(diagnosis.checked)} checks.")]
    pictures = _Pictures(survey)
    for finding in progress(diagnosis.findings, "pictures"):
        parts.append(_section(finding, pictures))
    if not diagnosis.findings:
        parts.append(element("section", element("h2", "Nothing found"), class_="good"))
    return page(f"Data of {survey.root.absolute().name}", *parts, *_overview(survey))


def _section(finding: Finding, pictures: _Pictures) -> Html:
    shown = [drawn for example in finding.examples if (drawn := pictures.draw(example))]
    places = element("ul", *(element("li", place) for place in finding.places[:_MAX_PLACES]))
    more = finding.count - _MAX_PLACES
    rest = element("p", f"and {more} more, in the JSON file") if more > 0 else ""
    return element(
        "section",
        element("h2", f"{finding.title}: {finding.count_text()}"),
        element("p", element("b", finding.severity), f" ({SEVERITIES[finding.severity]})"),
        element("p", finding.remedy),
        gallery(shown),
        folded("where", places, rest, opened=finding.count <= 5),
        class_=finding.severity,
    )


class _Pictures:
    """Draws examples; the last image is kept, as many examples are of one."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._last: tuple[str, np.ndarray | None] = ("", None)

    def draw(self, example: Example) -> Html | None:
        """Return the picture of an example with its caption, None if an image cannot be read."""
        images = [self._read(image_id) for image_id in example.image_ids]
        if any(image is None for image in images):
            return None
        if len(images) > 1:
            image = np.concatenate([_square(one) for one in images], axis=1)
        else:
            image = _with_boxes(images[0], example)
        cv2 = import_cv2()
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        size_wh = image.shape[1::-1]
        return figure(picture(data.tobytes(), example.caption, size_wh=size_wh), example.caption)

    def _read(self, image_id: str) -> np.ndarray | None:
        if self._last[0] != image_id:
            try:
                path = self._survey.images[image_id]
                self._last = (image_id, read_image(path, self._survey.settings.reading))
            except (InputError, OSError) as error:  # the check of the images reports it
                logger.debug("%s", error)
                self._last = (image_id, None)
        return self._last[1]


def _square(image: np.ndarray) -> np.ndarray:
    cv2 = import_cv2()
    return cv2.resize(image, (_PICTURE_PX // 2,) * 2, interpolation=cv2.INTER_AREA)


def _with_boxes(image: np.ndarray, example: Example) -> np.ndarray:
    """Cut out the surroundings of the boxes, or take the whole image, and draw the boxes."""
    cv2 = import_cv2()
    height, width = image.shape[:2]
    low, high = np.zeros(2, np.int64), np.array([width, height])
    corners = np.zeros((0, 4, 2)) if example.corners is None else example.corners
    if not example.whole and len(corners):
        low, high = _window(corners, (width, height))
    scale = _PICTURE_PX / float((high - low).max())
    shown = np.zeros((*_scaled(high - low, scale)[::-1], 3), np.uint8)  # black beyond the image
    inner_low, inner_high = np.maximum(low, 0), np.minimum(high, (width, height))
    if (inner_high > inner_low).all():
        part = image[inner_low[1] : inner_high[1], inner_low[0] : inner_high[0]]
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        part = cv2.resize(part, _scaled(inner_high - inner_low, scale), interpolation=method)
        left, top = np.round((inner_low - low) * scale).astype(int)
        room = shown[top : top + part.shape[0], left : left + part.shape[1]]
        room[:] = part[: room.shape[0], : room.shape[1]]
    points = np.round((corners - low) * scale).clip(-(2**15), 2**15).astype(np.int32)
    for box in points:
        cv2.polylines(shown, [box.reshape(-1, 1, 2)], True, _BOX_COLOR, 1, cv2.LINE_AA)
        cv2.circle(shown, tuple(int(v) for v in box[0]), 2, _BOX_COLOR, -1, cv2.LINE_AA)
    return shown


def _scaled(size_wh: np.ndarray, scale: float) -> tuple[int, int]:
    """Return a size in pixels of the picture, at least 1."""
    width, height = np.maximum(np.round(size_wh * scale), 1).astype(int).tolist()
    return width, height


def _window(corners: np.ndarray, size_wh: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a square window around boxes, not much larger than the image."""
    points = corners.reshape(-1, 2)
    size = np.array(size_wh)
    # A box far outside is shown at the border of a window that shows the image as well.
    points = points.clip(-size, 2 * size)
    low, high = points.min(axis=0), points.max(axis=0)
    inside_low, inside_high = np.minimum(low, size - 1), np.maximum(high, 1)
    low, high = np.minimum(low, inside_low), np.maximum(high, inside_high)
    reach = max(float((high - low).max()) * (0.5 + _MARGIN), _LEAST_CROP_PX / 2)
    center = (low + high) / 2
    return np.floor(center - reach).astype(np.int64), np.ceil(center + reach).astype(np.int64)


def _overview(survey: Survey) -> Iterable[Html]:
    """Return the tables that describe the data, whether anything is wrong or not."""
    yield element("h2", "The data")
    sizes = set_sizes(survey)
    yield table(["", *sizes], [["images", *sizes.values()]])
    most_frequent = ", ".join(f"{size} ({n})" for size, n in size_table(survey)) or "unknown"
    yield element(
        "p",
        f"{len(survey.data.names)} objects, {100 * upright_share(survey):.0f}% of them parallel "
        f"to the axes. Most frequent image sizes (width x height): {most_frequent}.",
    )
    rows = [
        [
            row["class"],
            row["objects"],
            *(" / ".join(f"{v:.1f}" for v in row[side]) for side in ("longer", "shorter")),
            row["below_cell"],
        ]
        for row in cell_table(survey)
    ]
    if rows:
        height, width = survey.settings.input_hw
        yield element("h2", f"Cells of the network's maps that each class gets at {height}x{width}")
        yield element(
            "p",
            "5 / 50 / 95% of the training objects. A longer side below one cell is hardly "
            "learned; from three cells on, boxes get precise.",
        )
        header = ["class", "objects", "longer side", "shorter side", "below one cell"]
        yield table(header, rows)
