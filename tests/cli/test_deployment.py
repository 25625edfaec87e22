"""The command line of export, predict and benchmark: bad input is one message and an exit code."""

import json
import os
import shutil

import numpy as np
import pytest

from deploy.runtimes import openvino_files
from helpers.command_line import assert_refused, files_of_at_most, run_main
from helpers.data_folders import picture, write_image
from helpers.known_rows import onnx_file
from helpers.sharp_exports import SIZE_HW, export

pytestmark = pytest.mark.slow  # it exports networks or runs files of them

PHASES = ("export", "predict", "benchmark")
FILES = {"export": "model.onnx", "predict": "", "benchmark": "times.json"}
"""Name of the file that a phase makes; predict makes a folder."""


@pytest.fixture
def here(tmp_path, monkeypatch, sharp_folder):
    """An empty current folder but for `model.pth` and `images/`."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(sharp_folder / "checkpoint.pth", "model.pth")
    for number in range(2):
        write_image(f"images/{number}.png", picture(*SIZE_HW[::-1], seed=number))
    return tmp_path


@pytest.fixture
def call(capsys, here):
    def run(phase, *words, weights="model.pth", source="images"):
        if phase == "export":
            for module in ("onnxruntime", "onnxscript"):
                pytest.importorskip(module)
        if phase == "benchmark":
            words += ("--runs", 2)
        words = ("--phase", phase, "--weights", weights, "--source", source, *words)
        return run_main(capsys, words)

    return run


def made(here):
    """What is there beyond the fixture."""
    there = {path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()}
    return {name for name in there - {"model.pth"} if not name.startswith("images/")}


# Models -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    ("name", "package", "told"),
    [
        ("a.pth", "torch", "not a file of torch.save"),
        ("a.onnx", "onnxruntime", "not a model that ONNX Runtime can run"),
        ("a.xml", "openvino", "not an OpenVINO model"),
        ("a.pt2", "torch", "a program of torch.export"),
        ("a.bin", "torch", "not a file of torch.save"),  # a name that checkpoints have, too
    ],
)
def test_a_file_that_is_no_model(call, here, phase, name, package, told):
    pytest.importorskip(package)
    (here / name).write_bytes(np.random.default_rng(0).bytes(5000))
    ran = call(phase, weights=name)
    if phase == "export" and name not in ("a.pth", "a.bin"):
        told = "an exported file, but a checkpoint (.pth) is expected"
    assert_refused(ran, name, told)
    assert len(ran.err.splitlines()) == 1
    assert made(here) == {name}


@pytest.mark.parametrize("phase", ["predict", "benchmark"])
def test_the_weights_of_an_openvino_model(call, here, phase):
    (here / "a.xml").touch()
    (here / "a.bin").touch()
    assert_refused(call(phase, weights="a.bin"), "a.bin: these are only the weights", "give a.xml")


@pytest.mark.parametrize("phase", ["predict", "benchmark"])
def test_a_model_of_another_project(call, here, phase):
    pytest.importorskip("onnxruntime")
    ran = call(phase, weights=onnx_file(here / "other.onnx", {}))
    assert_refused(ran, "other.onnx: a model without this project's metadata", "export phase")


@pytest.mark.parametrize("phase", PHASES)
def test_a_model_that_is_not_there(call, phase):
    assert_refused(call(phase, weights="gone.pth"), "gone.pth: no such file")
    assert_refused(call(phase, weights="images"), "images", "a folder, not a file")


@pytest.mark.parametrize("phase", PHASES)
def test_a_backbone_that_the_model_does_not_have(call, phase):
    ran = call(phase, "--backbone", "resnet101")
    assert_refused(ran, "model.pth", "backbone is resnet101, but the file has resnet18")


@pytest.mark.parametrize("phase", ["predict", "benchmark"])
def test_a_backbone_that_the_exported_file_does_not_have(call, here, sharp_folder, phase):
    pytest.importorskip("onnxscript")
    file = export(sharp_folder, "free.onnx")
    ran = call(phase, "--backbone", "resnet101", weights=file)
    assert_refused(ran, "free.onnx", "backbone resnet101: it has resnet18")


# Images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_an_empty_folder(call, here, phase):
    (here / "empty").mkdir()
    assert_refused(call(phase, source="empty"), "empty: no image in this folder")
    assert made(here) == set()


def spoil(folder):
    """Images that cannot be read, beside those that can."""
    whole = (folder / "0.png").read_bytes()
    (folder / "bytes.png").write_bytes(np.random.default_rng(0).bytes(900))
    (folder / "cut.png").write_bytes(whole[:-200])
    (folder / "empty.png").touch()
    (folder / "dangling.png").symlink_to("gone.png")
    (folder / "loop.png").symlink_to("loop.png")
    names = ["bytes.png", "cut.png", "dangling.png", "empty.png", "loop.png"]
    if os.path.exists("/proc/self/mem"):  # there, but reading it fails
        (folder / "unreadable.png").symlink_to("/proc/self/mem")
        names.append("unreadable.png")
    if os.geteuid():
        (folder / "forbidden.png").write_bytes(whole)
        (folder / "forbidden.png").chmod(0)
        names.append("forbidden.png")
    return sorted(names)


def test_broken_images_among_good_ones(call, here):
    names = spoil(here / "images")
    ran = call("predict", "--formats", "csv,json,pictures")
    assert ran.code == 1 and "Traceback" not in ran.out + ran.err
    for name in names:
        assert ran.out.count(f"left out: images/{name}") == 1
    assert f"{len(names)} images were left out" in ran.out
    result = json.loads((here / "result_predict/detections.json").read_text())
    assert [image["image"] for image in result["images"]] == ["0", "1"]
    assert all(image["detections"] for image in result["images"])
    assert sorted(result["left_out"]) == [f"images/{name}" for name in names]
    drawn = (here / "result_predict/pictures").iterdir()
    assert sorted(path.name for path in drawn) == ["0.jpg", "1.jpg"]


@pytest.mark.parametrize("phase", ["export", "benchmark"])
def test_a_broken_image_where_all_are_needed(call, here, phase):
    (here / "images/1.png").write_bytes(b"no image")
    assert_refused(call(phase), "images/1.png", "not an image")
    assert made(here) == set()


# Disks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("place", ["a_file", "a_file/folder"])
def test_a_file_in_the_place_of_the_output_folder(call, here, phase, place):
    """Told before the work."""
    (here / "a_file").touch()
    ran = call(phase, "--output", f"{place}/{FILES[phase]}")
    assert_refused(ran, f"--output {place}", "a_file is a file, and a folder is expected")
    assert ran.out == "" and made(here) == {"a_file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("phase", PHASES)
def test_a_folder_that_cannot_be_written(call, here, phase):
    (here / "locked").mkdir(mode=0o555)
    output = f"locked/{FILES[phase] or 'results'}"
    assert_refused(call(phase, "--output", output), "--output locked", "nothing can be written in")


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "shard-0-of-1.jsonl: File too large"),  # not one batch
        (9000, "shard-0-of-1.jsonl: File too large"),  # some of them
        (30_000, "detections.json: File too large"),  # all, and some of the results
    ],
)
def test_a_disk_that_fills_up_under_a_prediction(call, here, size, told):
    """What is done is kept: the same command goes on, and comes to what one run does."""
    words = ("--tile", 64, "--overlap", 16, "--batch_size", 1, "--formats", "csv,json,task1")
    assert call("predict", *words, "--output", "expected").code == 0
    with files_of_at_most(size):
        ran = call("predict", *words)
    assert_refused(ran, "cannot write", told, "kept: make room and start the same command again")
    (journal,) = (here / "result_predict").glob("progress-*/*.jsonl")
    done = journal.read_bytes().count(b"\n")
    assert (done == 0) == (size == 0)
    ran = call("predict", *words)
    assert ran.code == 0 and ("resuming a run" in ran.out) == (done > 0)
    for name in ("detections.csv", "detections.json", "Task1_a.txt"):
        whole = (here / "expected" / name).read_bytes()
        assert (here / "result_predict" / name).read_bytes() == whole
    assert not list(here.glob("result_predict/progress-*"))


def test_a_disk_that_fills_up_under_pictures(call, here):
    with files_of_at_most(8000):
        ran = call("predict", "--formats", "pictures", "--conf_thresh", 0.35)
    assert_refused(ran, "pictures/0.jpg: File too large", "kept: make room")
    assert not list((here / "result_predict/pictures").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("onnx", "model.onnx", "out/model.onnx: File too large"),
        ("torch", "model.pt2", "out/model.pt2: File too large"),
        ("openvino", "model.xml", "File too large"),  # in the folder for temporary files
    ],
)
def test_a_disk_that_is_full_for_an_export(call, here, kind, name, told):
    if kind == "openvino":
        pytest.importorskip("openvino")
    with files_of_at_most(100_000):
        ran = call("export", "--format", kind, "--output", f"out/{name}")
    assert_refused(ran, told)
    assert not ran.err.startswith("error: File too large")  # it says where
    assert made(here) == set()


def test_an_export_replaces_nothing_that_is_not_its_own(call, here):
    """OpenVINO's weights are a `.bin`, a name that checkpoints have too."""
    pytest.importorskip("openvino")
    content = (here / "model.pth").read_bytes()
    (here / "model.pth").rename("model.bin")
    ran = call("export", "--format", "openvino", weights="model.bin")
    assert_refused(ran, "model.xml would replace model.bin, the file to export")
    (here / "model.pth").write_bytes(content)
    ran = call("export", "--format", "openvino")
    assert_refused(ran, "model.xml would be written together with model.bin, which exists already")
    assert (here / "model.bin").read_bytes() == content and made(here) == {"model.bin"}


