"""The checks of `benchmarks.device_check`.

A check takes a `Workspace` and returns its result as a short text for the table. It raises
`CheckFailed` with the cause if it fails, and `CheckSkipped` if this machine lacks a requirement.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.device_workspace import (
    CheckFailed,
    CheckSkipped,
    Workspace,
    compare_detections,
    compare_losses,
    losses,
)

DEVICE_TOLERANCE = 0.02
"""Allowed difference between devices in float32, absolute for scores and relative for losses:
convolutions on a GPU round to TF32."""

AMP_TOLERANCE = 0.1
"""Allowed relative difference of losses between precisions: float16 skips a few steps until its
loss scale is found."""

PROCESS_TOLERANCE = 1e-3
"""Allowed relative difference of losses between one and several processes on the CPU, which sum
gradients in a different order."""

COMPILE_TOLERANCE = 5e-3
"""Allowed relative difference of losses between compiled and eager steps on the CPU, whose rounding
errors accumulate over the steps."""

_DESCRIBE_DEVICE = """
import sys, torch
device = torch.device(sys.argv[1])
found = f"PyTorch {torch.__version__}"
if device.type == "cuda":
    one = torch.cuda.get_device_properties(device)
    found += f", CUDA {torch.version.cuda}, {one.name}, {one.total_memory / 2**30:.0f} GB"
    found += f", compute capability {one.major}.{one.minor}"
