"""The command: page, JSON, exit code, and refusals."""

import base64
import json
import logging
import re

import cv2
import numpy as np
import pytest
import torch

from DOTA_devkit.commands import main
from DOTA_devkit.doctor import model_classes
from DOTA_devkit.errors import InputError
from helpers.doctor_folders import add_label, healthy, image_path, labels_of, write_labels


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return healthy(tmp_path / "data")


def run(*words):
    return main(["doctor", *map(str, words)])


def test_healthy_folder(root, capsys):
    assert run("data", "--headers_only") == 0
    assert "0 errors, 0 warnings, 0 notes" in capsys.readouterr().out
    assert "Nothing found" in (root.parent / "doctor.html").read_text()


def test_findings_on_page_and_in_json(root, capsys):
    image_path(root, "im2").write_bytes(b"\x89PNG\r\n\x1a\n")
    add_label(root, "im1", labels_of(root, "im1")[0])
    write_labels(root, "im3", [text.replace("ship", "<script>alert(1)</script>", 1)
                               for text in labels_of(root, "im3")])  # fmt: skip
    assert run("data", "--output", "out/a.html") == 1
    out = capsys.readouterr().out
    assert "error: images that cannot be read: 1 of 8" in out and "--skip" not in out
    content = json.loads((root.parent / "out/a.json").read_text())
    by_check = {one["check"]: one for one in content["findings"]}
    assert by_check["duplicates"]["places"] == ["labelTxt/im1.txt:5 ship"]
    assert by_check["unknown_classes"]["count"] == 2
    assert content["images"] == {"all": 8, "train": 6, "val": 2}
    cells = {row["class"]: row for row in content["cells"]}
    # planes: 36 pixels in images of 160, which the input of 608 shows 3.8 times as large
    assert cells["plane"]["longer"][1] == pytest.approx(36 * 3.8 / 4, abs=0.05)
    html = (root.parent / "out/a.html").read_text()
    assert "<script" not in html and "&lt;script&gt;" in html
    pictures = re.findall(
        r'src="data:image/jpeg;base64,(.+?)" alt="(.+?)" width="(.+?)" height="(.+?)"', html
    )
    assert len(pictures) == html.count("<img") >= 2
    for data, caption, width, height in pictures:
        data = np.frombuffer(base64.b64decode(data), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (int(height), int(width), 3)
        assert f"<figcaption>{caption}</figcaption>" in html
    assert html.count("<section") == len(content["findings"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: no such data folder"),
        (["data", "--output", "a.pdf"], "a name that ends in .html"),
        (["data", "--results", "none"], "no such folder of results"),
        (["data", "--weights", "none.pth"], "none.pth: no such file"),
        (["data", "--val_list", "none.txt"], "there is no file"),
        (["data", "--labels", "none"], "no such folder of labels"),
        (["data", "--images", "none"], "no such folder of images"),
    ],
)
def test_bad_input(root, capsys, words, message):
    assert run(*words) == 2
    assert message in capsys.readouterr().err
    assert not list(root.parent.glob("*.html"))


@pytest.mark.parametrize("flag", [("--input_h", "600"), ("--min_size", "-1"), ("--input_w", "x")])
def test_bad_numbers(root, capsys, flag):
    with pytest.raises(SystemExit):
        run("data", *flag)
    assert f"argument {flag[0]}" in capsys.readouterr().err


def test_existing_files_stay(root, capsys):
    (root.parent / "doctor.json").write_text("mine")
    assert run("data", "--headers_only") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (root.parent / "doctor.json").read_text() == "mine"
    assert run("data", "--headers_only", "--overwrite") == 0


def test_empty_folder(root, capsys):
    (root.parent / "empty").mkdir()
    assert run("empty") == 2
    assert "neither images nor labels" in capsys.readouterr().err


def test_remedies_name_flags(root, capsys):
    run("data", "--input_h", "32", "--max_objs", "3", "--headers_only")
    out = capsys.readouterr().out
    assert "--input_h" in out and "--max_objs" in out and "`" not in out.partition("JSON")[0]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_classes_of_checkpoints(tmp_path, prefix):
    state = {f"{prefix}hm.0.weight": torch.zeros(9, 4, 3, 3), f"{prefix}hm.2.weight":
             torch.zeros(3, 9, 1, 1), f"{prefix}wh.2.weight": torch.zeros(10, 9, 1, 1)}  # fmt: skip
    path = tmp_path / "a.pth"
    torch.save({"model_state_dict": state, "classes": ["a", "b", "c"]}, path)
    assert model_classes(path).names == ("a", "b", "c")
    torch.save(state, path)
    assert (model_classes(path).count, model_classes(path).names) == (3, None)


def test_checkpoint_of_another_network(tmp_path):
    torch.save({"fc.weight": torch.zeros(3, 4)}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="no head hm"):
        model_classes(tmp_path / "a.pth")


def test_readers_log_as_before_afterwards(root, caplog):
    """The command keeps them silent, as its page tells what they would."""
    image = labels_of(root, "im1")[0]
    write_labels(root, "im1", [image, image.replace(image.split()[0], "nan", 1)])
    run("data", "--headers_only")
    assert not [one for one in caplog.records if one.name.startswith("DOTA_devkit.formats")]
    logging.getLogger("DOTA_devkit.formats").warning("heard")
    assert "heard" in caplog.text
