"""Images by id."""

import pytest

from datasets.images import ImageFolder
from DOTA_devkit.errors import InputError


@pytest.mark.parametrize("name, entry, image_id", [
    ("P1.png", "P1", "P1"),
    ("P1.png", "P1.png", "P1"),
    ("P1.PNG", "P1.png", "P1"),  # the list was made on another system
    ("P1.Jpg", "P1", "P1"),
    ("0.5_Everitt_20060731.tif", "0.5_Everitt_20060731", "0.5_Everitt_20060731"),
    ("0.5_Everitt_20060731.tif", "0.5_Everitt_20060731.tif", "0.5_Everitt_20060731"),
    ("a b (2).bmp", "a b (2)", "a b (2)"),
    ("P1__1__0___0.png", "P1__1__0___0", "P1__1__0___0"),
    ("x.png.jpg", "x.png", "x.png"),  # the id itself looks like a file name
])  # fmt: skip
def test_id_of_entries(tmp_path, name, entry, image_id):
    (tmp_path / name).touch()
    folder = ImageFolder(tmp_path)
    assert folder.ids() == [image_id]
    assert folder.resolve([entry], "list") == [image_id]
    assert folder.path(entry) == tmp_path / name


def test_other_files_are_skipped(tmp_path):
    for name in ("a.txt", "b.xml", ".c.png", "d", "Thumbs.db"):
        (tmp_path / name).touch()
    assert ImageFolder(tmp_path).ids() == []


def test_resolve_counts_missing_images(tmp_path):
    (tmp_path / "a.png").touch()
    folder = ImageFolder(tmp_path)
    with pytest.raises(InputError, match=r"my list: 2 of 3 ids have no image in .*: b, c"):
        folder.resolve(["a", "b", "c.png"], "my list")
    with pytest.raises(InputError, match="no image with id 'b'"):
        folder.path("b")


def test_two_images_with_one_id(tmp_path):
    for name in ("a.png", "a.JPG", "b.png"):
        (tmp_path / name).touch()
    folder = ImageFolder(tmp_path)
    assert folder.resolve(["b"], "list") == ["b"]
    with pytest.raises(InputError, match=r"a\.JPG and a\.png share the id 'a'"):
        folder.resolve(["a"], "list")


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match="no such image folder"):
        ImageFolder(tmp_path / "images")
