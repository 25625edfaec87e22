"""Checking and zipping merged results for the DOTA evaluation server.

The server takes a zip with one Task1 file per class, whose image ids are those of whole images.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import find_result_files, result_name
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import DOTA_CLASSES, read_task1
from DOTA_devkit.patches import parse_patch_id, source_name
from DOTA_devkit.progress import progress
from DOTA_devkit.tables import format_table

TEST_IMAGES = {"1.0": 937, "1.5": 937, "2.0": 2792}
"""DOTA release -> images that the server scores: the test set, for 2.0 test-dev."""

# The date of every file in the zip, the earliest that the format allows: it is fixed so that the
# same results give the same bytes.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class SubmissionReport:
    """The contents of a folder of results.

    Attributes:
        detections: class -> number of detections, in the order of the classes.
        images: images with at least one detection.
        expected_images: images of the test set, 0 if unknown.
        problems: reasons not to submit; empty if the server would accept the results.
    """

    detections: dict[str, int]
    images: int
    expected_images: int
    problems: list[str] = field(default_factory=list)

    def table(self) -> str:
        """Format the number of detections per class and of images as text."""
        return "\n".join(
            [
                format_table([["class", "detections"], *self.detections.items()]),
                f"images with detections: {self.images} of {self.expected_images}",
            ]
        )


def check_submission(
    result_dir: Path | str,
    classes: Sequence[str] = DOTA_CLASSES["1.0"],
    image_ids: Iterable[str] | None = None,
    expected_images: int | None = None,
    min_images: float = 0.9,
) -> SubmissionReport:
    """Look for everything that makes the server reject results or score them too low.

    Args:
        result_dir: folder with `Task1_<class>.txt`.
        classes: the classes, each of which needs its file (an empty one will do).
        image_ids: ids of the test images; detections on other images are a problem.
        expected_images: number of test images if `image_ids` is not given.
        min_images: share of the test images that must have a detection. Results of half a test
            set are the usual reason for an AP of 38, and the server gives no warning.

    Returns:
        What the folder contains, and the problems.

    Raises:
        InputError: `result_dir` is not a folder.
    """
    result_dir = Path(result_dir)
    if not result_dir.is_dir():
        raise InputError(f"{result_dir}: no such folder of results")
    known_ids = None if image_ids is None else set(image_ids)
    if known_ids is not None:
        expected_images = len(known_ids)
    expected_images = expected_images or 0

    problems = _file_name_problems(result_dir, classes)
    detections = dict.fromkeys(classes, 0)
    seen: set[str] = set()
    for name in progress(classes, "checking"):
        path = result_dir / result_name(name)
        if not path.is_file():
            continue
        try:
            found = read_task1(path)
        except InputError as error:
            problems.append(str(error))
            continue
        detections[name] = len(found.scores)
        ids = set(found.image_ids)
        patches = sorted(i for i in ids if parse_patch_id(i) and i not in (known_ids or ()))
        seen |= ids.difference(patches)
        seen.update(map(source_name, patches))
        if patches:
            problems.append(
                f"{path}: {len(patches)} ids are patches ({patches[0]}): merge the results first "
                "(python -m DOTA_devkit merge); unmerged results score about 15 points lower"
            )
        elif known_ids is not None and (unlisted := sorted(ids - known_ids)):
            problems.append(f"{path}: {len(unlisted)} ids are not in the list ({unlisted[0]})")

    covered = len(seen if known_ids is None else seen & known_ids)
    if covered < min_images * expected_images:
        problems.append(_too_few_images(result_dir, covered, expected_images))
    return SubmissionReport(detections, covered, expected_images, problems)


def _too_few_images(result_dir: Path, covered: int, expected_images: int) -> str:
    return (
        f"{result_dir}: only {covered} of {expected_images} test images have a detection; the "
        "server counts every object of the others as missed (half the test set gives an AP of "
        "about 38). Run the detector on all of them, or lower `min_images` if this is intended"
    )


def _file_name_problems(result_dir: Path, classes: Sequence[str]) -> list[str]:
    expected = set(map(result_name, classes))
    present = {path.name for path in find_result_files(result_dir, "Task1_*")}
    problems = []
    if missing := sorted(expected - present):
        problems.append(
            f"{result_dir}: {len(missing)} of {len(expected)} files are missing: "
            f"{', '.join(missing)} (a class without detections needs an empty file)"
        )
    if extra := sorted(present - expected):
        problems.append(
            f"{result_dir}: {len(extra)} files belong to no class of this release: "
            f"{', '.join(extra)}" + _matching_release(present)
        )
    return problems


def _matching_release(present: set[str]) -> str:
    """Return a hint if the files are those of another release of DOTA, else an empty text."""
    for version, classes in DOTA_CLASSES.items():
        if present == set(map(result_name, classes)):
            return f"; they are the files of DOTA {version}: give `classes` of that release"
    return ""


def write_submission(
    result_dir: Path | str, zip_path: Path | str, classes: Sequence[str] = DOTA_CLASSES["1.0"]
) -> Path:
    """Zip the Task1 files of `classes` for the server, without folders.

    The same files give the same bytes on any machine, and an interrupted run leaves no partial
    zip.

    Args:
        result_dir: folder with `Task1_<class>.txt`.
        zip_path: the zip to write or replace.
        classes: the classes; one without a file gets an empty file.

    Returns:
        `zip_path`.

    Raises:
        OSError: a file cannot be read or written.
    """
    result_dir, zip_path = Path(result_dir), Path(zip_path)
    with (
        replacing(zip_path, "wb") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in progress(sorted(map(result_name, classes)), "zipping"):
            entry = zipfile.ZipInfo(name, _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            source = result_dir / name
            if not source.is_file():
                archive.writestr(entry, b"")
                continue
            with (
                open(source, "rb") as lines,
                archive.open(entry, "w", force_zip64=source.stat().st_size > 1 << 31) as target,
            ):
                shutil.copyfileobj(lines, target, 1 << 20)
    return zip_path
