"""BaseDataset: a subclass written for the original, samples, ignored objects, randomness."""

import os
import pickle
import random

import cv2
import numpy as np
import pytest
import torch

from datasets import DOTA, BaseDataset, DataOptions, check_overlap, collate, seed_worker
from datasets.augment import PhotometricDistort
from datasets.batching import EpochBatches, EpochSamples, share_of_batch
from DOTA_devkit.errors import InputError
from helpers.data_folders import line, make_dota, picture
from structures import boxes, letterbox

KEYS = {"input", "hm", "reg_mask", "ind", "wh", "reg", "cls_theta"}


class Planes(BaseDataset):
    """A dataset as users of the original wrote it."""

    def __init__(self, data_dir, phase, input_h=None, input_w=None, down_ratio=None):
        super(Planes, self).__init__(data_dir, phase, input_h, input_w, down_ratio)  # noqa: UP008
        self.category = ["plane", "ship"]
        self.num_classes = len(self.category)
        self.cat_ids = {cat: i for i, cat in enumerate(self.category)}
        self.img_ids = self.load_img_ids()
        self.image_path = os.path.join(data_dir, "images")
        self.label_path = os.path.join(data_dir, "labelTxt")

    def load_img_ids(self):
        name = "trainval.txt" if self.phase == "train" else self.phase + ".txt"
        image_lists = os.path.join(self.data_dir, name)
        assert os.path.exists(image_lists), f"Path does not exist: {image_lists}"
        with open(image_lists) as f:
            return [row.strip() for row in f.readlines()]

    def load_image(self, index):
        return cv2.imread(os.path.join(self.image_path, self.img_ids[index] + ".png"))

    def load_annoFolder(self, img_id):
        return os.path.join(self.label_path, img_id + ".txt")

    def load_annotation(self, index):
        h, w = self.load_image(index).shape[:2]
        valid_pts, valid_cat, valid_dif = [], [], []
        with open(self.load_annoFolder(self.img_ids[index])) as f:
            for row in f.readlines():
                obj = row.split(" ")
                xs = [min(max(float(v), 0), w - 1) for v in obj[0:8:2]]
                ys = [min(max(float(v), 0), h - 1) for v in obj[1:8:2]]
                valid_pts.append([[x, y] for x, y in zip(xs, ys, strict=True)])
                valid_cat.append(self.cat_ids[obj[8]])
                valid_dif.append(int(obj[9]))
        annotation = {}
        annotation["pts"] = np.asarray(valid_pts, np.float32)
        annotation["cat"] = np.asarray(valid_cat, np.int32)
        annotation["dif"] = np.asarray(valid_dif, np.int32)
        return annotation

    def dec_evaluation(self, result_path):
        return 0.25

    def merge_crop_image_results(self, result_path, merge_path):
        return "merged"


@pytest.fixture
def folder(tmp_path):
    labels = {
        "a": [line(20, 10, 40, 30, "plane"), line(70, 50, 30, 20, "ship", 1)],
        "b": [],
        "c": [line(5, 5, 50, 9, "ship"), line(60, 60, 6, 6, "plane")],
    }
    return make_dota(tmp_path, labels, trainval="abc", test="bc")


# -- user-defined subclass ------------------------------------------------------------------------


def test_user_subclass_train_samples(folder):
    dataset = Planes(str(folder), "train", 96, 128, 4)
    assert len(dataset) == 3
    for index in range(3):
        sample = dataset[index]
        assert set(sample) >= KEYS | {"hm_weight", "index"}
        assert sample["input"].shape == (3, 96, 128) and sample["input"].dtype == np.float32
        assert sample["hm"].shape == sample["hm_weight"].shape == (2, 24, 32)
        assert sample["wh"].shape == (500, 10) and sample["index"] == index
    assert dataset[1]["reg_mask"].sum() == 0, "an image without objects is a sample"
    summary = dataset.check_labels()
    assert (summary.images, summary.objects) == (3, {"plane": 1, "ship": 2})


def test_user_subclass_test_samples(folder):
    dataset = Planes(str(folder), "test", 96, 128, 4)
    sample = dataset[1]
    assert sample["image"].shape == (1, 3, 96, 128)
    assert (sample["img_id"], sample["image_w"], sample["image_h"]) == ("c", 120, 90)
    assert dataset.dec_evaluation("results") == 0.25
    assert dataset.merge_crop_image_results("results", "merged") == "merged"
    truth = dataset.truth()
    assert truth.image_ids == ("b", "c") and truth.classes == ("plane", "ship")


