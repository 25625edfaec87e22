"""Code shared by the devkit's four splitting modules."""

from __future__ import annotations

from pathlib import Path

from DOTA_devkit.images import find_images
from DOTA_devkit.splitting import PatchReader, PatchSource, SplitOptions, open_source, split_images


class ImageSplitter:
    """Splits a folder of images; the base class of the modules' ``splitbase``."""

    def __init__(
        self,
        images: str | Path,
        output: str | Path,
        options: SplitOptions,
        labels: str | Path | None = None,
        output_labels: str | Path | None = None,
        workers: int = 1,
    ) -> None:
        self._images, self._output = Path(images), Path(output)
        self._options = options
        self._labels, self._output_labels = labels, output_labels
        self._workers = workers
        self._cached: _CachedImage | None = None

    def splitdata(self, rate: float) -> None:
        """Split all images, resized by ``rate``; existing patches are replaced."""
        self._split(find_images(self._images), rate)

    def SplitSingle(self, name: str, rate: float, extent: str) -> None:
        """Split the image ``name`` + ``extent``, resized by ``rate``."""
        self._split({name: self._images / (name + extent)}, rate)

    def _split(self, images: dict[str, Path], rate: float) -> None:
        split_images(
            images,
            self._output,
            self._options.at_rates(rate),
            label_dir=self._labels,
            output_label_dir=self._output_labels,
            workers=self._workers,
            overwrite=True,
            open_image=self._open_cached if len(images) == 1 else open_source,
        )

    def _open_cached(self, path: Path) -> PatchSource:
        """Keep a single image decoded, as `splitdata` is called once per rate."""
        version = (path, path.stat().st_mtime_ns)
        if self._cached is None or self._cached.version != version:
            self._cached = _CachedImage(open_source(path), version)
        return self._cached


class _CachedImage:
    """An image that is not closed at the end of a split."""

    def __init__(self, source: PatchSource, version: tuple[Path, int]) -> None:
        self.version = version
        self._source = source
        self.size_wh, self.reads_lazily = source.size_wh, source.reads_lazily

    def reader(self, rate: float) -> PatchReader:
        return self._source.reader(rate)

    def close(self) -> None:
        pass


class LabeledSplitter(ImageSplitter):
    """Splits ``images/`` and ``labelTxt/`` of one folder into those of another, as the original.

    Its arguments are those of the two modules' ``splitbase``.

    Attributes:
        basepath: folder to read.
        outpath: folder to write.
    """

    def __init__(
        self,
        basepath: str | Path,
        outpath: str | Path,
        gap: int,
        subsize: int,
        thresh: float,
        choosebestpoint: bool,
        ext: str,
        padding: bool = False,
        workers: int = 1,
    ) -> None:
        options = SplitOptions(
            size=subsize,
            gap=gap,
            min_share=thresh,
            fit_order=choosebestpoint,
            suffix=ext,
            pad=padding,
            whole_pixels=True,
        )
        self.basepath, self.outpath = str(basepath), str(outpath)
        super().__init__(
            Path(basepath) / "images",
            Path(outpath) / "images",
            options,
            Path(basepath) / "labelTxt",
            Path(outpath) / "labelTxt",
            workers,
        )
