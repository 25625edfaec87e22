"""The checks of `benchmarks.device_check`: each returns what it has found, or raises.

A check takes a `Workplace` and returns a short text for the table. `Failed` says what is wrong,
`NotThere` what is missing on this machine.
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

from benchmarks.device_workplace import (
    Failed,
    NotThere,
    Workplace,
    compare_detections,
    compare_losses,
    losses,
)

ROUNDING = 0.02
"""How much scores, and losses relatively, may differ between devices in float32: convolutions of a
GPU round to TF32."""

MIXED = 0.1
"""How much losses may differ relatively between precisions: a few steps of float16 are skipped
until its scale is found."""

PROCESSES = 1e-3
"""The same between one and several processes on the CPU, which add up in another order."""

COMPILED = 1e-3
"""The same between compiled and eager steps on the CPU, whose rounding adds up over the steps."""

_ABOUT_DEVICE = """
import sys, torch
device = torch.device(sys.argv[1])
found = f"PyTorch {torch.__version__}"
if device.type == "cuda":
    one = torch.cuda.get_device_properties(device)
    found += f", CUDA {torch.version.cuda}, {one.name}, {one.total_memory / 2**30:.0f} GB"
    found += f", compute capability {one.major}.{one.minor}"
values = torch.arange(4.0, device=device).reshape(2, 2)
assert (values @ values).tolist() == [[2, 3], [6, 11]], "a product of matrices is wrong"
print(found)
"""

_PROVIDERS = """
import sys
from pathlib import Path
from deploy.runtimes.onnx_runtime import open_session
print(*open_session(Path(sys.argv[1]), sys.argv[2:]).get_providers())
"""


def check_device(work: Workplace) -> str:
    """Compute a little on the device."""
    return work.run(["-c", _ABOUT_DEVICE, work.device]).splitlines()[-1]


def check_train(work: Workplace) -> str:
    """Train and validate in float32, and on a GPU compare the losses with those of the CPU."""
    run = work.trained("float32")
    if work.on_gpu:
        return compare_losses(run, work.trained("cpu"), ROUNDING)
    return f"loss {losses(run)[-1]:.3g}"


def check_bfloat16(work: Workplace) -> str:
    """Train with `--amp bfloat16`."""
    return compare_losses(work.trained("bfloat16"), work.trained("float32"), MIXED)


def check_float16(work: Workplace) -> str:
    """Train with `--amp float16`, whose loss scale must be in the checkpoint."""
    _need_gpu(work, "float16")
    run = work.trained("float16")
    scale = work.run(
        ["-c", "import sys; from models import read_checkpoint; "
         "print(read_checkpoint(sys.argv[1]).extras['scaler_state_dict']['scale'])",
         run / "weights_dota" / "model_last.pth"]
    ).split()[-1]  # fmt: skip
    return f"{compare_losses(run, work.trained('float32'), MIXED)}, loss scale {float(scale):g}"


def check_compile(work: Workplace) -> str:
    """Train with `--compile`."""
    tolerance = ROUNDING if work.on_gpu else COMPILED
    return compare_losses(work.trained("compiled"), work.trained("float32"), tolerance)


def check_resume(work: Workplace) -> str:
    """Kill a training after its first epoch, resume it, and compare it with one that was not.

    On a GPU that is the one in float16, so that the loss scale has to be resumed as well.
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
        raise Failed("it did not go on after the first epoch", output)
    return compare_losses(folder, work.trained(name), MIXED if work.on_gpu else 0.0)


def _kill_after_an_epoch(work: Workplace, folder: Path, flags: Sequence[str]) -> None:
    """Start a training, and kill it once its first epoch is saved.

    Raises:
        Failed: It ended before that, or the time was over.
    """
    last = folder / "weights_dota" / "model_last.pth"
    words = [sys.executable, *map(str, work.training(folder, flags))]
    log = work.folder / "killed.log"
    saved = set()  # the file of the start, then that of the epoch, which replaces it
    with (
        open(log, "wb") as file,
        subprocess.Popen(
            words, cwd=work.folder, env=work.environment(), stdout=file, stderr=file
        ) as process,
    ):
        while process.poll() is None and len(saved) < 2 and work.left_s() > 0:
            if last.is_file():
                saved.add(last.stat().st_mtime_ns)
            time.sleep(0.01)
        ended = process.poll()
        process.kill()
    if ended is not None:
        printed = log.read_text(errors="replace")
        raise Failed(f"the training ended with exit code {ended} before it was killed", printed)
    if len(saved) < 2:
        raise Failed("the --minutes for all checks were over before its first epoch was")


def check_torchrun(work: Workplace) -> str:
    """Train with torchrun, one process for each GPU or two on the CPU, as one process does."""
    import torch

    count = torch.cuda.device_count() if work.on_gpu else 2
    folder = work.folder / "runs" / "torchrun"
    kind = work.device.partition(":")[0]
    work.run(
        ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}",
         *work.training(folder, ("--device", kind))]
    )  # fmt: skip
    tolerance = ROUNDING if work.on_gpu else PROCESSES
    # Adam turns the rounding of small gradients into whole steps, which adds up after that.
    found = compare_losses(folder, work.trained("float32"), tolerance, epochs=1)
    shared = f"{count} processes" if count > 1 else "1 process, as NCCL needs two GPUs"
    return f"{shared}, {found}"


