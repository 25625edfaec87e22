"""Write patches and their label files."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.splitting.options import SplitOptions
from DOTA_devkit.splitting.sources import PatchReader, PatchSource


@dataclass(frozen=True)
class PatchJob:
    """A patch to write.

    Attributes:
        patch_id: file name without its suffix.
        x: left border in the resized image, pixels.
        y: top border in the resized image, pixels.
        label_lines: None if the image has no labels.
    """

    patch_id: str
    x: int
    y: int
    label_lines: list[str] | None


class PatchWriter:
    """Writes patches in several threads, as encoding the images takes most of the time.

    Attributes:
        written: number of patches written.
        present: number of patches skipped because they existed already.
    """

    def __init__(
        self,
        image_dir: Path,
        label_dir: Path | None,
        options: SplitOptions,
        workers: int | None,
        overwrite: bool,
    ) -> None:
        self._image_dir, self._label_dir = image_dir, label_dir
        self._options = options
        self._overwrite = overwrite
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
        self._pending: list[list[Future]] = []
        self.written = self.present = 0

    def __enter__(self) -> PatchWriter:
        return self

    def __exit__(self, kind, *_: object) -> None:
        try:
            if kind is None:
                self._wait(0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def write(self, source: PatchSource, rate: float, jobs: list[PatchJob]) -> None:
        """Start to write the patches of an image that do not exist yet.

        Args:
            source: the image.
            rate: factor by which it is resized.
            jobs: its patches at that rate.

        Raises:
            InputError: a patch exists with other labels than it has now.
        """
        todo = [job for job in jobs if self._overwrite or not self._exists(job)]
        self.present += len(jobs) - len(todo)
        self.written += len(todo)
        if not todo:
            return
        read = source.reader(rate)
        self._pending.append([self._pool.submit(self._write_patch, read, job) for job in todo])
        # The next image is decoded while this one is written, but no more than that.
        self._wait(1)

    def finish(self) -> None:
        """Wait until no thread reads from a source any more."""
        self._wait(0)

    def _wait(self, max_pending: int) -> None:
        while len(self._pending) > max_pending:
            for future in self._pending[0]:
                future.result()
            del self._pending[0]

    def _exists(self, job: PatchJob) -> bool:
        image = self._image_dir / (job.patch_id + self._options.suffix)
        if self._label_dir is None or not image.exists():
            return image.exists()
        label = self._label_dir / f"{job.patch_id}.txt"
        if not label.exists():
            return False
        if label.read_bytes() != _label_text(job).encode():
            raise InputError(
                f"{label}: the patch exists with other labels than those of its image now; choose "
                "another folder, or set `overwrite`"
            )
        return True

    def _write_patch(self, read: PatchReader, job: PatchJob) -> None:
        if job.label_lines is not None:
            with replacing(self._label_dir / f"{job.patch_id}.txt", sync=False) as file:
                file.write(_label_text(job))
        patch = read(job.x, job.y, self._options.size)
        if self._options.pad and min(patch.shape[:2]) < self._options.size:
            padded = np.zeros((self._options.size, self._options.size, 3), np.uint8)
            padded[: patch.shape[0], : patch.shape[1]] = patch
            patch = padded
        image = self._image_dir / (job.patch_id + self._options.suffix)
        with replacing(image, "wb", sync=False) as file:
            file.write(encode_patch(patch, self._options))


def _label_text(job: PatchJob) -> str:
    return "".join(f"{line}\n" for line in job.label_lines)


def encode_patch(patch: np.ndarray, options: SplitOptions) -> np.ndarray:
    """Encode a patch ``[H, W, 3]`` in BGR as an image file.

    Args:
        patch: uint8 pixels.
        options: image format and quality.

    Returns:
        The bytes of the file.

    Raises:
        InputError: OpenCV cannot write this format.
    """
    import cv2

    jpeg = options.suffix.lower() in (".jpg", ".jpeg")
    settings = [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality] if jpeg else []
    done, data = cv2.imencode(options.suffix, patch, settings)
    if not done:
        raise InputError(f"OpenCV cannot write {options.suffix} images")
    return data
