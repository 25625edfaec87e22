"""Pages are complete in themselves, and names cannot become a part of them."""

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np

from DOTA_devkit.doctor.html_pieces import escaped, listing, page, picture, table

ODD = "<img src=x onerror=alert(1)>\"'&\x1b[31m\ud800"


class Reader(HTMLParser):
    """Collects tags and texts, and checks that each opened tag is closed."""

    EMPTY = ("meta", "img")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_text_is_escaped_everywhere():
    image = np.zeros((4, 6, 3), np.uint8)
    body = table([ODD], [[ODD], [1]]) + listing([ODD]) + picture(image, ODD)
    read = Reader(page(ODD, body))
    assert [tag for tag, _ in read.tags].count("img") == 1
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert read.text.count("onerror=alert(1)>\"'&\\x1b[31m\\ud800") == 6
    page(ODD, body).encode("utf-8")


def test_nothing_is_loaded():
    text = page("title", picture(np.zeros((4, 6, 3), np.uint8), "a"))
    assert not re.search(r"https?:|url\(|<script|<link", text)
    assert "width=device-width" in text and "default-src 'none'" in text


def test_picture_is_embedded():
    image = np.full((20, 30, 3), (10, 200, 90), np.uint8)
    (_, attributes) = Reader(picture(image, "a")).tags[1]
    data = base64.b64decode(attributes["src"].removeprefix("data:image/jpeg;base64,"))
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == image.shape
    assert np.abs(decoded.astype(int) - image).max() <= 3
    assert (attributes["width"], attributes["height"]) == ("30", "20")


def test_empty_parts():
    assert escaped("") == ""
    assert Reader(table([], []) + listing([])).text == "\n"
