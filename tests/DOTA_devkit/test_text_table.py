"""Numbers parsed in bulk are bit for bit those of ``float`` and are written as by ``str``."""

import random

import numpy as np
import pytest

from DOTA_devkit.text_table import NotANumber, TextTable, float_texts

UNUSUAL_NUMBERS = [
    "0", "-0", "-0.0", "+3.25", ".5", "5.", "00012.500", "0.1", "0.2", "0.3", "371.3",
    "123456789", "123456789.123456", "0.582930612650", "0.12345678901234567",
    "1234567890123456", "99999999.99999999", "999999999999999", "0.000000000000001",
    "1e-5", "-1e3", "1E+20", "nan", "inf", "-inf", "1_0",
]  # fmt: skip


def numbers_of(texts: list[str]) -> np.ndarray:
    return TextTable(" ".join(texts).encode()).numbers(np.arange(len(texts)))


def random_numbers(count: int) -> list[str]:
    draw = random.Random(0)
    return [
        repr(round(draw.uniform(-1, 1) * 10 ** draw.randint(0, 8), draw.randint(0, 12)))
        for _ in range(count)
    ]


@pytest.mark.parametrize("texts", [UNUSUAL_NUMBERS, random_numbers(20_000)])
def test_numbers_equal_float(texts):
    values, expected = numbers_of(texts), np.array([float(text) for text in texts])
    np.testing.assert_array_equal(values.view(np.int64), expected.view(np.int64))


@pytest.mark.parametrize(
    "text", ["a", "1.2.3", "--1", "1-2", "12a", ".", "-", "+", "-.", "1,5", "0x10", "1:2", "1/2"]
)
def test_numbers_rejects_other_text(text):
    with pytest.raises(NotANumber) as caught:
        numbers_of(["1", text, "2"])
    assert caught.value.token == 1


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", [[]]),
        (b"\n", [[]]),
        (b"a", [["a"]]),
        (b"a b\nc", [["a", "b"], ["c"]]),
        (b"  a\t\tb \r\n\r\n c\r\n", [["a", "b"], [], ["c"]]),
        (b"a.b -c\n\n\n1.5\n", [["a.b", "-c"], [], [], ["1.5"]]),
    ],
)
def test_fields_of_lines(data, lines):
    table = TextTable(data)
    found = [
        table.fields(np.arange(first, first + count))
        for first, count in zip(table.first, table.count, strict=True)
    ]
    assert found == lines


def test_fields_span_keeps_text_between():
    table = TextTable(b"my  image 1 2\n")
    assert table.fields(np.array([0]), np.array([1])) == ["my  image"]


def test_float_texts_equal_str():
    rng = np.random.default_rng(0)
    values = np.concatenate([
        [0.0, -0.0, 1e-5, 1e16, 1e22, 123456.7, -3.1, np.nan, np.inf, 0.1 + 0.2, 371.3 + 1000],
        rng.uniform(0, 1000, 2000).round(1) + rng.integers(0, 4000, 2000),
        rng.uniform(-10, 10, 500),
    ])  # fmt: skip
    assert float_texts(values).tolist() == [str(value) for value in values.tolist()]
    assert float_texts(np.zeros((0, 3))).shape == (0, 3)
    assert float_texts(np.array([[1.5], [2.0]])).tolist() == [["1.5"], ["2.0"]]