def test_user_subclass_in_data_loaders(folder):
    dataset = Planes(str(folder), "train", 96, 128, 4)
    loader = torch.utils.data.DataLoader(
        dataset, 3, num_workers=2, collate_fn=collate, worker_init_fn=seed_worker
    )
    (batch,) = loader
    assert batch["input"].shape == (3, 3, 96, 128) and batch["reg_mask"].dtype == torch.uint8
    # The loader's default collate works as well, on which the original relies.
    (batch,) = torch.utils.data.DataLoader(dataset, 3)
    assert batch["ind"].shape == (3, 500)


def test_user_subclass_with_bad_annotations(folder):
    (folder / "labelTxt" / "b.txt").write_text(line(1, 1, 20, 20, "car") + "\n")
    (folder / "labelTxt" / "c.txt").unlink()
    message = r"(?s)2 images .*b: KeyError: 'car'.*c: FileNotFoundError"
    with pytest.raises(InputError, match=message):
        Planes(str(folder), "train", 96, 128, 4).check_labels()


def test_missing_hooks():
    dataset = BaseDataset("nowhere", "train", 64, 64, 4)
    dataset.img_ids = ["a"]
    with pytest.raises(NotImplementedError, match="BaseDataset does not define load_image"):
        dataset[0]
    assert dataset.load_annoFolder("a") is None
    assert dataset.dec_evaluation("results") is None
    assert not dataset.has_labels(0) and dataset.truth() is None


