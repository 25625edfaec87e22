"""Which scale images are searched at, and which of them are taken as a whole."""

import pytest

from deploy.predict.plan import tiling_of, usual_scale, windows_of
from deploy.predict.settings import PredictSettings
from helpers.drawn_objects import DrawnObjects


def detector(scale):
    found = DrawnObjects((128, 128))
    found.train_scale = scale
    return found


@pytest.mark.parametrize(
    ("trained", "used"),
    [(None, 1), (1.0, 1), (0.75, 1), (4 / 3, 1), (0.74, 0.74), (1.34, 1.34), (0.1, 0.1)],
)
def test_scale_of_the_training_unless_it_is_near_one(trained, used):
    assert usual_scale(detector(trained)) == used
    assert tiling_of(detector(trained), PredictSettings()).scales == (used,)
    assert tiling_of(detector(trained), PredictSettings(scales=(1.0, 2.0))).scales == (1.0, 2.0)
    assert tiling_of(detector(trained), PredictSettings(tile=64)).scales == (used,)


@pytest.mark.parametrize(
    ("size_wh", "scale", "windows"),
    [
        ((256, 200), None, 6),  # twice as wide as the input: 3 x 2 windows at full size
        ((256, 200), 0.5, 1),  # as large as the training images: as a whole, as in test and eval
        ((340, 200), 0.5, 1),
        ((342, 200), 0.5, 2),  # more than 4/3 of the input at the scale of the training
        ((64, 64), 2.0, 1),
        ((64, 90), 2.0, 2),
        ((192, 100), 0.5, 1),  # 3/4 of the input at that scale
    ],
)
def test_images_as_large_as_those_of_the_training_are_not_cut(size_wh, scale, windows):
    found = windows_of(size_wh, detector(scale), PredictSettings(overlap=20))
    assert len(found) == windows
    factor = (scale or 1.0) if windows > 1 else 128 / max(size_wh)
    for window in found:
        assert window.letterbox.scale[0] == pytest.approx(factor, rel=0.02)


@pytest.mark.parametrize(
    ("size_wh", "scale", "factor"),
    [
        ((120, 90), 0.5, 0.5),  # fills half of the input, and is not enlarged to fill it
        ((190, 90), 0.5, 0.5),
        ((60, 50), 1.0, 1.0),
        ((60, 50), None, 128 / 60),  # the scale of the training is not known: as in test and eval
    ],
)
def test_small_images_keep_the_scale_of_the_training(size_wh, scale, factor):
    (window,) = windows_of(size_wh, detector(scale), PredictSettings())
    assert window.letterbox.scale[0] == pytest.approx(factor, rel=0.02)
    assert window.size_wh == size_wh


def test_images_are_first_rescaled_to_the_gsd_of_training():
    """At half of their resolution, and then at half the size, as those of the training."""
    settings = PredictSettings(gsd=0.6)
    found = windows_of((1024, 1024), detector(0.5), settings, base_scale=(0.5, 0.5))
    assert all(window.letterbox.scale[0] == pytest.approx(0.25, rel=0.02) for window in found)
