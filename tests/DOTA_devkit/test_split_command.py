"""The split and split-images commands, on recorded patches and on small synthetic images."""

import cv2
import numpy as np
import pytest

from DOTA_devkit.commands import main


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path):
    """Images A (250 x 100) and B (100 x 100), each with a ship at its left edge."""
    for folder in ("data/images", "data/labelTxt"):
        (tmp_path / folder).mkdir(parents=True)
    for image_id, width in (("A", 250), ("B", 100)):
        image = np.random.default_rng(0).integers(0, 255, (100, width, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"data/images/{image_id}.png"), image)
        (tmp_path / f"data/labelTxt/{image_id}.txt").write_text("5 5 45 5 45 25 5 25 ship 0\n")
    return tmp_path / "data"


def ids(folder, suffix=".png"):
    return sorted(path.stem for path in folder.glob(f"*{suffix}"))


def test_split_reproduces_the_recorded_patches(shared, tmp_path, capsys):
    source, recorded = shared / "data/dota_samples", shared / "fixtures/split600"
    (tmp_path / "trainval.txt").write_text("P0706\nP1888.png\n")
    arguments = [
        "split",
        source,
        tmp_path / "out",
        "--rates",
        "0.5,1",
        "--whole_pixels",
        "--list",
        tmp_path / "trainval.txt",
    ]
    assert run(*arguments) == 0
    for name in ("trainval.txt", "images.txt"):
        assert (tmp_path / "out" / name).read_text() == (recorded / name).read_text()
    for path in (recorded / "labelTxt").iterdir():
        assert (tmp_path / "out/labelTxt" / path.name).read_text() == path.read_text(), path.name
    assert len(ids(tmp_path / "out/images")) == 13
    assert "13 patches of 2 images" in capsys.readouterr().out
    assert run(*arguments) == 0
    assert "13 of them existed already" in capsys.readouterr().out


def test_split_of_two_lists_into_one_folder(data, tmp_path):
    (data / "train.txt").write_text("A\n")
    (data / "val.txt").write_text("B.png\n")
    assert (
        run(
            "split",
            data,
            tmp_path / "out",
            "--size",
            100,
            "--gap",
            50,
            "--list",
            data / "train.txt",
            data / "val.txt",
        )
        == 0
    )
    train = ["A__1__0___0", "A__1__100___0", "A__1__150___0", "A__1__50___0"]
    assert (tmp_path / "out/train.txt").read_text().split() == train
    assert (tmp_path / "out/val.txt").read_text().split() == ["B__1__0___0"]
    assert ids(tmp_path / "out/images") == [*train, "B__1__0___0"]


@pytest.mark.parametrize(
    ("options", "patches", "suffix"),
    [
        (["--keep_empty", "0"], ["A__1__0___0", "B__1__0___0"], ".png"),
        (
            ["--rates", "0.5", "--format", "jpg"],
            ["A__0.5__0___0", "A__0.5__25___0", "B__0.5__0___0"],
            ".jpg",
        ),
        (["--size", "1000"], ["A__1__0___0", "B__1__0___0"], ".png"),
    ],
)
def test_split_options(data, tmp_path, options, patches, suffix):
    assert run("split", data, tmp_path / "out", "--size", 100, "--gap", 50, *options) == 0
    assert ids(tmp_path / "out/images", suffix) == patches
    assert ids(tmp_path / "out/labelTxt", ".txt") == patches
    assert (tmp_path / "out/trainval.txt").read_text().split() == patches


def test_split_folders_of_other_names(data, tmp_path):
    (data / "images").rename(tmp_path / "pictures")
    (data / "labelTxt").rename(tmp_path / "marks")
    assert (
        run(
            "split",
            data,
            tmp_path / "out",
            "--images",
            tmp_path / "pictures",
            "--labels",
            tmp_path / "marks",
        )
        == 0
    )
    assert ids(tmp_path / "out/images") == ["A__1__0___0", "B__1__0___0"]


def test_split_images(data, tmp_path, capsys):
    assert (
        run(
            "split-images",
            data / "images",
            tmp_path / "out",
            "--size",
            100,
            "--gap",
            0,
            "--list_file",
            tmp_path / "test.txt",
        )
        == 0
    )
    patches = ["A__1__0___0", "A__1__100___0", "A__1__150___0", "B__1__0___0"]
    assert ids(tmp_path / "out") == patches
    assert (tmp_path / "test.txt").read_text().split() == patches
    whole = cv2.imread(str(data / "images/A.png"))
    patch = cv2.imread(str(tmp_path / "out/A__1__150___0.png"))
    np.testing.assert_array_equal(patch, whole[:, 150:250])
    # A single file, padded.
    assert run("split-images", data / "images/B.png", tmp_path / "one", "--pad") == 0
    assert ids(tmp_path / "one") == ["B__1__0___0"]
    assert cv2.imread(str(tmp_path / "one/B__1__0___0.png")).shape == (600, 600, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "100", "--gap", "100"], "gap must be in"),
        (["--rates", "17"], "rates must be"),
        (["--list", "{data}/../ids.txt"], "ids.txt: 1 of 2 ids have no image (first: Z)"),
        (["--labels", "{data}/none"], "{data}/none: no such folder of labels"),
        (["--images", "{data}/none"], "{data}/none: no such folder of images"),
    ],
)
def test_split_rejects_bad_arguments(data, tmp_path, capsys, arguments, message):
    (tmp_path / "ids.txt").write_text("A\nZ\n")
    arguments = [argument.format(data=data) for argument in arguments]
    assert run("split", data, tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert message.format(data=data) in error and "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_an_id_may_end_like_an_image(data, tmp_path):
    """`scan.tif` is the id of scan.tif.png, and not of scan.png."""
    for name, source in (("scan", "A"), ("scan.tif", "B")):
        for folder, suffix in (("images", ".png"), ("labelTxt", ".txt")):
            content = (data / folder / f"{source}{suffix}").read_bytes()
            (data / folder / f"{name}{suffix}").write_bytes(content)
    (tmp_path / "ids.txt").write_text("scan.tif\n")
    assert run("split", data, tmp_path / "out", "--list", tmp_path / "ids.txt") == 0
    assert ids(tmp_path / "out/images") == ["scan.tif__1__0___0"]


def test_split_rejects_bad_folders(data, tmp_path, capsys):
    (data / "labelTxt/B.txt").write_text("5 5 45 5 45 25 5 nan ship 0\n")
    assert run("split", data, tmp_path / "out") == 2
    assert "B.txt:1: " in capsys.readouterr().err
    (data / "labelTxt/B.txt").unlink()
    assert run("split", data, tmp_path / "out2") == 2
    assert "1 images have no label file" in capsys.readouterr().err
    assert run("split", tmp_path / "none", tmp_path / "out2") == 2
    assert "contains no folder of images" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run("split-images", tmp_path / "empty", tmp_path / "out2") == 2
    assert "no images in this folder" in capsys.readouterr().err


def test_split_does_not_mix_patch_sizes(data, tmp_path, capsys):
    assert run("split", data, tmp_path / "out", "--size", 100, "--gap", 50) == 0
    assert run("split", data, tmp_path / "out", "--size", 200, "--gap", 50) == 2
    assert "was split with other options (size 100, now 200)" in capsys.readouterr().err
    assert run("split", data, tmp_path / "out", "--size", 200, "--gap", 50, "--overwrite") == 0
