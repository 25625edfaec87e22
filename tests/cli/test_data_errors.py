"""Data that cannot be used, in the main process and in worker processes."""

import pytest

from helpers.command_line import assert_refused
from helpers.data_folders import centered_line, picture, write_image

# Each of these functions damages a data folder in one way. It returns the folder to be used and
# the parts of the expected message. `im0` is in the training list, `im3` in the others.


def no_data_folder(data):
    return data / "missing", ["missing", "no such data folder"]


def no_image_folder(data):
    (data / "images").rename(data / "pictures")
    return data, ["images", "no such image folder"]


def unknown_id_in_list(data):
    for name in ("train", "test", "val"):
        (data / f"{name}.txt").write_text("im0\nim77\n")
    return data, ["1 of 2 ids have no image", "im77"]


def empty_list(data):
    for name in ("train", "test", "val"):
        (data / f"{name}.txt").write_text("\n")
    return data, ["the list is empty"]


def invalid_label_line(data):
    for name in ("im0", "im3"):
        (data / "labelTxt" / f"{name}.txt").write_text("1 2 3 4 5 6 7 x ship 0\n")
    return data, [".txt:1"]


def unknown_class(data):
    for name in ("im0", "im3"):
        line = centered_line(9, 9, 20, 20, "tram")
        (data / "labelTxt" / f"{name}.txt").write_text(f"{line}\n")
    return data, ["'tram' is unknown", ".txt:1", "Name all classes"]


def not_an_image(data):
    for name in ("im0", "im3"):
        (data / "images" / f"{name}.png").write_bytes(b"no image")
    return data, ["images/im", ".png", "not an image"]


def truncated_png(data):
    for name in ("im0", "im3"):
        path = data / "images" / f"{name}.png"
        path.write_bytes(path.read_bytes()[:-100])
    return data, ["images/im", ".png", "is truncated"]


def truncated_jpeg(data):
    for name in ("im0", "im3"):
        path = data / "images" / f"{name}.png"
        path.unlink()
        path = write_image(path.with_suffix(".jpg"), picture(64, 64))
        path.write_bytes(path.read_bytes()[:-100])
    return data, ["images/im", ".jpg", "is truncated"]


DAMAGES = [no_data_folder, no_image_folder, unknown_id_in_list, empty_list, invalid_label_line,
           unknown_class, not_an_image, truncated_png, truncated_jpeg]  # fmt: skip


@pytest.mark.parametrize("phase", ["train", "test", "eval"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.slow
def test_invalid_data(run_cli, phase_arguments, writable_data, phase, damage):
    folder, parts = damage(writable_data)
    assert_refused(run_cli(*phase_arguments(phase, folder)), *parts)


@pytest.mark.parametrize("phase", ["train", "eval"])
def test_invalid_data_in_a_worker_process(run_cli, phase_arguments, writable_data, phase):
    """The message does not contain the traceback that comes from the worker."""
    truncated_png(writable_data)
    result = run_cli(*phase_arguments(phase, writable_data), "--num_workers", 1)
    assert_refused(result, "images/im", "is truncated")
    assert len(result.err.splitlines()) == 1


FAILING_DATASET = """
import os
from datasets.dataset_dota import DOTA


class Failing(DOTA):
    def load_image(self, index):
        {fault}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("os.kill(os.getpid(), 9)", ["a data loader worker died", "--num_workers 0"]),
        ("os._exit(1)", ["a data loader worker died", "--num_workers 0"]),
        ("open('/nowhere/x.png')", ["/nowhere/x.png", "No such file"]),
        ("import numpy; numpy.zeros(1 << 50)", ["out of memory", "--batch_size"]),
        ("import torch; torch.zeros(1 << 50)", ["out of memory", "--batch_size"]),
    ],
)
def test_worker_process_that_fails(run_cli, phase_arguments, data, tmp_path, fault, parts):
    (tmp_path / "failing.py").write_text(FAILING_DATASET.format(fault=fault))
    arguments = [*phase_arguments("eval", data), "--dataset", "failing.py:Failing"]
    assert_refused(run_cli(*arguments, "--num_workers", 1), *parts)
    if "os." not in fault:
        assert_refused(run_cli(*arguments, "--num_workers", 0), *parts)


@pytest.mark.slow
def test_bugs_are_not_hidden(run_cli, phase_arguments, data, tmp_path):
    (tmp_path / "failing.py").write_text(
        FAILING_DATASET.format(fault="raise RuntimeError('a bug')")
    )
    with pytest.raises(RuntimeError, match="a bug"):
        run_cli(*phase_arguments("eval", data), "--dataset", "failing.py:Failing")


def test_missing_label_file(run_cli, run_training, phase_arguments, writable_data):
    """Training needs all labels, test draws what there is, and eval does not score a part."""
    (writable_data / "labelTxt" / "im0.txt").unlink()
    (writable_data / "test.txt").write_text("im0\nim3\n")
    assert_refused(run_training(writable_data), "im0.txt", "no such label file")
    assert run_cli(*phase_arguments("test", writable_data)).code == 0
    result = run_cli(*phase_arguments("eval", writable_data))
    assert_refused(result, "1 of 2 images have no labels", "im0")
