"""The page about the errors and its pictures: what they show, and names that are no text."""

import base64
import json
import re

import cv2
import numpy as np
import pytest

from DOTA_devkit.error_analysis import (
    ErrorReport,
    analyze_errors,
    compare_results,
    read_image_of,
    worst_images,
)
from DOTA_devkit.error_analysis.pictures import COLORS, busiest_window, draw_errors
from DOTA_devkit.errors import InputError
from DOTA_devkit.scoring import evaluate
from helpers.scenes import square, task1, truth_of_squares

NAME = "<b>飞机</b>"
TRUTH = truth_of_squares(
    {
        "a": [(square(100, 100, 60), 0, 0), (square(300, 100, 60), 0, 0)],
        "b": [(square(100, 100, 60), 1, 0)],
    },
    ("ship", NAME),
)
FOUND = {
    "ship": task1(
        [("a", 0.9, square(100, 100, 60)), ("a", 0.95, square(200, 300, 60)),
         ("b", 0.97, square(100, 100, 60))]
    )
}  # fmt: skip


def report_of(found=FOUND, truth=TRUTH, **options):
    analysis = analyze_errors(found, truth)
    worst = worst_images(analysis, evaluate(found, truth))
    return ErrorReport(analysis, worst, **options)


def gray(_image_id):
    return np.full((500, 500, 3), 90, np.uint8)


def pictures_of(text):
    for data in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text):
        yield cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)


def near(picture, x, y, kind):
    """Whether a color is within 5 pixels of a point; JPEG changes it a little."""
    part = picture[y - 5 : y + 6, x - 5 : x + 6].astype(int)
    return (np.abs(part - COLORS[kind][::-1]).max(axis=2) < 60).any()


def test_page_and_numbers(tmp_path):
    report = report_of()
    files = report.write(tmp_path / "errors.html", gray)
    assert files == [tmp_path / "errors.html", tmp_path / "errors.json"]
    text = files[0].read_text(encoding="utf-8")
    assert NAME not in text and "&lt;b&gt;飞机&lt;/b&gt;" in text
    assert not re.search(r"<script|<link|https?:", text)
    assert len(list(pictures_of(text))) == 2
    numbers = json.loads(files[1].read_text(encoding="utf-8"))
    ship, plane = numbers["sizes"]["all"]["classes"]
    assert plane["name"] == NAME and plane["lost"]["wrong class"] == 1
    assert ship["counts"]["background"] == 1 and ship["counts"]["wrong class"] == 1
    assert numbers["sizes"]["small"]["classes"][0]["ap"] is None  # no such object
    assert [one["image"] for one in numbers["worst_images"]] == ["b", "a"]
    assert "comparison" not in numbers and "Compared" not in text


def test_pictures_show_each_error_in_its_color(tmp_path):
    report = report_of()
    second, first = pictures_of((report.write(tmp_path / "e.html", gray)[0]).read_text("utf-8"))
    assert first.shape == (500, 500, 3)
    assert near(first, 130, 160, "found") and near(first, 330, 160, "not found")
    assert near(first, 230, 360, "background")
    assert near(second, 130, 160, "wrong class")
    assert not any(near(first, 420, 420, kind) for kind in COLORS)


def test_comparison_is_on_the_page(tmp_path):
    comparison = compare_results(FOUND, {}, TRUTH, resamples=5)
    report = report_of(comparison=comparison, against="other<folder>")
    page, numbers = report.write(tmp_path / "e.html")
    text = page.read_text("utf-8")
    assert "Compared with other&lt;folder&gt;" in text and "rough guide" in text
    assert json.loads(numbers.read_text("utf-8"))["comparison"]["mean"]["against"] == 0


def test_without_images_the_page_lists_them(tmp_path, caplog):
    images = read_image_of({})
    text = report_of().write(tmp_path / "e.html", images)[0].read_text("utf-8")
    assert "No picture: image a was not found" in text and "no picture of a" in caplog.text
    text = report_of().write(tmp_path / "e.html")[0].read_text("utf-8")
    assert "<img" not in text and "1. b: " in text


@pytest.mark.parametrize("found", [{}, {"ship": task1([])}])
def test_no_labels_and_no_detections(tmp_path, found):
    report = report_of(found, truth_of_squares({"P": []}))
    page, numbers = report.write(tmp_path / "e.html", gray)
    assert "0 images that cost the most AP" in page.read_text("utf-8")
    assert json.loads(numbers.read_text("utf-8"))["sizes"]["all"]["mean"]["ap"] is None


def test_name_of_the_page(tmp_path):
    with pytest.raises(InputError, match=r"`errors` .*e\.json: expected the name of a page"):
        report_of().write(tmp_path / "e.json")
    assert not list(tmp_path.iterdir())


def test_large_image_shows_the_part_with_most_errors():
    """The last window of a side is moved back to the border; positions follow the part."""
    truth = truth_of_squares({"a": [(square(2000, 1500, 50), 0, 0), (square(5, 5), 0, 0),
                                    (square(2100, 1600, 50), 0, 0)]})  # fmt: skip
    analysis = analyze_errors({}, truth)
    (one,) = worst_images(analysis, evaluate({}, truth))
    drawn = draw_errors(np.full((1700, 2200, 3), 90, np.uint8), one, analysis)
    assert drawn.size_wh == (2200, 1700) and drawn.window == (1176, 676, 1024, 1024)
    picture = cv2.imdecode(np.frombuffer(drawn.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert near(picture, 2000 - 1176 + 25, 1500 - 676 + 50, "not found")


def test_small_image_is_enlarged():
    truth = truth_of_squares({"a": [(square(20, 20), 0, 0)]})
    analysis = analyze_errors({}, truth)
    (one,) = worst_images(analysis, evaluate({}, truth))
    drawn = draw_errors(np.full((64, 100, 3), 90, np.uint8), one, analysis)
    picture = cv2.imdecode(np.frombuffer(drawn.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (256, 400, 3) and near(picture, 100, 120, "not found")


@pytest.mark.parametrize(
    ("size_wh", "centers", "window"),
    [
        ((30, 20), [], (0, 0, 30, 20)),
        ((30, 20), [(29, 19), (500, -3)], (0, 0, 30, 20)),
        ((100, 200), [], (0, 0, 100, 100)),
        ((250, 100), [(240, 10), (10, 10), (245, 90)], (150, 0, 100, 100)),
        ((250, 100), [(9999, 9999)], (150, 0, 100, 100)),  # outside: the part at the border
    ],
)
def test_busiest_window(size_wh, centers, window):
    assert busiest_window(size_wh, np.reshape(centers, (-1, 2)), side=100) == window
