"""The folder of the sample set, in DOTA layout, created on first use and reused later.

    root/images/*.png  root/labelTxt/*.txt  root/{train,val,test}.txt  root/classes.txt

OpenCV is only used to compress the PNG files.
"""

from __future__ import annotations

import contextlib
import glob
import json
import logging
import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from datasets.sample.layouts import draw_scene
from DOTA_devkit.errors import InputError
from DOTA_devkit.progress import progress_bar

logger = logging.getLogger(__name__)

VERSION = 6  # increase it whenever scenes change, so that existing sets are created again
CLASSES = ("plane", "ship", "vehicle", "harbor")
SPLITS = {"train": 400, "val": 40, "test": 100}  # images
STAMP = "sample_set.json"  # written last; identifies a folder as a sample set
MADE_BY = "datasets.sample"


def make_sample(root: Path, seed: int = 0) -> Path:
    """Create the sample set in `root` unless it is there already.

    The set is created beside `root` and renamed, so a killed run leaves no incomplete set at
    `root`. A set of another seed or version is replaced.

    Args:
        root: The folder of the set.
        seed: Seed of all scenes.

    Returns:
        `root`.

    Raises:
        InputError: `root` exists and was not created by this function; it is not changed.
        OSError: The set cannot be written.
    """
    root = Path(root)
    stamp = {"made_by": MADE_BY, "version": VERSION, "seed": int(seed)}
    _delete_leftovers(root)
    found = _read_stamp(root)
    if found == stamp and _is_complete(root):
        return root
    if found is None and (root.is_file() or (root.is_dir() and any(root.iterdir()))):
        raise InputError(
            f"{root} exists but is not a sample set (it has no {STAMP}); nothing was changed. "
            "Move it away, run in another folder, or give the folder of your own data as "
            "data_dir."
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{root.name}.partial-", dir=root.parent))
    try:
        logger.info("drawing the sample set in %s", root)
        _write_set(work / "set", seed)
        (work / "set" / STAMP).write_text(json.dumps(stamp) + "\n")
        _swap_in(work, root, stamp)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return root


def _write_set(folder: Path, seed: int) -> None:
    write_scenes(folder, SPLITS, seed)


def write_scenes(folder: Path, splits: Mapping[str, int], seed: int = 0) -> None:
    """Draw scenes into a new folder in DOTA layout.

    Args:
        folder: The folder, which must not exist.
        splits: Name of each image list -> number of its images.
        seed: Seed of all scenes.

    Raises:
        OSError: They cannot be written.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "labelTxt").mkdir()
    _write_lines(folder / "classes.txt", CLASSES)
    per_split = np.random.SeedSequence(seed).spawn(len(splits))
    with progress_bar("sample set", sum(splits.values()), unit="image", leave=True) as bar:
        for (split, count), split_seed in zip(splits.items(), per_split, strict=True):
            ids = [f"{split}_{index:03d}" for index in range(count)]
            for image_id, scene_seed in zip(ids, split_seed.spawn(count), strict=True):
                image, labels = draw_scene(scene_seed)
                png = cv2.imencode(".png", image)[1]
                (folder / "images" / f"{image_id}.png").write_bytes(png.tobytes())
                lines = [_label_line(*label) for label in labels]
                header = ["imagesource:drawn", "gsd:null"]
                _write_lines(folder / "labelTxt" / f"{image_id}.txt", header + lines)
                bar.update()
            _write_lines(folder / f"{split}.txt", ids)


def _label_line(corners: np.ndarray, name: str, difficulty: int) -> str:
    rounded = np.round(corners.ravel(), 2) + 0.0  # avoids "-0.00"
    return " ".join(f"{value:.2f}" for value in rounded) + f" {name} {difficulty}"


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def _read_stamp(root: Path) -> dict | None:
    """Return the stamp of a sample set; None for any other folder."""
    try:
        stamp = json.loads((root / STAMP).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return stamp if isinstance(stamp, dict) and stamp.get("made_by") == MADE_BY else None


def _is_complete(root: Path) -> bool:
    """Return whether a sample set still has all its files."""
    count = sum(SPLITS.values())
    lists = [root / f"{name}.txt" for name in (*SPLITS, "classes")]
    return all(path.is_file() for path in lists) and all(
        sum(1 for _ in (root / folder).glob(pattern)) >= count
        for folder, pattern in (("images", "*.png"), ("labelTxt", "*.txt"))
    )


def _swap_in(work: Path, root: Path, stamp: dict) -> None:
    """Rename the finished set to `root`, after moving an older sample set out of the way."""
    try:
        found = _read_stamp(root)
        if found is not None and not (found == stamp and _is_complete(root)):
            root.rename(work / "replaced")
        elif found is None and root.is_dir():
            root.rmdir()  # it was empty
        (work / "set").rename(root)
    except OSError:
        if not (_read_stamp(root) == stamp and _is_complete(root)):
            raise  # otherwise another process has created the same set first


def _delete_leftovers(root: Path, idle_seconds: float = 60.0) -> None:
    """Delete what killed runs left beside `root`; an active run keeps adding images."""
    for left in root.parent.glob(f"{glob.escape(root.name)}.partial-*"):
        with contextlib.suppress(FileNotFoundError):  # its process has just finished
            folders = [path for path in (left, left / "set" / "images") if path.is_dir()]
            touched = max((path.stat().st_mtime for path in folders), default=math.inf)
            if time.time() - touched > idle_seconds:
                shutil.rmtree(left, ignore_errors=True)
