"""The report of an error analysis: a page that explains it, and its numbers as JSON beside it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from DOTA_devkit.error_analysis.comparison import CONFIDENCE, Comparison, Difference
from DOTA_devkit.error_analysis.kinds import BACKGROUND_IOU, EXPLANATIONS, ErrorKind
from DOTA_devkit.error_analysis.losses import (
    ALL_SIZES,
    CAUSES,
    FALSE_NEGATIVES,
    FALSE_POSITIVES,
    ClassLosses,
    ErrorAnalysis,
)
from DOTA_devkit.error_analysis.pictures import COLORS, FOUND, ImageReader, draw_errors
from DOTA_devkit.error_analysis.worst_images import ImageErrors
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.html_page import Html, element, folded, picture, prose, table, write_page
from DOTA_devkit.progress import progress
from DOTA_devkit.scoring.evaluation import SIZES

logger = logging.getLogger(__name__)

WORST = 50
"""Default number of images that are shown."""

_NOTE = (
    "Each number is the AP, in points, that correcting only the errors of this kind would "
    "gain (TIDE, Bolya et al. 2020). They do not add up to the whole loss: one error often hides "
    "behind another."
)
_SPECIAL = {
    FALSE_POSITIVES: "every detection that matches no object",
    FALSE_NEGATIVES: "every object that no detection matches",
}
_INTERVAL_NOTE = (
    f"The interval holds {100 * CONFIDENCE:g} % of the differences that came out when the images "
    "were drawn anew, with replacement, both results being scored on the same draw. If it "
    "contains 0, other images of the same kind could have shown no difference or the opposite "
    "one. It says nothing about the randomness of training, which a second run with another seed "
    "shows."
)


@dataclass(frozen=True)
class ErrorReport:
    """What the page shows.

    Attributes:
        analysis: where AP is lost.
        worst: the worst images, see `worst_images`.
        comparison: with another result, None without one.
        against: name of that result, such as its folder.
    """

    analysis: ErrorAnalysis
    worst: Sequence[ImageErrors] = ()
    comparison: Comparison | None = None
    against: str = ""

    def write(self, path: Path | str, read_image: ImageReader | None = None) -> list[Path]:
        """Write the page and its numbers.

        Args:
            path: of the page, a name that ends in .html.
            read_image: gives the images of the pictures; None: the page has no pictures.

        Returns:
            The files, see `report_files`.

        Raises:
            InputError: `path` does not end in .html.
        """
        page, numbers = report_files(path)
        write_page(page, "Error analysis", *self._sections(read_image))
        with replacing(numbers) as file:
            json.dump(_plain(self.to_dict()), file, indent=1)
            file.write("\n")
        return [page, numbers]

    def to_dict(self) -> dict:
        """Return the numbers in plain types; missing values are nan."""
        analysis = self.analysis
        document = {
            "metric": analysis.metric,
            "iou_threshold": analysis.threshold,
            "background_iou": BACKGROUND_IOU,
            "images": len(analysis.matched.pool.truth.image_ids),
            "kinds": {kind.value: text for kind, text in EXPLANATIONS.items()},
            "sizes": {
                size: {
                    "classes": [asdict(row) for row in rows],
                    "mean": asdict(analysis.mean(size)),
                }
                for size, rows in analysis.losses.items()
            },
            "worst_images": [
                {"image": one.image_id, "lost": one.lost, "counts": one.counts}
                for one in self.worst
            ],
        }
        if self.comparison is not None:
            document["comparison"] = {"against": self.against, **self.comparison.to_dict()}
        return document

    def _sections(self, read_image: ImageReader | None) -> Iterable[Html]:
        yield from self._overview()
        if self.comparison is not None:
            yield from self._compared(self.comparison)
        yield from self._tables()
        yield from self._pictures(read_image)

    def _overview(self) -> Iterable[Html]:
        analysis = self.analysis
        mean, images = analysis.mean(), len(analysis.matched.pool.truth.image_ids)
        yield element(
            "p",
            f"{images} images, {mean.objects} objects, {len(analysis.matched.pool.scores)} "
            f"detections. Mean AP ",
            element("b", _points(mean.ap)),
            f" ({analysis.metric}, IoU {analysis.threshold:g}).",
        )
        yield element("h2", "What AP is lost to")
        yield element("p", _NOTE)
        largest = max((lost for lost in mean.lost.values() if lost > 0), default=1)
        rows = []
        for cause in CAUSES:
            lost = mean.lost[cause]
            width = 0 if math.isnan(lost) else 100 * max(lost, 0) / largest
            bar = element("div", class_="bar", style=f"width: {width:.1f}%")
            meaning = _SPECIAL.get(cause) or EXPLANATIONS[ErrorKind(cause)]
            cells = (_points(lost), element("div", bar, style="width: 8rem"), mean.counts[cause])
            rows.append((cause, *cells, prose(meaning)))
        yield table(("kind", "AP lost", "", "errors", prose("meaning")), rows)

    def _compared(self, comparison: Comparison) -> Iterable[Html]:
        yield element("h2", f"Compared with {self.against}")
        yield element("p", element("b", comparison.summary()))
        yield element("p", _INTERVAL_NOTE)
        rows = [_difference_row(one) for one in (*comparison.classes, comparison.mean)]
        yield table(
            ("class", "objects", "images", "AP", "against", "difference", "interval", ""), rows
        )

    def _tables(self) -> Iterable[Html]:
        yield element("h2", "AP lost, by class")
        yield self._losses_table(ALL_SIZES)
        yield element("h2", "AP lost, by size of the objects")
        means = [self.analysis.mean(size) for size in SIZES]
        yield table(
            ("size", *_columns()),
            [(size, *_losses_row(mean)[1:]) for size, mean in zip(SIZES, means, strict=True)],
        )
        for size, (low, high) in SIZES.items():
            area = f"area from {low}" + ("" if math.isinf(high) else f" to {high}")
            title = f"{size} objects by class ({area} square pixels)"
            yield folded(title, self._losses_table(size))

    def _losses_table(self, size: str) -> Html:
        rows = (*self.analysis.losses[size], self.analysis.mean(size))
        return table(("class", *_columns()), [_losses_row(row) for row in rows])

    def _pictures(self, read_image: ImageReader | None) -> Iterable[Html]:
        yield element("h2", f"The {len(self.worst)} images that cost the most AP")
        yield element(
            "p",
            "Shown are the detections above the score threshold of each class's best F1. Of a "
            "large image, the part with most errors is shown. ",
            *_legend(),
        )
        for number, one in enumerate(progress(self.worst, "drawing"), start=1):
            yield self._figure(number, one, read_image)

    def _figure(self, number: int, one: ImageErrors, read_image: ImageReader | None) -> Html:
        wrong = ", ".join(f"{count} {name}" for name, count in one.counts.items())
        caption = f"{number}. {one.image_id}: {_points(one.lost)} points of AP; {wrong}"
        if read_image is None:
            return element("p", caption)
        try:
            drawn = draw_errors(read_image(one.image_id), one, self.analysis)
        except InputError as error:
            logger.warning("no picture of %s: %s", one.image_id, error)
            return element("p", f"{caption}. No picture: {error}")
        left, top, width, height = drawn.window
        if (width, height) != drawn.size_wh:
            caption += f"; part of {width}x{height} pixels at ({left}, {top})"
        return element(
            "figure",
            element("figcaption", caption),
            picture(drawn.jpeg, f"Errors in {one.image_id}"),
        )


def report_files(path: Path | str) -> list[Path]:
    """Return the files of a report: the page, and the numbers beside it.

    Raises:
        InputError: `path` does not end in .html.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"`errors` {path}: expected the name of a page, such as errors.html")
    return [path, path.with_suffix(".json")]


def _columns() -> tuple[str, ...]:
    return ("objects", "AP", *CAUSES)


def _losses_row(row: ClassLosses) -> tuple[object, ...]:
    return (row.name, row.objects, _points(row.ap), *(_points(row.lost[c]) for c in CAUSES))


def _difference_row(one: Difference) -> tuple[object, ...]:
    interval = "-" if math.isnan(one.low) else f"{100 * one.low:+.2f} to {100 * one.high:+.2f}"
    difference = "-" if math.isnan(one.difference) else f"{100 * one.difference:+.2f}"
    return (
        one.name, one.objects, one.images, _points(one.ap), _points(one.against), difference,
        interval, one.verdict,
    )  # fmt: skip


def _legend() -> Iterable[Html]:
    for name, rgb in COLORS.items():
        key = element("span", class_="key", style=f"background: rgb{rgb}")
        yield element("span", key, f" {name} " if name != FOUND else " found and right ")


def _points(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def _plain(value: object) -> object:
    """Replace what JSON lacks: nan becomes null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
