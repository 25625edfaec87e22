"""The pages on deployment and detection: every command and every Python snippet, in order."""

import ast
import re
import shlex
import sys
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from shapely.geometry import Polygon

from cli.flags import FLAGS
from helpers import forked_python
from helpers.networks import add_tiny_backbone
from helpers.paths import ROOT
from helpers.small_exports import CLASSES, make_folder
from main import main
from structures.boxes import corners_to_vectors, vectors_to_corners
from structures.detections import Detections

for package in ("onnx", "onnxruntime", "onnxscript", "openvino"):
    pytest.importorskip(package)

FIGURE = ROOT / "docs/images/rectangle.svg"
PAGE = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)
SMALL = ("--input_h", "96", "--input_w", "128", "--K", "40")


@pytest.fixture
def folder(tmp_path, monkeypatch, traced_once):
    """Return a folder with model.pth and images/a0.png, which the page uses."""
    add_tiny_backbone(monkeypatch)
    make_folder(tmp_path, "tiny")
    (tmp_path / "checkpoint.pth").rename(tmp_path / "model.pth")
    (tmp_path / "images/1.png").rename(tmp_path / "images/a0.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_image_shows_the_output():
    drawn = {one.get("id"): one for one in ElementTree.parse(FIGURE).iter() if one.get("id")}
    ends = {
        name: [float(drawn[name].get(key)) for key in ("x1", "y1", "x2", "y2")] for name in "trbl"
    }
    points = [drawn[f"corner{number}"] for number in (1, 2, 3, 4)]
    corners = np.array([[float(one.get("cx")), float(one.get("cy"))] for one in points])
    center = np.array(ends["t"][:2])
    centers, vectors, _ = corners_to_vectors(corners[None])
    np.testing.assert_allclose(centers[0], center, atol=0.1)
    np.testing.assert_allclose(
        vectors.reshape(4, 2), [np.array(ends[name][2:]) - center for name in "trbl"], atol=0.1
    )
    np.testing.assert_allclose(vectors_to_corners(centers, vectors)[0], corners, atol=0.1)
    found = Detections(corners[None], np.ones(1), np.zeros(1, np.int64), ("a",))
    angle = float(drawn["angle"].text.removeprefix("angle "))
    assert found.rectangles()[0, 4] == pytest.approx(angle, abs=0.1)


@pytest.mark.slow
def test_deploy_page_commands_and_snippets(folder, capsys):
    commands, printed = 0, []
    for language, text in BLOCK.findall(PAGE):
        capsys.readouterr()
        if language == "python":
            exec(compile(text, "docs/deploy.md", "exec"), {})
            printed.append(capsys.readouterr().out)
            continue
        for line in text.splitlines():
            program, script, *flags = shlex.split(line)
            assert (program, script) == ("python", "main.py")
            small = SMALL if "export" in flags else ()
            assert main([*flags, *small]) == 0, line
            commands += 1
    assert commands == 8
    for name in ("model.onnx", "whole.onnx", "int8.onnx", "model.xml", "model.bin", "model.pt2",
                 "trt.onnx", "from_openvino/detections.json"):  # fmt: skip
        assert (folder / name).is_file(), name
    names, first, whole, *_ = printed
    assert set(ast.literal_eval(names)) <= set(CLASSES)
    boxes = [line.split(" ", 2) for line in first.splitlines()]
    assert boxes and {name for name, *_ in boxes} <= set(CLASSES)
    assert all(0.3 < float(score) <= 1 for _, score, _ in boxes)
    assert int(whole.split()[0]) > 0


@pytest.mark.slow
def test_predict_page_commands_and_snippets(folder, capsys):
    page = (ROOT / "docs/predict.md").read_text(encoding="utf-8")
    commands = 0
    for language, text in BLOCK.findall(page):
        capsys.readouterr()
        if language == "python":
            exec(compile(text, "docs/predict.md", "exec"), {})
            assert capsys.readouterr().out.count("\n") > 0
            continue
        for line in text.splitlines():
            program, script, *flags = shlex.split(line)
            assert (program, script) == ("python", "main.py")
            assert main(flags) == 0, line
            commands += 1
    assert commands == 2
    for name in ("result_predict/detections.json", "result_predict/pictures/a0.jpg",
                 "benchmark.json"):  # fmt: skip
        assert (folder / name).is_file(), name


@pytest.mark.slow
def test_page_snippet_boxes_equal_the_detector(folder, capsys):
    """Compare the letterbox written out on the page with the project's."""
    from deploy.detector import Detector

    assert main(["--phase", "export", "--weights", "model.pth", "--output", "model.onnx",
                 "--source", "images", *SMALL]) == 0  # fmt: skip
    (code,) = [text for language, text in BLOCK.findall(PAGE) if "custom_metadata_map" in text]
    capsys.readouterr()
    exec(compile(code, "docs/deploy.md", "exec"), {})
    found = [line.split(" ", 2) for line in capsys.readouterr().out.splitlines()]
    detector = Detector.load("model.pth", conf_thresh=0.3, nms_thresh=1.0, K=40)
    ours = detector.detect(cv2.imread("images/a0.png"))
    assert [name for name, *_ in found] == ours.class_names()
    corners = np.array(
        [np.fromstring(re.sub(r"[\[\],]", " ", text), sep=" ") for *_, text in found]
    )
    np.testing.assert_allclose(corners.reshape(-1, 4, 2), ours.corners, atol=0.11)


def suppression_of_the_page():
    (code,) = [text for language, text in BLOCK.findall(PAGE) if "def suppress(" in text]
    names = {}
    exec(compile(code, "docs/deploy.md", "exec"), names)
    return names["suppress"]


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_page_suppression_keeps_what_polygons_say(threshold):
    """Compare it with shapely on turned rectangles, half of them counter-clockwise."""
    rng, count = np.random.default_rng(3), 80
    angle, half = rng.uniform(0, np.pi, count), rng.uniform(3, 15, (count, 2))
    u = np.stack([np.cos(angle), np.sin(angle)], axis=1) * half[:, :1]
    v = np.stack([-np.sin(angle), np.cos(angle)], axis=1) * half[:, 1:]
    corners = rng.uniform(0, 60, (count, 1, 2)) + np.stack([u + v, v - u, -u - v, u - v], axis=1)
    corners[::2] = corners[::2, ::-1]
    labels, shapes, expected = rng.integers(0, 2, count), list(map(Polygon, corners)), []
    for row in range(count):
        rivals = [shapes[one] for one in expected if labels[one] == labels[row]]
        shares = [
            one.intersection(shapes[row]).area / one.union(shapes[row]).area for one in rivals
        ]
        if max(shares, default=0) <= threshold:
            expected.append(row)
    assert suppression_of_the_page()(corners.tolist(), labels, threshold) == expected
    assert 0.2 * count < len(expected) < count


@pytest.mark.parametrize(
    ("second", "labels", "threshold", "kept"),
    [
        ((1, 0, 3, 1), [0, 0], 0.5, [0, 1]),  # an IoU of 2 / 4: not above the threshold
        ((1, 0, 3, 1), [0, 0], 0.49, [0]),
        ((1, 0, 3, 1), [0, 1], 0.49, [0, 1]),  # another class
        ((3, 0, 3, 1), [0, 0], 0.0, [0, 1]),  # they touch
        ((0, 0, 3, 1), [0, 0], 0.99, [0]),
        ((1, 0, 0, 1), [0, 0], 0.0, [0, 1]),  # no area
    ],
)
def test_page_suppression_at_its_borders(second, labels, threshold, kept):
    boxes = [
        [[x + w, y], [x + w, y + h], [x, y + h], [x, y]] for x, y, w, h in ((0, 0, 3, 1), second)
    ]
    assert suppression_of_the_page()(boxes, labels, threshold) == kept
    assert suppression_of_the_page()([], [], threshold) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "flags", "expected"),
    [
        ("benchmarks.deployment", "resnet18 --size 64 --runs 1 --nms", "resnet18-int8-nms.onnx"),
        ("benchmarks.suppression", "--K 30 --runs 2", "all overlap"),
    ],
)
def test_page_benchmarks_run(module, flags, expected):
    """Run them with less than what is timed there."""
    assert f"python -m {module}\n" in PAGE
    done = forked_python.run([sys.executable, "-m", module, *flags.split()], cwd=ROOT)
    assert done.returncode == 0 and expected in done.stdout, done.stderr


