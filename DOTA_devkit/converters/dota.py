"""DOTA label text (`labelTxt`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from DOTA_devkit.converters.annotation import Annotation
from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import read_labels


def read_dota(path: Path | str) -> Annotation:
    """Read one DOTA label file, see `DOTA_devkit.formats.read_labels`."""
    path = Path(path)
    return Annotation(image_id=path.stem, path=path, labels=read_labels(path))


def check_dota_names(annotation: Annotation) -> None:
    """Check that all class names can be written as DOTA text, whose fields are space-separated.

    Raises:
        InputError: a name is empty or contains white space; the message has file and line.
    """
    for name, line in zip(annotation.labels.names, annotation.labels.lines, strict=True):
        if len(name.split()) != 1:
            raise InputError(
                f"{annotation.place(line)}: class {name!r} contains white space, which separates "
                f"the fields of label text; change it with `rename`, for example {name!r} to "
                f"{'-'.join(name.split())!r}"
            )


def write_dota(
    path: Path | str, annotation: Annotation, classes: Sequence[str] | None = None
) -> None:
    """Write one line per object: eight corner coordinates, class, difficulty.

    Coordinates are rounded to two decimals, as 0.005 pixels are far below what anybody can label.

    Args:
        path: the file to write or replace.
        annotation: the labels; `check_dota_names` checks whether their names can be written.
        classes: if given, write the position of the class in it instead of its name.

    Raises:
        OSError: the file cannot be written.
    """
    labels = annotation.labels
    with replacing(path, sync=False) as file:
        for corners, name, difficult in zip(
            labels.corners, labels.names, labels.difficult, strict=True
        ):
            values = " ".join(format_number(value, 2) for value in corners.ravel())
            label = name if classes is None else classes.index(name)
            file.write(f"{values} {label} {difficult}\n")


def format_number(value: float, decimals: int) -> str:
    """Format `value` rounded to `decimals` as the shortest text: 12.5, 7, 0."""
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
