"""Class names in a data.yaml; lists in text files are in test_encodings.py."""

import sys

import pytest

from DOTA_devkit.class_lists import find_data_yaml, find_numbered_classes, parse_class_list
from DOTA_devkit.errors import InputError


@pytest.mark.parametrize(
    "names",
    [
        "names:\n  0: ship\n  1: no\n",
        "names:\n  1: no\n  0: ship\n",
        "names:\n- ship\n- 'no'\n",
        "names: [ship, no]\n",
        "names: ['ship ', \"no\"]\n",
    ],
)
def test_data_yaml_has_the_names(tmp_path, names):
    pytest.importorskip("yaml")
    path = tmp_path / "data.yaml"
    path.write_text(f"path: .\ntrain: images/train\nnc: 2\n{names}", encoding="utf-8")
    assert parse_class_list(str(path)) == ("ship", "no")  # YAML itself takes "no" for false


def test_the_nearest_data_yaml_is_found(tmp_path):
    labels = tmp_path / "labels/train"
    labels.mkdir(parents=True)
    assert find_data_yaml(labels) is None
    (tmp_path / "data.yaml").write_text("")
    (labels / "a.txt").write_text("")
    assert find_data_yaml(labels) == find_data_yaml(labels / "a.txt") == tmp_path / "data.yaml"
    (labels / "data.yml").write_text("")
    assert find_data_yaml(labels) == labels / "data.yml"


def test_numbers_are_named_by_the_file_of_the_labels(tmp_path):
    """A classes.txt beside the folder may be that of labels that were made from these."""
    pytest.importorskip("yaml")
    labels = tmp_path / "labels"
    labels.mkdir()
    assert find_numbered_classes(labels) is None
    beside, data_yaml = tmp_path / "classes.txt", tmp_path / "data.yaml"
    beside.write_text("ship\ncar\n")
    assert find_numbered_classes(labels) == (beside, ("ship", "car"))
    data_yaml.write_text("names: [ship, car]\n")
    assert find_numbered_classes(labels) == (data_yaml, ("ship", "car"))
    data_yaml.write_text("names: [person, ship, car]\n")
    with pytest.raises(InputError, match=r"data\.yaml and .*classes\.txt name them differently"):
        find_numbered_classes(labels)
    beside.unlink()
    assert find_numbered_classes(labels) == (data_yaml, ("person", "ship", "car"))
    (labels / "classes.txt").write_text("a\nb\n")
    assert find_numbered_classes(labels) == (labels / "classes.txt", ("a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: x\n", "expected class names under 'names', a list or a map"),
        ("names: 3\n", "expected class names under 'names', a list or a map"),
        ("names:\n  - [ship]\n", "expected class names under 'names', a list or a map"),
        ("names: []\n", "has no class names"),
        ("names: [a, b, a]\n", "has a more than once"),
        ("names:\n  1: ship\n  2: car\n", "the numbers 0 to 1, got 1, 2"),
        ("a: 1\nnames: [a\n", r":3: expected YAML, got damaged text"),
        ("- 1\n", "expected class names under 'names'"),
    ],
)
def test_damaged_data_yaml(tmp_path, text, message):
    pytest.importorskip("yaml")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"data\.yaml.*{message}"):
        parse_class_list(str(tmp_path / "data.yaml"))


def test_data_yaml_without_pyyaml(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "data.yaml").write_text("names: [a]\n")
    with pytest.raises(InputError, match=r"needs PyYAML \(pip install pyyaml\); or write them"):
        parse_class_list(str(tmp_path / "data.yaml"))
    with pytest.raises(InputError, match="no such file of class names"):
        parse_class_list(str(tmp_path / "absent.yaml"))