values = torch.arange(4.0, device=device).reshape(2, 2)
assert (values @ values).tolist() == [[2, 3], [6, 11]], "a matrix product is wrong"
print(found)
"""

_PRINT_PROVIDERS = """
import sys
from pathlib import Path
from deploy.runtimes.onnx_runtime import open_session
print(*open_session(Path(sys.argv[1]), sys.argv[2:]).get_providers())
"""


def check_device(work: Workspace) -> str:
    """Compute a small matrix product on the device, and return a description of the device."""
    return work.run(["-c", _DESCRIBE_DEVICE, work.device]).splitlines()[-1]


def check_train(work: Workspace) -> str:
    """Train and validate in float32, and on a GPU compare the losses with those of the CPU."""
    run = work.trained_run("float32")
    if work.on_gpu:
        return compare_losses(run, work.trained_run("cpu"), DEVICE_TOLERANCE)
    return f"loss {losses(run)[-1]:.3g}"


def check_bfloat16(work: Workspace) -> str:
    """Train with `--amp bfloat16`, and compare the losses with those in float32."""
    return compare_losses(work.trained_run("bfloat16"), work.trained_run("float32"), AMP_TOLERANCE)


def check_float16(work: Workspace) -> str:
    """Train with `--amp float16`, and compare the losses with those in float32.

    The checkpoint must contain the loss scale.
    """
    _require_gpu(work, "float16")
    run = work.trained_run("float16")
    scale = work.run(
        ["-c", "import sys; from models import read_checkpoint; "
         "print(read_checkpoint(sys.argv[1]).extras['scaler_state_dict']['scale'])",
         run / "weights_dota" / "model_last.pth"]
    ).split()[-1]  # fmt: skip
    result = compare_losses(run, work.trained_run("float32"), AMP_TOLERANCE)
    return f"{result}, loss scale {float(scale):g}"


def check_compile(work: Workspace) -> str:
    """Train with `--compile`, and compare the losses with those without it."""
    tolerance = DEVICE_TOLERANCE if work.on_gpu else COMPILE_TOLERANCE
    return compare_losses(work.trained_run("compiled"), work.trained_run("float32"), tolerance)


def check_resume(work: Workspace) -> str:
    """Kill a training run after its first epoch, resume it, and compare it with an unbroken run.

    On a GPU it trains in float16, so that the loss scale has to be restored as well.
    """
    name, flags = ("float16", ("--amp", "float16")) if work.on_gpu else ("float32", ())
    folder = work.folder / "runs" / "killed"
    _kill_after_an_epoch(work, folder, flags)
    output = work.main(
        "train", "--resume_train", "--run_dir", folder, "--device", work.device,
        "--num_workers", work.sizes.workers,
    )  # fmt: skip
    epoch = re.search(r"resuming at epoch (\d+)", output)
    if epoch is None or int(epoch[1]) < 2:
        raise CheckFailed("the run did not resume after the first epoch", output)
    return compare_losses(folder, work.trained_run(name), AMP_TOLERANCE if work.on_gpu else 0.0)


def _kill_after_an_epoch(work: Workspace, folder: Path, flags: Sequence[str]) -> None:
    """Start a training run, and kill it once its first epoch is saved.

    Raises:
        CheckFailed: The run ended, or the time ran out, before the first epoch was saved.
    """
    last = folder / "weights_dota" / "model_last.pth"
    command = [sys.executable, *map(str, work.train_arguments(folder, flags))]
    log = work.folder / "killed.log"
    saved = set()  # times of the first save, at the start, and of the second, after the epoch
    with (
        open(log, "wb") as file,
        subprocess.Popen(
            command, cwd=work.folder, env=work.environment(), stdout=file, stderr=file
        ) as process,
    ):
        while process.poll() is None and len(saved) < 2 and work.seconds_left() > 0:
            if last.is_file():
                saved.add(last.stat().st_mtime_ns)
            time.sleep(0.01)
        ended = process.poll()
        process.kill()
    if ended is not None:
        printed = log.read_text(errors="replace")
        raise CheckFailed(
            f"the training run ended with exit code {ended} before it was killed", printed
        )
    if len(saved) < 2:
        raise CheckFailed("--minutes ran out before the first epoch was saved")


def check_torchrun(work: Workspace) -> str:
    """Train with torchrun, and compare the losses with those of one process.

    It starts one process for each GPU, or two on the CPU.
    """
    import torch

    count = torch.cuda.device_count() if work.on_gpu else 2
    folder = work.folder / "runs" / "torchrun"
    device_type = work.device.partition(":")[0]
    work.run(
        ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}",
         *work.train_arguments(folder, ("--device", device_type))]
    )  # fmt: skip
    tolerance = DEVICE_TOLERANCE if work.on_gpu else PROCESS_TOLERANCE
    # Only the first epoch: Adam turns rounding errors of small gradients into whole steps, and
    # these accumulate.
    result = compare_losses(folder, work.trained_run("float32"), tolerance, epochs=1)
    processes = f"{count} processes" if count > 1 else "1 process, as NCCL needs a GPU for each"
    return f"{processes}, {result}"


def check_eval(work: Workspace) -> str:
    """Run `--phase eval`, and on a GPU compare its detections with those of the CPU."""
    folders, output = [], ""
    for device in ("cpu", work.device) if work.on_gpu else ("cpu",):
        folders.append(work.folder / "eval" / device.replace(":", "_"))
        output = work.main(
            "eval", "--data_dir", work.data(), "--run_dir", folders[-1], "--weights",
            work.weights(), "--device", device, "--num_workers", work.sizes.workers,
        )  # fmt: skip
    rate = re.search(r"\(([\d.]+) images/s", output)
    speed = f"{rate[1]} images/s end to end" if rate else "too few images to time"
    if work.on_gpu:
        reference, ours = (folder / "result_dota" for folder in folders)
        return f"{compare_detections(ours, reference, DEVICE_TOLERANCE)}, {speed}"
    if not (folders[-1] / "result_dota" / "ap.json").is_file():
        raise CheckFailed("eval wrote no ap.json")
    return speed


def check_test(work: Workspace) -> str:
    """Run `--phase test`, which draws the detections."""
    folder = work.folder / "test"
    work.main(
        "test", "--data_dir", work.data(), "--run_dir", folder, "--weights", work.weights(),
        "--device", work.device, "--num_workers", work.sizes.workers,
    )  # fmt: skip
    drawn = [path for path in (folder / "result_dota").rglob("*") if path.is_file()]
    if not drawn:
        raise CheckFailed("test wrote no images")
    return f"{len(drawn)} files"


def check_predict(work: Workspace) -> str:
    """Run `--phase predict`, and on a GPU compare its detections with those of the CPU."""
    ours = work.predictions("pytorch", work.weights(), work.device)
    if not work.on_gpu:
        return compare_detections(ours, ours, 0.0).partition(" differ")[0] + " were read"
    reference = work.predictions("cpu", work.weights(), "cpu")
    return compare_detections(ours, reference, DEVICE_TOLERANCE)


def check_onnx(work: Workspace) -> str:
    """Export to ONNX, and compare the detections of ONNX Runtime on the CPU with PyTorch's."""
    return _compare_onnx(work, "cpu")


