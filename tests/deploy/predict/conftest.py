"""The image that most tests of prediction read."""

import pytest

from helpers.drawn_objects import scene
from helpers.prediction_runs import OBJECTS, SIZE_WH, write


@pytest.fixture
def picture(tmp_path):
    return write(tmp_path / "images" / "harbor.png", scene(SIZE_WH, OBJECTS))
