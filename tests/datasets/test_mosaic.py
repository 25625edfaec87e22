"""Mosaics: targets where the pixels show the objects, ignored parts, and repeatable samples."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch

from datasets import DOTA, BaseDataset, DataOptions
from datasets.batching import EpochSamples, collate_readable
from datasets.images import UnreadableImage
from datasets.mosaic import Tile, fits_tiles, random_corner, random_tiles
from helpers.data_folders import centered_line, make_dota, write_image
from structures import boxes
from structures.letterbox import Letterbox
from training.loading import epoch_samples
from training.settings import TrainSettings

COLORS = {"plane": 230, "ship": 130}
CLASSES = tuple(COLORS)
STRIDE = 4


@pytest.fixture
def scenes(tmp_path):
    """Four images on dark ground, each with two bright objects of one class, at its own angle."""
    labels, images = {}, {}
    for number, name in enumerate("abcd"):
        label = CLASSES[number % 2]
        labels[name], images[name] = [], np.full((120, 140, 3), 20, np.uint8)
        for x, y in ((40, 40), (100, 80)):
            outline = boxes.rectangles_to_corners([[x, y, 28, 14, 20 * number]])[0]
            corners = np.int32(outline * 16 - 8)
            cv2.fillConvexPoly(images[name], corners, (COLORS[label],) * 3, shift=4)
            labels[name].append(" ".join(f"{v:.2f}" for v in outline.ravel()) + f" {label} 0")
    folder = make_dota(tmp_path, labels, size=(140, 120), train="abcd")
    for name, image in images.items():
        write_image(folder / "images" / f"{name}.png", image)
    return folder


def opened(folder, size_hw=(192, 224), **options):
    dataset = DOTA(folder, "train", *size_hw, 4, options=DataOptions(classes=CLASSES, **options))
    dataset.image_distort = lambda image: image
    return dataset


def mosaics(dataset, epoch, seed=3, mosaic=1.0):
    samples = EpochSamples(dataset, epoch, seed, mosaic=mosaic)
    return [samples[index] for index in range(len(dataset))]


def equal(first, second):
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


@pytest.mark.parametrize("view_wh", [(32, 32), (224, 192), (97, 640)])
@pytest.mark.parametrize("seed", range(3))
def test_tiles_cover_each_pixel_once(view_wh, seed):
    covered = np.zeros(view_wh[::-1], int)
    for left, top, (width, height) in random_tiles(np.random.default_rng(seed), view_wh):
        assert width >= 0.3 * view_wh[0] - 1 and height >= 0.3 * view_wh[1] - 1
        covered[top : top + height, left : left + width] += 1
    assert (covered == 1).all()


def drawn_targets(sample, shape):
    """Draw the targets of each class, and what is ignored, at the size of the view."""
    width = shape[1] // STRIDE
    drawn = np.zeros((len(CLASSES), *shape), np.uint8)
    for slot in np.flatnonzero(sample["reg_mask"]):
        y, x = divmod(int(sample["ind"][slot]), width)
        corners = boxes.vectors_to_corners(
            (np.array([[x, y]]) + sample["reg"][slot]), sample["wh"][slot][None, :8]
        )[0]
        label = int(sample["hm"][:, y, x].argmax())
        assert sample["hm"][label, y, x] == 1
        cv2.fillPoly(drawn[label], [np.int32(corners * STRIDE * 16 - 8)], 1, shift=4)
    return drawn


def bright(sample):
    """Return the pixels [2, H, W] bool that show the objects of each class."""
    gray = 255 * (sample["input"][0] + 0.5)
    planes = gray > 180
    # The blurred border of planes is as gray as ships.
    around = cv2.dilate(np.uint8(planes), np.ones((5, 5), np.uint8)) > 0
    return np.stack([planes, (gray > 75) & ~around])


def test_targets_match_the_pixels(scenes):
    """What is bright is covered by targets of its class, and the uncut ones cover nothing else."""
    all_objects, uncut_objects = opened(scenes, min_visible=0), opened(scenes, min_visible=0.999)
    uncut_count = 0
    for epoch in range(1, 7):
        pairs = zip(mosaics(all_objects, epoch), mosaics(uncut_objects, epoch), strict=True)
        for sample, uncut in pairs:
            pixels = bright(sample)
            drawn, whole = (drawn_targets(one, pixels.shape[1:]) > 0 for one in (sample, uncut))
            assert (drawn & pixels).sum() / pixels.sum() > 0.88
            assert (whole & pixels).sum() >= 0.9 * whole.sum()
            uncut_count += uncut["reg_mask"].sum()
    assert uncut_count > 20


def test_four_images_meet(scenes):
    """Both classes are in most mosaics, and in no plain view."""
    plain = [sample["hm"].max(axis=(1, 2)).sum() for sample in mosaics(opened(scenes), 1, mosaic=0)]
    assert max(plain) == 1
    joined = [s["hm"].max(axis=(1, 2)).sum() for e in range(6) for s in mosaics(opened(scenes), e)]
    assert np.mean(np.array(joined) == 2) > 0.3


def test_objects_that_are_cut_too_much_are_ignored(scenes):
    everything = mosaics(opened(scenes, min_visible=0), 2)
    found = mosaics(opened(scenes, min_visible=0.95), 2)
    cut = 0
    for one, all_objects in zip(found, everything, strict=True):
        assert np.array_equal(one["input"], all_objects["input"])
        assert one["ignored"][1] == all_objects["reg_mask"].sum() - one["reg_mask"].sum()
        assert all_objects["hm_weight"].min() == 1
        cut += one["ignored"][1]
    assert cut > 3


def test_the_whole_outline_of_a_cut_object_is_ignored(scenes, monkeypatch):
    """Two thirds of it are beyond the tile, with its center, in the map of its class alone."""
    (scenes / "labelTxt/a.txt").write_text(centered_line(64, 64, 24, 12, "ship"))
    (scenes / "labelTxt/b.txt").write_text("")
    write_image(scenes / "images/a.png", np.zeros((128, 128, 3), np.uint8))
    write_image(scenes / "images/b.png", np.zeros((128, 128, 3), np.uint8))
    (scenes / "train.txt").write_text("a\nb\n")
    dataset = opened(scenes, (128, 128))
    # The tile of image a shows its columns up to x = 60; the others show image b.
    tiles = [
        Tile(0, 0, (60, 70)),
        Tile(60, 0, (68, 70)),
        Tile(0, 70, (60, 58)),
        Tile(60, 70, (68, 58)),
    ]
    monkeypatch.setattr("datasets.base.random_tiles", lambda rng, view_wh: tiles)
    monkeypatch.setattr("datasets.mosaic.random_view", lambda rng, box, rotation: box.matrix)
    monkeypatch.setattr("datasets.mosaic.random_corner", lambda rng, view_wh, tile_wh: np.zeros(2))
    read = dataset.source_image, dataset.load_annotation
    order = [iter([0, 1, 1, 1]) for _ in read]
    monkeypatch.setattr(dataset, "source_image", lambda index: read[0](next(order[0])))
    monkeypatch.setattr(dataset, "load_annotation", lambda index: read[1](next(order[1])))
    sample = EpochSamples(dataset, 1, 3, mosaic=1.0)[0]
    planes, ships = sample["hm_weight"]
    assert sample["ignored"].tolist() == [0, 1, 0] and not sample["reg_mask"].any()
    assert planes.min() == 1
    rows, columns = np.nonzero(ships == 0)
    assert (columns.min(), columns.max()) == (13, 19)  # x from 52 to 76, in cells of 4
    assert (rows.min(), rows.max()) == (14, 17)  # y from 58 to 70


def test_each_part_of_a_view_may_be_shown():
    """All positions of a tile are equally likely, the first and the last included."""
    rng = np.random.default_rng(0)
    drawn = [tuple(random_corner(rng, (7, 5), (4, 4)).tolist()) for _ in range(2000)]
    counts = Counter(drawn)
    assert counts.keys() == {(x, y) for x in range(4) for y in range(2)}
    assert min(counts.values()) > 200
    assert random_corner(rng, (9, 9), (9, 9)).tolist() == [0, 0]


def test_no_mosaic_is_a_plain_sample(scenes):
    dataset = opened(scenes)
    plain = EpochSamples(dataset, 4, 3)
    for index, sample in enumerate(mosaics(dataset, 4, mosaic=0.0)):
        assert equal(sample, plain[index])


def test_the_probability_is_kept(scenes):
    def gray_ground(sample):  # a plain view of both objects shows one class
        return sample["hm"].max(axis=(1, 2)).sum()

    dataset = opened(scenes)
    both = [gray_ground(s) == 2 for e in range(20) for s in mosaics(dataset, e, mosaic=0.3)]
    always = [gray_ground(s) == 2 for e in range(20) for s in mosaics(dataset, e)]
    assert 0.15 * np.mean(always) < np.mean(both) < 0.5 * np.mean(always)


def test_samples_follow_from_seed_epoch_and_index(scenes):
    dataset = opened(scenes)
    first = mosaics(dataset, 1)
    assert all(map(equal, first, mosaics(dataset, 1)))
    assert equal(EpochSamples(dataset, 1, 3, mosaic=1.0)[2], first[2])
    assert not equal(first[0], mosaics(dataset, 2)[0])
    assert not equal(first[0], mosaics(dataset, 1, seed=4)[0])
    assert not equal(first[0], first[1])


@pytest.mark.slow
def test_workers_make_the_same_mosaics(scenes):
    dataset = DOTA(scenes, "train", 192, 224, 4, options=DataOptions(classes=CLASSES))
    samples = EpochSamples(dataset, 1, 3, mosaic=1.0)
    loader = torch.utils.data.DataLoader(samples, 2, num_workers=2, collate_fn=collate_readable)
    found = torch.cat([batch["input"] for batch in loader])
    expected = np.stack([samples[index]["input"] for index in range(4)])
    np.testing.assert_array_equal(found.numpy(), expected)


def test_an_unreadable_image_spoils_no_other_sample(scenes):
    (scenes / "images/b.png").write_bytes(b"no image")
    dataset = opened(scenes)
    for epoch in range(5):
        samples = EpochSamples(dataset, epoch, 3, skip_bad_images=True, mosaic=1.0)
        found = [samples[index] for index in range(4)]
        assert ["unreadable" in sample for sample in found] == [False, True, False, False]
    with pytest.raises(UnreadableImage):
        EpochSamples(dataset, 1, 3, mosaic=1.0)[1]


def test_views_of_images_with_large_objects_are_no_mosaics(scenes):
    """The smallest tile is 0.3 * 192 = 57.6 pixels wide, 36 pixels of the source at its scale.

    Image a shows planes, b ships. Parts of b may still be in the view of a.
    """
    (scenes / "train.txt").write_text("a\nb\n")
    for side, joined in ((35, True), (38, False)):
        (scenes / "labelTxt/b.txt").write_text(centered_line(70, 60, side, 12, "ship"))
        dataset = opened(scenes)
        found = [mosaics(dataset, epoch) for epoch in range(16)]
        for index, expected in ((0, True), (1, joined)):
            both = [
                (sample["hm_weight"] == 0).any(axis=(1, 2)) | sample["hm"].any(axis=(1, 2))
                for sample in (samples[index] for samples in found)
            ]
            assert any(shown.all() for shown in both) == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("squash", [False, True])
def test_sources_of_all_kinds_make_mosaics(scenes, monkeypatch, dtype, squash):
    """One of another size is among them, one without objects, and more objects than slots."""
    (scenes / "labelTxt/b.txt").write_text("")
    dataset = opened(scenes, squash=squash, max_objs=1)
    other = np.full((50, 90, 3), 130, dtype)
    if dtype is not np.float32:  # floats have to have three channels
        other = other[..., 0]
    monkeypatch.setattr(
        dataset, "load_image",
        lambda index: other if index == 1 else np.full((120, 140, 3), 130, dtype),
    )  # fmt: skip
    samples = [s for epoch in range(4) for s in mosaics(dataset, epoch)]
    for sample in samples:
        assert sample["input"].shape == (3, 192, 224) and sample["input"].dtype == np.float32
        assert np.isfinite(sample["input"]).all() and sample["reg_mask"].shape == (1,)
    assert max(sample["ignored"][2] for sample in samples) > 0


def test_views_of_an_instance_are_kept(scenes):
    dataset = opened(scenes)
    dataset.data_transform = lambda image, annotation: None
    assert not dataset.allows_mosaics()


@pytest.mark.parametrize("side, fits", [(29.9, True), (30.1, False)])
def test_objects_fit_up_to_the_smallest_tile(side, fits):
    """0.3 * 64 pixels of the view are 30 pixels of the source at a scale of 0.64."""
    letterbox = Letterbox.fit((200, 100), (128, 64))
    outlines = boxes.rectangles_to_corners([[50, 50, 4, 2, 10], [90, 50, side, 3, 50]])
    assert fits_tiles(outlines.astype(np.float64), letterbox) == fits
    assert fits_tiles(np.zeros((0, 4, 2)), letterbox)


def test_a_single_image_makes_a_mosaic_of_itself(scenes):
    (scenes / "train.txt").write_text("a\n")
    (sample,) = mosaics(opened(scenes), 1)
    assert sample["input"].shape == (3, 192, 224)
    assert sample["hm"][1].max() == 0


class OwnViews(DOTA):
    def data_transform(self, image, annotation):
        return super().data_transform(image, annotation)


class OwnSamples(DOTA):
    def __getitem__(self, index):
        return super().__getitem__(index)


def test_only_views_of_this_project_become_mosaics(scenes):
    options = DataOptions(classes=CLASSES)
    for kind, allowed in ((DOTA, True), (OwnViews, False), (OwnSamples, False)):
        assert kind(scenes, "train", 64, 64, 4, options=options).allows_mosaics() == allowed
    assert not opened(scenes, augment=False).allows_mosaics()
    assert issubclass(DOTA, BaseDataset)


def test_the_samples_of_a_run_have_its_probability(scenes):
    settings = TrainSettings(epochs=2, mosaic=0.5)
    for epoch in (1, 2):
        assert epoch_samples(opened(scenes), settings, epoch).mosaic == 0.5
        assert epoch_samples(opened(scenes, augment=False), settings, epoch).mosaic == 0