def test_an_export_of_two_sizes(call, here):
    ran = call("export", "--static", 64, 96, 1, "--input_h", 96, "--input_w", 64)
    assert_refused(ran, "--static 64 96 and --input_h, --input_w 96, 64 differ")
    assert made(here) == set()


def test_openvino_files_of_any_name(call, here):
    """Also that of the second model, with which the report looks into the suppression."""
    pytest.importorskip("openvino")
    for name in ("rows_before_nms.xml", "M.XML"):
        ran = call("export", "--format", "openvino", "--nms", "graph", "--K", 40, "--output", name)
        assert ran.code == 0, ran.err
        model, _ = openvino_files.read(here / name)
        assert len(model.outputs) == 3


def test_a_disk_that_is_full_for_a_benchmark(call, here):
    """The table has been shown by then."""
    with files_of_at_most(100):
        ran = call("benchmark", "--output", "out/times.json")
    assert_refused(ran, "out/times.json: File too large")
    assert "speedup" in ran.out and made(here) == set()


def test_the_weights_of_an_openvino_model_are_gone(call, here, sharp_folder):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    shutil.copy(export(sharp_folder, "free.xml", "--format", "openvino"), "model.xml")
    assert_refused(call("predict", weights="model.xml"), "model.xml: ", "bin file")
