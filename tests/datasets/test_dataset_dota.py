"""DOTA folders: classes, lists, wrong labels, unusual images, evaluation; and real patches."""

import logging
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest

from datasets import DOTA, DataOptions
from DOTA_devkit.errors import InputError
from DOTA_devkit.formats import DOTA_CLASSES, Labels, write_task1
from helpers.data_folders import line, make_dota, picture, write_image

PLANE = line(20, 10, 40, 30, "plane")


@pytest.fixture
def folder(tmp_path):
    labels = {"a": [PLANE, line(70, 50, 30, 20, "ship", 1)], "b": [], "c": [PLANE]}
    return make_dota(tmp_path, labels, train="ab", val="c", test="abc")


# -- classes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option, file, expected", [
    (None, None, DOTA_CLASSES["1.0"]),
    (None, "ship\r\n\r\n plane \n", ("ship", "plane")),
    (("plane", "ship"), "ship\n", ("plane", "ship")),
    ("plane, ship", None, ("plane", "ship")),
    (("1.5",), "ship\n", DOTA_CLASSES["1.5"]),
    ("2.0", None, DOTA_CLASSES["2.0"]),
    ("dota2.0", None, DOTA_CLASSES["2.0"]),
])  # fmt: skip
def test_classes(folder, option, file, expected):
    if file is not None:
        (folder / "classes.txt").write_bytes(file.encode())
    dataset = DOTA(folder, "train", 64, 64, 4, options=DataOptions(classes=option))
    assert tuple(dataset.category) == tuple(expected)
    assert dataset.num_classes == len(expected)
    assert dataset.cat_ids == {name: k for k, name in enumerate(expected)}


@pytest.mark.parametrize("option, file, message", [
    (("a", "b", "a"), None, "classes: a is named more than once"),
    (None, "\n\n", "classes.txt"),
])  # fmt: skip
def test_bad_classes(folder, option, file, message):
    if file is not None:
        (folder / "classes.txt").write_text(file)
    with pytest.raises(InputError, match=message):
        DOTA(folder, "train", options=DataOptions(classes=option))


# -- lists ---------------------------------------------------------------------------------------


def test_each_phase_logs_its_list(folder, caplog):
    with caplog.at_level(logging.INFO):
        ids = {phase: DOTA(folder, phase).img_ids for phase in ("train", "val")}
    assert ids == {"train": ["a", "b"], "val": ["c"]}
    assert "train.txt" in caplog.text and "val.txt" in caplog.text
    (folder / "test.txt").unlink()
    assert DOTA(folder, "test").img_ids == ["c"]


def test_training_without_lists_reads_every_image(folder):
    for name in ("train", "val", "test"):
        (folder / f"{name}.txt").unlink()
    assert DOTA(folder, "train").img_ids == ["a", "b", "c"]
    with pytest.raises(InputError, match=r"test\.txt or val\.txt"):
        DOTA(folder, "test")


def test_ids_with_suffixes_and_repeated_ids(folder):
    (folder / "train.txt").write_text("a.png\nb\na\n")
    (folder / "test.txt").write_text("a.png\nb\na\n")
    assert DOTA(folder, "train").img_ids == ["a", "b", "a"], "some repeat images to weigh them"
    assert DOTA(folder, "test").img_ids == ["a", "b"], "but each is detected once"
    assert len(DOTA(folder, "train").load_annotation(0)["cat"]) == 2


def test_overlapping_lists(folder):
    (folder / "val.txt").write_text("b.png\nc\n")
    with pytest.raises(InputError, match=r"1 of 2 validation images .*\(b\).*set allow_overlap"):
        DOTA(folder, "train")
    assert len(DOTA(folder, "train", options=DataOptions(allow_overlap=True))) == 2


def test_training_on_test_images_is_warned_of(folder, caplog):
    for name in ("train.txt", "val.txt"):
        (folder / name).unlink()
    (folder / "trainval.txt").write_text("a\nb\nc\n")
    (folder / "test.txt").write_text("b.png\n")
    assert len(DOTA(folder, "train")) == 3
    assert "1 of 1 test images are also in the training list (b)" in caplog.text
    caplog.clear()
    (folder / "train.txt").write_text("a\nc\n")  # as `lists` writes it beside that of `split`
    assert DOTA(folder, "train").img_ids == ["a", "c"]
    assert "test images" not in caplog.text


