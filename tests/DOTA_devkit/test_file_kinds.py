"""Files and addresses where something else is expected: what each is, and what to do."""

import os
import shlex

import cv2
import numpy as np
import pytest
import torch

from datasets import DOTA
from deploy.predict.sources import find_sources, inspect_images
from deploy.runtimes.base import DetectorSettings
from deploy.runtimes.registry import open_runtime
from DOTA_devkit.commands import main
from DOTA_devkit.converters.hrsc import read_hrsc
from DOTA_devkit.converters.rolabelimg import read_rolabelimg
from DOTA_devkit.errors import InputError
from DOTA_devkit.file_kinds import image_hint, kind_of, model_hint
from DOTA_devkit.images import IMAGE_SUFFIXES
from DOTA_devkit.imaging import read_image
from DOTA_devkit.torch_files import read_torch_file
from helpers.data_folders import make_dota, picture, write_image


def refusal(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    return str(caught.value)


def test_images_have_no_other_file_kind():
    assert {kind_of(f"a{suffix}") for suffix in (*IMAGE_SUFFIXES, "", ".x", ".txt")} == {""}
    assert {kind_of(name) for name in (r"C:\a.png", "C:/a.png", "a/0", "im0", "a:b.png")} == {""}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("rtsp://10.0.0.2/cam", ("a video stream", "-i rtsp://10.0.0.2/cam -vf fps=1 frames/")),
        ("RTSP://x/cam.png", ("a video stream",)),
        ("https://x.org/a.jpg", ("an address in a network", "download")),
        ("s3://bucket/a.tif", ("an address in a network", "download")),
        ("0", ("a camera", "save its pictures")),
        ("/dev/video7", ("a camera", "save its pictures")),
    ],
)
def test_sources_that_are_not_files(name, parts):
    error = refusal(find_sources, [name])
    assert f"source {name}: no such file or folder; it is " in error
    assert all(part in error for part in parts)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a b.MP4", ("a video", "(ffmpeg -i {} frames/%06d.png)", "give their folder")),
        ("a.tar.gz", ("an archive", "unpack it")),
        ("data.yaml", ("a file of settings", "the folder of the images")),
        ("a.json", ("a file of labels", "the folder of the images")),
        ("model.pth", ("a model", "`weights`")),
        ("a.heic", ("photo", "convert it to TIFF, PNG or JPEG")),
        ("a.ecw", ("a raster", "gdal_translate -of GTiff {}")),
        ("a.npy", ("an array of NumPy", "Detector.detect")),
    ],
)
def test_sources_that_are_not_images(tmp_path, name, parts):
    path = tmp_path / "no images" / name
    path.parent.mkdir()
    assert image_hint(path) == "", "of a file that does not exist, nothing is known"
    path.write_bytes(b"anything")
    sources, faults = inspect_images(find_sources([path]))
    errors = [faults[str(path)], refusal(read_image, path)]
    if kind_of(path):
        errors += [refusal(find_sources, [item]) for item in (path.parent, f"{tmp_path}/*/*")]
    assert not sources
    for error in errors:
        assert (str(path) in error and "not an image" in error) or "no image" in error
        assert all(part.format(shlex.quote(str(path))) in error for part in parts), error


def test_a_video_is_not_read_as_a_whole(tmp_path):
    path = tmp_path / "long.mp4"
    path.touch()
    os.truncate(path, 1 << 40)  # sparse; read as a whole, it would not fit into the memory
    assert "it is a video" in refusal(read_image, path)


