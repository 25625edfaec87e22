"""Pages: escaped texts, tables, embedded pictures, nothing from elsewhere."""

import base64
import re
from html.parser import HTMLParser

import pytest

from DOTA_devkit.html_page import (
    Html,
    element,
    figure,
    folded,
    gallery,
    page,
    picture,
    piece,
    prose,
    table,
    write_page,
)

ODD = "<img src=x onerror=alert(1)>\"'&</script><b>\x1b[31m\udcff"
SHOWN = "<img src=x onerror=alert(1)>\"'&</script><b>\\x1b[31m\\udcff"


class Parsed(HTMLParser):
    """What a browser sees: tags with their attributes, and texts; elements must be nested."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip("\n"):  # not the line breaks between blocks
            self.texts.append(data.strip("\n"))

    def count(self, name):
        return [tag for tag, _ in self.tags].count(name)

    def attributes_of(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def test_texts_are_escaped():
    text = '<script>alert("&")</script>'
    parsed = Parsed(element("p", text, title=text))
    assert parsed.tags == [("p", {"title": text})] and "".join(parsed.texts) == text


def test_control_characters_and_bytes_that_are_not_utf8_are_shown():
    assert piece("a\x1b\udcff") == "a\\x1b\\udcff"
    assert piece("") == "" and piece(1.5) == "1.5"


def test_pieces_stay_as_they_are():
    assert element("p", element("b", "x < y"), " z") == "<p><b>x &lt; y</b> z</p>"
    assert piece(element("br")) == "<br>"
    assert type(element("p") + "<") is str  # a text again, which is escaped


@pytest.mark.parametrize(
    "built",
    [
        element("p", ODD), table([ODD], []), table(["a"], [[ODD]]), table(["a", "b"], [["c", ODD]]),
        prose(ODD), figure(element("br"), ODD), gallery([ODD]), folded(ODD), folded("a", ODD),
        page("a", ODD),
    ],
)  # fmt: skip
def test_names_are_escaped_in_the_page(built):
    assert isinstance(built, Html)
    parsed = Parsed(built)
    assert SHOWN in parsed.texts and not parsed.count("img") and not parsed.count("b")
    built.encode("utf-8")


def test_names_in_attributes_and_titles_are_escaped():
    parsed = Parsed(page(ODD, picture(b"", ODD, "png")))
    assert parsed.attributes_of("img") == [{"src": "data:image/png;base64,", "alt": SHOWN}]
    assert parsed.texts.count(SHOWN) == 2  # the title is the heading as well


def test_table():
    parsed = Parsed(table(["class", "AP"], [["a<b", 1.5], ["c", element("i", "-")]]))
    assert parsed.texts == ["class", "AP", "a<b", "1.5", "c", "-"]
    assert (parsed.count("tr"), parsed.count("th"), parsed.count("td")) == (3, 4, 2)
    assert [one["scope"] for one in parsed.attributes_of("th")] == ["col", "col", "row", "row"]
    assert parsed.tags[0] == ("div", {"class": "scroll"})


@pytest.mark.parametrize("header", [["class"], []])
def test_empty_table(header):
    assert "<tbody></tbody>" in table(header, [])
    assert Parsed(table(header, [])).texts == header


def test_picture_is_embedded():
    data = bytes(range(256))
    ((tag, attributes),) = Parsed(picture(data, "P1")).tags
    assert tag == "img" and attributes.keys() == {"src", "alt"} and attributes["alt"] == "P1"
    head, content = attributes["src"].split(",")
    assert head == "data:image/jpeg;base64" and base64.b64decode(content) == data
    (attributes,) = Parsed(picture(data, "P1", size_wh=(30, 20))).attributes_of("img")
    assert (attributes["width"], attributes["height"]) == ("30", "20")


def test_pictures_side_by_side():
    parsed = Parsed(gallery(figure(picture(b"", name), f"of {name}") for name in "ab"))
    assert [tag for tag, _ in parsed.tags] == ["div", *["figure", "img", "figcaption"] * 2]
    assert parsed.texts == ["of a", "of b"] and not Parsed(gallery([])).texts


@pytest.mark.parametrize(("opened", "attributes"), [(False, {}), (True, {"open": ""})])
def test_folded_content(opened, attributes):
    parsed = Parsed(folded("more", element("p", "text"), " and text", opened=opened))
    assert parsed.tags == [("details", attributes), ("summary", {}), ("p", {})]
    assert parsed.texts == ["more", "text", " and text"]


def test_page_loads_nothing_and_fits_a_phone():
    text = page("title", picture(b"\xff", "a"))
    assert text.startswith("<!doctype html>\n")
    assert not re.search(r"https?:|url\(|@import|<script|<link", text)
    metas = Parsed(text).attributes_of("meta")
    assert {"charset": "utf-8"} in metas
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in metas
    (policy,) = [one["content"] for one in metas if "http-equiv" in one]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_style_sheet_has_all_used_classes():
    """What the functions and the pages name is in the style sheet."""
    style = page("title").partition("<style>")[2].partition("</style>")[0]
    for name in ("scroll", "gallery", "prose", "bar", "key"):
        assert re.search(rf"^\.{name} ", style, re.MULTILINE), name
    for name in ("error", "warning", "note", "good"):
        assert f"section.{name} " in style
    assert style.count("{") == style.count("}")


def test_page_is_written(tmp_path):
    path = tmp_path / "new" / "page.html"
    write_page(path, "Errors of <ship>", element("p", "飞机"))
    assert path.read_text(encoding="utf-8") == page("Errors of <ship>", element("p", "飞机"))
    parsed = Parsed(path.read_text(encoding="utf-8"))
    assert parsed.texts.count("Errors of <ship>") == 2 and "飞机" in parsed.texts
