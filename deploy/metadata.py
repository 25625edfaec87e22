"""The metadata of an exported file: everything that is needed to run it.

The export writes it, and the runtimes of such files read it. It is stored as text in the
`metadata_props` of an ONNX file (and beside or inside files of other formats), one string per key,
so that any runtime in any language can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.digest import onnx_props
from deploy.sidecar import warn_of_mismatch
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_names import MAX_CLASS_NAME
from DOTA_devkit.imaging import ReadOptions
from structures.boxes import BOX_CODINGS, HEAD_CHANNELS, STRIDE
from structures.model_values import LARGEST_SIDE, are_classes, is_scale, is_shift, is_size

RELEASE = "0.1.0"
"""Version of this program; `pyproject.toml` takes it from here."""

VERSION = "1"
"""Version of the contract: names, shapes and meaning of the inputs and outputs."""

OUTPUTS = ("corners", "scores", "labels")
"""Names of the outputs in the layout "corners"."""

MAPS = ("hm", *HEAD_CHANNELS)
"""Names of the outputs in the layout "heads"."""

NORMALIZATION = "x / 255 - 0.5"
INPUT_TYPES = ("float32", "uint8")
COLORS = ("BGR", "RGB")
LAYOUTS = ("corners", "light-fork", "heads")
FITS = ("letterbox", "squash")
PRECISIONS = ("float32", "float16", "int8")


@dataclass(frozen=True)
class ModelMetadata:
    """The contract of one exported file.

    Attributes:
        classes: Class names in the order of the labels.
        backbone: Name of the backbone.
        conf_thresh: Score above which detections are to be kept, unless asked otherwise.
        theta_thresh: Value of `cls_theta` above which a box counts as rotated.
        K: Rows of the output.
        input_size: (height, width) of the network's input, None if any multiples of 32 will do.
        min_conf_thresh: Score above which the file outputs rows, which is the lowest threshold that
            can be asked for. None if the file has an input for it (`conf_thresh`), or is of an
            earlier version: then its rows end at `conf_thresh` or at such an input.
        nms_thresh: IoU above which the NMS in the file suppresses, None if there is none in it.
        stride: Input pixels per cell of the head maps.
        color: Order of the input's channels, one of `COLORS`.
        normalization: What the network computes with, of pixels x in 0..255. A file with uint8
            input does it by itself.
        input_type: One of `INPUT_TYPES`.
        layout: "corners" for the outputs `corners`, `scores` and `labels`, "light-fork" for its
            one array of rows, "heads" for the maps before decoding. Of these, thresholds and K are
            only what the decoder takes by default.
        precision: One of `PRECISIONS`.
        trained_size: (height, width) that the checkpoint was trained at, None if it does not say.
        default_size: (height, width) of the network's input at which the file is meant to be run,
            None in files of earlier versions.
        squash: Whether images are stretched to the input, instead of keeping their aspect ratio
            and being padded.
        reading: How the image files of the training were read, None if the checkpoint does not
            say.
        train_scale: Input pixels per pixel of the training images (median), None if the checkpoint
            does not say.
        box_coding: How the network's boxes are coded, one of `structures.boxes.BOX_CODINGS`; None
            in files of earlier versions. The outputs have the same meaning with both.
        center_shift: The part of the centers, right and down in cells, that follows from how the
            data are labeled and not from the image, see `models.CTRBOX`; 0 and 0 in files of
            earlier versions. It is in the centers already.
        version: Version of the contract.
    """

    classes: tuple[str, ...]
    backbone: str
    conf_thresh: float
    theta_thresh: float
    K: int
    min_conf_thresh: float | None = None
    input_size: tuple[int, int] | None = None
    nms_thresh: float | None = None
    stride: int = STRIDE
    color: str = "BGR"
    normalization: str = NORMALIZATION
    input_type: str = "float32"
    layout: str = "corners"
    precision: str = "float32"
    trained_size: tuple[int, int] | None = None
    default_size: tuple[int, int] | None = None
    squash: bool = False
    reading: ReadOptions | None = None
    train_scale: float | None = None
    box_coding: str | None = None
    center_shift: tuple[float, float] = (0.0, 0.0)
    version: str = VERSION

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in their order."""
        return {"corners": OUTPUTS, "light-fork": ("output",), "heads": MAPS}[self.layout]

    def to_props(self) -> dict[str, str]:
        """Return the entries as key -> text."""
        return {
            "bbavectors": self.version,
            "program": f"bbavectors-light {RELEASE}",
            "classes": json.dumps(list(self.classes), ensure_ascii=False),
            "backbone": self.backbone,
            "stride": str(self.stride),
            "color": self.color,
            "normalization": self.normalization,
            "input_size": _size_text(self.input_size, "dynamic"),
            "default_size": _size_text(self.default_size),
            "fit": FITS[self.squash],
            "conf_thresh": repr(self.conf_thresh),
            "min_conf_thresh": _optional_text(self.min_conf_thresh),
            "nms_thresh": _optional_text(self.nms_thresh),
            "theta_thresh": repr(self.theta_thresh),
            "K": str(self.K),
            "input_type": self.input_type,
            "layout": self.layout,
            "precision": self.precision,
            "trained_size": _size_text(self.trained_size),
        } | self._training_props()

    def _training_props(self) -> dict[str, str]:
        known = {}
        if self.reading is not None:
            known |= {"depth": self.reading.depth, "bands": self.reading.bands_text()}
        if self.train_scale is not None:
            known["train_scale"] = repr(self.train_scale)
        if self.box_coding is not None:
            known["box_coding"] = self.box_coding
        if any(self.center_shift):
            known["center_shift"] = ",".join(map(repr, self.center_shift))
        return known

    @classmethod
    def from_props(cls, props: Mapping[str, str], source: object) -> ModelMetadata:
        """Read the entries of `to_props`.

        Args:
            props: Key -> text.
            source: The file, for errors.

        Raises:
            InputError: Entries are missing or broken, or have another version than this one.
        """
        if "bbavectors" not in props:
            raise InputError(
                f"{source}: a model without this project's metadata, so neither its classes nor "
                "its outputs are known; export it with this project's export phase"
            )
        if props["bbavectors"] != VERSION:
            raise InputError(
                f"{source}: metadata of version {props['bbavectors']!r}, but this program reads "
                f"{VERSION!r}: export it again, or update the program"
            )
        try:
            found = cls(
                classes=_names(props["classes"]),
                backbone=props["backbone"],
                conf_thresh=_share("conf_thresh", props["conf_thresh"]),
                theta_thresh=_share("theta_thresh", props["theta_thresh"]),
                K=_count("K", props["K"]),
                input_size=_size("input_size", props["input_size"], "dynamic"),
                nms_thresh=_optional_share("nms_thresh", props["nms_thresh"]),
                stride=int(_one_of(props["stride"], (str(STRIDE),))),
                color=_one_of(props["color"], COLORS),
                normalization=_one_of(props["normalization"], (NORMALIZATION,)),
                input_type=_one_of(props["input_type"], INPUT_TYPES),
                layout=_one_of(props["layout"], LAYOUTS),
                precision=_one_of(props.get("precision", "float32"), PRECISIONS),
                # added later: files without these are valid
                min_conf_thresh=_optional_share(
                    "min_conf_thresh", props.get("min_conf_thresh", "")
                ),
                trained_size=_size("trained_size", props.get("trained_size", ""), ""),
                default_size=_size("default_size", props.get("default_size", ""), ""),
                squash=_one_of(props.get("fit", FITS[0]), FITS) == "squash",
                reading=_reading(props.get("depth", ""), props.get("bands", "")),
                train_scale=_scale(props.get("train_scale", "")),
                box_coding=_one_of(props.get("box_coding", ""), ("", *BOX_CODINGS)) or None,
                center_shift=_shift(props.get("center_shift", "0,0")),
                version=props["bbavectors"],
            )
        except KeyError as error:
            raise InputError(f"{source}: its metadata lacks {error.args[0]!r}") from None
        except ValueError as error:
            raise InputError(f"{source}: broken metadata: {error}") from None
        return found


