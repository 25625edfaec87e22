"""The phases export, predict and benchmark on the command line: invalid input, full disks."""

import json
import os
import shutil

import numpy as np
import pytest

from deploy.runtimes import openvino_files
from helpers.command_line import assert_refused, limit_file_size, run_main
from helpers.data_folders import picture, write_image
from helpers.fixed_output_onnx import onnx_file
from helpers.small_exports import SIZE_HW, export

pytestmark = pytest.mark.slow  # networks are exported, and exported files are run

PHASES = ("export", "predict", "benchmark")
FILES = {"export": "model.onnx", "predict": "", "benchmark": "times.json"}
"""Name of the output file of each phase; predict writes into a folder."""


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_folder):
    """Run in a folder that holds only `model.pth` and `images/`, and return it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_folder / "checkpoint.pth", "model.pth")
    for number in range(2):
        write_image(f"images/{number}.png", picture(*SIZE_HW[::-1], seed=number))
    return tmp_path


@pytest.fixture
def call(capsys, here):
    """Return a function that runs a phase, by default with `model.pth` on `images/`."""

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
    """Return the files in the folder that are not of the fixture `here`."""
    files = {path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()}
    return {name for name in files - {"model.pth"} if not name.startswith("images/")}


# Models -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    ("name", "package", "message"),
    [
        ("a.pth", "torch", "not a file of torch.save"),
        ("a.onnx", "onnxruntime", "not an ONNX file"),
        ("a.xml", "openvino", "not an OpenVINO model"),
        ("a.pt2", "torch", "a program of torch.export"),
        ("a.bin", "torch", "not a file of torch.save"),  # checkpoints may have this suffix as well
    ],
)
def test_file_that_is_not_a_model(call, here, phase, name, package, message):
    pytest.importorskip(package)
    (here / name).write_bytes(np.random.default_rng(0).bytes(5000))
    ran = call(phase, weights=name)
    if phase == "export" and name not in ("a.pth", "a.bin"):
        message = "an exported file, but a checkpoint (.pth) is expected"
    assert_refused(ran, name, message)
    assert len(ran.err.splitlines()) == 1
    assert made(here) == {name}


@pytest.mark.parametrize("phase", ["predict", "benchmark"])
def test_weights_file_of_an_openvino_model(call, here, phase):
    (here / "a.xml").touch()
    (here / "a.bin").touch()
    assert_refused(call(phase, weights="a.bin"), "a.bin: these are only the weights", "give a.xml")


@pytest.mark.parametrize("phase", ["predict", "benchmark"])
def test_model_of_another_project(call, here, phase):
    pytest.importorskip("onnxruntime")
    ran = call(phase, weights=onnx_file(here / "other.onnx", {}))
    assert_refused(ran, "other.onnx: a model without this project's metadata", "export phase")


@pytest.mark.parametrize("phase", PHASES)
def test_missing_model(call, phase):
    assert_refused(call(phase, weights="gone.pth"), "gone.pth: no such file")
    assert_refused(call(phase, weights="images"), "images", "a folder, not a file")


def test_missing_model_is_noticed_before_the_sample_set_is_drawn(capsys, here):
    ran = run_main(
        capsys, ("--phase", "benchmark", "--weights", "model.pth", "--models", "gone.onnx")
    )
    assert_refused(ran, "gone.onnx: no such file")
    assert made(here) == set()


@pytest.mark.parametrize("phase", PHASES)
def test_backbone_that_contradicts_the_checkpoint(call, phase):
    ran = call(phase, "--backbone", "resnet101")
    assert_refused(ran, "model.pth", "backbone is resnet101, but the file has tiny")


@pytest.mark.parametrize("phase", ["predict", "benchmark"])
def test_backbone_that_contradicts_the_exported_file(call, here, tiny_folder, phase):
    pytest.importorskip("onnxscript")
    file = export(tiny_folder, "free.onnx")
    ran = call(phase, "--backbone", "resnet101", weights=file)
    assert_refused(ran, "free.onnx", "backbone resnet101: it has tiny")


# Images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
def test_empty_image_folder(call, here, phase):
    (here / "empty").mkdir()
    assert_refused(call(phase, source="empty"), "empty: no image in this folder")
    assert made(here) == set()


def add_unreadable_images(folder):
    """Add images that cannot be read to those of the fixture, and return their names, sorted."""
    whole = (folder / "0.png").read_bytes()
    (folder / "bytes.png").write_bytes(np.random.default_rng(0).bytes(900))
    (folder / "cut.png").write_bytes(whole[:-200])
    (folder / "empty.png").touch()
    (folder / "dangling.png").symlink_to("gone.png")
    (folder / "loop.png").symlink_to("loop.png")
    names = ["bytes.png", "cut.png", "dangling.png", "empty.png", "loop.png"]
    if os.path.exists("/proc/self/mem"):  # it exists, but reading it fails
        (folder / "unreadable.png").symlink_to("/proc/self/mem")
        names.append("unreadable.png")
    if os.geteuid():
        (folder / "forbidden.png").write_bytes(whole)
        (folder / "forbidden.png").chmod(0)
        names.append("forbidden.png")
    return sorted(names)


def test_predict_skips_unreadable_images(call, here):
    names = add_unreadable_images(here / "images")
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
def test_unreadable_image_in_export_and_benchmark(call, here, phase):
    (here / "images/1.png").write_bytes(b"no image")
    assert_refused(call(phase), "images/1.png", "not an image")
    assert made(here) == set()


# Disks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("place", ["a_file", "a_file/folder"])
def test_file_in_place_of_the_output_folder(call, here, phase, place):
    """The error comes before the work starts."""
    (here / "a_file").touch()
    ran = call(phase, "--output", f"{place}/{FILES[phase]}")
    assert_refused(ran, f"--output {place}", "a_file is a file, and a folder is expected")
    assert ran.out == "" and made(here) == {"a_file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write into any folder")
@pytest.mark.parametrize("phase", PHASES)
def test_output_folder_without_write_permission(call, here, phase):
    (here / "locked").mkdir(mode=0o555)
    output = f"locked/{FILES[phase] or 'results'}"
    assert_refused(call(phase, "--output", output), "--output locked", "nothing can be written in")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "shard-0-of-1.jsonl: File too large"),  # before the first batch is saved
        (9000, "shard-0-of-1.jsonl: File too large"),  # after some batches
        (30_000, "detections.json: File too large"),  # after all batches and some of the results
    ],
)
def test_disk_that_fills_up_during_predict(call, here, sharp_folder, size, message):
    """Finished batches are kept: the same command continues, with the results of a single run."""
    shutil.copy(sharp_folder / "checkpoint.pth", "model.pth")  # it finds enough
    words = ("--tile", 64, "--overlap", 16, "--batch_size", 1, "--formats", "csv,json,task1")
    assert call("predict", *words, "--output", "expected").code == 0
    with limit_file_size(size):
        ran = call("predict", *words)
    assert_refused(ran, "cannot write", message, "kept: make room and start the same command again")
    (journal,) = (here / "result_predict").glob("progress-*/*.jsonl")
    done = journal.read_bytes().count(b"\n")
    assert (done == 0) == (size == 0)
    ran = call("predict", *words)
    assert ran.code == 0 and ("resuming a run" in ran.out) == (done > 0)
    for name in ("detections.csv", "detections.json", "Task1_a.txt"):
        expected = (here / "expected" / name).read_bytes()
        assert (here / "result_predict" / name).read_bytes() == expected
    assert not list(here.glob("result_predict/progress-*"))


def test_disk_that_fills_up_during_pictures(call, here, sharp_folder):
    shutil.copy(sharp_folder / "checkpoint.pth", "model.pth")
    with limit_file_size(8000):
        ran = call("predict", "--formats", "pictures", "--conf_thresh", 0.35)
    assert_refused(ran, "pictures/0.jpg: File too large", "kept: make room")
    assert not list((here / "result_predict/pictures").iterdir())


def test_export_replaces_no_file_of_the_user(call, here):
    """OpenVINO writes its weights into a `.bin` file, which may be the name of a checkpoint."""
    pytest.importorskip("openvino")
    content = (here / "model.pth").read_bytes()
    (here / "model.pth").rename("model.bin")
    ran = call("export", "--format", "openvino", weights="model.bin")
    assert_refused(ran, "model.xml would replace model.bin, the file to export")
    (here / "model.pth").write_bytes(content)
    ran = call("export", "--format", "openvino")
    assert_refused(ran, "model.xml would be written together with model.bin, which exists already")
    assert (here / "model.bin").read_bytes() == content and made(here) == {"model.bin"}


def test_export_rejects_two_input_sizes(call, here):
    ran = call("export", "--static", 64, 96, 1, "--input_h", 96, "--input_w", 64)
    assert_refused(ran, "--static 64 96 and --input_h, --input_w 96, 64 differ")
    assert made(here) == set()


def test_openvino_file_names(call, here):
    """The output may have the name of the model before NMS, which the parity report runs."""
    pytest.importorskip("openvino")
    for name in ("rows_before_nms.xml", "M.XML"):
        ran = call("export", "--format", "openvino", "--nms", "graph", "--K", 40, "--output", name)
        assert ran.code == 0, ran.err
        model, _ = openvino_files.read(here / name)
        assert len(model.outputs) == 3


def test_full_disk_in_benchmark(call, here):
    """The table is printed before the file is written."""
    with limit_file_size(100):
        ran = call("benchmark", "--output", "out/times.json")
    assert_refused(ran, "out/times.json: File too large")
    assert "speedup" in ran.out and made(here) == set()


def test_missing_weights_file_of_an_openvino_model(call, here, tiny_folder):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    shutil.copy(export(tiny_folder, "free.xml", "--format", "openvino"), "model.xml")
    assert_refused(call("predict", weights="model.xml"), "model.xml: ", "bin file")