def test_page_flags_exist():
    there = {name for flag in FLAGS for name in flag.names} | {"--phase"}
    trtexec = {"--onnx", "--minShapes", "--optShapes", "--maxShapes", "--saveEngine",
               "--stronglyTyped", "--fp16", "--noTF32"}  # fmt: skip
    npm = {"--prefix"}
    docker = {"--cpus"}
    split = set(re.findall(r"--\w+", (ROOT / "DOTA_devkit/commands/split.py").read_text()))
    assert set(re.findall(r"--[a-zA-Z_]\w*", PAGE)) <= there | trtexec | npm | docker | split


def test_page_lists_all_metadata_keys():
    from deploy.metadata import ModelMetadata

    props = ModelMetadata(CLASSES, "resnet18", 0.1, 0.8, 5).to_props()
    assert [key for key in props if f"`{key}`" not in PAGE] == []


@pytest.mark.parametrize("kind", ["openvino", "torch", "tensorrt"])
def test_format_table_matches_unsupported_settings(kind):
    from deploy.export.settings import UNSUPPORTED

    settings = {
        "--conf_input": "conf_input",
        "--nms graph": "nms_thresh",
        "--input uint8": "input_type",
        "--layout light-fork": "layout",
        "--half": "half",
        "--int8": "int8",
    }

    (header,) = re.findall(r"^\| \| `onnx` .*$", PAGE, re.MULTILINE)
    column = [cell.strip() for cell in header.split("|")].index(f"`{kind}`")
    rows = [line.split("|") for line in PAGE.split(header)[1].splitlines()[2:9]]
    flags = {row[1].strip().strip("`") for row in rows if row[column].strip() == "no"}
    assert {settings[flag] for flag in flags} == set(UNSUPPORTED.get(kind, ()))


