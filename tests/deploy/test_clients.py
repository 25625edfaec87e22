"""The clients of examples/ find what `Detector` finds, and JavaScript can feed a threshold.

They run where their runtimes are: `npm install --prefix examples` for JavaScript, and for C++ the
environment variable ONNXRUNTIME_DIR, the folder of an unpacked release of ONNX Runtime.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.detector import Detector
from deploy.sidecar import sidecar_path
from helpers.paths import ROOT
from helpers.small_exports import SIZE_HW, K, export

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from deploy.runtimes.onnx_runtime import open_session

pytestmark = pytest.mark.slow  # exports networks or runs exported files

EXAMPLES = ROOT / "examples"


def require_javascript(*packages):
    missing = [one for one in packages if not (EXAMPLES / "node_modules" / one).is_dir()]
    if shutil.which("node") is None or missing:
        pytest.skip("needs Node.js, and npm install --prefix examples")


def node(*words):
    return subprocess.run(
        ["node", *map(str, words)], cwd=EXAMPLES, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def picture(sharp_folder, tmp_path):
    """Return the path of a PPM that is scaled and padded, and what `Detector` finds in it."""
    small = cv2.imread(str(sharp_folder / "images/1.png"))
    image = cv2.resize(small, (233, 311), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "image.ppm"), image)
    return tmp_path / "image.ppm", image


def assert_equal(found, expected, corner_px):
    """Compare (name, score, corners) of a client with detections."""
    assert [name for name, *_ in found] == expected.class_names() and len(found) > 3
    np.testing.assert_allclose([score for _, score, _ in found], expected.scores, atol=1e-5)
    corners = np.array([corners for *_, corners in found]).reshape(-1, 4, 2)
    np.testing.assert_allclose(corners, expected.corners, atol=corner_px)


@pytest.mark.parametrize("name", ["free.onnx", "conf.onnx", "squashed.onnx"])
def test_javascript_client_finds_what_detector_finds(sharp_folder, picture, name):
    require_javascript("onnxruntime-node")
    flags = {"conf.onnx": ["--conf_input"], "squashed.onnx": ["--squash"]}.get(name, [])
    path, image = export(sharp_folder, name, *flags), picture[1]
    for threshold in ([], ["0.37"]):
        done = node("detect.mjs", path, picture[0], *threshold)
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        found = [(row["name"], row["score"], row["polygon"]) for row in rows]
        asked = {"conf_thresh": float(threshold[0])} if threshold else {}
        assert_equal(found, Detector.load(path, **asked).detect(image), 1e-3)


def test_javascript_client_refuses_the_json_of_another_file(sharp_folder, picture, tmp_path):
    require_javascript("onnxruntime-node")
    for source in (path := export(sharp_folder, "free.onnx"), sidecar_path(path)):
        shutil.copy(source, tmp_path)
    with open(tmp_path / "free.onnx", "ab") as file:
        file.write(b"\0")
    done = node("detect.mjs", tmp_path / "free.onnx", picture[0])
    assert done.returncode != 0 and "do not belong together" in done.stderr


FEED = """
import { readFileSync } from "node:fs";
const [name, path, count, ...shape] = process.argv.slice(1);
const ort = await import(name);
const session = await ort.InferenceSession.create(readFileSync(path));
const pixel = (_, index) => ((index * 7919) % 255) / 255 - 0.5;
const values = Float32Array.from({ length: Number(count) }, pixel);
const input = new ort.Tensor("float32", values, shape.map(Number));
const run = async (more) => Array.from((await session.run({ input, ...more })).scores.data);
const found = {};
for (const conf of [0, 0.345, 1]) {
  found[conf] = await run({ conf_thresh: new ort.Tensor("float32", [conf], []) });
}
found.missing = await run({}).catch((error) => error.message);
console.log(JSON.stringify({ inputs: session.inputNames, found }));
"""


@pytest.mark.parametrize("package", ["onnxruntime-node", "onnxruntime-web"])
def test_javascript_feeds_the_threshold(sharp_folder, package):
    require_javascript(package)
    path, shape = export(sharp_folder, "conf.onnx", "--conf_input"), (1, 3, *SIZE_HW)
    count = int(np.prod(shape))
    done = node("--input-type=module", "-e", FEED, "--", package, path, count, *shape)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["inputs"] == ["input", "conf_thresh"]
    assert "conf_thresh" in told["found"]["missing"]
    session = open_session(path)
    images = (np.arange(count) * 7919 % 255 / 255 - 0.5).astype(np.float32).reshape(shape)
    rows = []
    for conf in ("0", "0.345", "1"):
        feed = {"input": images, "conf_thresh": np.array(conf, np.float32)}
        expected = session.run(None, feed)[1][0]
        np.testing.assert_allclose(told["found"][conf], expected, atol=1e-5)
        rows.append(int((expected > 0).sum()))
    assert K == rows[0] > rows[2] == 0


def test_cpp_client_finds_what_detector_finds(sharp_folder, picture, tmp_path):
    there = Path(os.environ.get("ONNXRUNTIME_DIR", "none"))
    if shutil.which("g++") is None or not there.is_dir():
        pytest.skip("needs g++, and ONNXRUNTIME_DIR")
    subprocess.run(
        ["g++", "-std=c++17", "-Wall", f"-I{there}/include", EXAMPLES / "detect.cpp",
         f"-L{there}/lib", "-lonnxruntime", "-o", tmp_path / "detect"],
        check=True,
    )  # fmt: skip
    flags = ("--input", "uint8", "--color", "RGB", "--nms", "graph")
    path = export(sharp_folder, "RGB.onnx", *flags)
    done = subprocess.run(
        [tmp_path / "detect", path, picture[0]], capture_output=True, text=True,
        env={**os.environ, "LD_LIBRARY_PATH": f"{there}/lib"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    classes = json.loads(first.removeprefix("classes "))
    rows = [line.split() for line in lines]
    found = [(classes[int(row[0])], float(row[1]), np.array(row[2:], float)) for row in rows]
    assert_equal(found, Detector.load(path).detect(picture[1]), 0.01)
