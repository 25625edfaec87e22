"""TensorRT: build an engine through ONNX Runtime's provider, and the commands for `trtexec`.

Not run on a GPU yet: the tests check what the provider is asked for, and that the file uses only
what `tensorrt_support` lists.
"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from deploy.export.types import InputShape
from deploy.runtimes.onnx_runtime import open_session

PROVIDER = "TensorrtExecutionProvider"
MAX_BATCH = 8
MAX_SIZE = 1024
MIN_SIZE = 32


@dataclass(frozen=True)
class OptimizationProfile:
    """The shapes of `input` that an engine is built for.

    Attributes:
        min_shape: The smallest.
        opt_shape: The one that the engine is optimized for.
        max_shape: The largest.
    """

    min_shape: tuple[int, ...]
    opt_shape: tuple[int, ...]
    max_shape: tuple[int, ...]

    @classmethod
    def of(cls, shape: InputShape, opt_hw: tuple[int, int]) -> OptimizationProfile | None:
        """Return the profile of a file, None if its input has no free dimension."""
        if None not in (shape.batch, shape.height, shape.width):
            return None
        max_hw = [max(size, MAX_SIZE) for size in opt_hw]
        return cls(
            (1, 3, MIN_SIZE, MIN_SIZE),
            (1, 3, *opt_hw),
            (MAX_BATCH, 3, *max_hw),
        )

    def texts(self) -> dict[str, str]:
        """Return min, opt and max in the syntax that both the provider and `trtexec` read."""
        shapes = {"min": self.min_shape, "opt": self.opt_shape, "max": self.max_shape}
        return {name: f"input:{'x'.join(map(str, shape))}" for name, shape in shapes.items()}


def is_available() -> bool:
    """Return whether this ONNX Runtime was built with the TensorRT provider."""
    return PROVIDER in onnxruntime.get_available_providers()


def open_engine(path: Path, cache: Path, profile: OptimizationProfile | None, half: bool):
    """Open a session that builds its engine into a cache folder, or takes it from there.

    Args:
        path: The ONNX file. The engine's name is made from its name, so it must be the final one.
        cache: The cache folder.
        profile: The shapes to build for, None if the input is fixed.
        half: Whether to allow float16.

    Returns:
        The session, None if the provider does not start because there is no GPU or because
        TensorRT's libraries are missing.
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
    """Return the folder of a file's engine."""
    return output.with_name(f"{output.stem}_engine")


def write_cache(source: Path, output: Path) -> None:
    """Copy the engine to its ONNX file, replacing an earlier one."""
    target = cache_folder(output)
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)


def trtexec_commands(output: Path, profile: OptimizationProfile | None, half: bool) -> list[str]:
    """Return the commands that build an engine from the file."""
    words = ["trtexec", f"--onnx={output}"]
    if profile is not None:
        words += [f"--{name}Shapes={text}" for name, text in profile.texts().items()]
    words.append(f"--saveEngine={output.with_suffix('.engine')}")
    line = shlex.join(words)
    if not half:
        return [line]
    # The types of the file keep the decoder in float32; TensorRT 11 supports no others.
    return [
        f"{line} --stronglyTyped",
        f"{line} --fp16    (TensorRT 10 only; the decoder may be computed in float16 as well)",
    ]
