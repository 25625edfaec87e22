"""XML as annotation tools write it: line numbers in errors, odd bytes around the document."""

import time
from itertools import pairwise

import pytest

from DOTA_devkit.errors import InputError
from DOTA_devkit.xml_tree import read_xml

BODY = "<a>\n <b>\n  <name>佩里级</name>\n  <n> 1.5 </n>\n </b>\n <b/>\n</a>"


@pytest.mark.parametrize(
    "data",
    [
        BODY.encode(),
        b"\xef\xbb\xbf" + BODY.encode(),  # byte order mark
        b"\xef\xbb\xbf   \xef\xbb\xbf" + BODY.encode(),  # two, with spaces between them
        ('<?xml version="1.0" encoding="utf-8"?>' + BODY).encode(),
        (
            "  " + '<?xml version="1.0" encoding="UTF-8"?>' + BODY
        ).encode(),  # spaces before the declaration
        ('<?xml version="1.0" encoding="gbk"?>' + BODY).encode("gbk"),
        BODY.encode("gb18030"),  # undeclared
        ('<?xml version="1.0" encoding="gb2312"?>' + BODY).encode(),  # declares a wrong encoding
        BODY.encode("utf-16"),
        (BODY + "\n   \n").encode(),
    ],
)
def test_read_xml_tolerates_odd_encodings(tmp_path, data):
    path = tmp_path / "x.xml"
    path.write_bytes(data)
    root = read_xml(path)
    assert root.tag == "a"
    assert [b.line for b in root.iter("b")] == [2, 6]
    first = root.required("b")
    assert first.required_text("name") == "佩里级"
    assert first.number("n") == 1.5


def test_read_xml_counts_lines_from_the_start(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text("\n\n  " + BODY, encoding="utf-8")
    assert [b.line for b in read_xml(path).iter("b")] == [4, 8]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        (" \n\t ", "the file is empty"),
        ("<a>\n<b>\n</a>", r"x\.xml:3: not well-formed XML \(mismatched tag\)"),
        ("\n\n<a>\n", r"x\.xml:4: not well-formed"),  # the lines before the root count
        ("no xml", r"x\.xml:1: not well-formed"),
        ("<a/><b/>", r"x\.xml:1: not well-formed XML \(junk after document"),
    ],
)
def test_read_xml_rejects_broken_documents(tmp_path, text, message):
    path = tmp_path / "x.xml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_xml(path)


BOMB = "<!DOCTYPE a [" + "".join(
    f'<!ENTITY {after} "{10 * ("&" + name + ";")}">' for name, after in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("<a>\n" + 5000 * "<o>" + 5000 * "</o>" + "</a>", ":2: expected at most 100 elements"),
        ("\n<a>" + 500_000 * "<o>", ":2: expected at most 100 elements"),
        (
            BOMB.replace("[", '[\n<!ENTITY a "lol">') + "]>\n<a>&i;</a>",
            ":2: expected an annotation, got the declaration of the entity 'a'",
        ),
        *(
            (f'\n<?xml version="1.0" encoding="{name}"?><a>\\ud800</a>', f":2: .*, got '{name}'")
            for name in ("undefined", "punycode", "unicode_escape", "idna", "rot13", "hex", "utf-7")
        ),
    ],
)
def test_hostile_documents_are_refused_at_once(tmp_path, data, message):
    path = tmp_path / "x.xml"
    path.write_text(data)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"x\.xml" + message):
        read_xml(path)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("no-such-name", "utf-8"), ("utf-16", "utf-8"), ("windows-1252", "cp1252"), ("big5", "big5")],
)
def test_declared_encodings(tmp_path, name, encoding):
    text = "é" if encoding == "cp1252" else "中"
    path = tmp_path / "x.xml"
    path.write_bytes(f'<?xml version="1.0" encoding="{name}"?><a>{text}</a>'.encode(encoding))
    assert read_xml(path).text == text


def test_long_texts_and_deep_elements(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text("<a>" + 98 * "<b>" + 200_000 * "x&amp;" + 98 * "</b>" + "<b/></a>")
    found = list(read_xml(path).iter("b"))
    assert len(found) == 99 and found[97].text == 200_000 * "x&"


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ("", r":2: <b> has no <n>"),
        ("<n></n>", r":3: <n> is empty"),
        ("<n>nan</n>", r":3: <n> is 'nan', not a number"),
        ("<n>-inf</n>", r":3: <n> is '-inf', not a number"),
        ("<n>1,5</n>", r":3: <n> is '1,5', not a number"),
    ],
)
def test_number_errors_name_file_and_line(tmp_path, inner, message):
    path = tmp_path / "x.xml"
    path.write_text(f"<a>\n<b>\n{inner}</b></a>", encoding="utf-8")
    element = read_xml(path).required("b")
    with pytest.raises(InputError, match=message):
        element.number("n")


def test_number_default_for_absent_and_empty_only(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text("<a><b/><c></c><d>nan</d></a>", encoding="utf-8")
    root = read_xml(path)
    assert root.number("none", 7) == 7
    assert root.number("c", 7) == 7
    with pytest.raises(InputError):
        root.number("d", 7)