def test_page_tolerances():
    from deploy.export.parity.tolerance import TOLERANCES

    for one in TOLERANCES.values():
        row = (
            f"| {one.min_found_share:.0%} | {one.corner_share:.0%} of them within "
            f"{one.corner_error_px:g} px | {one.score_share:.0%} of them within "
        )
        assert row.replace("%", " %") + f"{one.score_error:g} |" in PAGE


@pytest.mark.parametrize("size", [(58, 96), (301, 128), (33, 7)])
def test_resize_in_integers_as_the_page_says(size):
    """The formula is that of OpenCV, to the bit."""
    formula = "(((v0 * (r0 >> 4)) >> 16) + ((v1 * (r1 >> 4)) >> 16) + 2) >> 2"
    assert formula in PAGE
    image = np.random.default_rng(0).integers(0, 256, (150, 90, 3), dtype=np.uint8)

    def neighbors(source, scaled):
        place = (np.arange(scaled) + 0.5) * source / scaled - 0.5
        before = np.floor(place.astype(np.float32))
        share = np.round(2048 * (place.astype(np.float32) - before)).astype(np.int64)
        first, second = (np.clip(before + k, 0, source - 1).astype(int) for k in (0, 1))
        return first, second, 2048 - share, share

    left, right, w0, w1 = neighbors(90, size[0])
    above, below, v0, v1 = (one.reshape(-1, 1, 1) for one in neighbors(150, size[1]))
    pixels = image.astype(np.int64)
    rows = w0[:, None] * pixels[:, left] + w1[:, None] * pixels[:, right]
    r0, r1 = rows[above.ravel()], rows[below.ravel()]
    ours = eval(formula, {"v0": v0, "v1": v1, "r0": r0, "r1": r1})
    np.testing.assert_array_equal(ours, cv2.resize(image, size).astype(np.int64))