def test_unreadable_image(folder):
    (folder / "images" / "b.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="'b' cannot be read"):
        Planes(str(folder), "train", 96, 128, 4)[1]


# -- generate_ground_truth -----------------------------------------------------------------------


@pytest.fixture
def plain(folder):
    return DOTA(folder, "train", 608, 608, 4, options=DataOptions(augment=False))


@pytest.mark.parametrize("number", range(20))
def test_recorded_ground_truth(shared, folder, number):
    recorded = np.load(shared / "fixtures/targets20.npz")
    dataset = DOTA(folder, "train", 608, 608, 4)
    dataset.image_distort = lambda image: image
    image = picture(608, 608)
    rect = recorded[f"a{number}_rect"].reshape(-1, 5)
    found = dataset.generate_ground_truth(image, {"rect": rect, "cat": recorded[f"a{number}_cat"]})
    assert set(found) == KEYS | {"hm_weight"}
    count = min(len(rect), 500)
    np.testing.assert_array_equal(found["ind"][:count], recorded[f"a{number}_ind"])
    np.testing.assert_array_equal(found["cls_theta"][:count], recorded[f"a{number}_cls_theta"])
    np.testing.assert_array_equal(found["reg_mask"], recorded[f"a{number}_reg_mask"])
    np.testing.assert_allclose(found["wh"][:count], recorded[f"a{number}_wh"], atol=1e-3)
    expected = image.transpose(2, 0, 1).astype(np.float32) / 255 - 0.5
    np.testing.assert_allclose(found["input"], expected, atol=1e-6)


def test_user_defined_distortion(folder):
    dataset = DOTA(folder, "train", 96, 128, 4)
    seen = []

    def invert(image):
        seen.append(image.dtype)
        return 400 - image

    dataset.image_distort = invert
    image = picture(128, 96)
    found = dataset.generate_ground_truth(image, {"rect": np.zeros((0, 5)), "cat": []})
    assert seen == [np.float32]
    expected = (400 - image.astype(np.float32)).clip(0, 255).transpose(2, 0, 1) / 255 - 0.5
    np.testing.assert_allclose(found["input"], expected, atol=1e-6)
    assert isinstance(DOTA(folder, "train", 96, 128, 4).image_distort, PhotometricDistort)


def test_subclass_of_photometric_distort_is_called(folder):
    class Gray(PhotometricDistort):
        def __call__(self, image):
            return np.full_like(image, 51)

    dataset = DOTA(folder, "train", 96, 128, 4)
    dataset.image_distort = Gray()
    found = dataset.generate_ground_truth(picture(128, 96), {"rect": np.zeros((0, 5)), "cat": []})
    np.testing.assert_allclose(found["input"], 51 / 255 - 0.5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_user_defined_image_dtypes(folder, dtype):
    dataset = Planes(str(folder), "train", 96, 128, 4)
    dataset.load_annotation = lambda index: {"pts": np.zeros((0, 4, 2)), "cat": np.zeros(0)}
    dataset.load_image = lambda index: np.full((90, 120, 3), 255, dtype)
    for epoch in range(4):
        dataset.set_epoch(epoch)
        sample = dataset[0]
        assert sample["input"].dtype == np.float32
        assert np.abs(sample["input"]).max() <= 0.5


# -- ignored objects ------------------------------------------------------------------------------


def targets_of(dataset, annotation, size=(608, 608)):
    return dataset.data_transform(np.zeros((size[1], size[0], 3), np.uint8), annotation)[1]


def outlines(*rows):
    return np.array(
        [[[x, y], [x + w, y], [x + w, y + h], [x, y + h]] for x, y, w, h in rows], np.float32
    )


@pytest.mark.parametrize("x, y, w, h, kept", [
    (100, 100, 60, 9, True),  # thin, but long
    (100, 100, 9, 60, True),
    (100, 100, 9.9, 9.9, False),
    (100, 100, 10, 3, True),
    (100, 100, 7.5, 7.5, False),  # although its diagonal is longer than 10
    (-40, 100, 100, 50, True),  # 0.6 of it is visible
    (-41, 100, 100, 50, False),
    (-30, 590, 100, 25, False),  # 0.7 x 0.72
    (300, 300, 0, 50, False),  # no area
])  # fmt: skip
def test_small_and_hidden_objects_are_ignored(plain, x, y, w, h, kept):
    found = targets_of(plain, {"pts": outlines((x, y, w, h)), "cat": np.array([1])})
    assert len(found["rect"]) == len(found["cat"]) == kept
    assert len(found["ignored"]) == (not kept and w > 0)
    assert found["ignored_counts"].sum() == (not kept and w > 0)


def test_min_size_is_in_source_pixels(folder):
    """The size counts in the source, here twice as large, not in the input."""
    dataset = DOTA(folder, "train", 608, 608, 4, options=DataOptions(augment=False))
    annotation = {"pts": outlines((100, 100, 12, 4)), "cat": np.array([0])}
    assert len(targets_of(dataset, annotation, (1216, 1216))["rect"]) == 1
    annotation = {"pts": outlines((30, 30, 8, 4)), "cat": np.array([0])}
    assert len(targets_of(dataset, annotation, (304, 304))["rect"]) == 0


def test_min_size_and_min_visible_options(folder):
    options = DataOptions(augment=False, min_size=0, min_visible=0.2)
    dataset = DOTA(folder, "train", 608, 608, 4, options=options)
    pts = outlines((100, 100, 3, 2), (-79, 100, 100, 50), (-81, 100, 100, 50))
    assert targets_of(dataset, {"pts": pts, "cat": np.arange(3)})["cat"].tolist() == [0, 1]


def test_truncated_objects_are_refitted(plain):
    found = targets_of(plain, {"pts": outlines((-30, 100, 100, 40)), "cat": np.array([1])})
    corners = boxes.rectangles_to_corners(found["rect"])[0] * 4
    np.testing.assert_allclose(corners.min(axis=0), (0, 100), atol=1e-4)
    np.testing.assert_allclose(corners.max(axis=0), (70, 140), atol=1e-4)


def test_ignored_objects_have_weight_0(tmp_path):
    labels = {"a": [line(20, 20, 8, 8, "plane"), line(60, 40, 30, 20, "plane")]}
    make_dota(tmp_path, labels, train="a")
    options = DataOptions(augment=False, classes=("ship", "plane"))
    sample = DOTA(tmp_path, "train", 96, 128, 4, options=options)[0]
    # 120 x 90 -> 128 x 96: the small box spans cells 5.3 to 7.5.
    weight = sample["hm_weight"]
    assert weight[1, 5:7, 5:7].max() == 0
    assert weight[0].min() == 1 and weight[1, :, 12:].min() == 1
    assert sample["ignored"].tolist() == [1, 0, 0]


def test_objects_beyond_max_objs(folder):
    options = DataOptions(augment=False, max_objs=1)
    dataset = DOTA(folder, "train", 96, 128, 4, options=options)
    sample = dataset[0]
    assert sample["reg_mask"].tolist() == [1]
    assert sample["ignored"].tolist() == [0, 0, 1]
    summary = dataset.check_labels()
    # "c" has one target, and one object that is too small anyway
    assert (summary.beyond_max, summary.too_small) == (1, 1)
    assert summary.mean_objects == pytest.approx(2 / 3)
    assert dataset.mean_objects(6) == pytest.approx(4)
    assert dataset.mean_objects(1) == 1, "never below 1"


def test_unaugmented_training_equals_testing(folder):
    options = DataOptions(augment=False)
    train = DOTA(folder, "train", 96, 160, 4, options=options)[2]
    test = DOTA(folder, "test", 96, 160, 4, options=options)[1]
    np.testing.assert_array_equal(train["input"], test["image"][0].numpy())
    box = letterbox.Letterbox.fit((120, 90), (160, 96))
    center = box.to_input(np.array([30, 9.5])) / 4  # of the ship in "c"
    assert train["ind"][0] == int(center[1]) * 40 + int(center[0])


def test_squash_in_training_and_testing(folder):
    for phase, key in (("train", "input"), ("test", "image")):
        options = DataOptions(augment=False, squash=True)
        sample = DOTA(folder, phase, 96, 160, 4, options=options)[0]
        assert np.asarray(sample[key]).reshape(3, 96, 160)[:, :, 0].max() > -0.5, "no border"


@pytest.mark.parametrize("seed", range(8))
def test_augmented_targets_match_the_pixels(tmp_path, seed):
    """Augmented samples: the pixels of a bright rotated box are those inside its target."""
    outline = boxes.rectangles_to_corners([[70, 60, 60, 24, 25]])[0]
    label = " ".join(f"{v:.2f}" for v in outline.ravel()) + " plane 0"
    make_dota(tmp_path, {"a": [label]}, size=(140, 120), train="a")
    image = np.full((120, 140, 3), 20, np.uint8)
    cv2.fillConvexPoly(image, np.int32(outline * 16 - 8), (230, 230, 230), shift=4)
    cv2.imwrite(str(tmp_path / "images" / "a.png"), image)
    dataset = DOTA(tmp_path, "train", 192, 224, 4)
    dataset.image_distort = lambda image: image
    dataset.set_epoch(seed, 3)
    sample = dataset[0]
    if not sample["reg_mask"][0]:
        pytest.skip("the crop shows too little")
    count = int(sample["reg_mask"].sum())
    cells = np.stack([sample["ind"][:count] % 56, sample["ind"][:count] // 56], axis=1)
    corners = boxes.vectors_to_corners(cells + sample["reg"][:count], sample["wh"][:count, :8])
    drawn = np.zeros((192, 224), np.uint8)
    cv2.fillPoly(drawn, np.int32(corners * 4 * 16 - 8), 1, shift=4)
    bright = sample["input"][0] > 0
    union = (drawn > 0) | bright
    assert ((drawn > 0) & bright).sum() / union.sum() > 0.85


# -- randomness ----------------------------------------------------------------------------------


def inputs(dataset, workers, **keywords):
    loader = torch.utils.data.DataLoader(
        dataset, 1, num_workers=workers, collate_fn=collate, worker_init_fn=seed_worker, **keywords
    )
    return loader, lambda: [batch["input"].numpy().tobytes() for batch in loader]


def test_samples_depend_on_seed_and_epoch(folder):
    dataset = Planes(str(folder), "train", 64, 96, 4)

    def epoch(number, seed=5):
        dataset.set_epoch(number, seed)
        return [dataset[index]["input"].tobytes() for index in (2, 0, 1)]

    first = epoch(1)
    assert epoch(2) != first and epoch(1, seed=6) != first
    assert epoch(1) == first
    assert len(set(first)) == 3


def test_samples_are_equal_with_persistent_workers(folder):
    dataset = Planes(str(folder), "train", 64, 96, 4)
    expected = []
    for number in (1, 2):
        dataset.set_epoch(number, 5)
        expected.append(inputs(dataset, 0)[1]())
    _, read = inputs(dataset, 2, persistent_workers=True)
    found = []
    for number in (1, 2):
        dataset.set_epoch(number, 5)
        found.append(read())
    assert found == expected and found[0] != found[1]


@pytest.mark.slow
def test_workers_differ_without_set_epoch(folder):
    def run(seed):
        torch.manual_seed(seed)
        dataset = Planes(str(folder), "train", 64, 96, 4)
        dataset.img_ids = ["a"] * 4
        _, read = inputs(dataset, 2)
        return read(), read()

    first, second = run(3)
    assert len(set(first + second)) == 8, "no two samples are equal, across workers and epochs"
    assert run(3) == (first, second), "and the seed repeats them"
    assert run(4) != (first, second)


class GlobalRandomness(DOTA):
    """Draws from all global random states, as code of users may."""

    def data_transform(self, image, annotation):
        view, annotation = super().data_transform(image, annotation)
        drawn = [random.random(), np.random.rand(), float(torch.rand(1))]
        return view, annotation | {"drawn": drawn}

    def generate_ground_truth(self, image, annotation):
        return {"drawn": np.array(annotation["drawn"])}


def test_samples_of_an_epoch_follow_from_seed_epoch_and_index(folder):
    def drawn(epoch, seed, indices):
        samples = EpochSamples(GlobalRandomness(folder, "train", 64, 96, 4), epoch, seed)
        return {index: tuple(samples[index]["drawn"]) for index in indices}

    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first = drawn(1, 2, [0, 1])
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[2])
    assert np.random.get_state()[1].tolist() == states[1]
    assert first == drawn(1, 2, [1, 0]) and first[1] == drawn(1, 2, [1])[1]
    others = [drawn(2, 2, [0])[0], drawn(1, 3, [0])[0]]
    assert len({*first.values(), *others}) == 4


@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_batches_of_an_epoch_from_one_on(start):
    def batches(start):
        generator = torch.Generator().manual_seed(3)
        return EpochBatches(7, 2, False, generator, start)

    assert (batches(start).total, len(batches(start))) == (4, 4 - start)
    assert list(batches(start)) == list(batches(0))[start:]
    assert sorted(index for batch in batches(0) for index in batch) == list(range(7))


@pytest.mark.parametrize(
    ("length", "drop_last", "expected"),
    [
        (13, True, [[2, 2, 2], [2, 2, 2]]),
        (13, False, [[2, 2, 2], [2, 2, 2], [1]]),
        (4, False, [[2, 2]]),
        (12, True, [[2, 2, 2], [2, 2, 2]]),
    ],
)
def test_steps_of_several_batches_are_parts_of_a_large_one(length, drop_last, expected):
    def batches(size, accumulate, start=0):
        generator = torch.Generator().manual_seed(3)
        return EpochBatches(length, size, drop_last, generator, start, accumulate)

    parts, large = batches(2, 3), list(batches(6, 1))
    assert parts.batches_of_steps() == [len(step) for step in expected]
    assert (parts.total, len(parts)) == (len(expected), sum(map(len, expected)))
    listed = list(parts)
    assert [len(batch) for batch in listed] == [size for step in expected for size in step]
    assert [i for batch in listed for i in batch] == [i for batch in large for i in batch]
    rest = batches(2, 3, start=1)
    assert len(rest) == len(parts) - len(expected[0])
    assert list(rest) == listed[len(expected[0]) :]


def test_photometric_distortion_without_a_generator_follows_numpy():
    """An image that is not of 8 bits is distorted by a call, in any process and any run alike."""
    image, distort = np.full((2, 2, 3), 100.0), PhotometricDistort()

    def call(seed):
        np.random.seed(seed)
        return distort(image).tobytes()

    assert call(1) == call(1)
    assert len({call(seed) for seed in range(9)}) > 1


def test_seed_worker_global_states():
    threads, states = cv2.getNumThreads(), []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        seed_worker(0)
        states.append((np.random.rand(), torch.initial_seed()))
    assert states[0] == states[2] != states[1]
    cv2.setNumThreads(threads)


def test_pickle(folder):
    dataset = Planes(str(folder), "train", 64, 96, 4)
    dataset.set_epoch(1, 2)
    twin = pickle.loads(pickle.dumps(dataset))
    assert twin[0]["input"].tobytes() == dataset[0]["input"].tobytes()


def test_check_overlap_of_datasets(folder):
    train, test = (Planes(str(folder), phase, 64, 96, 4) for phase in ("train", "test"))
    with pytest.raises(InputError, match="2 of 2"):
        check_overlap(train.img_ids, test.img_ids)


# -- batches -------------------------------------------------------------------------------------


def test_collate_test_samples(folder):
    options = DataOptions(keep_source=True)
    dataset = DOTA(folder, "test", 64, 96, 4, options=options)
    batch = collate([dataset[0], dataset[1]])
    assert batch["image"].shape == (2, 3, 64, 96)
    assert batch["img_id"] == ["b", "c"]
    assert (batch["image_w"], batch["image_h"]) == ([120, 120], [90, 90])
    assert batch["source"][1].shape == (90, 120, 3)


@pytest.mark.parametrize("options, message", [
    ({"rotation": "upside down"}, "choose from free, right, none"),
    ({"min_visible": 60}, "between 0 and 1"),
    ({"max_objs": 0}, "1 or more"),
])  # fmt: skip
def test_invalid_options(options, message):
    with pytest.raises(InputError, match=message):
        DataOptions(**options)


@pytest.mark.parametrize(
    ("images", "processes", "sizes"),
    [(8, 3, [3, 3, 2]), (6, 3, [2, 2, 2]), (1, 3, [1, 0, 0]), (0, 2, [0, 0]), (5, 1, [5])],
)
def test_shares_make_up_the_batch(images, processes, sizes):
    batch = list(range(10, 10 + images))
    shares = [share_of_batch(batch, rank, processes) for rank in range(processes)]
    assert [len(share) for share in shares] == sizes
    assert [index for share in shares for index in share] == batch
