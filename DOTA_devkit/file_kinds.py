"""Hints for error messages: what an unusable file is, and what to use instead.

Files are judged by their names, and by their first bytes where these say more. Each hint is the end
of an error, "; it is ...", or empty if nothing is known.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from DOTA_devkit.images import IMAGE_SUFFIXES

VIDEO, ARCHIVE, SETTINGS, LABELS = "a video", "an archive", "a file of settings", "a file of labels"
MODEL, PHOTO, RASTER, ARRAY = "a model", "a document or raw photo", "a raster", "an array of NumPy"
STREAM, CAMERA, ADDRESS = "a video stream", "a camera", "an address in a network"
_NO_FILES = (STREAM, CAMERA, ADDRESS)

_SUFFIXES = {
    VIDEO: ".mp4 .avi .mov .mkv .m4v .webm .wmv .mpg .mpeg .mts .m2ts .ts .flv .3gp .ogv",
    ARCHIVE: ".zip .tar .gz .tgz .bz2 .xz .zst .7z .rar",
    SETTINGS: ".yaml .yml .toml .ini .cfg .py",
    LABELS: ".json .geojson .xml .csv .kml .kmz .shp .dbf .gpkg .xlsx",
    MODEL: ".pth .pt .onnx .bin .engine .trt .safetensors .tflite .h5 .keras .pb .pt2 .ckpt "
    ".weights .mlmodel .mlpackage .param .pkl",
    PHOTO: ".heic .heif .jxl .dng .cr2 .cr3 .nef .arw .rw2 .orf .raw .psd .svg .pdf .eps",
    RASTER: ".ecw .sid .img .nc .hdf .hdf5 .he5 .grib .grb2 .asc .ntf .safe .mbtiles",
    ARRAY: ".npy .npz .mat",
}
_KIND_OF_SUFFIX = {suffix: kind for kind, text in _SUFFIXES.items() for suffix in text.split()}

# A scheme has two letters at least: C:/ is a drive. A Path has one of the two slashes.
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/", re.IGNORECASE)
_STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "udp", "tcp", "mms")

_FRAMES = "save its frames as images (ffmpeg -i {} frames/%06d.png) and give their folder"
_AS_IMAGE = {
    VIDEO: _FRAMES,
    STREAM: _FRAMES.replace("-i {}", "-i {} -vf fps=1"),
    CAMERA: "save its pictures as images and give their folder",
    ADDRESS: "download the images and give their paths",
    ARCHIVE: "unpack it and give the folder of the images",
    SETTINGS: "give the folder of the images",
    LABELS: "give the folder of the images",
    MODEL: "models are given as `weights`, images as `source`",
    PHOTO: "convert it to TIFF, PNG or JPEG",
    RASTER: "convert it to GeoTIFF (gdal_translate -of GTiff {} image.tif)",
    ARRAY: "write it as an image, or give the array to Detector.detect in Python",
}

_CONVERT = "`python -m DOTA_devkit convert SOURCE TARGET`"
_XML_ROOTS = {
    "annotations": "CVAT's own XML, the format `cvat`",
    "annotation": "an XML of roLabelImg, PASCAL VOC, DIOR-R, FAIR1M or SSDD",
    "HRSC_Image": "an XML of HRSC2016, the format `hrsc`",
    "kml": "a map of Google Earth",
    "svg": "a drawing",
    "net": "an OpenVINO model",
    "PAMDataset": "what GDAL notes beside an image",
    "html": "a web page: was the download refused?",
}


def kind_of(name: str | Path) -> str:
    """Return what a path or address is, by its form and suffix; empty for images and others."""
    text = str(name)
    if scheme := _SCHEME.match(text):
        return STREAM if scheme[1].lower() in _STREAMS else ADDRESS
    if text.isdecimal() or text.startswith("/dev/video"):
        return CAMERA
    return _KIND_OF_SUFFIX.get(Path(text).suffix.lower(), "")


def image_hint(name: str | Path) -> str:
    """Return what a path or address is that is not an image, and what to give instead."""
    kind, exists = kind_of(name), Path(name).exists()
    if not kind or exists == (kind in _NO_FILES):
        return ""
    return f"; it is {kind}: {_AS_IMAGE[kind].format(shlex.quote(str(name)))}"


def folder_hint(path: str | Path) -> str:
    """Return what the path given as data folder is, and what to give instead."""
    kind = kind_of(path)
    if kind not in _NO_FILES and not Path(path).exists():
        return ""
    remedy = {
        ADDRESS: "download the data and give their folder",
        ARCHIVE: "unpack it and give the folder",
        SETTINGS: "give the folder of the data; YOLO-OBB labels are converted by `python -m "
        "DOTA_devkit convert yolo`",
        LABELS: "give the folder around images/ and labelTxt/",
        VIDEO: _FRAMES.replace("give their folder", "label them").format(shlex.quote(str(path))),
    }.get(kind)
    if remedy:
        return f"; it is {kind}: {remedy}"
    return "; it is a file: give the folder around it" if Path(path).is_file() else ""


def model_hint(path: str | Path) -> str:
    """Return what a file or folder is that is not a model file, and what to give instead."""
    path = Path(path)
    if path.is_dir():
        return _folder_of_models(path)
    kind, suffix = kind_of(path), path.suffix.lower()
    start = b""
    if path.is_file():
        with open(path, "rb") as file:
            start = file.read(200).lstrip()
    if start.lower().startswith((b"<!doctype html", b"<html")):
        return "; it is a web page: the download was refused, so download the file again"
    if start.startswith(b"version https://git-lfs"):
        return "; it is a pointer of Git LFS: fetch the file itself with `git lfs pull`"
    if kind == ADDRESS:
        return "; it is an address: download the file and give its path"
    if not path.is_file():
        name = not path.suffix and len(path.parts) == 1
        return ", and models are not known by name: give the path of a file" if name else ""
    if suffix == ".safetensors":
        return (
            "; it is a file of safetensors: write its tensors with torch.save("
            "safetensors.torch.load_file(...), 'model.pth')"
        )
    if kind == MODEL and suffix not in (".pth", ".pt", ".ckpt", ".bin", ".onnx", ".pkl"):
        return "; it is a model of another framework"
    if suffix in IMAGE_SUFFIXES:
        kind = "an image"
    if kind == ARCHIVE:
        return "; it is an archive: unpack it and give the checkpoint"
    return f"; it is {kind}" if kind and kind != MODEL else ""


def _folder_of_models(path: Path) -> str:
    models = [p for p in path.iterdir() if p.suffix.lower() in (".pth", ".pt", ".onnx", ".xml")]
    if not models:
        return "; there is no checkpoint in it"
    best = path / "model_best.pth"
    newest = max(models, key=lambda p: (p.stat().st_mtime_ns, p.name))
    return f"; give one of its files, such as {best if best in models else newest}"


def xml_hint(tag: str) -> str:
    """Return what an XML document is, by its root element, and how labels are converted."""
    known = _XML_ROOTS.get(tag)
    return f"; {f'it is {known}; ' if known else ''}{_CONVERT} reads labels of many tools"


def labels_hint(suffixes: set[str]) -> str:
    """Return what to do with labels of another format in a folder, by the suffixes there."""
    for suffix in (".xml", ".json", ".geojson", ".txt"):
        if suffix in suffixes:
            return (
                f"; there are {suffix} files: {_CONVERT} turns labels of many tools into DOTA text"
            )
    return ""