def test_a_test_list_that_cannot_be_read_does_not_stop_a_training(folder):
    (folder / "test.txt").write_text("")
    assert len(DOTA(folder, "train")) == 2


def test_validation_list_without_a_training_list(folder):
    (folder / "train.txt").unlink()
    (folder / "val.txt").write_text("b\n")
    with pytest.raises(InputError, match=r"no train\.txt, so training takes all images: 1 of 1"):
        DOTA(folder, "train")


@pytest.mark.parametrize("spoil, message", [
    (lambda f: (f / "train.txt").write_text("a\nz\n"), r"train\.txt: 1 of 2 ids have no image"),
    (lambda f: (f / "train.txt").write_text("\n"), "empty"),
    (lambda f: write_image(f / "images" / "a.jpg", picture()), "share the id 'a'"),
    (lambda f: os.rename(f / "images", f / "pictures"), "no such image folder"),
])  # fmt: skip
def test_unusable_folders(folder, spoil, message):
    spoil(folder)
    with pytest.raises(InputError, match=message):
        DOTA(folder, "train")


def test_missing_data_folder(tmp_path):
    with pytest.raises(InputError, match="no such data folder"):
        DOTA(tmp_path / "nowhere", "train")


# -- labels --------------------------------------------------------------------------------------


def test_load_annotation(folder):
    dataset = DOTA(folder, "train", 64, 64, 4)
    for _ in range(2):  # from the file, then from memory
        found = dataset.load_annotation(0)
        assert found["pts"][1].tolist() == [[70, 50], [100, 50], [100, 70], [70, 70]]
        assert (found["cat"].tolist(), found["dif"].tolist()) == ([0, 6], [0, 1])
        empty = dataset.load_annotation(1)
        assert empty["pts"].shape == (0, 4, 2) and empty["cat"].shape == (0,)
        dataset.check_labels()


def test_difficult_and_outside_objects_are_targets(folder):
    """Only small or hidden objects are ignored; corners may lie outside of the image."""
    (folder / "labelTxt" / "a.txt").write_text(
        "imagesource:GoogleEarth\r\ngsd:null\r\n\r\n"
        "-5\t10  40 10 40 30 -5 30 plane\r\n" + line(70, 50, 30, 20, "ship", 2) + "\r\n"
    )
    dataset = DOTA(folder, "train", 64, 64, 4, options=DataOptions(augment=False))
    assert dataset.check_labels().objects["ship"] == 1
    assert dataset[0]["reg_mask"].sum() == 2


def test_check_labels_lists_all_errors(folder):
    (folder / "labelTxt" / "a.txt").write_text(f"{PLANE}\n{line(0, 0, 20, 20, 'car')}\n")
    (folder / "labelTxt" / "b.txt").write_text("1 2 3\n")
    (folder / "train.txt").write_text("a\nb\nd\n")
    write_image(folder / "images" / "d.png", picture())
    with pytest.raises(InputError) as caught:
        DOTA(folder, "train").check_labels()
    text = str(caught.value)
    assert text.startswith("3 errors in the labels:")
    assert f"{folder / 'labelTxt' / 'a.txt'}:2: class 'car' is unknown" in text
    assert f"{folder / 'labelTxt' / 'b.txt'}:1" in text
    assert f"{folder / 'labelTxt' / 'd.txt'}: no such label file" in text
    assert "Unknown classes: car (1)" in text
    assert (
        "Known classes: plane, baseball-diamond" in text and "Name all classes in `classes`" in text
    )


def test_unknown_class_names_file_and_line(folder):
    (folder / "labelTxt" / "a.txt").write_text(f"{PLANE}\n{line(0, 0, 20, 20, 'car')}\n")
    with pytest.raises(InputError, match=r"a\.txt:2: class 'car' is unknown"):
        DOTA(folder, "train").load_annotation(0)


def test_label_cache(folder, monkeypatch):
    DOTA(folder, "train").check_labels()
    assert (folder / "labelTxt.cache.npz").exists()
    monkeypatch.setattr(DOTA, "read_label_file", lambda self, path: pytest.fail("read again"))
    assert DOTA(folder, "train").check_labels().objects["plane"] == 1
    # The cache does not depend on the classes: it holds names, not indices.
    options = DataOptions(classes=("ship", "plane"))
    assert DOTA(folder, "train", options=options).check_labels().objects == {"ship": 1, "plane": 1}


