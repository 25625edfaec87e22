"""The lists of patches that a split writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from DOTA_devkit.errors import InputError
from DOTA_devkit.files import replacing
from DOTA_devkit.formats import read_ids
from DOTA_devkit.patches import parse_patch_id, source_name

FILE_LIST = "images.txt"
"""The list of all patches of the folder, by their file names."""


class PatchLists:
    """A list of the ids of patches, and one of all file names.

    Patches that were split before, at other rates or from other images, stay in the lists.

    Args:
        folder: folder of the lists.
        name: name of the list of ids.
        image_dir: folder of the patches.
        images: ids of the images that are split.
        overwrite: replace the lists, whatever is in them.

    Raises:
        InputError: the list of ids has others than those of patches of these images.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        image_dir: Path,
        images: Collection[str],
        overwrite: bool,
    ) -> None:
        self._ids, self._files, self._image_dir = folder / name, folder / FILE_LIST, image_dir
        self._earlier_ids: list[str] = []
        self._earlier_files: list[str] = []
        if overwrite:
            return
        if self._ids.is_file():
            self._earlier_ids = read_ids(self._ids)
        foreign = [
            one
            for one in self._earlier_ids
            if parse_patch_id(one) is None or source_name(one) not in images
        ]
        if foreign:
            raise InputError(
                f"{self._ids}: the list exists and is not that of this split, as {foreign[0]} is "
                "no patch of its images; choose another folder, or set `overwrite`"
            )
        if self._files.is_file():
            self._earlier_files = read_ids(self._files)

    def write(self, patch_ids: Iterable[str], suffix: str) -> None:
        """Write both lists, sorted, with the patches of this split and earlier ones that exist."""
        present = {path.name for path in self._image_dir.iterdir()}
        patch_ids = set(patch_ids)
        names = {f"{one}{suffix}" for one in patch_ids}
        patch_ids |= {one for one in self._earlier_ids if f"{one}{suffix}" in present}
        names |= present.intersection(self._earlier_files)
        for path, lines in ((self._ids, patch_ids), (self._files, names)):
            with replacing(path) as file:
                file.writelines(f"{one}\n" for one in sorted(lines))