def test_an_image_of_an_odd_name_is_read(tmp_path):
    """The suffix decides nothing where the content is an image."""
    ok, data = cv2.imencode(".png", picture())
    assert ok
    for name in ("a.raw", "0", "a.json"):
        (tmp_path / name).write_bytes(data.tobytes())
        np.testing.assert_array_equal(read_image(tmp_path / name), picture())


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("w.safetensors", b"\x08" + bytes(7) + b"{}      ", "safetensors.torch.load_file"),
        ("w.tflite", b"\x1c\0\0\0TFL3", "a model of another framework"),
        ("w.pth", b" <!DOCTYPE html><html>", "a web page: the download was refused"),
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull`"),
        ("w.zip", b"PK\5\6" + bytes(18), "an archive: unpack it"),
        ("w.yaml", b"names: [a]", "it is a file of settings"),
        ("w.png", b"\x89PNG\r\n\x1a\n", "it is an image"),
    ],
)
def test_files_that_are_no_models(tmp_path, name, content, part):
    path = tmp_path / name
    path.write_bytes(content)
    for read in (read_torch_file, lambda path: open_runtime(path, DetectorSettings())):
        error = refusal(read, path)
        assert part in error and error.startswith(f"{path}: ")


class OBBModel(torch.nn.Module):
    """Stands for the network of another project."""


@pytest.mark.parametrize("module", ["ultralytics.nn.tasks", "models.yolo"])
def test_checkpoints_of_ultralytics(tmp_path, module, monkeypatch):
    import sys
    import types

    for end in range(1, module.count(".") + 2):
        package = ".".join(module.split(".")[:end])
        if package not in sys.modules:
            monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setattr(sys.modules[module], "OBBModel", OBBModel, raising=False)
    monkeypatch.setattr(OBBModel, "__module__", module)
    torch.save({"model": OBBModel()}, tmp_path / "yolo11n-obb.pt")
    error = refusal(read_torch_file, tmp_path / "yolo11n-obb.pt")
    assert f"a model of Ultralytics or YOLOv5 ({module}.OBBModel)" in error


def test_places_without_a_model(tmp_path):
    assert "no such file, and models are not known by name" in refusal(read_torch_file, "resnet18")
    error = refusal(read_torch_file, "https://x.org/m.pth")
    assert "no such file; it is an address: download the file" in error
    assert model_hint(tmp_path / "absent.pth") == ""
    assert "there is no checkpoint in it" in refusal(read_torch_file, tmp_path)
    for number, name in enumerate(("model_best.pth", "model_last.pth")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (number, number))
    assert f"such as {tmp_path / 'model_best.pth'}" in refusal(read_torch_file, tmp_path)
    (tmp_path / "model_best.pth").unlink()
    for path in (tmp_path, f"{tmp_path}/."):
        assert f"such as {tmp_path / 'model_last.pth'}" in refusal(read_torch_file, path)


@pytest.mark.parametrize("path", [".", "..", "/"])
def test_folders_without_a_name_as_weights(path, tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    assert "a folder, not a file" in refusal(open_runtime, Path(path), DetectorSettings())


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("d.zip", "an archive: unpack it and give the folder"),
        ("data.yaml", "give the folder of the data; YOLO-OBB labels are converted by"),
        ("instances.json", "give the folder around images/ and labelTxt/"),
        ("a.avi", "label them"),
        ("train.txt", "it is a file: give the folder around it"),
    ],
)
def test_files_as_data_folder(tmp_path, name, part):
    (tmp_path / name).touch()
    error = refusal(DOTA, tmp_path / name, "train")
    assert "no such data folder; it is " in error and part in error
    assert refusal(DOTA, tmp_path / f"none-{name}", "train").endswith("no such data folder")


def test_data_folders_of_other_layouts(tmp_path):
    write_image(tmp_path / "flat/a.png", picture())
    assert f"images lie in {tmp_path / 'flat'} itself" in refusal(DOTA, tmp_path / "flat", "train")
    write_image(tmp_path / "voc/JPEGImages/a.png", picture())
    assert "the folders there are JPEGImages" in refusal(DOTA, tmp_path / "voc", "train")
    write_image(tmp_path / "yolo/images/train/a.png", picture())
    assert "subfolders are not searched" in refusal(DOTA, tmp_path / "yolo", "train")


def test_label_folders_of_other_formats(tmp_path):
    dataset = DOTA(make_dota(tmp_path, {"a": None, "b": None}, train="ab"), "train")
    (tmp_path / "notes").mkdir()
    error = refusal(dataset.check_labels)
    assert "expected label files such as a.txt in this folder, one for each image" in error
    assert f"(folders in {tmp_path}: images, labelTxt, notes)" in error
    (tmp_path / "labelTxt/a.xml").write_text("<annotation/>")
    assert "there are .xml files: `python -m DOTA_devkit convert SOURCE" in refusal(
        dataset.check_labels
    )
    (tmp_path / "labelTxt/a.txt").write_text("")
    assert "1 errors in the labels" in refusal(dataset.check_labels)  # only one is missing


@pytest.mark.parametrize(
    ("tag", "part"),
    [
        ("annotations", "it is CVAT's own XML, the format `cvat`"),
        ("svg", "it is a drawing"),
        (
            "unheard",
            "got <unheard>; `python -m DOTA_devkit convert SOURCE TARGET` reads labels of many",
        ),
    ],
)
def test_xml_of_an_unknown_kind(tmp_path, tag, part):
    path = tmp_path / "a.xml"
    path.write_text(f"<?xml version='1.0'?>\n<{tag}></{tag}>")
    for read in (read_rolabelimg, read_hrsc):
        error = refusal(read, path)
        assert error.startswith(f"{path}:2: expected <") and part in error


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (
            ("convert", "rolabelimg", "a.json", "out"),
            "expected a file of labels (.xml) or a folder of them",
        ),
        (("convert", "dota", "xml", "out"), "there are .xml files: `python -m DOTA_devkit convert"),
        (
            ("convert", "rolabelimg", "txt", "out"),
            "there are .txt files: `python -m DOTA_devkit convert",
        ),
        (
            ("convert", "yolo", "json", "out", "--classes", "a"),
            "there are .json files: `python -m DOTA_devkit convert",
        ),
        (("stats", "xml"), "there are .xml files: `python -m DOTA_devkit convert"),
        (("stats", "d.zip"), "it is an archive: unpack it"),
        (("split", "d.zip", "out"), "it is an archive: unpack it"),
        (("lists", "d.zip"), "it is an archive: unpack it"),
        (("evaluate", "txt", "d.zip"), "it is an archive: unpack it"),
        (("convert", "dota", "https://x.org/labels", "out"), "an address in a network: download"),
    ],
)
def test_labels_of_other_formats_in_the_devkit(tmp_path, monkeypatch, capsys, words, part):
    monkeypatch.chdir(tmp_path)
    for name in ("a.json", "d.zip", "xml/a.xml", "xml/a.png", "txt/a.txt", "json/a.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert main(list(words)) == 2
    assert part in capsys.readouterr().err
