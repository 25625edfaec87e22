"""Pages of HTML in one file: text is escaped, and nothing is loaded from elsewhere."""

import base64
from html.parser import HTMLParser

from training.html_pieces import (
    command,
    folded,
    gallery,
    heading,
    page,
    paragraph,
    picture,
    table,
)

NASTY = """<b>"5" & 'x'</b><script>alert(1)</script>"""


class Parsed(HTMLParser):
    """What a browser sees: tags with their attributes, and text; every tag must be closed."""

    VOID = ("meta", "img")

    def __init__(self, document):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(document)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def names(self):
        return {tag for tag, _ in self.tags}


def test_text_of_users_is_no_markup():
    parts = [
        paragraph(NASTY), heading(NASTY), command(NASTY), table([NASTY], [[NASTY]]),
        picture(b"", "png", NASTY), folded(NASTY, ""),
    ]  # fmt: skip
    parsed = Parsed(page(NASTY, parts))
    assert not {"b", "script"} & parsed.names()
    assert parsed.texts.count(NASTY) == 9  # the title is the heading as well
    assert ("img", {"src": "data:image/png;base64,", "alt": NASTY}) in parsed.tags


def test_a_page_holds_its_pictures_and_fits_a_phone():
    data = bytes(range(256))
    parsed = Parsed(page("a", [gallery([picture(data, "jpeg", "b")])]))
    (source,) = [attributes["src"] for tag, attributes in parsed.tags if tag == "img"]
    kind, _, content = source.partition(",")
    assert kind == "data:image/jpeg;base64" and base64.b64decode(content) == data
    viewports = [a for tag, a in parsed.tags if tag == "meta" and a.get("name") == "viewport"]
    assert viewports == [{"name": "viewport", "content": "width=device-width, initial-scale=1"}]


def test_cells_of_a_table():
    parsed = Parsed(table(["a", "b"], [[1, 2.5], ["c", ""]]))
    assert [text for text in parsed.texts if text.strip()] == ["a", "b", "1", "2.5", "c"]
    assert [tag for tag, _ in parsed.tags].count("td") == 4
    assert "td" not in Parsed(table(["a"], [])).names()
