"""What images the `load_image` of a user's own data set may return."""

import re

import numpy as np
import pytest
import torch

from datasets import BaseDataset, DataOptions
from DOTA_devkit.errors import InputError
from DOTA_devkit.imaging import HIGH_BYTE, ReadOptions
from helpers.data_folders import picture


class Returning(BaseDataset):
    """A data set of one image: `image`, whatever that is."""

    def __init__(self, image, phase):
        super().__init__("", phase, 64, 64)
        self.image = image
        self.category, self.num_classes, self.img_ids = ["ship"], 1, ["a"]

    def load_image(self, index):
        return self.image

    def load_annotation(self, index):
        return {"pts": np.zeros((0, 4, 2)), "cat": np.zeros(0)}


@pytest.mark.parametrize("phase", ["train", "test"])
@pytest.mark.parametrize("shape", [(90, 120), (90, 120, 1)])
def test_gray_images_of_own_data_sets_are_repeated(phase, shape):
    gray = picture()[:, :, 0]
    colored = np.stack([gray] * 3, axis=2)
    key = "input" if phase == "train" else "image"
    found, expected = (Returning(image, phase)[0][key] for image in (gray.reshape(shape), colored))
    assert found.shape[-3:] == (3, 64, 64)
    if phase == "test":  # the augmentation of training is random
        np.testing.assert_array_equal(found, expected)


def test_16_bit_images_of_own_data_sets_become_8():
    deep = picture().astype(np.uint16) * 257
    options = DataOptions(reading=ReadOptions(depth=HIGH_BYTE))
    dataset = Returning(deep, "test")
    dataset.options = options
    np.testing.assert_array_equal(dataset.source_image(0), picture())


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64])
def test_numbers_from_0_to_255_of_any_type_stay(dtype):
    image = picture().astype(dtype)
    assert Returning(image, "test").source_image(0) is image


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((9, 9, 4), np.uint8), "uint8 [9, 9, 4]"),
        (np.zeros((3, 9, 9), np.uint8), "uint8 [3, 9, 9]"),
        (np.zeros((9, 9), np.float32), "float32 [9, 9]"),
        (np.zeros((0, 9, 3), np.uint8), "uint8 [0, 9, 3]"),
        (np.zeros((9, 9, 3), bool), "bool [9, 9, 3]"),
        (np.zeros((), np.uint8), "uint8 []"),
        ([[[1, 2, 3]]], "list"),
        (torch.zeros(9, 9, 3), "Tensor"),
    ],
)
def test_other_images_of_own_data_sets_are_refused(image, found):
    expected = rf"id 'a', as Returning\.load_image returns it: .*\[H, W, 3\].*{re.escape(found)}$"
    for phase in ("train", "test"):
        with pytest.raises(InputError, match=expected):
            Returning(image, phase)[0]
