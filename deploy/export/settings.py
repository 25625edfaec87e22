"""What is exported, and what of it a format refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.export import tensorrt_support
from deploy.export.graph.assemble import Shape
from deploy.export.graph.decode import MAX_K
from deploy.metadata import COLORS, INPUT_TYPES, LAYOUTS, ModelMetadata
from DOTA_devkit.errors import InputError
from models import CTRBOX
from structures.defaults import CONF_THRESH, INPUT_HW, NMS_THRESH, THETA_THRESH, K

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "openvino": ".xml", "tensorrt": ".onnx"}


FORMATS = tuple(SUFFIXES)


@dataclass(frozen=True)
class ExportSettings:
    """What is exported.

    format: one of `FORMATS`. static: height, width and batch of a fixed input, None for free
    ones. input_hw: of the network where bytes come in, and of the images of the report.
    nms_thresh: IoU above which the graph suppresses, None for no NMS in it. color: order of the
    channels of bytes. fix_conf: `conf_thresh` is no input. half, int8: the network's precision,
    float32 without either. check_nms_thresh: of the AP in the report.
    """

    format: str = "onnx"
    conf_thresh: float = CONF_THRESH
    theta_thresh: float = THETA_THRESH
    K: int = K
    static: tuple[int, int, int] | None = None
    input_hw: tuple[int, int] = INPUT_HW
    input_type: str = INPUT_TYPES[0]
    color: str = COLORS[0]
    layout: str = LAYOUTS[0]
    nms_thresh: float | None = None
    fix_conf: bool = False
    half: bool = False
    int8: bool = False
    check_nms_thresh: float = NMS_THRESH

    def __post_init__(self) -> None:
        if self.half and self.int8:
            raise InputError("--half and --int8 are two precisions: give one of them")
        if not 1 <= self.K <= MAX_K:
            raise InputError(f"--K is {self.K}, but a file has 1 to {MAX_K} rows")
        for side in self.static[:2] if self.static else self.input_hw:
            if side < 32 or side % 32:
                raise InputError(
                    f"height and width of the network's input are multiples of 32, not {side}"
                )
        if self.static and self.static[2] < 1:
            raise InputError(f"a batch of {self.static[2]}: 1 or more is expected")
        if self.color != "BGR" and self.input_type == "float32":
            raise InputError("--color RGB is for --input uint8; a float32 input is BGR")
        if self.layout == "light-fork" and (not self.static or self.static[2] != 1):
            raise InputError(
                "--layout light-fork has a fixed input of one image, say --static 608 608 1"
            )
        if self.layout == "light-fork" and (
            self.nms_thresh is not None or self.input_type != "float32"
        ):
            raise InputError(
                "--layout light-fork has float32 input and no NMS, as the light fork's file"
            )
        self._refuse_for_format()

    def _refuse_for_format(self) -> None:
        """InputError where the format has not what is asked for."""
        asked = {
            "--nms graph": self.nms_thresh is not None,
            "--input uint8": self.input_type == "uint8",
            "--layout light-fork": self.layout == "light-fork",
            "--half": self.half,
            "--int8": self.int8,
        }
        for flag, reason in REFUSED.get(self.format, {}).items():
            if asked[flag]:
                raise InputError(f"--format {self.format} has no {flag}: {reason}")
        if self.format == "tensorrt" and self.K > tensorrt_support.MAX_TOP_K:
            raise InputError(
                f"--format tensorrt: --K is {self.K}, but TensorRT takes "
                f"{tensorrt_support.MAX_TOP_K} at most"
            )

    @property
    def takes_conf(self) -> bool:
        """Whether the threshold can be changed in the file."""
        return not self.fix_conf and self.format != "tensorrt"

    @property
    def network_hw(self) -> tuple[int, int] | None:
        """Size of the network's input, None where it is free."""
        if self.static:
            return self.static[:2]
        return self.input_hw if self.input_type == "uint8" else None

    @property
    def fitted_hw(self) -> tuple[int, int]:
        """Height and width at which images go through the network here."""
        return self.network_hw or self.input_hw

    def input_shape(self) -> Shape:
        """What of the input is fixed. Pictures as bytes have any size, whatever the network's."""
        if not self.static:
            return Shape()
        height, width, batch = self.static
        return Shape(batch) if self.input_type == "uint8" else Shape(batch, height, width)

    def metadata(self, model: CTRBOX) -> ModelMetadata:
        if model.classes is None:
            raise InputError(
                f"the checkpoint does not name its {model.heads['hm']} classes: give them "
                "(--classes A,B or dota1.0)"
            )
        return ModelMetadata(
            classes=model.classes,
            backbone=model.backbone,
            conf_thresh=self.conf_thresh,
            theta_thresh=self.theta_thresh,
            K=self.K,
            input_size=self.network_hw,
            trained_size=model.input_size,
            nms_thresh=self.nms_thresh,
            color=self.color,
            input_type=self.input_type,
            layout=self.layout,
            precision="int8" if self.int8 else "float16" if self.half else "float32",
        )


_ROUNDS = "it computes in float64 and with shapes that depend on what is found"


REFUSED: Mapping[str, Mapping[str, str]] = {
    "torch": {
        "--nms graph": "suppress what it puts out",
        "--input uint8": "scale and pad before it",
        "--layout light-fork": "that is a layout of ONNX files",
        "--half": "it is written in float32 alone",
        "--int8": "it is written in float32 alone",
    },
    "tensorrt": {
        "--nms graph": f"{_ROUNDS}, which TensorRT does not",
        "--input uint8": "it scales with bytes and in float64, which TensorRT does not",
        "--int8": "its values are bytes with a zero point, and TensorRT's have none",
    },
}
