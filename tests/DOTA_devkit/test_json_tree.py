"""JSON values whose errors name the place."""

import pytest

from DOTA_devkit.errors import InputError
from DOTA_devkit.json_tree import read_json
from DOTA_devkit.number_ranges import SCORE


def document(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_json(path)


def test_values(tmp_path):
    root = document(tmp_path, '\ufeff{"a": [{"b": " x "}, 2.5, null], "p": [[1, 2.5, 9], [3, 4]]}')
    first, number, nothing = root.required("a").elements()
    assert first.required("b").text() == "x" and first.required("b").place == "a[0].b"
    assert number.number() == 2.5 and nothing.value is None
    assert root.find("z") is None
    assert root.required("p").points().tolist() == [[1, 2.5], [3, 4]]
    assert document(tmp_path, '{"p": []}').required("p").points().shape == (0, 2)
    assert document(tmp_path, '{"a": "名"}'.encode("gb18030")).required("a").text() == "名"


@pytest.mark.parametrize(
    ("text", "read", "message"),
    [
        ("{}", lambda v: v.required("a"), "a.json: expected 'a', which is absent"),
        ('{"a": null}', lambda v: v.required("a"), "a.json: expected 'a', which is absent"),
        ("[1]", lambda v: v.find("a"), "a.json: expected an object, got a list"),
        ("[1]", lambda v: v.elements()[0].elements(), r"a.json: \[0\]: expected a list, got 1"),
        ('[" "]', lambda v: v.elements()[0].text(), r"\[0\]: expected a text, got ' '"),
        (r'["a\u0001"]', lambda v: v.elements()[0].text(), "of one line without control"),
        (r'["a\nb"]', lambda v: v.elements()[0].text(), "of one line without control"),
        (r'["\ud800"]', lambda v: v.elements()[0].text(), "of one line without control"),
        ("[true]", lambda v: v.elements()[0].number(), "pixels, got true or false"),
        ('["1"]', lambda v: v.elements()[0].number(), "pixels, got '1'"),
        ("[NaN]", lambda v: v.elements()[0].number(), "pixels, got nan"),
        ("[1e999]", lambda v: v.elements()[0].number(), "pixels, got inf"),
        ("[1.5]", lambda v: v.elements()[0].number(SCORE), "a number from 0 to 1, got 1.5"),
        ("[1.5]", lambda v: v.elements()[0].key(), r"an id \(an integer or a text\), got 1.5"),
        (f"[{'9' * 400}]", lambda v: v.elements()[0].number(), r"\[0\]: expected a number"),
        (f"[{'9' * 400}, 1]", lambda v: v.numbers(), r"\[0\]: expected a number"),
        ("[1, 2, null]", lambda v: v.numbers(), r"\[2\]: expected a number"),
        ("[[1, 2], [3]]", lambda v: v.points(), r"\[1\]: expected x and y, got 1 numbers"),
    ],
)
def test_invalid_values_are_reported_with_their_place(tmp_path, text, read, message):
    with pytest.raises(InputError, match=message):
        read(document(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.json:1: expected a JSON document"),
        ("{\n1: 2}", "a.json:2: expected a JSON document"),
        ("[" * 200_000, "nested too deep"),
        ("[" + "9" * 5000 + "]", "an integer of over 4300 digits"),
        (b"\xff\xff\xff", "a.json:1: expected UTF-8 text"),
    ],
)
def test_documents_that_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        document(tmp_path, text)
