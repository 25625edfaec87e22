"""The statistics themselves, and the text that `python -m DOTA_devkit stats` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from DOTA_devkit.faults import shorten_list
from DOTA_devkit.stats.boxes import BoxMeasures, measure_boxes
from DOTA_devkit.stats.label_set import LabelSet
from DOTA_devkit.stats.problems import find_problems
from DOTA_devkit.tables import format_table

# A box whose sides are further from the axes than this counts as rotated.
_ROTATED_DEGREES = 5.0
_PERCENTILES = (5, 50, 95)
_MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Stats:
    """Statistics of a set of labels; `table` prints them, `plot_stats` draws them.

    Attributes:
        data: the labels.
        measures: sides and angles of the N objects.
        min_size: longer side in pixels below which training excludes an object.
        max_objs: objects of one image that training uses at most.
        classes: the allowed class names, None if all are allowed.
        problems: description of a likely mistake -> ``file name:line`` or image ids.
    """

    data: LabelSet
    measures: BoxMeasures
    min_size: float
    max_objs: int
    classes: tuple[str, ...] | None
    problems: dict[str, list[str]] = field(default_factory=dict)

    @property
    def objects_per_image(self) -> np.ndarray:
        """Number of objects of each image, ``[I]``."""
        return np.bincount(self.data.image_index, minlength=len(self.data.image_ids))

    @property
    def too_small(self) -> np.ndarray:
        """Mask ``[N]`` of the objects that `min_size` excludes."""
        return self.measures.longer < self.min_size

    @property
    def over_cap(self) -> int:
        """Number of objects that `max_objs` excludes, after `min_size`."""
        kept = np.bincount(
            self.data.image_index[~self.too_small], minlength=len(self.data.image_ids)
        )
        return int(np.maximum(kept - self.max_objs, 0).sum())

    def table(self) -> str:
        """Return the statistics as text of several blocks."""
        blocks = (
            self._overview(),
            self._class_table(),
            self._excluded(),
            self._problem_list(),
        )
        return "\n\n".join(block for block in blocks if block)

    def _overview(self) -> str:
        per_image, total = self.objects_per_image, len(self.data.names)
        lines = [
            f"{len(self.data.image_ids)} images, {total} objects "
            f"({int((self.data.difficult > 0).sum())} difficult), "
            f"{int((per_image == 0).sum())} images without objects",
            f"objects per image: median {np.median(per_image):g}, "
            f"95% {np.percentile(per_image, 95):g}, max {per_image.max()}",
        ]
        if total:
            from_axes = np.abs((self.measures.angle + 45) % 90 - 45)
            rotated = (from_axes > _ROTATED_DEGREES).mean()
            lines.append(
                f"rotated more than {_ROTATED_DEGREES:g} degrees from the axes: "
                f"{100 * rotated:.0f}%"
            )
            histogram = np.histogram(self.measures.angle, bins=6, range=(0, 180))[0]
            lines.append(
                "angle of the longer side, bins of 30 degrees: "
                + " ".join(f"{100 * share:.0f}%" for share in histogram / total)
            )
        return "\n".join(lines)

    def _class_table(self) -> str:
        percents = "5 / 50 / 95%"
        rows = [
            ["class", "objects", "images", "longer side", "shorter side", "aspect ratio"],
            ["", "", "", percents, percents, percents],
        ]
        groups = self.data.rows_by_class()
        if len(groups) > 1:
            groups["all"] = np.arange(len(self.data.names))
        aspect = self.measures.aspect
        for name, objects in groups.items():
            rows.append(
                [
                    name,
                    len(objects),
                    len(np.unique(self.data.image_index[objects])),
                    _format_percentiles(self.measures.longer[objects]),
                    _format_percentiles(self.measures.shorter[objects]),
                    _format_percentiles(aspect[objects], 2),
                ]
            )
        return format_table(rows) if groups else ""

    def _excluded(self) -> str:
        small = self.too_small
        by_class = ", ".join(f"{n} {c}" for n, c in Counter(self.data.names[small]).most_common())
        crowded = int((self.objects_per_image > self.max_objs).sum())
        return "\n".join(
            [
                f"excluded from training by min_size {self.min_size:g} (longer side, pixels): "
                + str(int(small.sum()))
                + (f" ({by_class})" if by_class else ""),
                f"excluded from training by max_objs {self.max_objs}: {self.over_cap} objects "
                f"({crowded} images have more)",
            ]
        )

    def _problem_list(self) -> str:
        lines = []
        for title, places in self.problems.items():
            shown = shorten_list(places, _MAX_EXAMPLES)
            lines.append(f"{title}: {len(places)}" + (f" ({shown})" if places else ""))
        return "\n".join(lines)


def collect_stats(
    data: LabelSet,
    classes: Sequence[str] | None = None,
    min_size: float = 10,
    max_objs: int = 500,
) -> Stats:
    """Measure the objects and look for labels that are most likely mistakes.

    Args:
        data: the labels, from `read_label_set`.
        classes: the allowed class names; others are a problem.
        min_size: longer side in pixels below which training excludes an object.
        max_objs: objects of one image that training uses at most.

    Returns:
        The statistics.
    """
    return Stats(
        data,
        measure_boxes(data.corners),
        min_size,
        max_objs,
        None if classes is None else tuple(classes),
        find_problems(data, classes),
    )


def _format_percentiles(values: np.ndarray, decimals: int = 1) -> str:
    return " / ".join(
        f"{value:.{0 if value >= 100 else decimals}f}"
        for value in np.percentile(values, _PERCENTILES)
    )