def test_labels_that_a_subclass_reads_are_not_cached(folder):
    """The cache has what the files say, and not what another class makes of them."""

    class Shifted(DOTA):
        def read_label_file(self, path):
            labels = super().read_label_file(path)
            return replace(labels, corners=labels.corners + 1)

    plain = DOTA(folder, "train")
    plain.check_labels()
    shifted = Shifted(folder, "train")
    before = shifted.load_annotation(0)["pts"]
    shifted.check_labels()
    for points in (before, shifted.load_annotation(0)["pts"]):
        np.testing.assert_allclose(points, plain.load_annotation(0)["pts"] + 1)
    again = DOTA(folder, "train")
    again.check_labels()
    np.testing.assert_array_equal(again.load_annotation(0)["pts"], plain.load_annotation(0)["pts"])


def test_no_label_cache(folder):
    DOTA(folder, "train", options=DataOptions(cache_labels=False)).check_labels()
    assert not (folder / "labelTxt.cache.npz").exists()


def test_ignored_objects_are_logged_once(folder, caplog):
    (folder / "labelTxt" / "b.txt").write_text(
        f"{line(0, 0, 6, 6, 'ship')}\n{line(5, 5, 0, 30, 'ship')}\n"
    )
    dataset = DOTA(folder, "train", 64, 64, 4)
    with caplog.at_level(logging.INFO):
        summary = dataset.check_labels()
        dataset.mean_objects(2)
        dataset[0]
    assert (summary.too_small, summary.without_area, summary.empty_images) == (1, 1, 1)
    assert caplog.text.count("2 are ignored") == 1


def test_list_without_objects_warns(folder, caplog):
    (folder / "train.txt").write_text("b")
    DOTA(folder, "train").check_labels()
    assert "no training targets" in caplog.text


def test_subclass_with_another_label_format(folder):
    class Centers(DOTA):
        def read_label_file(self, path):
            corners = np.array([[[1, 1], [9, 1], [9, 9], [1, 9]]], np.float64)
            return Labels(corners, ("ship",), np.zeros(1, int), np.ones(1, int))

    dataset = Centers(folder, "train", options=DataOptions(min_size=0))
    assert dataset.check_labels().objects["ship"] == 2
    assert dataset.load_annotation(1)["cat"].tolist() == [6]


# -- images --------------------------------------------------------------------------------------


def test_image_formats(folder):
    for image_id, suffix, image in [
        ("g", ".JPG", picture()[..., 0]),
        ("h", ".TIFF", picture().astype(np.uint16) * 256),
        ("i.j", ".png", np.dstack([picture(), picture()[..., 0]])),
    ]:
        write_image(folder / "images" / f"{image_id}{suffix}", image)
        (folder / "labelTxt" / f"{image_id}.txt").write_text(f"{PLANE}\n")
    (folder / "train.txt").write_text("g\nh\ni.j\n")
    dataset = DOTA(folder, "train", 64, 64, 4, options=DataOptions(augment=False))
    assert dataset.check_labels().objects["plane"] == 3
    samples = [dataset[index] for index in range(3)]
    assert all(sample["reg_mask"].sum() == 1 for sample in samples)
    np.testing.assert_allclose(samples[1]["input"], samples[2]["input"], atol=2.1 / 255)


def test_truncated_image_is_named(folder):
    path = folder / "images" / "a.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"a\.png: the image is truncated"):
        DOTA(folder, "train", 64, 64, 4)[0]


def test_image_is_read_once_per_sample(folder, monkeypatch):
    count = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *a: count.append(1) or decode(*a))
    dataset = DOTA(folder, "train", 64, 64, 4)
    dataset.check_labels()
    for index in range(2):
        dataset[index]
    DOTA(folder, "test", 64, 64, 4)[0]
    assert len(count) == 3


# -- truth and scores ----------------------------------------------------------------------------


def test_truth(folder):
    truth = DOTA(folder, "test", 64, 64, 4).truth()
    assert truth.image_ids == ("a", "b", "c")
    assert truth.labels.tolist() == [0, 6, 0]
    assert truth.difficult.tolist() == [False, True, False]
    assert truth.corners[1, 0].tolist() == [70, 50], "source pixels, as they stand in the file"


