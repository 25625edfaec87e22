"""The phase `test` (test.py): pictures, result files, timing, windows."""

import cv2
import numpy as np
import pytest
import torch

import test as testing
from datasets import DataOptions, open_dataset
from DOTA_devkit.errors import InputError
from helpers.data_folders import make_dota
from helpers.networks import CLASSES, Known, upright
from inference import InferenceSettings
from structures.drawing import class_color

CPU = torch.device("cpu")


def opened(root, **options):
    return open_dataset("dota", root, "test", (64, 64), DataOptions(classes=CLASSES, **options))


def run(root, found, folder, keep_source=True, **settings):
    dataset = opened(root, keep_source=keep_source)
    settings = InferenceSettings(conf_thresh=0.18, **settings)
    return testing.test_split(Known(found), dataset, settings, folder, CPU)


def picture(path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR).astype(int)


def near(color, pixels):
    return np.abs(pixels.reshape(-1, 3) - color).max(axis=1).min() < 90


@pytest.mark.parametrize("keep_source", [True, False])
def test_pictures_and_files(tmp_path, caplog, keep_source):
    """Image a has truth and another box found, b neither labels nor detections."""
    labels = {"a": [upright(60, 24, 40, 16, "ship")], "b": None}
    make_dota(tmp_path / "data", labels, size=(128, 64), test=["a", "b"])
    found = [[(32, 40, 20, 8, 0.5, 1), (10, 32, 8, 8, 0.1, 0)], []]
    with caplog.at_level("INFO"):
        result = run(tmp_path / "data", found, tmp_path / "out", keep_source)
    assert [(one.image_id, len(one.detections), one.source) for one in result] == [
        ("a", 1, None), ("b", 0, None)
    ]  # fmt: skip
    # scaled by 1/2 with 16 rows above: the box found lies at (64, 48), 40x16
    assert (tmp_path / "out" / "Task1_plane.txt").read_text() == (
        "a 0.500000000000 84.0 40.0 84.0 56.0 44.0 56.0 44.0 40.0\n"
    )
    assert (tmp_path / "out" / "Task1_ship.txt").read_text() == ""

    a = picture(tmp_path / "out" / "pictures" / "a.jpg")
    assert a.shape == (64, 128, 3)
    assert near((255, 255, 255), a[20, 39:42])  # left side of the truth
    assert near(class_color(1), a[55:58, 60])  # lower side of what was found
    b = picture(tmp_path / "out" / "pictures" / "b.jpg")
    assert np.abs(b - opened(tmp_path / "data").load_image(1)).mean() < 8

    told = "\n".join(caplog.messages)
    assert "1 detections with a score above 0.18 in 2 images" in told
    for stage in ("network", "decode and NMS", "end to end"):
        assert stage in told


def test_pictures_of_an_earlier_run_go(tmp_path):
    make_dota(tmp_path / "data", {"a": None}, size=(64, 64), test="a")
    old = tmp_path / "out" / "pictures" / "old.jpg"
    old.parent.mkdir(parents=True)
    old.touch()
    (tmp_path / "out" / "mine.txt").touch()
    run(tmp_path / "data", [[]], tmp_path / "out")
    assert not old.exists() and (tmp_path / "out" / "mine.txt").exists()


def test_a_file_in_the_place_of_the_pictures(tmp_path):
    make_dota(tmp_path / "data", {"a": None}, size=(64, 64), test="a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pictures").touch()
    with pytest.raises(OSError, match="pictures"):
        run(tmp_path / "data", [[]], tmp_path / "out")


def test_a_wrong_label_is_named(tmp_path):
    make_dota(tmp_path / "data", {"a": ["1 2 3 ship"]}, size=(64, 64), test="a")
    with pytest.raises(InputError, match=r"a\.txt:1"):
        run(tmp_path / "data", [[]], tmp_path / "out")


def test_windows(tmp_path, monkeypatch):
    """Each picture is shown; q ends the run, and what was found so far is written."""
    make_dota(tmp_path / "data", dict.fromkeys("abc"), size=(64, 64), test="abc")
    shown = []
    keys = iter([ord(" "), ord("q")])
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(testing.cv2, "imshow", lambda name, image: shown.append(image.shape))
    monkeypatch.setattr(testing.cv2, "waitKey", lambda delay: next(keys))
    box = [(32, 32, 16, 16, 0.5, 0)]
    result = testing.test_split(
        Known([box] * 3), opened(tmp_path / "data"), InferenceSettings(), tmp_path / "out", CPU,
        show=True,
    )  # fmt: skip
    assert shown == [(64, 64, 3)] * 2 and len(result) == 2
    assert len((tmp_path / "out" / "Task1_ship.txt").read_text().splitlines()) == 2


@pytest.mark.skipif("__import__('sys').platform != 'linux'", reason="Qt needs a display there")
def test_windows_without_a_screen(tmp_path, monkeypatch):
    """Qt would end the process, without an error that could be caught."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(InputError, match=r"^show needs a screen"):
        testing.show_picture(np.zeros((8, 8, 3), np.uint8))


def test_an_opencv_without_windows(monkeypatch):
    def fails(*args):
        raise cv2.error("The function is not implemented")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(testing.cv2, "imshow", fails)
    with pytest.raises(InputError, match=r"^show needs a screen.*not implemented"):
        testing.show_picture(np.zeros((8, 8, 3), np.uint8))
