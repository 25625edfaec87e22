"""docs/labelling.md: its commands in their order, with a correction in between, and its claims."""

import json
import re
import shlex
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from cli.flags import FLAGS
from deploy.predict.settings import LABEL_FORMATS
from DOTA_devkit.commands import main as devkit
from DOTA_devkit.converters.annotation import build_annotation
from DOTA_devkit.converters.datasets import Target
from DOTA_devkit.converters.label_studio import write_predictions
from DOTA_devkit.formats import read_labels
from helpers.command_line import TINY_TRAINING
from helpers.data_folders import picture, write_image
from helpers.label_files import one
from helpers.paths import ROOT
from helpers.small_exports import sharp_model
from main import main
from models import Checkpoint, save_checkpoint
from structures.letterbox import normalize

PAGE = (ROOT / "docs/labelling.md").read_text(encoding="utf-8")
CLASSES = ("plane", "ship", "harbor")
SIZE_WH = (128, 96)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands():
    return [line for block in blocks("bash") for line in block.splitlines()]


def make_folders(root):
    """Write five labeled images, one of them without objects, and three without labels."""
    for number in range(8):
        folder = "mydata" if number < 5 else "more"
        image = picture(*SIZE_WH, seed=number)
        write_image(root / folder / "images" / f"P{number}.png", image)
    (root / "mydata/labelme").mkdir()
    for number in range(4):
        shapes = [
            {"label": name, "shape_type": "polygon", "points": box(20 + 35 * k, 30 + number)}
            for k, name in enumerate(CLASSES)
        ]
        document = {"shapes": shapes, "imageWidth": SIZE_WH[0], "imageHeight": SIZE_WH[1]}
        (root / f"mydata/labelme/P{number}.json").write_text(json.dumps(document))


def box(x, y):
    return [[x - 12, y - 8], [x + 12, y - 8], [x + 12, y + 8], [x - 12, y + 8]]


def correct(path):
    """Do what a person does in labelme: delete the first box, and draw a harbor."""
    document = json.loads(path.read_text())
    del document["shapes"][0]
    harbor = {"label": "harbor", "shape_type": "polygon", "points": box(60, 50), "flags": {}}
    document["shapes"].append(harbor)
    path.write_text(json.dumps(document))
    return document["shapes"]


@pytest.mark.slow
def test_page_commands_label_train_predict_correct_train(tmp_path, monkeypatch, capsys):
    make_folders(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.history.plot_history", lambda rows, path: None)
    images = [picture(*SIZE_WH, seed=number) for number in (5, 6, 7)]
    corrected, trained = [], []
    for command in commands():
        program, *words = shlex.split(command)
        if program != "python":
            subprocess.run(command, shell=True, check=True)
        elif words[:2] == ["-m", "DOTA_devkit"]:
            if words[3] == "more/labelme":
                corrected = correct(tmp_path / "more/labelme/P5.json")
            assert devkit(words[2:]) == 0, command
        elif "train" in words:
            assert main([*words[1:], *TINY_TRAINING]) == 0, command
            trained.append((tmp_path / "mydata/train.txt").read_text().split())
            # one epoch does not teach it to find anything
            weights = tmp_path / "round1/weights_dota/model_best.pth"
            save_checkpoint(weights, Checkpoint.of(network(images)))
        else:
            assert main(words[1:]) == 0, command
            capsys.readouterr()
            assert main(words[1:]) == 2  # a second time, it would replace corrections
            assert "--overwrite" in capsys.readouterr().err
            check_thresholds(tmp_path / "more/labelme")
    labels = read_labels(tmp_path / "mydata/labelTxt/P5.txt")
    assert labels.names == tuple(shape["label"] for shape in corrected)
    points = [shape["points"] for shape in corrected]
    np.testing.assert_allclose(labels.corners, points, atol=0.0051)
    assert (tmp_path / "mydata/classes.txt").read_text().split() == sorted(CLASSES)
    assert len(trained[0]) == 4 and trained[1] == [*trained[0], "P5", "P6", "P7"]
    assert (tmp_path / "round2/weights_dota/model_last.pth").is_file()


def network(images):
    """Return a network that has the same scores for all classes, from low to high, in images."""
    model = sharp_model(classes=CLASSES)
    head = model.hm[-1]
    with torch.no_grad():
        head.weight[:], head.bias[:] = head.weight[1], head.bias[1]
        batch = torch.from_numpy(np.stack([normalize(image) for image in images]))
        logits = model(batch)["hm"].logit()
        scale = 6 / (logits.max() - logits.min())
        head.weight *= scale
        head.bias.sub_((logits.max() + logits.min()) / 2).mul_(scale)
    return model


def check_thresholds(folder):
    """Each class has its threshold, and one that is not named the default."""
    shapes = [
        shape for path in folder.iterdir() for shape in json.loads(path.read_text())["shapes"]
    ]
    lowest = {
        name: min(shape["score"] for shape in shapes if shape["label"] == name) for name in CLASSES
    }
    assert lowest["plane"] > 0.4 and 0.2 < lowest["ship"] < 0.4
    assert 0.18 < lowest["harbor"] < 0.4


def test_page_flags_exist():
    of_tools = {"--labels", "--nodata"}  # of labelme
    there = {name for flag in FLAGS for name in flag.names} | {"--phase", "--help"}
    for path in (ROOT / "DOTA_devkit/commands").glob("*.py"):
        there |= set(re.findall(r'"(--\w+)"', path.read_text(encoding="utf-8")))
    assert set(re.findall(r"--[a-z]\w*", PAGE)) <= there | of_tools


def test_page_formats_exist():
    (table,) = re.findall(r"\| tool \|.*?\n\n", PAGE, re.DOTALL)
    named = {row.split("|")[2].strip(" `") for row in table.strip().splitlines()[2:]}
    assert named <= LABEL_FORMATS.keys() and len(named) == 8


def test_page_labeling_interface_has_the_tags_of_the_tasks(tmp_path):
    """What Label Studio looks up: from_name, to_name and the kind of each region."""
    (text,) = blocks("xml")
    view = ElementTree.fromstring(text)
    tags = {tag.get("name"): tag for tag in view}
    upright, sheared = box(30, 30), [[60, 20], [90, 25], [85, 50], [55, 45]]
    records = [one(upright, "plane"), one(sheared, "ship")]
    annotation = build_annotation(tmp_path / "a.json", records, SIZE_WH)
    write_predictions(tmp_path / "x.json", [annotation], Target(tmp_path / "x.json", ""))
    (task,) = json.loads((tmp_path / "x.json").read_text())
    assert tags["image"].get("value").lstrip("$") in task["data"]
    regions = task["predictions"][0]["result"]
    assert len({region["type"] for region in regions}) == 2
    for region in regions:
        tag = tags[region["from_name"]]
        assert tag.tag.lower() == region["type"] and tag.get("toName") == region["to_name"]
        assert set(region["value"][region["type"]]) <= {label.get("value") for label in tag}
