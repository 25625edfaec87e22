"""What is exported, and which settings a format does not support."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.export.formats import EXPORT_FORMATS
from deploy.export.tensorrt_limits import MAX_TOP_K
from deploy.export.types import MAX_K, OLDEST_OPSET, OPSET, InputShape
from deploy.metadata import COLORS, INPUT_TYPES, LAYOUTS, ModelMetadata
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import ReadOptions
from models import CTRBOX
from structures.defaults import CONF_THRESH, INPUT_HW, NMS_THRESH, THETA_THRESH, K

_ONLY_WEIGHTS = "it holds weights alone, which the code of this project runs"
_INEXACT = "it computes in float64 and with shapes that depend on what is found"

MIN_CONF_THRESH = 0.01
"""Score above which a file outputs rows, whatever threshold its reader applies to them.

It is the threshold of the phase `eval`, below which no detection counts for an AP. With a lower
one, NMS in a file would have to work on all K peaks of every image, also where there is nothing."""

UNSUPPORTED: Mapping[str, Mapping[str, str]] = {
    "torch": {
        "nms_thresh": "run NMS on its output",
        "input_type": "scale and pad the images before it",
        "layout": "light-fork is a layout of ONNX files",
        "half": "it is always written in float32",
        "int8": "it is always written in float32",
    },
    "tensorrt": {
        "nms_thresh": f"{_INEXACT}, which TensorRT does not support",
        "input_type": "it scales uint8 images in float64, which TensorRT does not support",
        "int8": "its values are uint8 with a zero point, which TensorRT does not support",
        "conf_input": "compare the scores of its rows with the threshold",
    },
    "checkpoint": {
        "nms_thresh": _ONLY_WEIGHTS,
        "input_type": _ONLY_WEIGHTS,
        "layout": _ONLY_WEIGHTS,
        "heads": _ONLY_WEIGHTS,
        "int8": _ONLY_WEIGHTS,
        "conf_input": _ONLY_WEIGHTS,
        "static": _ONLY_WEIGHTS,
        "fix_conf": _ONLY_WEIGHTS,
    },
}
"""Format -> the settings that must keep their defaults, with the reason."""


@dataclass(frozen=True)
class ExportSettings:
    """What is exported.

    Attributes:
        format: A key of `deploy.export.formats.EXPORT_FORMATS`.
        conf_thresh: Score above which detections of the file are to be kept; see
            `min_conf_thresh` for what the file outputs.
        theta_thresh: Above it a box is rotated, else its axis-aligned box is used.
        K: Number of rows.
        static: Height, width and batch size of a fixed input, None for free ones.
        input_hw: Height and width of the network's input for uint8 images and in the parity report,
            and the size that the metadata name for a file that takes any size.
        squash: Whether images are stretched to the input, by uint8 files themselves and by whoever
            runs the others, instead of keeping their aspect ratio and being padded.
        input_type: "float32" for the network's input, "uint8" for images of any size.
        color: Order of the channels of uint8 images.
        layout: One of `deploy.metadata.LAYOUTS`.
        nms_thresh: IoU above which the graph suppresses, None for no NMS in the graph.
        fix_conf: Whether the file outputs only rows with scores above `conf_thresh`.
        conf_input: Whether the score above which it outputs rows is an input, `conf_thresh`.
        half: Whether the network is float16; it is float32 without `half` and `int8`.
        int8: Whether the network is quantized to 8 bits.
        opset: Version of ONNX's operators that an ONNX file uses.
        check_nms_thresh: NMS threshold for the AP in the parity report.
        reading: How the image files of the training were read, None if the checkpoint does not
            say.
        train_scale: Input pixels per pixel of the training images (median), None if the checkpoint
            does not say.
        epoch: Number of the last epoch of the training.
    """

    format: str = "onnx"
    conf_thresh: float = CONF_THRESH
    theta_thresh: float = THETA_THRESH
    K: int = K
    static: tuple[int, int, int] | None = None
    input_hw: tuple[int, int] = INPUT_HW
    squash: bool = False
    input_type: str = INPUT_TYPES[0]
    color: str = COLORS[0]
    layout: str = LAYOUTS[0]
    nms_thresh: float | None = None
    fix_conf: bool = False
    conf_input: bool = False
    half: bool = False
    int8: bool = False
    opset: int = OPSET
    check_nms_thresh: float = NMS_THRESH
    reading: ReadOptions | None = None
    train_scale: float | None = None
    epoch: int = 0

    def __post_init__(self) -> None:
        if self.half and self.int8:
            raise InputError("`half` and `int8` exclude each other: set only one of them")
        if self.fix_conf and self.conf_input:
            raise InputError("`fix_conf` and `conf_input` exclude each other: set only one of them")
        if not 1 <= self.K <= MAX_K:
            raise InputError(f"K must be 1 to {MAX_K}, got {self.K}")
        for size in self.static[:2] if self.static else self.input_hw:
            if size < 32 or size % 32:
                name = "static" if self.static else "input_hw"
                raise InputError(
                    f"{name}: height and width of the network's input must be multiples of 32, "
                    f"got {size}"
                )
        if self.static and self.static[2] < 1:
            raise InputError(f"static: the batch size must be at least 1, got {self.static[2]}")
        if self.color != "BGR" and self.input_type == "float32":
            raise InputError(
                f"color {self.color} needs input_type uint8: a float32 input is always BGR"
            )
        if self.layout == "light-fork":
            self._check_light_fork()
        if self.layout == "heads":
            self._check_heads()
        self._check_format()

    def _check_light_fork(self) -> None:
        if not self.static or self.static[2] != 1:
            raise InputError(
                "layout light-fork needs a fixed input of one image, for example static 608 608 1"
            )
        if self.conf_input:
            raise InputError("layout light-fork has no threshold, so no `conf_input` either")
        if self.nms_thresh is not None or self.input_type != "float32":
            raise InputError(
                "layout light-fork has a float32 input and no NMS, like the light fork's own file"
            )

    def _check_heads(self) -> None:
        if not self.static:
            raise InputError(
                "layout heads needs a fixed input, for example `static` 608 608 1: most importers "
                "take no other"
            )
        refused = {
            "NMS in the graph (`nms_thresh`)": self.nms_thresh is not None,
            "`fix_conf`": self.fix_conf,
            "`conf_input`": self.conf_input,
            "input_type uint8": self.input_type == "uint8",
            "`half`": self.half,
            "`int8`": self.int8,
        }
        if asked := [name for name, is_asked in refused.items() if is_asked]:
            raise InputError(
                f"layout heads does not support {', '.join(asked)}: the file ends before the "
                "decoder and is for importers, which convert it to lower precision themselves"
            )

    def _check_format(self) -> None:
        """Raise InputError if the format does not support a setting."""
        asked = {
            "nms_thresh": "NMS in the graph (`nms_thresh`)" if self.nms_thresh is not None else "",
            "input_type": "input_type uint8" if self.input_type == "uint8" else "",
            "layout": "`layout` light-fork" if self.layout == "light-fork" else "",
            "heads": "`layout` heads" if self.layout == "heads" else "",
            "half": "`half`" if self.half else "",
            "int8": "`int8`" if self.int8 else "",
            "conf_input": "`conf_input`" if self.conf_input else "",
            "static": "a fixed input (`static`)" if self.static else "",
            "fix_conf": "`fix_conf`" if self.fix_conf else "",
        }
        for name, reason in UNSUPPORTED.get(self.format, {}).items():
            if asked[name]:
                raise InputError(f"format {self.format} does not support {asked[name]}: {reason}")
        if self.opset != OPSET:
            self._check_opset()
        if self.format == "tensorrt" and self.K > MAX_TOP_K:
            raise InputError(
                f"format tensorrt supports K up to {MAX_TOP_K}, the limit of TensorRT's TopK, got "
                f"{self.K}"
            )

    def _check_opset(self) -> None:
        if EXPORT_FORMATS[self.format].suffix != EXPORT_FORMATS["onnx"].suffix:
            raise InputError(
                f"format {self.format} does not support `opset`: only ONNX files have one"
            )
        from deploy.export.graph.opset import newest_opset  # it imports onnx

        if not OLDEST_OPSET <= self.opset <= newest_opset():
            raise InputError(
                f"opset must be {OLDEST_OPSET} to {newest_opset()}, the newest of the installed "
                f"onnx package, got {self.opset}"
            )

    @property
    def min_conf_thresh(self) -> float | None:
        """Score above which the file outputs rows, None if that is an input."""
        if self.conf_input:
            return None
        if self.layout in ("light-fork", "heads"):
            return 0.0
        return self.conf_thresh if self.fix_conf else min(MIN_CONF_THRESH, self.conf_thresh)

    @property
    def network_hw(self) -> tuple[int, int] | None:
        """Height and width of the network's input, None if they are free."""
        if self.static:
            return self.static[:2]
        return self.input_hw if self.input_type == "uint8" else None

    @property
    def fitted_hw(self) -> tuple[int, int]:
        """Height and width at which the export runs the network."""
        return self.network_hw or self.input_hw

    def input_shape(self) -> InputShape:
        """Return what of the input's shape is fixed; uint8 images may always have any size."""
        if not self.static:
            return InputShape()
        height, width, batch = self.static
        if self.input_type == "uint8":
            return InputShape(batch)
        return InputShape(batch, height, width)

    def metadata(self, model: CTRBOX) -> ModelMetadata:
        """Return the contract of the exported file.

        Raises:
            InputError: The model does not name its classes.
        """
        if model.classes is None:
            raise InputError(
                f"the checkpoint does not name its {model.heads['hm']} classes: set classes, for "
                "example to A,B or dota1.0"
            )
        return ModelMetadata(
            classes=model.classes,
            backbone=model.backbone,
            conf_thresh=self.conf_thresh,
            min_conf_thresh=self.min_conf_thresh,
            theta_thresh=self.theta_thresh,
            K=self.K,
            input_size=self.network_hw,
            trained_size=model.input_size,
            default_size=self.fitted_hw,
            squash=self.squash,
            nms_thresh=self.nms_thresh,
            color=self.color,
            input_type=self.input_type,
            layout=self.layout,
            reading=self.reading,
            train_scale=self.train_scale,
            box_coding=model.box_coding,
            center_shift=model.center_shift,
            precision="int8" if self.int8 else "float16" if self.half else "float32",
        )
