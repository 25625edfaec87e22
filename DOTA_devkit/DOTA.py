"""Browse and show a data folder (``images/``, ``labelTxt/``), with the devkit's interface."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from DOTA_devkit import dota_utils
from DOTA_devkit.errors import InputError
from DOTA_devkit.images import find_images
from DOTA_devkit.imaging import read_image


class DOTA:
    """Index of a data folder.

    Attributes:
        basepath: the data folder.
        labelpath: its ``labelTxt`` folder.
        imagepath: its ``images`` folder.
        imgpaths: the label files.
        imglist: image ids, from the names of the label files.
        ImgToAnns: image id -> objects, see `dota_utils.parse_dota_poly`.
        catToImgs: class name -> ids of the images that contain it.
    """

    def __init__(self, basepath: str | Path) -> None:
        self.basepath = str(basepath)
        self.labelpath = str(Path(basepath) / "labelTxt")
        self.imagepath = str(Path(basepath) / "images")
        self.imgpaths = dota_utils.GetFileFromThisRootDir(self.labelpath, "txt")
        self.imglist = [dota_utils.custombasename(path) for path in self.imgpaths]
        self.catToImgs: dict[str, list[str]] = defaultdict(list)
        self.ImgToAnns: dict[str, list[dict]] = defaultdict(list)
        self.createIndex()

    def createIndex(self) -> None:
        """Read all label files."""
        for image_id, path in zip(self.imglist, self.imgpaths, strict=True):
            self.ImgToAnns[image_id] = dota_utils.parse_dota_poly(path)
            for name in dict.fromkeys(one["name"] for one in self.ImgToAnns[image_id]):
                self.catToImgs[name].append(image_id)

    def getImgIds(self, catNms: str | Sequence[str] = ()) -> list[str]:
        """Ids of the images that contain all of these classes; without classes, of all images."""
        names = [catNms] if isinstance(catNms, str) else list(catNms)
        chosen = [set(self.catToImgs.get(name, ())) for name in names]
        return [image_id for image_id in self.imglist if all(image_id in ids for ids in chosen)]

    def loadAnns(
        self,
        catNms: str | Sequence[str] = (),
        imgId: str | None = None,
        difficult: int | str | None = None,
    ) -> list[dict]:
        """Objects of an image, of these classes and this difficulty if they are given."""
        names = [catNms] if isinstance(catNms, str) else list(catNms)
        return [
            one
            for one in self.ImgToAnns.get(imgId, [])
            if (not names or one["name"] in names)
            and (difficult is None or one["difficult"] == str(difficult))
        ]

    def loadImgs(self, imgids: str | Iterable[str] = ()) -> list[np.ndarray]:
        """Load images ``[H, W, 3]`` in BGR by id; InputError for an id without an image."""
        images = find_images(self.imagepath)
        loaded = []
        for image_id in [imgids] if isinstance(imgids, str) else imgids:
            if image_id not in images:
                raise InputError(f"{self.imagepath}: no image has the id {image_id}")
            loaded.append(read_image(images[image_id]))
        return loaded

    def showAnns(self, objects: Sequence[dict], imgId: str, range: object = None) -> None:
        """Draw objects on their image, in the current matplotlib axes.

        Args:
            objects: see `loadAnns`.
            imgId: id of the image.
            range: accepted for old scripts; has no effect, as in the original.
        """
        from matplotlib import pyplot

        axes = pyplot.gca()
        axes.imshow(self.loadImgs(imgId)[0][:, :, ::-1])
        axes.axis("off")
        colors = pyplot.colormaps["hsv"](np.linspace(0, 1, len(objects) + 1))
        for one, color in zip(objects, colors, strict=False):
            x, y = zip(*one["poly"], strict=True)
            axes.fill(x, y, color=color, alpha=0.4, linewidth=0)
            axes.plot([*x, x[0]], [*y, y[0]], color=color)
            axes.plot(x[0], y[0], "o", color="red")
