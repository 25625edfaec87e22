"""What is in a folder of labels: sizes, angles, and what training would leave out or trip over."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import map_collecting, read_all_labels
from DOTA_devkit.files import replacing
from DOTA_devkit.images import image_size_wh
from DOTA_devkit.polygon import grouped_iou, polygon_area
from DOTA_devkit.progress import progress
from DOTA_devkit.tables import format_table

OUTSIDE_TOLERANCE = 2.0
"""Pixels that a corner may lie over the border before the label counts as reaching outside."""
DUPLICATE_IOU = 0.95
"""Two objects of one class that overlap more than this are one object, labelled twice."""
TURNED_DEGREES = 5.0
_PERCENTILES = (5, 50, 95)
_EXAMPLES = 3
# Tried in turn for class names that the standard font lacks.
_CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "WenQuanYi Micro Hei",
    "Source Han Sans SC",
)


@dataclass(frozen=True)
class LabelledSet:
    """All labels of a folder as columns; object columns are [N], image columns [I]."""

    image_ids: list[str]
    label_paths: list[Path | None]
    """None where an image has no label file."""
    sizes_wh: np.ndarray
    """[I, 2] float64, nan where an image is missing or was not looked at."""
    image_index: np.ndarray
    corners: np.ndarray
    """[N, 4, 2], pixels of the image."""
    names: np.ndarray
    difficult: np.ndarray
    lines: np.ndarray

    def where(self, objects: np.ndarray) -> list[str]:
        """`file name:line` of the objects (indices or mask [N])."""
        return [
            f"{self.label_paths[image].name}:{line}"
            for image, line in zip(self.image_index[objects], self.lines[objects], strict=True)
        ]


def read_set(label_dir: Path | str, images: Mapping[str, Path] | None = None) -> LabelledSet:
    """Read every label file of a folder, and the sizes of `images` (id -> file) where given.

    Raises InputError that tells the faults of all files.
    """
    label_dir = Path(label_dir)
    if not label_dir.is_dir():
        raise InputError(f"{label_dir}: no such folder of labels")
    paths = {
        path.stem: path
        for path in sorted(label_dir.glob("*.txt"))
        if path.name != "classes.txt" and not path.name.startswith(".")
    }
    image_ids = sorted({*paths, *(images or {})})
    if not image_ids:
        raise InputError(f"{label_dir}: no label files (*.txt) in this folder")
    labelled = [image_id for image_id in image_ids if image_id in paths]
    labels = read_all_labels([paths[image_id] for image_id in labelled])
    read = dict(zip(labelled, labels, strict=True))
    sizes = np.full((len(image_ids), 2), np.nan)
    if images:
        known = [index for index, image_id in enumerate(image_ids) if image_id in images]
        sizes[known] = map_collecting(
            lambda index: image_size_wh(images[image_ids[index]]), progress(known, "sizes")
        )
    counts = [len(read[i]) if i in read else 0 for i in image_ids]
    return LabelledSet(
        image_ids=image_ids,
        label_paths=[paths.get(image_id) for image_id in image_ids],
        sizes_wh=sizes,
        image_index=np.repeat(np.arange(len(image_ids)), counts),
        corners=np.concatenate([np.zeros((0, 4, 2)), *(entry.corners for entry in labels)]),
        names=np.array([name for entry in labels for name in entry.names], dtype=object),
        difficult=np.array([d for entry in labels for d in entry.difficult], dtype=np.int64),
        lines=np.array([line for entry in labels for line in entry.lines], dtype=np.int64),
    )


@dataclass(frozen=True)
class Measures:
    """The smallest rectangle around each object, [N] each."""

    longer: np.ndarray
    shorter: np.ndarray
    angle: np.ndarray
    """Degrees of the longer side in [0, 180): 0 along x, 90 along y (down)."""

    @property
    def aspect(self) -> np.ndarray:
        return self.longer / np.maximum(self.shorter, 1e-9)


def measure(corners: np.ndarray) -> Measures:
    """Sides and angle of the smallest rectangle around corners [N, 4, 2].

    It has a side along an edge of the convex hull, which joins two of the four corners: trying
    the directions of all six pairs finds it, for concave and self-crossing outlines too.
    """
    first, second = np.triu_indices(4, 1)
    local = corners - corners[:, :1]
    direction = local[:, second] - local[:, first]
    length = np.linalg.norm(direction, axis=2)
    direction = np.where(length[..., None] > 0, direction, [1.0, 0.0])
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    along = np.einsum("npd,nkd->npk", direction, local)
    across = np.einsum("npd,nkd->npk", direction[..., ::-1] * [-1, 1], local)
    extents = np.stack([np.ptp(along, axis=2), np.ptp(across, axis=2)], axis=2)  # [N, 6, 2]
    best = np.argmin(extents.prod(axis=2), axis=1)
    rows = np.arange(len(corners))
    extent, direction = extents[rows, best], direction[rows, best]
    angle = np.degrees(np.arctan2(direction[:, 1], direction[:, 0]))
    angle = np.where(extent[:, 0] >= extent[:, 1], angle, angle + 90) % 180
    return Measures(longer=extent.max(axis=1), shorter=extent.min(axis=1), angle=angle)


@dataclass(frozen=True)
class Stats:
    """The findings; `table()` tells them, `plot()` draws them."""

    data: LabelledSet
    measures: Measures
    min_size: float
    max_objs: int
    classes: tuple[str, ...] | None
    problems: dict[str, list[str]] = field(default_factory=dict)
    """What is wrong -> `file:line` (or image ids) of where it is."""

    @property
    def objects_per_image(self) -> np.ndarray:
        return np.bincount(self.data.image_index, minlength=len(self.data.image_ids))

    @property
    def too_small(self) -> np.ndarray:
        """Mask [N] of what `--min_size` leaves out."""
        return self.measures.longer < self.min_size

    @property
    def over_cap(self) -> int:
        """Objects that `--max_objs` leaves out, after `--min_size`."""
        kept = np.bincount(
            self.data.image_index[~self.too_small], minlength=len(self.data.image_ids)
        )
        return int(np.maximum(kept - self.max_objs, 0).sum())

    def table(self) -> str:
        return "\n\n".join(
            block
            for block in (
                self._overview(),
                self._class_table(),
                self._left_out(),
                self._problem_list(),
            )
            if block
        )

    def _overview(self) -> str:
        per_image, total = self.objects_per_image, len(self.data.names)
        lines = [
            f"{len(self.data.image_ids)} images, {total} objects "
            f"({int((self.data.difficult > 0).sum())} difficult), "
            f"{int((per_image == 0).sum())} images without objects",
            f"objects an image: median {np.median(per_image):g}, "
            f"95 % {np.percentile(per_image, 95):g}, most {per_image.max()}",
        ]
        if total:
            away = np.abs((self.measures.angle + 45) % 90 - 45)
            turned = (away > TURNED_DEGREES).mean()
            lines.append(
                f"turned more than {TURNED_DEGREES:g} degrees from the axes: {100 * turned:.0f} %"
            )
            histogram = np.histogram(self.measures.angle, bins=6, range=(0, 180))[0]
            lines.append(
                "angle of the longer side, steps of 30 degrees: "
                + " ".join(f"{100 * share:.0f}%" for share in histogram / total)
            )
        return "\n".join(lines)

    def _class_table(self) -> str:
        percents = "5 / 50 / 95 %"
        rows = [
            ["class", "objects", "images", "longer side", "shorter side", "aspect ratio"],
            ["", "", "", percents, percents, percents],
        ]
        names = [name for name, _ in Counter(self.data.names).most_common()]
        masks = {name: self.data.names == name for name in names}
        if len(masks) > 1:
            masks["all"] = np.ones(len(self.data.names), dtype=bool)
        for name, mask in masks.items():
            rows.append(
                [
                    name,
                    int(mask.sum()),
                    len(np.unique(self.data.image_index[mask])),
                    _percentiles(self.measures.longer[mask]),
                    _percentiles(self.measures.shorter[mask]),
                    _percentiles(self.measures.aspect[mask], 2),
                ]
            )
        return format_table(rows) if masks else ""

    def _left_out(self) -> str:
        small = self.too_small
        by_class = ", ".join(f"{n} {c}" for n, c in Counter(self.data.names[small]).most_common())
        crowded = int((self.objects_per_image > self.max_objs).sum())
        return "\n".join(
            [
                f"left out by --min_size {self.min_size:g} (longer side, pixels): "
                + str(int(small.sum()))
                + (f" ({by_class})" if by_class else ""),
                f"left out by --max_objs {self.max_objs}: {self.over_cap} objects "
                f"({crowded} images have more)",
            ]
        )

    def _problem_list(self) -> str:
        lines = []
        for title, places in self.problems.items():
            shown = ", ".join(places[:_EXAMPLES]) + (", ..." if len(places) > _EXAMPLES else "")
            lines.append(f"{title}: {len(places)}" + (f" ({shown})" if places else ""))
        return "\n".join(lines)

    def plot(self, path: Path | str) -> None:
        """Six panels as a picture. Raises InputError where matplotlib is not installed."""
        figure = _draw(self)
        path = Path(path)
        suffix = path.suffix.lstrip(".").lower() or "png"
        if suffix not in figure.canvas.get_supported_filetypes():
            raise InputError(f"{path}: matplotlib cannot write {path.suffix} files; use .png")
        with replacing(path, "wb") as file, warnings.catch_warnings():
            # Without a Chinese font a Chinese class name is drawn as boxes; the table tells it.
            warnings.filterwarnings("ignore", "Glyph .* missing")
            figure.savefig(file, format=suffix)


def collect_stats(
    data: LabelledSet,
    classes: Sequence[str] | None = None,
    min_size: float = 10,
    max_objs: int = 500,
) -> Stats:
    """Measure the objects and look for labels that are most likely mistakes.

    Args:
        classes: the names that are allowed; others are a problem.
        min_size: objects whose longer side is below this are left out of training.
        max_objs: objects of one image that training takes.
    """
    problems = _outside_problems(data)
    problems[f"labelled twice (same class, IoU above {DUPLICATE_IOU:g})"] = _duplicates(data)
    problems["boxes of no area"] = data.where(polygon_area(data.corners) == 0)
    if classes is not None:
        unknown = ~np.isin(data.names.astype(str), list(classes))
        for name, count in Counter(data.names[unknown]).most_common():
            problems[f"class {name!r} is not in the list, objects"] = (
                data.where(unknown & (data.names == name)) if count else []
            )
    if np.isfinite(data.sizes_wh).any():
        missing = ~np.isfinite(data.sizes_wh[:, 0])
        problems["label files without an image"] = [
            data.image_ids[index] for index in np.flatnonzero(missing)
        ]
    problems["images without a label file"] = [
        image_id
        for image_id, path in zip(data.image_ids, data.label_paths, strict=True)
        if path is None
    ]
    return Stats(
        data,
        measure(data.corners),
        min_size,
        max_objs,
        None if classes is None else tuple(classes),
        problems,
    )


def _outside_problems(data: LabelledSet) -> dict[str, list[str]]:
    """Labels outside the image; nothing where no sizes are known."""
    if not np.isfinite(data.sizes_wh).any():
        return {}
    size = data.sizes_wh[data.image_index][:, None]  # nan compares as inside
    beyond = np.maximum(-data.corners, data.corners - size)  # [N, 4, 2]
    reaching = (beyond > OUTSIDE_TOLERANCE).any(axis=(1, 2))
    wholly = ((data.corners < 0).all(axis=1) | (data.corners > size).all(axis=1)).any(axis=1)
    centre = data.corners.mean(axis=1, keepdims=True)
    centre_out = ((centre < 0) | (centre > size)).any(axis=(1, 2))
    return {
        f"reaching outside the image by more than {OUTSIDE_TOLERANCE:g} pixels": data.where(
            reaching
        ),
        "centre outside the image": data.where(centre_out & ~wholly),
        "wholly outside the image": data.where(wholly),
    }


def _duplicates(data: LabelledSet) -> list[str]:
    """Every object that overlaps an earlier one of its class and image almost wholly."""
    classes, numbers = np.unique(data.names.astype(str), return_inverse=True)
    groups = data.image_index * max(len(classes), 1) + numbers
    later, earlier, overlap = grouped_iou(data.corners, data.corners, groups, groups)
    return data.where(np.unique(later[(earlier < later) & (overlap > DUPLICATE_IOU)]))


def _percentiles(values: np.ndarray, decimals: int = 1) -> str:
    return " / ".join(
        f"{value:.{0 if value >= 100 else decimals}f}"
        for value in np.percentile(values, _PERCENTILES)
    )


def _draw(stats: Stats):  # -> matplotlib.figure.Figure
    """The picture; raises InputError where matplotlib is not installed."""
    try:
        from matplotlib import font_manager, rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("pictures need matplotlib: pip install -e '.[plot]'") from None

    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ["DejaVu Sans", *(font for font in _CHINESE_FONTS if font in installed)]
    with rc_context({"font.family": fonts}):
        figure = Figure(figsize=(15, 8.5), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        _fill_panels(stats, figure.subplots(2, 3).ravel())
    return figure


def _fill_panels(stats: Stats, panels) -> None:
    data, measures = stats.data, stats.measures
    counts = Counter(data.names).most_common()[::-1]
    panels[0].barh([name for name, _ in counts], [count for _, count in counts])
    panels[0].set(title="objects of each class", xscale="log")

    top = max(20.0, float(measures.longer.max(initial=0)))
    sides = np.geomspace(1, top * 1.01, 50)
    panels[1].hist(measures.longer, sides, label="longer side", histtype="step")
    panels[1].hist(measures.shorter, sides, label="shorter side", histtype="step")
    panels[1].axvline(stats.min_size, color="0.5", ls="--", label=f"min_size {stats.min_size:g}")
    panels[1].set(title="size of objects (pixels)", xscale="log")
    panels[1].legend()

    panels[2].hist(np.minimum(measures.aspect, 15), np.linspace(1, 15, 57))
    panels[2].set(title="aspect ratio (15: and above)")

    panels[3].hist(measures.angle, np.arange(0, 181, 5))
    panels[3].set(title="angle of the longer side (degrees)", xticks=range(0, 181, 30))

    per_image = stats.objects_per_image
    panels[4].hist(per_image, 50)
    if per_image.max() > stats.max_objs / 2:
        panels[4].axvline(stats.max_objs, color="0.5", ls="--", label=f"max_objs {stats.max_objs}")
        panels[4].legend()
    panels[4].set(title="objects an image", yscale="log", ylabel="images")

    size = data.sizes_wh[data.image_index]
    centre = data.corners.mean(axis=1) / size
    known = np.isfinite(centre).all(axis=1)
    panels[5].set(title="where the centres lie (share of width, height)")
    if known.any():
        panels[5].hist2d(*centre[known].T, bins=32, range=[[0, 1], [0, 1]])
        panels[5].invert_yaxis()
    else:
        panels[5].text(0.5, 0.5, "sizes of the images are not known", ha="center", va="center")
