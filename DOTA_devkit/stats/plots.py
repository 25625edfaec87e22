"""Statistics as a picture of six panels."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.stats.report import Stats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Installed ones of these draw the class names that the standard font lacks.
_CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "WenQuanYi Micro Hei",
    "Source Han Sans SC",
)


def plot_stats(stats: Stats, path: Path | str) -> None:
    """Draw class counts, sizes, aspect ratios, angles, objects per image and positions.

    Args:
        stats: what `collect_stats` returned.
        path: picture to write, with any suffix that matplotlib knows; png if it has none.

    Raises:
        InputError: matplotlib is not installed, or it does not know the suffix.
    """
    figure = _draw(stats)
    path = Path(path)
    suffix = path.suffix.lstrip(".").lower() or "png"
    if suffix not in figure.canvas.get_supported_filetypes():
        raise InputError(f"{path}: matplotlib cannot write {path.suffix} files; use .png")
    with replacing(path, "wb") as file, warnings.catch_warnings():
        # Without a Chinese font a Chinese class name is drawn as boxes; the table shows it.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure.savefig(file, format=suffix)


def _draw(stats: Stats) -> Figure:
    try:
        from matplotlib import font_manager, rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("plots need matplotlib: pip install -e '.[plot]'") from None

    installed = {font.name for font in font_manager.fontManager.ttflist}
    fonts = ["DejaVu Sans", *(font for font in _CHINESE_FONTS if font in installed)]
    with rc_context({"font.family": fonts}):
        figure = Figure(figsize=(15, 8.5), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, 3).ravel()
        _draw_classes(panels[0], stats)
        _draw_sizes(panels[1], stats)
        _draw_aspects(panels[2], stats)
        _draw_angles(panels[3], stats)
        _draw_objects_per_image(panels[4], stats)
        _draw_positions(panels[5], stats)
    return figure


def _draw_classes(axes: Axes, stats: Stats) -> None:
    counts = Counter(stats.data.names).most_common()[::-1]
    axes.barh([name for name, _ in counts], [count for _, count in counts])
    axes.set(title="objects per class", xscale="log")


def _draw_sizes(axes: Axes, stats: Stats) -> None:
    measures = stats.measures
    largest = max(20.0, float(measures.longer.max(initial=0)))
    bins = np.geomspace(1, largest * 1.01, 50)
    axes.hist(measures.longer, bins, label="longer side", histtype="step")
    axes.hist(measures.shorter, bins, label="shorter side", histtype="step")
    axes.axvline(stats.min_size, color="0.5", ls="--", label=f"min_size {stats.min_size:g}")
    axes.set(title="object size (pixels)", xscale="log")
    axes.legend()


def _draw_aspects(axes: Axes, stats: Stats) -> None:
    axes.hist(np.minimum(stats.measures.aspect, 15), np.linspace(1, 15, 57))
    axes.set(title="aspect ratio (15: 15 and above)")


def _draw_angles(axes: Axes, stats: Stats) -> None:
    axes.hist(stats.measures.angle, np.arange(0, 181, 5))
    axes.set(title="angle of the longer side (degrees)", xticks=range(0, 181, 30))


def _draw_objects_per_image(axes: Axes, stats: Stats) -> None:
    per_image = stats.objects_per_image
    axes.hist(per_image, 50)
    if per_image.max() > stats.max_objs / 2:
        axes.axvline(stats.max_objs, color="0.5", ls="--", label=f"max_objs {stats.max_objs}")
        axes.legend()
    axes.set(title="objects per image", yscale="log", ylabel="images")


def _draw_positions(axes: Axes, stats: Stats) -> None:
    data = stats.data
    center = data.corners.mean(axis=1) / data.sizes_wh[data.image_index]
    known = np.isfinite(center).all(axis=1)
    axes.set(title="object centers (fraction of width, height)")
    if known.any():
        axes.hist2d(*center[known].T, bins=32, range=[[0, 1], [0, 1]])
        axes.invert_yaxis()
    else:
        axes.text(0.5, 0.5, "image sizes are unknown", ha="center", va="center")
