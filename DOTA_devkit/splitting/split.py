"""Split large images and their labels into patches ``NAME__RATE__X___Y``.

The rules are those of the DOTA devkit. An image is resized by the rate and cut into windows of
``size`` at a stride of ``size - gap``; the last window of a row is moved back to the border. An
object that lies completely in a window stays as it is. Of an object that the border cuts, the
part inside stays if it has four corners, or five whose shortest edge is replaced by its
midpoint; it starts at the corner that best fits the corner order of the label. If a share of 0.7
or less is left, its difficulty becomes 2.

A patch is written to a temporary file next to its place and renamed, the image after the label.
A split that was killed can therefore be resumed: patches that exist are not made again.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import folder_hint
from DOTA_devkit.file_names import check_ids
from DOTA_devkit.files import replacing, sweep_leftovers
from DOTA_devkit.formats import Labels, crossing_places, read_labels, warn_of_crossing
from DOTA_devkit.images import find_images, holds_images
from DOTA_devkit.patches import PatchId
from DOTA_devkit.progress import progress
from DOTA_devkit.splitting.grid import resized_wh, windows
from DOTA_devkit.splitting.labels import LabelCutter
from DOTA_devkit.splitting.options import SplitOptions
from DOTA_devkit.splitting.patch_lists import PatchLists
from DOTA_devkit.splitting.sources import PatchSource, open_source
from DOTA_devkit.splitting.writer import PatchJob, PatchWriter

logger = logging.getLogger(__name__)

# Records how a folder was split, so that patches of another size are not mixed in.
STATE_FILE = ".split.json"


@dataclass(frozen=True)
class SplitSummary:
    """The result of a split.

    Attributes:
        images: number of source images.
        patch_ids: the patches of the whole split, in the order of the images.
        written: how many of them were written now.
        present: how many existed from an earlier run.
        empty_dropped: number of patches without objects that were left out.
        objects: number of label lines of all patches.
        objects_dropped: number of cut objects whose part inside has too few or too many corners.
    """

    images: int
    patch_ids: tuple[str, ...]
    written: int
    present: int
    empty_dropped: int
    objects: int
    objects_dropped: int


def split_folder(
    data_dir: Path | str,
    output_dir: Path | str,
    options: SplitOptions | None = None,
    *,
    list_name: str = "trainval.txt",
    workers: int | None = None,
    overwrite: bool = False,
) -> SplitSummary:
    """Split ``images/`` and ``labelTxt/`` of a folder into those of another, and list them.

    Writes ``list_name`` with the ids of all patches and ``images.txt`` with their file names.

    Args:
        data_dir: folder with ``images/`` and ``labelTxt/``.
        output_dir: folder to write, with the same layout.
        options: how to split.
        list_name: name of the list of ids.
        workers: number of threads; None: one per core.
        overwrite: write patches that exist again, whatever made them.

    Returns:
        What was done.

    Raises:
        InputError: an image has no label file, a label or an image cannot be read, or the output
            folder contains something else.
    """
    data_dir, output_dir = Path(data_dir), Path(output_dir)
    return split_images(
        find_images(data_dir / "images"),
        output_dir / "images",
        options,
        label_dir=data_dir / "labelTxt",
        output_label_dir=output_dir / "labelTxt",
        list_dir=output_dir,
        list_name=list_name,
        workers=workers,
        overwrite=overwrite,
    )


# Over 60 lines because its many arguments are documented; `_split_one` does the work.
def split_images(
    images: dict[str, Path],
    output_dir: Path | str,
    options: SplitOptions | None = None,
    *,
    label_dir: Path | str | None = None,
    output_label_dir: Path | str | None = None,
    list_dir: Path | str | None = None,
    list_name: str = "test.txt",
    workers: int | None = None,
    overwrite: bool = False,
    open_image: Callable[[Path], PatchSource] | None = None,
) -> SplitSummary:
    """Split images, with or without their labels.

    Args:
        images: image id -> file; see `DOTA_devkit.images.find_images`.
        output_dir: folder of the patches' images.
        options: how to split.
        label_dir: folder with ``ID.txt`` for each image; None: images without labels.
        output_label_dir: folder of the patches' labels; required with ``label_dir``.
        list_dir: folder for ``list_name`` (ids) and ``images.txt`` (file names); None: no lists.
        list_name: name of the list of ids.
        workers: number of threads; None: one per core. They share the patches of one image, so
            that a single large image keeps all of them busy.
        overwrite: write patches that exist again, whatever made them.
        open_image: opens an image file; None: `open_source` with `options.reading`.

    Returns:
        What was done.

    Raises:
        InputError: see `split_folder`.
        ValueError: only one of ``label_dir`` and ``output_label_dir`` is given.
    """
    options = options or SplitOptions()
    open_image = open_image or partial(open_source, options=options.reading)
    output_dir = Path(output_dir)
    if (label_dir is None) != (output_label_dir is None):
        raise ValueError("label_dir and output_label_dir must be given together")
    if list_dir is not None:
        check_ids(images)
        lists = PatchLists(Path(list_dir), list_name, output_dir, images, overwrite)
    if label_dir is not None:
        label_dir, output_label_dir = Path(label_dir), Path(output_label_dir)
        _check_label_files(images, label_dir)
        output_label_dir.mkdir(parents=True, exist_ok=True)
    output_dir.mkdir(parents=True, exist_ok=True)
    _record_options(output_dir, options, label_dir is not None, overwrite)
    counts = _Counts()
    with PatchWriter(output_dir, output_label_dir, options, workers, overwrite) as writer:
        for image_id, path in progress(images.items(), "splitting"):
            labels = None
            if label_dir is not None:
                label_file = label_dir / f"{image_id}.txt"
                labels = read_labels(label_file)
                counts.crossing += crossing_places(label_file, labels)
            with closing(open_image(path)) as source:
                _split_one(image_id, source, labels, options, writer, counts)
                if source.reads_lazily:
                    writer.finish()
    if list_dir is not None:
        lists.write(counts.patch_ids, options.suffix)
    warn_of_crossing(counts.crossing)
    if counts.objects_dropped:
        logger.info(
            "dropped %d clipped objects that cannot be written as four corners, or are thinner "
            "than a pixel", counts.objects_dropped,
        )  # fmt: skip
    return SplitSummary(
        images=len(images),
        patch_ids=tuple(counts.patch_ids),
        written=writer.written,
        present=writer.present,
        empty_dropped=counts.empty_dropped,
        objects=counts.objects,
        objects_dropped=counts.objects_dropped,
    )


@dataclass
class _Counts:
    """What `SplitSummary` reports, added up image by image."""

    patch_ids: list[str] = field(default_factory=list)
    empty_dropped: int = 0
    objects: int = 0
    objects_dropped: int = 0
    crossing: list[str] = field(default_factory=list)


def _split_one(
    image_id: str,
    source: PatchSource,
    labels: Labels | None,
    options: SplitOptions,
    writer: PatchWriter,
    counts: _Counts,
) -> None:
    """Split one image at all rates."""
    for rate in options.rates:
        size_wh = resized_wh(source.size_wh, rate)
        cutter = None if labels is None else LabelCutter(labels, rate, size_wh, options)
        origins = windows(size_wh, options.size, options.gap)
        label_lines = [None] * len(origins) if cutter is None else cutter.lines(origins)
        jobs = []
        for (x, y), lines in zip(origins, label_lines, strict=True):
            patch_id = str(PatchId(image_id, rate, x, y))
            if lines is not None and not lines and not _keeps_empty(patch_id, options):
                counts.empty_dropped += 1
                continue
            counts.patch_ids.append(patch_id)
            counts.objects += len(lines or ())
            jobs.append(PatchJob(patch_id, x, y, lines))
        if cutter is not None:
            counts.objects_dropped += cutter.dropped
        writer.write(source, rate, jobs)


def _keeps_empty(patch_id: str, options: SplitOptions) -> bool:
    """Decide by the name and the seed, so that a split that is repeated keeps the same patches."""
    if options.keep_empty >= 1:
        return True
    draw = zlib.crc32(f"{options.seed} {patch_id}".encode()) / 2**32
    return draw < options.keep_empty


def _check_label_files(images: dict[str, Path], label_dir: Path) -> None:
    """Raise InputError for images without labels; warn about labels without an image."""
    if not label_dir.is_dir():
        raise InputError(f"{label_dir}: no such folder of labels{folder_hint(label_dir)}")
    present = {path.stem for path in label_dir.glob("*.txt")}
    missing = sorted(set(images) - present)
    if missing:
        raise InputError(
            f"{len(missing)} images have no label file in {label_dir}, the first is "
            f"{missing[0]}; an image without objects needs an empty one"
        )
    # The caller may have selected some images of a folder: the labels of the others are expected.
    folders = {path.parent for path in images.values()}
    not_selected = {path.stem for folder in folders for path in folder.iterdir()}
    extra = sorted(present - set(images) - not_selected)
    if extra:
        logger.warning(
            "ignoring %d label files in %s that have no image, the first is %s",
            len(extra), label_dir, extra[0],
        )  # fmt: skip


def _record_options(
    output_dir: Path, options: SplitOptions, labeled: bool, overwrite: bool
) -> None:
    """Record how the folder is split; reject one with other options or with other images."""
    # Different rates may be split one after the other, as the names of the patches contain them.
    state = {**asdict(replace(options, rates=(1.0,))), "labels": labeled}
    del state["rates"], state["jpeg_quality"], state["reading"]
    if not labeled:
        del state["whole_pixels"]
    reading = {"depth": options.reading.depth, "bands": options.reading.bands_text()}
    path = output_dir / STATE_FILE
    if path.exists() and not overwrite:
        try:
            before = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError):
            before = {}
        before = before if isinstance(before, dict) else {}
        # Folders of earlier versions do not record these.
        before = reading | {"whole_pixels": True} | before
        state |= reading
        different = [key for key, value in state.items() if before.get(key) != value]
        if different:
            text = ", ".join(f"{key} {before.get(key)}, now {state[key]}" for key in different)
            raise InputError(
                f"{output_dir} was split with other options ({text}); choose another folder, or "
                "set overwrite"
            )
    elif not overwrite and holds_images(output_dir):
        raise InputError(
            f"{output_dir} contains images that are not part of a split; choose another folder, "
            "or set overwrite"
        )
    sweep_leftovers(output_dir)
    with replacing(path) as file:
        json.dump(state | reading, file, indent=1)
        file.write("\n")
