"""The phase `test` (test.py): pictures, result files, timing, and windows on a screen."""

import cv2
import numpy as np
import pytest
import torch

import test as testing
from datasets import DataOptions, open_dataset
from DOTA_devkit.errors import InputError
from helpers.data_folders import CLASSES, centered_line, make_dota
from helpers.networks import FixedBoxesNetwork
from inference import InferenceSettings
from structures.drawing import class_color

CPU = torch.device("cpu")


def make_test_set(root, **options):
    return open_dataset("dota", root, "test", (64, 64), DataOptions(classes=CLASSES, **options))


def run_test_split(root, found, folder, keep_source=True, **settings):
    dataset = make_test_set(root, keep_source=keep_source)
    settings = InferenceSettings(conf_thresh=0.18, **settings)
    return testing.test_split(FixedBoxesNetwork(found), dataset, settings, folder, CPU)


def read_picture(path):
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR).astype(int)


def has_color(color, pixels):
    """Whether a pixel has nearly this color, as JPEG stores it."""
    return np.abs(pixels.reshape(-1, 3) - color).max(axis=1).min() < 90


@pytest.mark.parametrize("keep_source", [True, False])
def test_pictures_and_result_files(tmp_path, caplog, keep_source):
    """Image a has a label and a detection elsewhere; b has neither labels nor detections."""
    labels = {"a": [centered_line(60, 24, 40, 16, "ship")], "b": None}
    make_dota(tmp_path / "data", labels, size=(128, 64), test=["a", "b"])
    found = [[(32, 40, 20, 8, 0.5, 1), (10, 32, 8, 8, 0.1, 0)], []]
    with caplog.at_level("INFO"):
        result = run_test_split(tmp_path / "data", found, tmp_path / "out", keep_source)
    assert [(one.image_id, len(one.detections), one.source) for one in result] == [
        ("a", 1, None), ("b", 0, None)
    ]  # fmt: skip
    # the input is half as large, with 16 rows of padding above: the detection is at (64, 48), 40x16
    assert (tmp_path / "out" / "Task1_plane.txt").read_text() == (
        "a 0.500000000000 84.0 40.0 84.0 56.0 44.0 56.0 44.0 40.0\n"
    )
    assert (tmp_path / "out" / "Task1_ship.txt").read_text() == ""

    a = read_picture(tmp_path / "out" / "pictures" / "a.jpg")
    assert a.shape == (64, 128, 3)
    assert has_color((255, 255, 255), a[20, 39:42])  # left side of the label
    assert has_color(class_color(1), a[55:58, 60])  # lower side of the detection
    b = read_picture(tmp_path / "out" / "pictures" / "b.jpg")
    assert np.abs(b - make_test_set(tmp_path / "data").load_image(1)).mean() < 8

    log = "\n".join(caplog.messages)
    assert "1 detections with a score above 0.18 in 2 images" in log
    for stage in ("network", "decode and NMS", "end to end"):
        assert stage in log


def test_pictures_of_an_earlier_run_are_removed(tmp_path):
    make_dota(tmp_path / "data", {"a": None}, size=(64, 64), test="a")
    old = tmp_path / "out" / "pictures" / "old.jpg"
    old.parent.mkdir(parents=True)
    old.touch()
    (tmp_path / "out" / "mine.txt").touch()
    run_test_split(tmp_path / "data", [[]], tmp_path / "out")
    assert not old.exists() and (tmp_path / "out" / "mine.txt").exists()


def test_file_in_place_of_the_picture_folder(tmp_path):
    make_dota(tmp_path / "data", {"a": None}, size=(64, 64), test="a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pictures").touch()
    with pytest.raises(OSError, match="pictures"):
        run_test_split(tmp_path / "data", [[]], tmp_path / "out")


def test_invalid_label_is_named(tmp_path):
    make_dota(tmp_path / "data", {"a": ["1 2 3 ship"]}, size=(64, 64), test="a")
    with pytest.raises(InputError, match=r"a\.txt:1"):
        run_test_split(tmp_path / "data", [[]], tmp_path / "out")


def test_show_stops_at_the_q_key(tmp_path, monkeypatch):
    """Each picture is shown; q ends the run, and the detections so far are written."""
    make_dota(tmp_path / "data", dict.fromkeys("abc"), size=(64, 64), test="abc")
    shown = []
    keys = iter([ord(" "), ord("q")])
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(testing.cv2, "imshow", lambda name, image: shown.append(image.shape))
    monkeypatch.setattr(testing.cv2, "waitKey", lambda delay: next(keys))
    box = [(32, 32, 16, 16, 0.5, 0)]
    result = testing.test_split(
        FixedBoxesNetwork([box] * 3), make_test_set(tmp_path / "data"), InferenceSettings(),
        tmp_path / "out", CPU, show=True,
    )  # fmt: skip
    assert shown == [(64, 64, 3)] * 2 and len(result) == 2
    assert len((tmp_path / "out" / "Task1_ship.txt").read_text().splitlines()) == 2


@pytest.mark.skipif("__import__('sys').platform != 'linux'", reason="Qt needs a display there")
def test_show_without_a_screen(tmp_path, monkeypatch):
    """Without this check Qt ends the process, and Python gets no exception."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(InputError, match=r"^show needs a screen"):
        testing.show_picture(np.zeros((8, 8, 3), np.uint8))


def test_show_with_an_opencv_without_windows(monkeypatch):
    def fail(*args):
        raise cv2.error("The function is not implemented")

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(testing.cv2, "imshow", fail)
    with pytest.raises(InputError, match=r"^show needs a screen.*not implemented"):
        testing.show_picture(np.zeros((8, 8, 3), np.uint8))
