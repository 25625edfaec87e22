"""HRSC2016 folders: rotated ships at three class levels."""

import numpy as np
import pytest

from datasets import HRSC, DataOptions
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import write_task1
from helpers.data_folders import make_hrsc

BURKE, SHIP, CONTAINER = 100000007, 100000001, 100000018


@pytest.fixture
def folder(tmp_path):
    ships = {
        "100000001": [(BURKE, 60, 45, 50, 12, 0.3, 0), (SHIP, 20, 70, 30, 8, 0, 1)],
        "100000002": [],
        "100000003": [(CONTAINER, 60.5, 40, 10, 60, -1.2, 0)],
    }
    return make_hrsc(tmp_path, ships, trainval=ships, test=ships)


def options(level):
    return DataOptions(hrsc_level=level, augment=False)


@pytest.mark.parametrize("level, names", [
    (1, ["ship", "ship"]),
    (2, ["warcraft", "ship"]),
    (3, ["Arleigh-Burke", "ship"]),
])  # fmt: skip
def test_class_levels(folder, level, names):
    dataset = HRSC(folder, "train", 64, 64, 4, options=options(level))
    found = dataset.load_annotation(0)
    assert [dataset.category[k] for k in found["cat"]] == names
    assert found["dif"].tolist() == [0, 1]
    assert dataset.check_labels().empty_images == 1
    assert (folder / f"Annotations.level{level}.cache.npz").exists()
    assert [dataset.category[k] for k in dataset.load_annotation(0)["cat"]] == names


def test_level_1_is_the_class_of_the_original(folder):
    dataset = HRSC(folder, "test", 64, 64, 4)
    assert dataset.category == ["ship"] and dataset.num_classes == 1
    assert dataset[0]["img_id"] == "100000001"


def test_corners(folder):
    """The angle is in radians, clockwise on the image, from the x axis to the side of length w."""
    corners = HRSC(folder, "train").load_annotation(0)["pts"][0].astype(np.float64)
    np.testing.assert_allclose(corners.mean(axis=0), (60, 45), atol=1e-4)
    bow_and_stern = 25 * np.array([np.cos(0.3), np.sin(0.3)])
    middles = (corners + np.roll(corners, -1, axis=0)) / 2 - (60, 45)
    distances = np.abs(middles[:, None] - [bow_and_stern, -bow_and_stern]).max(axis=2)
    assert (distances.min(axis=0) < 1e-3).all()


def test_training_samples(folder):
    dataset = HRSC(folder, "train", 96, 128, 4, options=options(1))
    assert [int(dataset[index]["reg_mask"].sum()) for index in range(3)] == [2, 0, 1]


def test_unknown_type(folder):
    path = folder / "Annotations" / "100000003.xml"
    path.write_text(path.read_text().replace(str(CONTAINER), "100000099"))
    assert HRSC(folder, "train", options=options(1)).check_labels().images == 3
    with pytest.raises(InputError, match=r"100000003\.xml:\d+: Class_ID 100000099"):
        HRSC(folder, "train", options=options(3)).check_labels()


def test_broken_xml(folder):
    (folder / "Annotations" / "100000002.xml").write_text("<HRSC_Image>")
    (folder / "Annotations" / "100000003.xml").unlink()
    found = r"(?s)2 errors.*100000003\.xml: no such.*100000002\.xml:1"
    with pytest.raises(InputError, match=found):
        HRSC(folder, "train").check_labels()


def test_dec_evaluation(folder, tmp_path):
    dataset = HRSC(folder, "test", 64, 64, 4)
    ids, corners = [], []
    for index in (0, 2):
        found = dataset.load_annotation(index)
        for outline, difficult in zip(found["pts"], found["dif"], strict=True):
            if not difficult:
                ids.append(dataset.img_ids[index])
                corners.append(outline)
    results = tmp_path / "results"
    results.mkdir()
    write_task1(results / "Task1_ship.txt", ids, [0.9, 0.8], np.array(corners))
    assert dataset.dec_evaluation(str(results)) == pytest.approx(1)