def check_eval(work: Workplace) -> str:
    """Run `--phase eval`, and on a GPU compare its detections with those of the CPU."""
    folders, output = [], ""
    for device in ("cpu", work.device) if work.on_gpu else ("cpu",):
        folders.append(work.folder / "eval" / device.replace(":", "_"))
        output = work.main(
            "eval", "--data_dir", work.data(), "--run_dir", folders[-1], "--weights",
            work.weights(), "--device", device, "--num_workers", work.sizes.workers,
        )  # fmt: skip
    rate = re.search(r"\(([\d.]+) images/s", output)
    found = f"{rate[1]} images/s end to end" if rate else "too few images to time"
    if work.on_gpu:
        reference, ours = (folder / "result_dota" for folder in folders)
        return f"{compare_detections(ours, reference, ROUNDING)}, {found}"
    if not (folders[-1] / "result_dota" / "ap.json").is_file():
        raise Failed("it wrote no ap.json")
    return found


def check_test(work: Workplace) -> str:
    """Run `--phase test`, which draws."""
    folder = work.folder / "test"
    work.main(
        "test", "--data_dir", work.data(), "--run_dir", folder, "--weights", work.weights(),
        "--device", work.device, "--num_workers", work.sizes.workers,
    )  # fmt: skip
    pictures = [path for path in (folder / "result_dota").rglob("*") if path.is_file()]
    if not pictures:
        raise Failed("it drew no picture")
    return f"{len(pictures)} files"


def check_predict(work: Workplace) -> str:
    """Run `--phase predict`, and on a GPU compare its detections with those of the CPU."""
    ours = work.predicted("pytorch", work.weights(), work.device)
    if not work.on_gpu:
        return compare_detections(ours, ours, 0.0).partition(" differ")[0] + " were read"
    return compare_detections(ours, work.predicted("cpu", work.weights(), "cpu"), ROUNDING)


def check_onnx(work: Workplace) -> str:
    """Export to ONNX, and compare what ONNX Runtime detects on the CPU with PyTorch's."""
    return _compare_onnx(work, "cpu")


def check_onnx_cuda(work: Workplace) -> str:
    """The same with ONNX Runtime's CUDA provider, which must really run."""
    _need_gpu(work, "the CUDA provider")
    _need_provider("CUDAExecutionProvider")
    started = work.run(["-c", _PROVIDERS, _onnx_file(work), "CUDAExecutionProvider"])
    if "CUDAExecutionProvider" not in started.split():
        raise Failed("ONNX Runtime has the CUDA provider, but it does not start", started)
    return _compare_onnx(work, work.device)


def check_tensorrt(work: Workplace) -> str:
    """Export for TensorRT, which builds an engine and compares it with the checkpoint."""
    _need_gpu(work, "TensorRT")
    _need_export()
    _need_provider("TensorrtExecutionProvider")
    file = work.folder / "trt.onnx"
    output = _export(work, file, "tensorrt")
    if not (work.folder / "trt_engine").is_dir():
        raise Failed("ONNX Runtime has the TensorRT provider, but it built no engine", output)
    return "engine built, and compared with the checkpoint"


def check_torch_program(work: Workplace) -> str:
    """Export a program of torch.export for one input size, and compare it with the checkpoint.

    One for any size takes several times as long to trace.
    """
    _need_export()
    file = work.folder / "model.pt2"
    _export(work, file, "torch", "--static", work.sizes.side, work.sizes.side, 1)
    return f"{file.stat().st_size / 2**20:.1f} MB, compared with the checkpoint"


def check_speed(work: Workplace) -> str:
    """Time training steps in each precision, compiled on a GPU, and the network alone."""
    ways = {"float32": (), "bfloat16": ("--amp", "bfloat16")}
    if work.on_gpu:
        ways |= {"float16": ("--amp", "float16"), "float32 compiled": ("--compile",)}
    found, detected = [], 0.0
    for name, flags in ways.items():
        words = ["-m", "benchmarks.device_speed", "--device", work.device, *work.sizes.speed]
        rates = json.loads(work.run([*words, *flags]).splitlines()[-1])
        found.append(f"{name} {rates['train']:.1f}")
        detected = detected or rates["eval"]
    return f"images/s of steps: {', '.join(found)}; of the network alone: {detected:.1f}"


def _compare_onnx(work: Workplace, device: str) -> str:
    found = work.predicted(f"onnx on {device.partition(':')[0]}", _onnx_file(work), device)
    return compare_detections(found, work.predicted("cpu", work.weights(), "cpu"), ROUNDING)


def _onnx_file(work: Workplace) -> Path:
    """Return the float32 run as an ONNX file."""
    _need_export()
    file = work.folder / "model.onnx"
    work.once("onnx file", lambda: _export(work, file, "onnx"))
    return file


def _export(work: Workplace, file: Path, kind: str, *flags: object) -> str:
    output = work.main(
        "export", "--weights", work.weights(), "--output", file, "--format", kind,
        "--source", work.data() / "images", "--check_images", 2, *flags,
    )  # fmt: skip
    if not file.is_file():
        raise Failed(f"it wrote no {file.name}", output)
    return output


def _need_gpu(work: Workplace, what: str) -> None:
    if not work.on_gpu:
        raise NotThere(f"{what} needs a GPU, and the device is the CPU")


def _need_export() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise NotThere(f"{', '.join(missing)} is not installed: pip install -e '.[export]'")


def _need_provider(name: str) -> None:
    _need_export()
    import onnxruntime

    there = onnxruntime.get_available_providers()
    if name not in there:
        raise NotThere(
            f"this ONNX Runtime only has {', '.join(there)}: pip install onnxruntime-gpu"
        )


CHECKS: dict[str, Callable[[Workplace], str]] = {
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
"""Name -> check, in the order in which they run: those that may take long come last."""

ONLY_BY_NAME_ON_CPU = {"compile": "compiling takes minutes on a CPU: --only compile runs it"}
"""Checks that a CPU leaves out -> why, unless they are asked for."""