def check_onnx_cuda(work: Workspace) -> str:
    """Run `check_onnx` with ONNX Runtime's CUDA provider, which must not fall back to the CPU."""
    _require_gpu(work, "the CUDA provider")
    _require_provider("CUDAExecutionProvider")
    providers = work.run(["-c", _PRINT_PROVIDERS, _onnx_file(work), "CUDAExecutionProvider"])
    if "CUDAExecutionProvider" not in providers.split():
        raise CheckFailed("ONNX Runtime has the CUDA provider, but it does not start", providers)
    return _compare_onnx(work, work.device)


def check_tensorrt(work: Workspace) -> str:
    """Export for TensorRT; the export builds an engine and compares it with the checkpoint."""
    _require_gpu(work, "TensorRT")
    _require_export()
    _require_provider("TensorrtExecutionProvider")
    file = work.folder / "trt.onnx"
    output = _export(work, file, "tensorrt")
    if not (work.folder / "trt_engine").is_dir():
        raise CheckFailed("ONNX Runtime has the TensorRT provider, but built no engine", output)
    return "engine built, and compared with the checkpoint"


def check_torch_program(work: Workspace) -> str:
    """Export with torch.export for one input size; the export is compared with the checkpoint.

    Tracing for any input size takes several times as long.
    """
    _require_export()
    file = work.folder / "model.pt2"
    _export(work, file, "torch", "--static", work.sizes.side, work.sizes.side, 1)
    return f"{file.stat().st_size / 2**20:.1f} MB, compared with the checkpoint"


def check_speed(work: Workspace) -> str:
    """Time the network alone, and training steps in each precision, on a GPU also compiled."""
    variants = {"float32": (), "bfloat16": ("--amp", "bfloat16")}
    if work.on_gpu:
        variants |= {"float16": ("--amp", "float16"), "float32 compiled": ("--compile",)}
    trained, detected = [], 0.0
    for name, flags in variants.items():
        arguments = ["-m", "benchmarks.device_speed", "--device", work.device, *work.sizes.speed]
        rates = json.loads(work.run([*arguments, *flags]).splitlines()[-1])
        trained.append(f"{name} {rates['train']:.1f}")
        detected = detected or rates["eval"]
    return f"images/s: training {', '.join(trained)}; network alone {detected:.1f}"


def _compare_onnx(work: Workspace, device: str) -> str:
    ours = work.predictions(f"onnx on {device.partition(':')[0]}", _onnx_file(work), device)
    reference = work.predictions("cpu", work.weights(), "cpu")
    return compare_detections(ours, reference, DEVICE_TOLERANCE)


def _onnx_file(work: Workspace) -> Path:
    """Return the ONNX file of the checkpoint, which is exported once."""
    _require_export()
    file = work.folder / "model.onnx"
    work.once("onnx file", lambda: _export(work, file, "onnx"))
    return file


def _export(work: Workspace, file: Path, export_format: str, *flags: object) -> str:
    output = work.main(
        "export", "--weights", work.weights(), "--output", file, "--format", export_format,
        "--source", work.data() / "images", "--check_images", 2, *flags,
    )  # fmt: skip
    if not file.is_file():
        raise CheckFailed(f"export wrote no {file.name}", output)
    return output


def _require_gpu(work: Workspace, feature: str) -> None:
    if not work.on_gpu:
        raise CheckSkipped(f"{feature} needs a GPU, but the device is the CPU")


def _require_export() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise CheckSkipped(f"not installed: {', '.join(missing)}; pip install -e '.[export]'")


def _require_provider(name: str) -> None:
    _require_export()
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if name not in available:
        raise CheckSkipped(
            f"this ONNX Runtime only has {', '.join(available)}: pip install onnxruntime-gpu"
        )


CHECKS: dict[str, Callable[[Workspace], str]] = {
    "device": check_device,
    "train": check_train,
    "bfloat16": check_bfloat16,
    "float16": check_float16,
    "resume": check_resume,
    "torchrun": check_torchrun,
    "eval": check_eval,
    "test": check_test,
    "predict": check_predict,
    "onnx": check_onnx,
    "onnx-cuda": check_onnx_cuda,
    "pt2": check_torch_program,
    "speed": check_speed,
    "compile": check_compile,
    "tensorrt": check_tensorrt,
}
"""Name -> check, in the order in which they run: those that may take long are last."""

ONLY_BY_NAME_ON_CPU = {"compile": "compiling takes minutes on a CPU: --only compile runs it"}
"""Checks that are skipped on a CPU unless selected by name -> the reason."""