def _reading(depth: str, bands: str) -> ReadOptions | None:
    return ReadOptions(depth, ReadOptions.parse_bands(bands)) if depth else None


def _scale(text: str) -> float | None:
    value = float(text) if text else None
    if value is not None and not is_scale(value):
        raise ValueError(f"train_scale must be a number above 0, not {text!r}")
    return value


def _shift(text: str) -> tuple[float, float]:
    right, _, down = text.partition(",")
    shift = (float(right), float(down))
    if not is_shift(shift):
        raise ValueError(f"center_shift must be two numbers of cells, not {text!r}")
    return shift


def read_onnx_metadata(path: object) -> ModelMetadata:
    """Read the metadata of an ONNX file, and check its digest if it has one.

    Args:
        path: The file.

    Raises:
        InputError: There is no such file, it is not an ONNX file, it is damaged, or it is not one
            of this project.
    """
    file = Path(str(path))
    props = onnx_props(file)
    metadata = ModelMetadata.from_props(props, path)
    warn_of_mismatch(file, props)
    return metadata


def _names(text: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except RecursionError:
        names = None
    if not are_classes(names):
        raise ValueError(
            f"classes must be a JSON list of names of at most {MAX_CLASS_NAME} bytes, each once, "
            f"not {text[:80]!r}"
        )
    return tuple(names)


def _share(key: str, text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{key} must be a number from 0 to 1, not {text!r}")
    return value


def _optional_share(key: str, text: str) -> float | None:
    return _share(key, text) if text else None


def _optional_text(value: float | None) -> str:
    return "" if value is None else repr(value)


def _count(key: str, text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(f"{key} must be a whole number above 0, not {text!r}")
    return value


def _size_text(size_hw: tuple[int, int] | None, without: str = "") -> str:
    return without if size_hw is None else f"{size_hw[0]}x{size_hw[1]}"


def _size(key: str, text: str, without: str) -> tuple[int, int] | None:
    if text == without:
        return None
    height, _, width = text.partition("x")
    numbers = height.isdecimal() and width.isdecimal() and len(text) < 20
    size = (int(height), int(width)) if numbers else None
    if not is_size(size):
        raise ValueError(
            f"{key} must be {without!r} or HxW, multiples of 32 up to {LARGEST_SIDE}, not {text!r}"
        )
    return size


def _one_of(text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise ValueError(f"{text!r} where {' or '.join(map(repr, allowed))} is expected")
    return text
