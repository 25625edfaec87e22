"""Cut large images and their labels into patches ``NAME__RATE__X___Y``.

The rules are those of the DOTA devkit. An image is resized by the rate and cut into windows of
``size`` at a stride of ``size - gap``; the last one of a row is moved back to the border. An
object wholly inside a window stays as it is. Of one that the border cuts, the part inside stays
if it has four corners, or five of which the shortest edge becomes its midpoint; it begins at
the corner that fits the label's order best. Where a share of 0.7 or less is left, its difficulty
becomes 2.

A patch is written beside its place and renamed, its image last. A split that was killed goes on
where it was: what is there is not done again.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import Labels, read_labels
from DOTA_devkit.images import find_images
from DOTA_devkit.patches import PatchId
from DOTA_devkit.progress import progress
from DOTA_devkit.splitting.grid import resized_wh, windows
from DOTA_devkit.splitting.labels import LabelCutter
from DOTA_devkit.splitting.options import SplitOptions
from DOTA_devkit.splitting.sources import PatchSource, open_source
from DOTA_devkit.splitting.writer import PatchWriter

logger = logging.getLogger(__name__)

# Remembers how a folder was split, so that another size is not mixed into it.
STATE_FILE = ".split.json"


@dataclass(frozen=True)
class SplitSummary:
    """What a split did.

    Attributes:
        images: source images.
        patch_ids: the patches of the whole split, in the order of the lists.
        written: how many of them were made now.
        present: how many were there from an earlier run.
        empty_dropped: patches without objects that were left out.
        objects: label lines of all patches.
        objects_lost: cut objects whose part inside has too few or too many corners.
    """

    images: int
    patch_ids: tuple[str, ...]
    written: int
    present: int
    empty_dropped: int
    objects: int
    objects_lost: int


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
        data_dir, output_dir: folders of that layout.
        options: how to cut.
        list_name: name of the list of ids.
        workers: threads; None: one for each core.
        overwrite: make patches that are there again, whatever made them.

    Raises:
        InputError: an image without label file, a label or image that can't be understood, or
            an output folder that holds something else.
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
    """Split images, with their labels or alone.

    Args:
        images: image id -> file; see `DOTA_devkit.images.find_images`.
        output_dir: folder of the patches' images.
        options: how to cut.
        label_dir: folder of ``ID.txt`` for each image; None: images alone.
        output_label_dir: folder of the patches' labels; needed with ``label_dir``.
        list_dir: where to write ``list_name`` (ids) and ``images.txt`` (file names); None: none.
        list_name: name of the list of ids.
        workers: threads; None: one for each core. They share the patches of one image, so that
            a single large one keeps them all busy.
        overwrite: make patches that are there again, whatever made them.
        open_image: opens an image file; None: `open_source`.

    Raises:
        InputError: see `split_folder`.
    """
    options = options or SplitOptions()
    open_image = open_image or open_source
    output_dir = Path(output_dir)
    if (label_dir is None) != (output_label_dir is None):
        raise ValueError("label_dir and output_label_dir go together")
    labels = None
    if label_dir is not None:
        label_dir, output_label_dir = Path(label_dir), Path(output_label_dir)
        _check_label_files(images, label_dir)
        output_label_dir.mkdir(parents=True, exist_ok=True)
        labels = output_label_dir
    output_dir.mkdir(parents=True, exist_ok=True)
    _claim(output_dir, options, label_dir is not None, overwrite)
    tally = _Tally()
    with PatchWriter(output_dir, labels, options, workers, overwrite) as writer:
        for image_id, path in progress(images.items(), "splitting"):
            objects = None if label_dir is None else read_labels(label_dir / f"{image_id}.txt")
            with closing(open_image(path)) as source:
                _split_one(image_id, source, objects, options, writer, tally)
                if source.read_late:
                    writer.finish()
    if list_dir is not None:
        _write_lists(Path(list_dir), list_name, tally.patch_ids, options.suffix)
    if tally.lost:
        logger.info("%d cut objects have no four corners left and were dropped", tally.lost)
    return SplitSummary(
        images=len(images),
        patch_ids=tuple(tally.patch_ids),
        written=writer.written,
        present=writer.present,
        empty_dropped=tally.empty_dropped,
        objects=tally.objects,
        objects_lost=tally.lost,
    )


@dataclass
class _Tally:
    """Counts that grow with the images."""

    patch_ids: list[str] = field(default_factory=list)
    empty_dropped: int = 0
    objects: int = 0
    lost: int = 0


def _split_one(
    image_id: str,
    source: PatchSource,
    labels: Labels | None,
    options: SplitOptions,
    writer: PatchWriter,
    tally: _Tally,
) -> None:
    for rate in options.rates:
        rate_wh = resized_wh(source.size_wh, rate)
        cutter = None if labels is None else LabelCutter(labels, rate, rate_wh, options)
        places = windows(rate_wh, options.size, options.gap)
        labelled = [None] * len(places) if cutter is None else cutter.lines(places)
        jobs = []
        for (x, y), lines in zip(places, labelled, strict=True):
            patch_id = str(PatchId(image_id, rate, x, y))
            if lines is not None and not lines and not _keeps_empty(patch_id, options):
                tally.empty_dropped += 1
                continue
            tally.patch_ids.append(patch_id)
            tally.objects += len(lines or ())
            jobs.append((patch_id, x, y, lines))
        if cutter is not None:
            tally.lost += cutter.lost
        writer.write(source, rate, jobs)


def _keeps_empty(patch_id: str, options: SplitOptions) -> bool:
    if options.keep_empty >= 1:
        return True
    draw = zlib.crc32(f"{options.seed} {patch_id}".encode()) / 2**32
    return draw < options.keep_empty


def _check_label_files(images: dict[str, Path], label_dir: Path) -> None:
    if not label_dir.is_dir():
        raise InputError(f"{label_dir}: no such folder of labels")
    present = {path.stem for path in label_dir.glob("*.txt")}
    missing = sorted(set(images) - present)
    if missing:
        raise InputError(
            f"{len(missing)} images have no label file in {label_dir}, the first is "
            f"{missing[0]}; an image without objects needs an empty one"
        )
    folders = {path.parent for path in images.values()}
    not_chosen = {path.stem for folder in folders for path in folder.iterdir()}
    extra = sorted(present - set(images) - not_chosen)
    if extra:
        logger.warning(
            "%d label files in %s have no image and are left out, the first is %s",
            len(extra), label_dir, extra[0],
        )  # fmt: skip


def _claim(output_dir: Path, options: SplitOptions, labelled: bool, overwrite: bool) -> None:
    """Note how the folder is split; refuse one that was split otherwise or holds other images."""
    # Rates may follow one after the other: a patch's name holds its own.
    state = {**asdict(replace(options, rates=(1.0,))), "labels": labelled}
    del state["rates"], state["jpeg_quality"]
    path = output_dir / STATE_FILE
    if path.exists() and not overwrite:
        try:
            before = json.loads(path.read_text("utf-8"))
        except ValueError:
            before = {}
        different = [key for key, value in state.items() if before.get(key) != value]
        if different:
            text = ", ".join(f"{key} {before.get(key)}, now {state[key]}" for key in different)
            raise InputError(
                f"{output_dir} was split otherwise ({text}); choose another folder, or overwrite"
            )
    elif not overwrite and any(output_dir.glob(f"*{options.suffix}")):
        raise InputError(
            f"{output_dir} holds images that are no part of a split; choose another folder, or "
            "overwrite"
        )
    for rest in output_dir.glob(".*.tmp"):
        rest.unlink(missing_ok=True)
    with replacing(path) as file:
        json.dump(state, file, indent=1)
        file.write("\n")


def _write_lists(folder: Path, list_name: str, patch_ids: Iterable[str], suffix: str) -> None:
    patch_ids = sorted(patch_ids)
    with replacing(folder / list_name) as file:
        file.writelines(f"{patch_id}\n" for patch_id in patch_ids)
    with replacing(folder / "images.txt") as file:
        file.writelines(f"{patch_id}{suffix}\n" for patch_id in patch_ids)
