"""Reading a data folder into a `Survey`: faults are collected, and never stop the reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from DOTA_devkit.class_lists import (
    CLASS_FILE,
    find_class_file,
    find_numbered_classes,
    read_class_file,
)
from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.converters.datasets import Source
from DOTA_devkit.converters.guess import guess_format, label_files
from DOTA_devkit.converters.table import FORMATS
from DOTA_devkit.doctor.survey import FROM_RELEASE, IdList, ModelClasses, Settings, Survey
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import folder_hint
from DOTA_devkit.file_names import check_image_id, path_inside
from DOTA_devkit.formats import DOTA_CLASSES
from DOTA_devkit.formats.text import read_lines
from DOTA_devkit.images import IMAGE_SUFFIXES, guess_image_folder, image_id_of
from DOTA_devkit.imaging import image_size_wh
from DOTA_devkit.lists import DEFAULT_LISTS
from DOTA_devkit.progress import progress
from DOTA_devkit.stats import collect_label_set

LABEL_FOLDERS = ("labelTxt", "Annotations", "annotations", "labels", "labelTxt-v1.0")
"""Names of the folder of labels, the first that exists is read."""

LISTS = ("train", "val", "test")


@dataclass(frozen=True)
class Paths:
    """Where the parts of a data folder are, if not where they usually are.

    Attributes:
        images: folder of the images.
        labels: folder of the labels, or one file with all of them.
        lists: "train", "val" or "test" -> its list, relative to the data folder or absolute.
    """

    images: Path | None = None
    labels: Path | None = None
    lists: Mapping[str, Path] = field(default_factory=dict)


def read_survey(
    root: Path | str,
    paths: Paths | None = None,
    classes: tuple[str, ...] | None = None,
    settings: Settings | None = None,
    model: ModelClasses | None = None,
    results: Path | None = None,
    release: str | None = None,
) -> Survey:
    """Read labels, lists, classes and image sizes of a data folder.

    Args:
        root: the folder.
        paths: where its parts are.
        classes: class names; by default those of classes.txt or a release of DOTA that has all
            names of the labels.
        settings: what the data are judged for.
        model: see `Survey`, as for all further arguments.
        results: see `Survey`.
        release: see `Survey`.

    Raises:
        InputError: there is no such folder, it has neither images nor labels, or a place that was
            given does not exist.
    """
    root, paths = Path(root), paths or Paths()
    if not root.is_dir():
        raise InputError(f"{root}: no such data folder{folder_hint(root)}")
    faults: dict[str, list[str]] = {}
    label_path = paths.labels or _label_path(root)
    images = _images(_image_folder(root, paths, label_path), faults)
    annotations: dict[str, Annotation] = {}
    if label_path is not None:
        annotations = _annotations(label_path, images, classes, faults)
    lists = _lists(root, paths.lists, images, faults)
    if not images and not annotations and not faults:
        raise InputError(
            f"{root}: neither images nor labels here; expected images/ and labelTxt/ in it"
        )
    if classes is None:
        classes, class_source = _classes(root, label_path, annotations, faults)
    else:
        class_source = "`classes`"
    image_ids = sorted({*images, *annotations})
    data = collect_label_set(
        image_ids,
        {image_id: annotation.path for image_id, annotation in annotations.items()},
        {image_id: annotation.labels for image_id, annotation in annotations.items()},
        _sizes(image_ids, images),
        {image_id: annotation.places for image_id, annotation in annotations.items()},
    )
    sizes = {i: a.size_wh for i, a in annotations.items() if a.size_wh is not None}
    return Survey(
        root, data, images, lists, classes, class_source, settings or Settings(), faults, sizes,
        model, results, release,
    )  # fmt: skip


def _label_path(root: Path) -> Path | None:
    """Return the folder of labels, or the one file of labels beside the images."""
    for name in LABEL_FOLDERS:
        if (root / name).is_dir():
            return root / name
    files = [p for p in sorted(root.iterdir()) if p.suffix.lower() in (".json", ".geojson", ".xml")]
    return files[0] if len(files) == 1 else None


def _image_folder(root: Path, paths: Paths, label_path: Path | None) -> Path | None:
    if paths.images is not None:
        if not paths.images.is_dir():
            raise InputError(f"{paths.images}: no such folder of images{folder_hint(paths.images)}")
        return paths.images
    return guess_image_folder(label_path or root / "labelTxt") or guess_image_folder(
        root / "labelTxt"
    )


def _images(folder: Path | None, faults: dict[str, list[str]]) -> dict[str, Path]:
    """Find the images; of several with one id, the first is taken."""
    images: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder is not None else ():
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        other = images.setdefault(path.stem, path)
        if other is not path:
            _add(faults, "image_names", f"{other} and {path.name} share the id {path.stem}")
    return images


def _annotations(
    label_path: Path,
    images: Mapping[str, Path],
    classes: tuple[str, ...] | None,
    faults: dict[str, list[str]],
) -> dict[str, Annotation]:
    """Read the labels in whatever format they are, file by file."""
    try:
        name = "dota" if label_path.name == "labelTxt" else guess_format(label_path)
        files = label_files(label_path, FORMATS[name].suffix)
        if FORMATS[name].numbers and classes is None:
            numbered = find_numbered_classes(label_path)
            classes = None if numbered is None else numbered[1]
        if FORMATS[name].numbers and not FORMATS[name].one_file and not classes:
            raise InputError(
                f"{label_path}: the labels have class numbers; name the classes with `classes`, or "
                f"in a {CLASS_FILE} beside the labels"
            )
    except InputError as error:
        if not label_path.exists():
            raise
        _add(faults, "label_text", str(error))
        return {}
    source = Source(label_path, name, images, classes)
    found: dict[str, Annotation] = {}
    for path in progress(files, "labels"):
        for annotation in _kept(lambda path=path: FORMATS[name].read(path, source), faults) or ():
            other = found.setdefault(annotation.image_id, annotation)
            if other is not annotation:
                _add(
                    faults,
                    "label_text",
                    f"{annotation.path}: labels of the image {annotation.image_id}, which has "
                    f"labels in {other.path} as well",
                )
    return found


def _kept(read: Callable[[], object], faults: dict[str, list[str]]) -> object:
    try:
        return read()
    except (InputError, OSError) as error:
        _add(faults, "label_text", str(error))
        return None


def _lists(
    root: Path,
    given: Mapping[str, Path],
    images: Mapping[str, Path],
    faults: dict[str, list[str]],
) -> dict[str, IdList]:
    """Read the lists that the phases would read, see `datasets.lists.find_list`."""
    lists = {}
    for name in LISTS:
        if name in given:
            path = root / given[name]
            if not path.is_file():
                raise InputError(f"{name}_list: there is no file {path}")
        else:
            candidates = [root / f"{one}.txt" for one in DEFAULT_LISTS.get(name, (name,))]
            path = next((one for one in candidates if one.is_file()), None)
        if path is not None and (read := _list(path, images, faults)) is not None:
            lists[name] = read
    return lists


def _list(path: Path, images: Mapping[str, Path], faults: dict[str, list[str]]) -> IdList | None:
    try:
        lines = [(number, line.strip()) for number, line in enumerate(read_lines(path), 1)]
    except InputError as error:
        _add(faults, "list_text", str(error))
        return None
    entries, ids = [], []
    for number, text in lines:
        if not text:
            continue
        try:
            check_image_id(text, f"{path}:{number}")
            path_inside(path.parent, text, "", f"{path}:{number}")
        except InputError as error:
            _add(faults, "list_text", str(error))
            continue
        entries.append((number, text))
        ids.append(image_id_of(text, images))
    if not entries:
        _add(faults, "list_text", f"{path}: the list is empty, expected one image id per line")
    return IdList(path, entries, ids)


def _classes(
    root: Path,
    label_path: Path | None,
    annotations: Mapping[str, Annotation],
    faults: dict[str, list[str]],
) -> tuple[tuple[str, ...] | None, str]:
    """Return the class names and where they come from; None if nobody has given them."""
    path = root / CLASS_FILE
    if not path.is_file() and label_path is not None:
        path = find_class_file(label_path) or path
    if path.is_file():
        try:
            return read_class_file(path), str(path)
        except InputError as error:
            _add(faults, "class_list", str(error))
            return None, ""
    names = {name for one in annotations.values() for name in one.labels.names}
    for release, classes in DOTA_CLASSES.items():
        if names and names <= set(classes):
            return tuple(classes), f"{FROM_RELEASE} {release} are taken"
    return None, ""


def _sizes(image_ids: list[str], images: Mapping[str, Path]) -> np.ndarray:
    """Return the sizes ``[I, 2]``, nan where there is no image or its header says nothing."""
    sizes = np.full((len(image_ids), 2), np.nan)
    for row, image_id in enumerate(progress(image_ids, "sizes")):
        if image_id in images:
            try:
                sizes[row] = image_size_wh(images[image_id])
            except (InputError, OSError):
                continue  # the check of the images reports it
    return sizes


def _add(faults: dict[str, list[str]], check: str, text: str) -> None:
    faults.setdefault(check, []).append(text)


def model_classes(path: Path) -> ModelClasses:
    """Read the classes of a checkpoint.

    Raises:
        InputError: PyTorch is not installed, or the file is no checkpoint of this detector.
    """
    try:
        from DOTA_devkit.torch_files import read_torch_file, split_state
    except ImportError:
        raise InputError(f"{path}: checkpoints need PyTorch: pip install torch") from None
    state, rest = split_state(read_torch_file(path), path)
    # The last convolution of the heat map's head has a channel for each class.
    heads = {key: value for key, value in state.items() if _is_heat_map(key) and value.ndim == 4}
    if not heads:
        raise InputError(
            f"{path}: expected a checkpoint of this detector, found no head hm in its weights"
        )
    count = int(heads[max(heads, key=lambda key: int(key.split(".")[-2]))].shape[0])
    names = rest.get("classes")
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        return ModelClasses(Path(path), count, tuple(names))
    return ModelClasses(Path(path), count, None)


def _is_heat_map(key: str) -> bool:
    parts = key.split(".")
    return (
        len(parts) >= 3
        and parts[-3:-2] == ["hm"]
        and parts[-2].isdecimal()
        and parts[-1] == "weight"
    )