def test_truth_without_labels(folder):
    for image_id in "abc":
        (folder / "labelTxt" / f"{image_id}.txt").unlink()
    dataset = DOTA(folder, "test", 64, 64, 4)
    assert not dataset.has_labels(0)
    assert dataset.truth() is None and dataset.dec_evaluation(folder) is None
    os.rmdir(folder / "labelTxt")
    assert DOTA(folder, "test", 64, 64, 4).truth() is None


def test_truth_with_missing_labels(folder):
    (folder / "labelTxt" / "b.txt").unlink()
    with pytest.raises(InputError, match=r"(?s)1 of 3 images have no labels.*b"):
        DOTA(folder, "test", 64, 64, 4).truth()


def test_dec_evaluation(folder, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    corners = np.array([[[20, 10], [60, 10], [60, 40], [20, 40]]] * 2, float)
    write_task1(results / "Task1_plane.txt", ["a", "c"], [0.9, 0.8], corners)
    dataset = DOTA(folder, "test", 64, 64, 4)
    # The only ship is difficult, so only planes count.
    assert dataset.dec_evaluation(str(results)) == pytest.approx(1)
    write_task1(results / "Task1_plane.txt", ["a"], [0.9], corners[:1])
    assert dataset.dec_evaluation(str(results)) == pytest.approx(6 / 11), "recall 0.5"


def test_merge_crop_image_results(folder, tmp_path):
    results, merged = tmp_path / "results", tmp_path / "merged"
    results.mkdir()
    corners = np.array([[[20, 10], [60, 10], [60, 40], [20, 40]]] * 2, float)
    corners[1, :, 0] -= 10
    ids = ["P1__1__0___0", "P1__1__10___0"]
    write_task1(results / "Task1_plane.txt", ids, [0.8, 0.9], corners)
    DOTA(folder, "test", 64, 64, 4).merge_crop_image_results(str(results), str(merged))
    (row,) = (merged / "Task1_plane.txt").read_text().splitlines()
    assert row.split()[:2] == ["P1", "0.9"]


# -- the real patches ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def patches(shared, tmp_path_factory):
    """The 13 patches of P0706 and P1888, cropped according to their names, with recorded labels."""
    root = tmp_path_factory.mktemp("patches")
    fixture = shared / "fixtures/split600"
    ids = [row.removesuffix(".png") for row in (fixture / "images.txt").read_text().split()]
    for image_id in ids:
        name, rate, offset = image_id.split("__", 2)
        x, y = map(int, offset.split("___"))
        image = cv2.imread(str(shared / f"data/dota_samples/images/{name}.png"))
        image = cv2.resize(image, None, fx=float(rate), fy=float(rate))
        write_image(root / "images" / f"{image_id}.png", image[y : y + 600, x : x + 600])
    os.symlink(fixture / "labelTxt", root / "labelTxt")
    (root / "trainval.txt").write_text("\n".join(ids))
    return root


def test_real_patches(patches):
    dataset = DOTA(patches, "train", 608, 608, 4, options=DataOptions(cache_labels=False))
    summary = dataset.check_labels()
    assert summary.images == 13
    assert summary.objects["ship"] > 1500 and summary.beyond_max == 35
    dataset.set_epoch(0, 0)
    for index in range(len(dataset)):
        sample = dataset[index]
        count = int(sample["reg_mask"].sum())
        assert np.isfinite(sample["wh"]).all() and sample["hm"].max() <= 1
        cells = sample["ind"][:count]
        assert (cells >= 0).all() and (cells < 152 * 152).all()
        assert (sample["hm"].reshape(15, -1)[:, cells].max(axis=0) == 1).all()


def test_classes_of_real_images(shared):
    """Full images of DOTA: headers, difficulties, corners outside of the image."""
    data = shared / "data/dota_samples"
    options = DataOptions(
        train_list="full_images.txt", classes="1.5", cache_labels=False, augment=False
    )
    dataset = DOTA(data, "train", 608, 608, 4, options=options)
    assert dataset.check_labels().images == len(dataset) == 6
    assert dataset[3]["reg_mask"].sum() > 0
