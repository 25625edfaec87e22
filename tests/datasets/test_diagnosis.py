"""The short check at the start of a training."""

import pytest

from datasets import DataOptions, open_dataset
from datasets.diagnosis import finding_lines
from helpers.data_folders import make_hrsc
from helpers.doctor_folders import add_label, healthy, labels_of, rename_class


@pytest.fixture
def root(tmp_path):
    return healthy(tmp_path / "data")


def lines_of(root, name="dota", val=True, **options):
    options = DataOptions(cache_labels=False, **options)
    sets = [open_dataset(name, root, phase, (608, 608), options)
            for phase in ("train", "val")[: 1 + val]]  # fmt: skip
    return finding_lines(*sets)


def test_a_healthy_folder_has_no_lines(root):
    assert lines_of(root) == []


def test_findings_are_logged_with_their_first_place(root):
    add_label(root, "im1", labels_of(root, "im1")[0])
    add_label(root, "im7", "170 10 200 20 195 35 165 25 ship 0")
    first, second, last = lines_of(root)
    assert first == (
        "data: objects entirely outside their image: 1 of 34 (labelTxt/im7.txt:5 ship)"
    )
    assert "labeled twice" in second and "labelTxt/im1.txt:5 ship" in second
    assert f"python -m DOTA_devkit doctor {root}" in last


def test_notes_and_findings_of_the_summary_are_left_out(root):
    add_label(root, "im1", "135 60 165 70 160 85 130 75 ship 0")  # reaches outside
    add_label(root, "im1", "80 20 86 22 85 25 79 23 ship 0")  # below min_size
    assert lines_of(root) == []


def test_a_class_that_val_lacks(root):
    for k in (6, 7):
        rename_class(root, f"im{k}", "plane", "ship", 2)
    (first, _) = lines_of(root)
    assert "classes of the training set without any in val: 1 of 2 (plane: 12" in first
    assert lines_of(root, val=False) == []


def test_default_dota_classes_give_no_findings(root):
    """Without a list training takes DOTA's 15; the summary tells which have no objects."""
    (root / "classes.txt").unlink()
    assert lines_of(root) == []


def test_other_layouts(tmp_path):
    ships = [(100000001, 40, 30, 30, 12, 0.5, 0), (100000001, 300, 30, 30, 12, 0.5, 0)]
    make_hrsc(tmp_path, {"1": ships}, trainval=["1"])
    (first, *_) = lines_of(tmp_path, "hrsc", val=False)
    assert "entirely outside" in first and "Annotations/1.xml:" in first
