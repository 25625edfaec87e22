"""Which images a prediction reads, and what it says about those that it cannot read."""

import json
import os
import sys
from pathlib import Path

import pytest

from deploy.predict import plan as planning
from deploy.predict.plan import plan_jobs
from deploy.predict.sources import image_ids
from DOTA_devkit.errors import InputError
from helpers.drawn_objects import DrawnObjects, scene
from helpers.prediction_runs import OBJECTS, SIZE_WH, assert_found, result_files, run, write


@pytest.mark.parametrize("kind", ["file", "folder", "glob", "list", "two"])
def test_sources_by_kind(tmp_path, picture, kind):
    other = write(tmp_path / "images" / "road.JPG", scene((90, 70), []))
    (tmp_path / "images" / "notes.md").write_text("not an image")
    (tmp_path / "some.txt").write_text("images/harbor.png\r\n\nimages/road.JPG\n")
    spec = {
        "file": picture,
        "folder": picture.parent,
        "glob": str(tmp_path / "im*/*"),
        "list": tmp_path / "some.txt",
        "two": [picture, other],
    }[kind]
    done = run(spec, tmp_path / "out", formats=("csv",))
    assert [one.source.image_id for one in done.images] == ["harbor", "road"][: len(done.images)]
    assert len(done.images) == (1 if kind == "file" else 2)
    assert_found(done.images[0].detections)


