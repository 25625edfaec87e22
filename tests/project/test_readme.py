"""The commands of the READMEs, run as written and in their order in an empty folder."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.sample.folder import CLASSES, SPLITS
from helpers import forked_python
from helpers.paths import ROOT

READMES = ("README.md", "README.zh-CN.md")

# Commands that need the network, or that run the tests themselves.
NOT_RUN = ("pip install", "python -m pytest")
# Arguments that a command of the README needs to run without a network and in a short time.
ADDED_ARGUMENTS = {
    "--data_dir mydata": "--pretrained none --num_epoch 1 --input_h 64 --input_w 64",
    "DOTA_devkit convert": "--help",
    "DOTA_devkit split": "--help",
    "benchmarks.deployment": "--help",  # the test of docs/deploy.md runs it
    "benchmarks.detector": "--size 64 --repeats 1",
    "--phase info --all": "--help",  # tests/cli/test_phases.py runs it
    "benchmarks.dataset DIR": "--help",
    "benchmarks.devkit": "--help",
    "benchmarks.device_check": "--only device",  # tests/benchmarks runs all of it
}

DEPLOYMENT = re.compile(r"--phase (export|benchmark)|--phase predict --source sample_data")
"""Commands that are run on the checkpoint of the three commands."""

EVERY_SECOND = """
import sys
import DOTA_devkit.progress
import main
DOTA_devkit.progress.LINE_SECONDS = 1.0
sys.exit(main.main(sys.argv[1:]))
"""
"""`main.py` whose loops tell every second how far they are, not every 20 seconds."""

FIRST = re.compile(r"--weights weights/")
"""The command that runs the model of this repository."""


def commands(readme: str) -> list[str]:
    """Return the commands in fenced blocks and in inline code, in order and without repetition."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    found = []
    for block, inline in re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", text, re.DOTALL):
        for line in (block or inline).splitlines():
            for command in line.split("&&"):
                if command.strip().startswith(("python ", "pip ")):
                    found.append(command.strip())
    return list(dict.fromkeys(found))


def runnable(readme: str) -> list[str]:
    return [command for command in commands(readme) if not command.startswith(NOT_RUN)]


def run(command: str, folder: Path) -> str:
    """Run a command of a README in `folder` and return its output; fail where it fails."""
    for shown, added in ADDED_ARGUMENTS.items():
        if shown in command:
            command = f"{command} {added}"
            break
    program, *arguments = shlex.split(command)
    assert program == "python"
    return run_python([str(ROOT / "main.py") if a == "main.py" else a for a in arguments], folder)


