"""Every command on docs/devkit.md, run in the order of the page on a small synthetic dataset."""

import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import cv2
import numpy as np
import pytest

from DOTA_devkit.commands import main
from DOTA_devkit.doctor import CHECKS
from DOTA_devkit.formats import DOTA_CLASSES, read_labels
from helpers.paths import ROOT

PAGE = ROOT / "docs" / "devkit.md"

OBJECT = """<object><type>robndbox</type><name>{name}</name><difficult>0</difficult><robndbox>
<cx>{cx}</cx><cy>{cy}</cy><w>{w}</w><h>{h}</h><angle>{angle}</angle></robndbox></object>"""
SIZE_WH = (700, 500)


def commands():
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def python_blocks():
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


NAMES = ("Car", "Van", "Person")


def make_folders(root):
    """Write mydata (roLabelImg labels), hrsc and the results for the server."""
    rng = np.random.default_rng(0)
    for folder in ("mydata/images", "mydata/Annotations", "hrsc/Annotations", "dota/merged"):
        (root / folder).mkdir(parents=True)
    for number in range(10):
        image_id = f"P{number:04}"
        image = rng.integers(0, 255, (SIZE_WH[1], SIZE_WH[0], 3), dtype=np.uint8)
        cv2.imwrite(str(root / f"mydata/images/{image_id}.png"), image)
        objects = []
        for k in range(6):
            cx, cy = 80 + 100 * k, int(rng.integers(60, 400))
            objects.append(OBJECT.format(name=NAMES[k % 3], cx=cx, cy=cy, w=60, h=30, angle=0))
        xml = f"<annotation>{''.join(objects)}</annotation>"
        (root / f"mydata/Annotations/{image_id}.xml").write_text(xml)
    (root / "hrsc/Annotations/100000001.xml").write_text(
        "<HRSC_Image><HRSC_Objects><HRSC_Object><Class_ID>100000006</Class_ID>"
        "<mbox_cx>20</mbox_cx><mbox_cy>40</mbox_cy><mbox_w>20</mbox_w><mbox_h>40</mbox_h>"
        "<mbox_ang>0</mbox_ang></HRSC_Object></HRSC_Objects></HRSC_Image>"
    )
    for name in DOTA_CLASSES["1.0"]:
        (root / f"dota/merged/Task1_{name}.txt").write_text("P0001 0.9 1 2 3 2 3 4 1 4\n")
    (root / "dota/test.txt").write_text("P0001\n")


def make_results(root):
    """Write the results of two perfect detectors on the patches of the test images."""
    lines = {name: [] for name in NAMES}
    for image_id in (root / "mydata/test.txt").read_text().split():
        labels = read_labels(root / f"mydata/labelTxt/{image_id}.txt")
        for corners, name in zip(labels.corners, labels.names, strict=True):
            for left in (0, 100):  # left edges of the 600-pixel patches of a 700-pixel wide image
                values = " ".join(f"{v:.1f}" for v in (corners - [left, 0]).ravel())
                lines[name].append(f"{image_id}__1__{left}___0 0.9 {values}\n")
    for folder in ("results", "results_b"):
        (root / folder).mkdir()
        for name in NAMES:
            (root / folder / f"Task1_{name}.txt").write_text("".join(lines[name]))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Run the commands one after the other in one folder; return command -> what it printed."""
    root = tmp_path_factory.mktemp("page")
    make_folders(root)
    outputs = {"root": root}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for command in commands():
            words = shlex.split(command)
            assert words[:3] == ["python", "-m", "DOTA_devkit"], command
            if words[3] == "merge" and not (root / "results").exists():
                make_results(root)
            stdout, stderr = io.StringIO(), io.StringIO()
            with redirect_stdout(stdout), redirect_stderr(stderr):
                code = main(words[3:])
            assert code == 0, f"{command}\n{stdout.getvalue()}{stderr.getvalue()}"
            outputs[command] = stdout.getvalue()
    return outputs


def output(outputs, start):
    return next(text for command, text in outputs.items() if f"DOTA_devkit {start}" in command)


def test_page_shows_every_command():
    shown = {shlex.split(command)[3] for command in commands()}
    assert shown == {
        "split",
        "split-images",
        "merge",
        "evaluate",
        "convert",
        "lists",
        "stats",
        "submit",
        "doctor",
    }


def test_page_shows_every_check_of_the_doctor():
    table = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    rows = {name: about for name, about in table if name in CHECKS}
    assert rows == {name: check.about for name, check in CHECKS.items()}


@pytest.mark.slow
def test_page_commands_run_and_write_their_files(outputs):
    root = outputs["root"]
    assert len(list((root / "mydata/labelTxt_preview").glob("*.jpg"))) == 4
    assert {
        line.split()[8]
        for path in (root / "mydata/vehicles").iterdir()
        for line in path.read_text().splitlines()
    } == {"vehicle"}
    assert "Enterprise" not in (root / "hrsc/labelTxt/100000001.txt").read_text()
    assert (root / "mydata/again/P0003.txt").read_text() == (
        root / "mydata/labelTxt/P0003.txt"
    ).read_text()
    assert (root / "mydata/stats.png").is_file() and (root / "ap.png").is_file()
    assert (root / "errors.html").is_file() and (root / "errors.json").is_file()
    assert "+0.00 to +0.00" in output(outputs, "evaluate merged mydata/labelTxt --list "
                                      "mydata/test.txt --against")  # fmt: skip
    assert "2" in output(outputs, "lists").splitlines()[1]
    train = (root / "mydata/train.txt").read_text().split()
    cut = {path.name.split("__")[0] for path in (root / "patches_train/images").glob("*.png")}
    assert cut == set(train)
    assert {p.stem for p in (root / "patches_test/images").iterdir()} >= {"P0000__1__100___0"}


@pytest.mark.slow
def test_page_scores_of_perfect_results(outputs):
    """The results are the labels, each found on two patches, so the AP after merging is 1."""
    root = outputs["root"]
    for text in (output(outputs, "evaluate merged"), output(outputs, "evaluate results")):
        mean = next(line for line in text.splitlines() if line.startswith("mean"))
        assert mean.split()[1] == "12"  # two test images of six objects
        assert "100.0" in mean or "1.000" in mean
    for folder in ("merged", "ensemble"):
        assert len((root / folder / "Task1_Car.txt").read_text().splitlines()) == 4
    assert (root / "submission.zip").is_file()


@pytest.mark.slow
def test_page_python_example(outputs):
    (code,) = python_blocks()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=outputs["root"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "mean" in done.stdout