def test_same_file_name_in_two_folders_gets_own_id(tmp_path):
    for place in ("a/x.png", "b/x.png", "b/y.png", "b/y.jpg", "b/z.png"):
        write(tmp_path / place, scene((60, 50), []))
    done = run(str(tmp_path / "**"), tmp_path / "out", formats=("pictures",))
    assert [one.source.image_id for one in done.images] == ["a/x", "b/x", "b/y.jpg", "b/y.png", "z"]
    assert len(list((tmp_path / "out/pictures").rglob("*.jpg"))) == 5


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a/x.png", "a/y.png"], ["x", "y"]),
        (["a/x.png", "b/x.png", "b/y.png"], ["a/x", "b/x", "y"]),
        (["a/x.png", "a/x.jpg", "b/x.png"], ["a/x.png", "a/x.jpg", "b/x"]),
        (["y.jpg", "y.png", "y.jpg.png"], ["y.jpg", "y.png", "y.jpg.png"]),
    ],
)
def test_image_ids_are_unique(names, ids):
    assert image_ids([Path(name) for name in names]) == ids


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root / "nothing", r"^source .*nothing: no such file or folder"),
        (lambda root: root / "empty", "empty: no image in this folder"),
        (lambda root: root / "*.png", r"^source .*\*.png: no image matches$"),
        (lambda root: root / "*.txt", "no image matches, but 1 other files do"),
        (lambda root: root / "list.txt", "list.txt: the list names no image"),
    ],
)
def test_source_without_images_is_refused(tmp_path, make, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(InputError, match=message):
        run(make(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folder_around_the_images_is_refused(tmp_path, picture):
    """The folder of a data set holds other files, of which a label cache looks like an array."""
    (tmp_path / "labelTxt.cache.npz").touch()
    with pytest.raises(InputError, match="no image in this folder") as caught:
        run(tmp_path, tmp_path / "out")
    assert str(caught.value).endswith(f"; there are images in {picture.parent}")


def test_list_of_image_ids_is_refused(tmp_path, picture):
    """One message about a list of ids such as `train.txt`, not one about each line."""
    (tmp_path / "test.txt").write_text("harbor\nP0706__1__0___0\n")
    with pytest.raises(InputError, match=r"test\.txt: a list of ids, such as harbor, .* give the"):
        run(tmp_path / "test.txt", tmp_path / "out")


def test_broken_images_are_logged_and_left_out(tmp_path, picture, caplog):
    (picture.parent / "cut.png").write_bytes(picture.read_bytes()[:-200])
    (picture.parent / "text.jpg").write_text("not an image")
    (tmp_path / "list.txt").write_text(
        "images/harbor.png\nimages/cut.png\nimages/text.jpg\ngone.png\n"
    )
    done = run(tmp_path / "list.txt", tmp_path / "out")
    assert len(done.images) == 1 and len(done.faults) == 3
    for name in ("cut.png", "text.jpg", "gone.png"):
        assert sum(f"{name}" in record.message for record in caplog.records) == 1
    left_out = json.loads((tmp_path / "out/detections.json").read_text())["left_out"]
    assert sorted(Path(path).name for path in left_out) == ["cut.png", "gone.png", "text.jpg"]


def test_only_broken_images_is_an_error(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    with pytest.raises(InputError, match=r"none of the 1 images can be used; .*a\.png"):
        run(tmp_path, tmp_path / "out")


def test_only_truncated_images_is_an_error(tmp_path, picture):
    """Their headers are good, so the fault only shows when they are read."""
    picture.write_bytes(picture.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"none of the 1 images can be used; .*harbor\.png"):
        run(picture, tmp_path / "out")
    assert result_files(tmp_path / "out") == {}


def test_image_named_twice_is_used_once(tmp_path, picture):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/some.txt").write_text("../images/harbor.png\n../images/harbor.png\n")
    done = run([picture, tmp_path / "lists/some.txt"], tmp_path / "out")
    assert [one.source.path for one in done.images] == [picture]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only on Linux")
def test_file_name_that_is_not_utf8(tmp_path, picture):
    odd = os.fsdecode(os.fsencode(picture.parent) + b"/caf\xe9.png")
    Path(odd).write_bytes(picture.read_bytes())
    done = run(picture.parent, tmp_path / "out")
    assert len(done.images) == 1
    (fault,) = done.faults.values()
    assert "caf\\xe9.png: the name is not UTF-8" in fault
    assert fault in json.loads((tmp_path / "out/detections.json").read_text())["left_out"].values()


def test_picture_never_replaces_an_image(tmp_path):
    """The images lie in `pictures`, and its parent is the folder of the results."""
    images = write(tmp_path / "pictures/a.jpg", scene(SIZE_WH, OBJECTS)).parent
    before = (images / "a.jpg").read_bytes()
    with pytest.raises(InputError, match=r"^output .*a\.jpg would replace .*a\.jpg"):
        run(images, tmp_path)
    assert (images / "a.jpg").read_bytes() == before and len(list(tmp_path.rglob("*"))) == 2
    assert len(run(images, tmp_path, formats=("csv",)).images) == 1


def test_image_that_changed_since_inspection(tmp_path, picture, monkeypatch):
    """While a folder is being filled, such an image is left out and the others are done."""
    write(picture.parent / "second.png", scene((300, 200), OBJECTS[:2]))

    def replace_and_plan(*args):
        write(picture, scene((90, 60), []))
        return plan_jobs(*args)

    monkeypatch.setattr(planning, "plan_jobs", replace_and_plan)
    done = run(picture.parent, tmp_path / "out")
    expected = f"{picture}: 90x60 pixels, but 400x250 before (width x height)"
    assert list(done.faults) == [str(picture)] and done.faults[str(picture)].startswith(expected)
    assert [one.source.image_id for one in done.images] == ["second"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nfake 0.99 1 1 9 1 9 9 1 9 .png", r"a\nfake 0.99"),
        ("\x1b]0;owned\x07.png", r"\x1b]0;owned\x07.png"),
    ],
)
def test_names_with_control_characters_are_refused(tmp_path, picture, name, shown, caplog):
    (picture.parent / name).write_bytes(picture.read_bytes())
    done = run(picture.parent, tmp_path / "out", formats=("task1", "json"))
    (fault,) = done.faults.values()
    assert shown in fault and "rename the file" in fault
    assert [one.source.image_id for one in done.images] == ["harbor"]
    assert "\x1b" not in caplog.text
    for path in (tmp_path / "out").glob("Task1_*.txt"):
        assert all(line.startswith("harbor ") for line in path.read_text().splitlines())


def test_class_names_do_not_lead_out_of_the_folder(tmp_path, picture):
    class Hostile(DrawnObjects):
        classes = ("../../escaped", "ship")

    out = tmp_path / "deep/er/out"
    run(picture, out, detector=Hostile(), formats=("task1",))
    assert (out / "Task1_..%2F..%2Fescaped.txt").is_file()
    assert not list(tmp_path.rglob("*escaped.txt"))[1:]