def run_python(arguments: list[str], folder: Path) -> str:
    """Run Python in `folder` and return its output; fail where it fails."""
    done = forked_python.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_until(pattern: str, command: str, folder: Path) -> str:
    """Run `main.py`, press Ctrl-C once it prints this; return all that it has printed."""
    python, script, *words = shlex.split(command)
    assert (python, script) == ("python", "main.py")
    path = folder / "output.txt"
    with open(path, "w") as output:
        process = forked_python.Popen(
            [sys.executable, "-c", EVERY_SECOND, *words], cwd=folder, stdout=output,
            stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    try:
        while process.poll() is None and not re.search(pattern, path.read_text()):
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        code = process.wait()
    finally:
        process.kill()
    assert code == 128 + signal.SIGINT, path.read_text()
    return path.read_text()


def python_of(readme: str) -> str:
    """Return the Python code that detects objects in an image of the sample set."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    (found,) = re.findall(r"```python\n(from deploy .*?)```", text, re.DOTALL)
    return found


def test_both_languages_show_the_same_commands():
    english, chinese = map(commands, READMES)
    assert english == chinese
    assert len(english) >= 10


def test_flags_named_in_the_readme_exist():
    from cli.flags import FLAGS

    existing = {name for flag in FLAGS for name in flag.names} | {"--phase", "--help", "--verbose"}
    for folder in ("DOTA_devkit/commands", "benchmarks"):
        for path in (ROOT / folder).glob("*.py"):
            existing |= set(re.findall(r'"(--\w+)"', path.read_text(encoding="utf-8")))
    for readme in READMES:
        named = set(re.findall(r"(--\w+)", (ROOT / readme).read_text(encoding="utf-8")))
        assert named <= existing, readme


@pytest.fixture
def three_commands():
    """Return the commands that train, test and evaluate on the sample set."""
    steps = [c for c in runnable("README.md") if re.search(r"--phase (train|test|eval)", c)]
    train, test, evaluate = [c for c in steps if "--data_dir" not in c][:3]
    assert "--backbone resnet18" in train
    return train, test, evaluate


def mean_of(scores: Path) -> dict:
    """Return the row of the mean over all classes in the report of an evaluation."""
    report = json.loads(scores.read_text())
    assert report["settings"]["conf_thresh"] == 0.01
    return next(row for row in report["classes"] if row["class"] == "mean")


def assert_every_class_can_be_scored(data: Path):
    """Each list of the sample set has enough objects of every class, as the first 40 of train."""
    for split, count in SPLITS.items():
        ids = (data / f"{split}.txt").read_text().split()
        assert len(ids) == count
        known = ids[:40] if split == "train" else ids
        texts = [(data / "labelTxt" / f"{one}.txt").read_text() for one in known]
        rows = [line.split() for text in texts for line in text.splitlines()[2:]]
        plain = Counter(name for *_, name, difficult in rows if difficult == "0")
        assert min(plain[name] for name in CLASSES) >= 15, split


@pytest.mark.slow
def test_sample_set_commands(three_commands, tmp_path):
    """The training is stopped after its first batches; see below for all of it."""
    train, test, evaluate = three_commands
    log = run_until("epoch 1/7: [1-9]", train, tmp_path)
    assert "stopped by Ctrl-C; the run up to batch" in log
    assert (tmp_path / "weights_sample/model_last.pth").is_file()
    assert len(list((tmp_path / "sample_data/images").iterdir())) == 540
    assert_every_class_can_be_scored(tmp_path / "sample_data")
    tested = tmp_path / "sample_data/test.txt"
    names = tested.read_text().splitlines()
    tested.write_text("".join(f"{name}\n" for name in names[:10]))
    assert "images/s" in run(test, tmp_path)
    assert len(list((tmp_path / "result_sample/pictures").iterdir())) == 10
    run(evaluate, tmp_path)
    assert mean_of(tmp_path / "result_sample/ap.json")["objects"] > 50
    assert (tmp_path / "result_sample/evaluation.png").is_file()

    export, predict, benchmark = [c for c in runnable("README.md") if DEPLOYMENT.search(c)]
    # All epochs have written the best one.
    (tmp_path / "weights_sample/model_last.pth").rename(tmp_path / "weights_sample/model_best.pth")
    assert "parity on 11 images" in run(export, tmp_path)
    assert "ONNX Runtime" in run(benchmark, tmp_path)
    images = tmp_path / "sample_data/images"
    for path in sorted(images.iterdir())[8:]:  # these are enough for the others
        path.unlink()
    run(predict, tmp_path)
    assert len(list((tmp_path / "result_predict/pictures").iterdir())) == 8
    snippets = [python_of(readme) for readme in READMES]
    assert snippets[0] == snippets[1]
    assert "[" in run_python(["-c", snippets[0]], tmp_path)


@pytest.mark.slow
@pytest.mark.long
def test_sample_set_is_learned(three_commands, tmp_path):
    """All epochs take 5 to 10 minutes on 2 cores; the AP shows that it learned."""
    for command in three_commands:
        run(command, tmp_path)
    assert mean_of(tmp_path / "result_sample/ap.json")["AP50"] >= 0.80
    assert (tmp_path / "weights_sample/report.html").is_file()


@pytest.mark.slow
def test_first_detections(tmp_path):
    """The model of the repository finds the objects of two images that it has not seen."""
    (command,) = [command for command in runnable("README.md") if FIRST.search(command)]
    for folder in ("docs", "weights"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    run(command, tmp_path)
    written = tmp_path / "result_predict/pictures"
    assert sorted(path.name for path in written.iterdir()) == ["thermal_1.jpg", "thermal_2.jpg"]
    found = json.loads((tmp_path / "result_predict/detections.json").read_text())
    counts = Counter(
        (image["image"], one["class"])
        for image in found["images"]
        for one in image["detections"]
        if one["score"] > 0.3
    )
    # 7 and 22 vehicles, 11 and no bicycles are labeled
    assert 5 <= counts["thermal_1", "vehicle"] <= 9 and counts["thermal_1", "bicycle"] >= 6
    assert 17 <= counts["thermal_2", "vehicle"] <= 25 and counts["thermal_2", "bicycle"] <= 3


@pytest.mark.slow
def test_other_commands(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "labelTxt"):
        (tmp_path / "mydata" / folder).mkdir(parents=True)
    (tmp_path / "mydata/classes.txt").write_text("ship\n")
    for number in range(10):
        picture = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"mydata/images/P{number}.png"), picture)
        label = tmp_path / f"mydata/labelTxt/P{number}.txt"
        label.write_text("10 10 40 10 40 30 10 30 ship 0\n")
    sample = re.compile(r"--phase (train --backbone|test|eval)")
    others = [
        command
        for command in runnable("README.md")
        if not any(one.search(command) for one in (sample, DEPLOYMENT, FIRST))
    ]
    assert len(others) >= 8
    outputs = {command: run(command, tmp_path) for command in others}
    assert "GMAC" in outputs["python main.py --phase info --backbone mobilenetv2"]
    assert (tmp_path / "mydata/train.txt").is_file()
    assert (tmp_path / "weights_dota/model_last.pth").is_file()
