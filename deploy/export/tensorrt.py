"""TensorRT: an engine through ONNX Runtime's provider, and the lines for `trtexec`.

Not run on a GPU: what is tested is what the provider is asked for, and that the file consists of
what `tensorrt_support` lists.
"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from deploy.export.graph.assemble import Shape
from deploy.runtimes.onnx_runtime import open_session

PROVIDER = "TensorrtExecutionProvider"
MAX_BATCH = 8
MAX_SIDE = 1024
MIN_SIDE = 32


@dataclass(frozen=True)
class Profile:
    """Shapes of `input` for which an engine is built: the least, the usual and the largest."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    largest: tuple[int, ...]

    @classmethod
    def of(cls, shape: Shape, usual_hw: tuple[int, int]) -> Profile | None:
        """None where nothing is free."""
        if None not in (shape.batch, shape.height, shape.width):
            return None
        largest = [max(side, MAX_SIDE) for side in usual_hw]
        return cls(
            (1, 3, MIN_SIDE, MIN_SIDE),
            (1, 3, *usual_hw),
            (MAX_BATCH, 3, *largest),
        )

    def texts(self) -> dict[str, str]:
        """min, opt and max as both the provider and `trtexec` read them."""
        shapes = {"min": self.least, "opt": self.usual, "max": self.largest}
        return {name: f"input:{'x'.join(map(str, shape))}" for name, shape in shapes.items()}


def is_available() -> bool:
    return PROVIDER in onnxruntime.get_available_providers()


def open_engine(path: Path, cache: Path, profile: Profile | None, half: bool):
    """A session that builds its engine into `cache`, or takes it from there.

    The engine's name is made of the file's name, so that this is to be the final one.

    Returns:
        None where the provider does not start, for want of a GPU or of TensorRT's libraries.
    """
    options: dict[str, str | bool] = {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(cache),
        "trt_fp16_enable": half,
    }
    if profile is not None:
        options |= {f"trt_profile_{name}_shapes": text for name, text in profile.texts().items()}
    providers = [(PROVIDER, options), "CUDAExecutionProvider", "CPUExecutionProvider"]
    session = open_session(path, providers)
    return session if PROVIDER in session.get_providers() else None


def cache_folder(output: Path) -> Path:
    """Where the engine of a file lies."""
    return output.with_name(f"{output.stem}_engine")


def write_cache(source: Path, output: Path) -> None:
    """Put the engine beside its ONNX file, in place of an earlier one."""
    target = cache_folder(output)
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)


def trtexec_lines(output: Path, profile: Profile | None, half: bool) -> list[str]:
    """The commands that make an engine of the file."""
    words = ["trtexec", f"--onnx={output}"]
    if profile is not None:
        words += [f"--{name}Shapes={text}" for name, text in profile.texts().items()]
    words.append(f"--saveEngine={output.with_suffix('.engine')}")
    line = shlex.join(words)
    if not half:
        return [line]
    # The file's own types keep the decoder in float32; version 11 has no others.
    return [
        f"{line} --stronglyTyped",
        f"{line} --fp16    (TensorRT 10 alone; the decoder may be computed in float16 as well)",
    ]
