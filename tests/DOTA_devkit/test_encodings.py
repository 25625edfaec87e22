"""Text files in the encodings that Windows writes: read alike, or refused with a remedy."""

import codecs

import cv2
import numpy as np
import pytest

from datasets.dataset_dota import DOTA
from DOTA_devkit.class_lists import read_class_file
from DOTA_devkit.commands import main
from DOTA_devkit.converters.yolo import read_yolo
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import read_ids, read_labels, read_task1

BOX = "1 2 3 4 5 6 7 9"
NAME = "佩里级"
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "gb18030"]


def encoded(text: str, encoding: str) -> bytes:
    bom = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    return bom + text.encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_kind_of_text_file(tmp_path, encoding, caplog):
    def write(name: str, text: str):
        path = tmp_path / name
        path.write_bytes(encoded(text.replace("\n", "\r\n"), encoding))
        return path

    labels = read_labels(write("a.txt", f"gsd:1\n{BOX} {NAME} 0\n{BOX} ship 1\n"))
    assert labels.names == (NAME, "ship") and labels.lines.tolist() == [2, 3]
    results = read_task1(write("Task1_x.txt", f"{NAME} 0.5 {BOX}\n{NAME}2 0.5 {BOX}\n"))
    assert results.image_ids == [NAME, f"{NAME}2"]
    assert read_ids(write("list.txt", f"{NAME}\n\nP 2\n")) == [NAME, "P 2"]
    assert read_class_file(write("classes.txt", f"{NAME}\nship\n")) == (NAME, "ship")
    yolo = read_yolo(write("y.txt", "1 0 0 .1 0 .1 .1 0 .1\n"), (10, 10), (NAME, "ship"))
    assert yolo.labels.names == ("ship",)
    told = f"{tmp_path}/a.txt: the text is not UTF-8 and is read as GB 18030"
    assert (told in caplog.text) == (encoding == "gb18030")
    assert caplog.text.count("is read as") == (encoding == "gb18030")


@pytest.mark.parametrize("read", [read_labels, read_task1, read_ids, read_class_file])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\n\xff\n", "x.txt:2: expected UTF-8 text .*save the file as UTF-8"),
        (codecs.BOM_UTF16_LE + b"a\0b", "x.txt:1: expected UTF-16 text .*save the file as UTF-8"),
        ("a\nb".encode("utf-16-le"), "x.txt:1: expected text, .*is it UTF-16 without a byte order"),
        (b"ship\nbo\x07at", "x.txt:2: expected text, got the control byte 0x07"),
    ],
)
def test_unreadable_text_is_an_error(tmp_path, read, data, message):
    path = tmp_path / "x.txt"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read(path)


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "labelTxt"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), np.zeros((50, 50, 3), np.uint8))
    (tmp_path / "labelTxt/a.txt").write_bytes(f"1 2 30 2 30 20 1 20 {NAME} 0\n".encode("gbk"))
    (tmp_path / "train.txt").write_bytes("a\n".encode("utf-16"))
    (tmp_path / "classes.txt").write_bytes(f"{NAME}\nship\n".encode("gbk"))
    return tmp_path


def test_training_data(folder):
    dataset = DOTA(str(folder), "train", 64, 64, 4)
    assert dataset.category == [NAME, "ship"]
    assert dataset.check_labels().objects[NAME] == 1


def test_commands(folder, capsys):
    classes = str(folder / "classes.txt")
    assert main(["stats", str(folder), "--classes", classes]) == 0
    assert NAME in capsys.readouterr().out
    (folder / "classes.txt").write_bytes(b"ship\n\xff\n")
    with pytest.raises(SystemExit):
        main(["stats", str(folder), "--classes", classes])
    assert "classes.txt:2: expected UTF-8 text" in capsys.readouterr().err
