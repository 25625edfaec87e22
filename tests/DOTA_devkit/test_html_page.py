"""Pages: escaped texts, tables, embedded pictures, nothing from elsewhere."""

import base64
from html.parser import HTMLParser

from DOTA_devkit.html_page import element, picture, piece, table, write_page


class Elements(HTMLParser):
    """Collects the tags, attributes and texts of a page, and whether its elements are nested."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_texts_are_escaped():
    text = '<script>alert("&")</script>'
    page = Elements(element("p", text, title=text))
    assert page.tags == [("p", {"title": text})] and "".join(page.texts) == text


def test_control_characters_and_bytes_that_are_not_utf8_are_shown():
    assert piece("a\x1b\udcff") == "a\\x1b\\udcff"


def test_pieces_stay_as_they_are():
    assert element("p", element("b", "x < y"), " z") == "<p><b>x &lt; y</b> z</p>"
    assert piece(element("br")) == "<br>"


def test_table():
    page = Elements(table(["class", "AP"], [["a<b", 1.5], ["c", element("i", "-")]]))
    assert not page.open
    assert page.texts == ["class", "AP", "a<b", "1.5", "c", "-"]
    assert [tag for tag, _ in page.tags].count("tr") == 3
    assert ("div", {"class": "scroll"}) in page.tags


def test_empty_table():
    assert "<tbody></tbody>" in table(["class"], [])


def test_picture_is_embedded():
    ((tag, attributes),) = Elements(picture(b"\x00\xff", "P1")).tags
    assert tag == "img" and attributes["alt"] == "P1"
    head, data = attributes["src"].split(",")
    assert head == "data:image/jpeg;base64" and base64.b64decode(data) == b"\x00\xff"


def test_page(tmp_path):
    path = tmp_path / "new" / "page.html"
    write_page(path, "Errors of <ship>", element("p", "飞机"))
    text = path.read_text(encoding="utf-8")
    page = Elements(text)
    assert not page.open and text.startswith("<!doctype html>")
    assert page.texts.count("Errors of <ship>") == 2 and "飞机" in page.texts
    names = [tag for tag, _ in page.tags]
    assert "script" not in names and "link" not in names and "http" not in text
    assert any("width=device-width" in one.get("content", "") for _, one in page.tags)
