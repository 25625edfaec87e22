"""The event files of TensorBoard, a package that is only imported for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from DOTA_devkit.errors import InputError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def import_writer() -> type[SummaryWriter]:
    """Import the class that writes event files.

    Raises:
        InputError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "`tensorboard` needs the package of this name: pip install -e '.[tensorboard]' "
            f"({error})"
        ) from None
    return SummaryWriter


class EventFile:
    """An event file of a run.

    Args:
        folder: gets the file. Those of an earlier process of the same run stay there.
        first_step: number of the first step that this process writes. TensorBoard hides what the
            earlier files hold from this step on, as it is written again.
    """

    def __init__(self, folder: Path, first_step: int):
        self._writer = import_writer()(str(folder), purge_step=first_step)

    def add_values(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by tag."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def add_jpeg(self, tag: str, path: Path, step: int) -> None:
        """Add a picture as it is in a JPEG file; `add_image` would encode it anew, as PNG."""
        from PIL import Image  # which TensorBoard requires; only the header is read
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(path) as picture:
            width, height = picture.size
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes()
        )
        summary = Summary(value=[Summary.Value(tag=tag, image=image)])
        self._writer.file_writer.add_summary(summary, step)

    def flush(self) -> None:
        """Hand everything over to the operating system."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._writer.close()
