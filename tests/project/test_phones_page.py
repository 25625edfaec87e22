"""The page on phones and older runtimes: its commands run, and its flags exist."""

import re
import shlex

import pytest

from cli.flags import FLAGS
from helpers.networks import add_tiny_backbone
from helpers.paths import ROOT
from helpers.small_exports import make_folder
from main import main

PAGE = (ROOT / "docs/phones.md").read_text(encoding="utf-8")
COMMANDS = [
    line for text in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in text.splitlines()
]


def test_page_flags_exist():
    there = {name for flag in FLAGS for name in flag.names} | {"--phase"}
    assert set(re.findall(r"--[a-zA-Z_]\w*", PAGE)) <= there


@pytest.mark.slow
def test_page_commands_run(tmp_path, monkeypatch, traced_once):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    add_tiny_backbone(monkeypatch)
    make_folder(tmp_path, "tiny")
    (tmp_path / "checkpoint.pth").rename(tmp_path / "model.pth")
    monkeypatch.chdir(tmp_path)
    for line in COMMANDS:
        program, script, *flags = shlex.split(line.replace("608 608", "64 96"))
        assert (program, script) == ("python", "main.py")
        free = () if "--static" in flags else ("--input_h", "64", "--input_w", "96")
        assert main([*flags, *free, "--K", "20"]) == 0, line
    assert {path.name for path in tmp_path.iterdir()} >= {"maps.onnx", "old.onnx", "maps.pt2"}
