"""What a command does not need is not imported: each case runs in a process of its own."""

import ast
import importlib
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from helpers.fixed_output_onnx import onnx_file
from helpers.paths import ROOT
from models import CTRBOX, Checkpoint, save_checkpoint
from structures.boxes import HEAD_CHANNELS

HEAVY = (
    "matplotlib", "onnx", "onnxruntime", "openvino", "rasterio", "tensorboard", "timm", "torch",
    "torchvision",
)  # fmt: skip
COMPILER = "torch._dynamo"  # and what it imports takes longer than PyTorch itself
PACKAGES = ("datasets", "deploy", "deploy.runtimes", "models")

RUN = """
import contextlib, io, json, os, sys
sys.path.insert(0, {root!r})
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    {code}
print(json.dumps([name for name in {watched!r} if name in sys.modules]))
"""


def imported_by(code, folder, watched=(*HEAVY, COMPILER)):
    """Run code in a child process and return which of the watched modules it has imported."""
    code = code.replace("\n", "\n    ")
    text = RUN.format(root=str(ROOT), code=code, watched=list(watched))
    child = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)


def exits(module, words, expected):
    """Code that runs a command line that argparse ends."""
    return (
        f"from {module} import main\n"
        f"try:\n    code = main({words!r})\n"
        f"except SystemExit as stopped:\n    code = stopped.code\n"
        f"assert code == {expected}, code\n"
    )


def test_help_and_usage_errors_import_no_runtime(tmp_path):
    lines = [
        exits("main", ["--help"], 0),
        *(exits("main", ["--phase", phase, "--help"], 0) for phase in ("train", "predict", "info")),
        exits("main", ["--phase", "train", "--no_such_flag"], 2),
        exits("main", ["--phase", "eval", "--K", "none", "--device", "cpu"], 2),
        exits("main", ["--phase", "predict", "--weights", "model.onnx"], 2),
        exits("main", ["--phase", "train", "--backbone", "timm/resnet18", "--no_such_flag"], 2),
    ]
    assert imported_by("".join(lines), tmp_path) == []


def test_devkit_imports_no_runtime(tmp_path):
    (tmp_path / "a.txt").write_text("0 0 20 0 20 20 0 20 ship 0\n")
    lines = [
        exits("DOTA_devkit.commands", ["--help"], 0),
        exits("DOTA_devkit.commands", ["split", "--help"], 0),
        exits("DOTA_devkit.commands", ["stats", "."], 0),
        "import DOTA_devkit.formats\nDOTA_devkit.formats.read_labels('a.txt')\n",
    ]
    assert imported_by("".join(lines), tmp_path) == []


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.slow
def test_exported_file_runs_without_pytorch(tmp_path, runtime):
    pytest.importorskip("onnx")
    pytest.importorskip(runtime)
    onnx_file(tmp_path / "model.onnx")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64, 3), np.uint8))
    code = (
        "from deploy import Detector, DetectorSettings\n"
        f"Detector.load('model.onnx', DetectorSettings(runtime={runtime!r})).detect('a.png')\n"
    )
    if runtime == "onnxruntime":
        words = ["--phase", "predict", "--weights", "model.onnx", "--source", "a.png"]
        code += exits("main", [*words, "--threads", "1", "--formats", "json"], 0)
        code += exits("main", ["--phase", "predict", "--weights", "no.onnx", "--source", "."], 2)
    assert imported_by(code, tmp_path) == [runtime]


@pytest.mark.slow
def test_checkpoint_runs_without_torchvision_and_compiler(tmp_path):
    for backbone in ("resnet18", "mobilenetv2"):
        model = CTRBOX({"hm": 1, **HEAD_CHANNELS}, None, 4, 1, 8, backbone=backbone,
                       classes=("ship",), input_size=(64, 64))  # fmt: skip
        save_checkpoint(tmp_path / f"{backbone}.pth", Checkpoint.of(model))
    code = (
        "import numpy as np\nfrom deploy import Detector\n"
        "for name in ('resnet18', 'mobilenetv2'):\n"
        "    Detector.load(name + '.pth').detect(np.zeros((64, 64, 3), np.uint8))\n"
        "assert os.environ['GOMP_SPINCOUNT']  # read when PyTorch was imported\n"
    )
    assert imported_by(code, tmp_path) == ["torch"]


def listed(package):
    """The names that a package imports for tools that read it, and the modules of them."""
    path = ROOT / package.replace(".", "/") / "__init__.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return {alias.name: one.module for one in node.body for alias in one.names}
    raise AssertionError(f"{package} has no imports for type checkers")


@pytest.mark.parametrize("name", PACKAGES)
def test_lazy_packages_offer_what_they_list(name):
    package = importlib.import_module(name)
    assert sorted(listed(name)) == sorted(package.__all__)
    for own, module in listed(name).items():
        assert getattr(package, own) is getattr(importlib.import_module(module), own)
        assert own in dir(package)
    with pytest.raises(AttributeError, match=f"'{name}' has no attribute 'nothing'"):
        _ = package.nothing
    with pytest.raises(ImportError, match="nothing"):
        exec(f"from {name} import nothing")


def test_modules_of_a_lazy_package_are_its_attributes(tmp_path):
    code = "import models, deploy\nassert models.backbones.BACKBONES and deploy.detector.as_bgr\n"
    assert imported_by(code, tmp_path) == []


def test_names_of_a_lazy_package_are_imported_by_star(tmp_path):
    code = "exec('from deploy import *')\nassert Detector.load and DetectorSettings()\n"
    assert imported_by(code, tmp_path) == []
