"""The fields and numbers of a text file, found for the whole file at once.

Result and label files hold millions of short decimal numbers such as ``371.3``. Splitting them
and calling ``float`` on each takes longer than all the geometry that follows. Here fields are
found with array operations, and eight digits at a time are turned into a number by the
multiplications of Lemire ("Faster parsing of eight digits", 2018). A decimal of up to 15 digits
is a whole number below 2^53 divided by an exact power of ten, and IEEE division rounds
correctly, so the result is bit by bit what ``float`` gives. All other numbers (an exponent, 16
digits, ``nan``) are left to ``float`` itself.
"""

from __future__ import annotations

import numpy as np

MAX_DIGITS = 15
# Fields turned into numbers together, so that the temporaries stay in the cache.
_AT_ONCE = 1 << 14
_POWERS = 10.0 ** np.arange(MAX_DIGITS + 1)
_NEWLINE, _SPACE, _PLUS, _MINUS, _DOT = b"\n +-."


class NotANumber(ValueError):
    """A field that is no number; `token` is its index in the table."""

    def __init__(self, token: int) -> None:
        super().__init__(f"field {token} is no number")
        self.token = token


class TextTable:
    """Fields of a text, separated by any white space.

    Attributes:
        starts, ends: ``[T]`` byte positions of each field.
        first: ``[L]`` index of the first field of each line.
        count: ``[L]`` fields of each line.
    """

    def __init__(self, data: bytes) -> None:
        if not data.endswith(b"\n"):
            data += b"\n"
        self.data = data
        text = np.frombuffer(data, np.uint8)
        # White space, signs and dots all sort up to the dot: the places that matter.
        self._events = np.flatnonzero(text <= _DOT)
        self._chars = text[self._events]
        spaces = np.flatnonzero(self._chars <= _SPACE)
        ends = self._events[spaces]
        newlines = np.flatnonzero(self._chars[spaces] == _NEWLINE)
        starts = np.empty_like(ends)
        starts[0] = 0
        starts[1:] = ends[:-1] + 1
        inner = np.empty_like(spaces)
        inner[0] = 0
        inner[1:] = spaces[:-1] + 1
        filled = ends > starts
        if filled.all():
            last = newlines + 1
        else:
            last = np.cumsum(filled)[newlines]
            starts, ends = starts[filled], ends[filled]
            inner, spaces = inner[filled], spaces[filled]
        self.starts, self.ends = starts, ends
        # Events inside a field: their first index and number.
        self._inner, self._inner_count = inner, spaces - inner
        self.first = np.concatenate([[0], last[:-1]])
        self.count = last - self.first

    def field(self, token: int) -> str:
        """One field as text."""
        return self.data[self.starts[token] : self.ends[token]].decode()

    def fields(self, first: np.ndarray, last: np.ndarray | None = None) -> list[str]:
        """Fields as text; with ``last`` everything from one field to another of its line."""
        texts = TextCodes()
        codes = self.codes(first, last, texts).tolist()
        return list(map(texts.texts.__getitem__, codes))

    def codes(self, first: np.ndarray, last: np.ndarray | None, known: TextCodes) -> np.ndarray:
        """As `fields`, each as its number in ``known``, where new ones are added."""
        starts = self.starts[first].tolist()
        ends = self.ends[first if last is None else last].tolist()
        data = self.data
        return np.array(
            [known[data[start:end]] for start, end in zip(starts, ends, strict=True)], np.int64
        )

    def numbers(self, tokens: np.ndarray) -> np.ndarray:
        """Fields as float64, in the shape of ``tokens``.

        Raises:
            NotANumber: the first field that ``float`` would not take.
        """
        values = np.empty(tokens.shape)
        flat, flat_tokens = values.reshape(-1), tokens.reshape(-1)
        words = _Words(self.data)
        for start in range(0, len(flat), _AT_ONCE):
            chunk = slice(start, start + _AT_ONCE)
            flat[chunk] = self._numbers(flat_tokens[chunk], words)
        return values

    def _numbers(self, tokens: np.ndarray, words: _Words) -> np.ndarray:
        start, end = self.starts[tokens], self.ends[tokens]
        event, inner = self._inner[tokens], self._inner_count[tokens]
        char = self._chars[event]
        signed = ((char == _MINUS) | (char == _PLUS)) & (self._events[event] == start) & (inner > 0)
        negative = signed & (char == _MINUS)
        start += signed
        event += signed
        inner -= signed
        pointed = (inner == 1) & (self._chars[event] == _DOT)
        point = np.where(pointed, self._events[event], end)
        whole_digits = point - start
        part_digits = end - point - pointed
        digits = whole_digits + part_digits
        plain = ((inner == 0) | pointed) & (digits > 0) & (digits <= MAX_DIGITS)
        whole_digits *= plain
        part_digits *= plain
        whole, whole_good = words.whole_numbers(point, whole_digits)
        part, part_good = words.whole_numbers(end, part_digits)
        scale = _POWERS[part_digits]
        values = (whole * scale + part) / scale
        np.negative(values, out=values, where=negative)
        for k in np.flatnonzero(~(plain & whole_good & part_good)).tolist():
            try:
                values[k] = float(self.field(tokens[k]))
            except ValueError:
                raise NotANumber(int(tokens[k])) from None
        return values


class TextCodes(dict):
    """Bytes -> number, counted up as they appear.

    Attributes:
        texts: number -> text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def __missing__(self, raw: bytes) -> int:
        code = self[raw] = len(self.texts)
        self.texts.append(raw.decode())
        return code


class _Words:
    """The eight bytes before any place of a text, as one number."""

    def __init__(self, data: bytes) -> None:
        padded = b"0" * 8 + data
        # One word for each byte: they overlap, and lie at odd addresses.
        self._words = np.ndarray((len(data) + 1,), "<u8", padded, strides=(1,))

    def whole_numbers(self, ends: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of up to 16 digits that end at a place, and whether all were digits."""
        value, good = self._eight(ends, np.minimum(digits, 8))
        long = np.flatnonzero(digits > 8)
        if len(long):
            high, high_good = self._eight(ends[long] - 8, digits[long] - 8)
            value[long] += high * 1e8
            good[long] &= high_good
        return value, good

    def _eight(self, ends: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        word = self._words[ends]
        word ^= np.uint64(0x3030303030303030)
        # Bytes before the number, at the low end of the word, become zeros.
        shift = (8 * (8 - digits)).astype(np.uint64)
        word >>= shift
        word <<= shift
        good = ((word + np.uint64(0x7676767676767676)) | word) & np.uint64(0x8080808080808080)
        word *= np.uint64(2561)
        word >>= np.uint64(8)
        word &= np.uint64(0x00FF00FF00FF00FF)
        word *= np.uint64(6553601)
        word >>= np.uint64(16)
        word &= np.uint64(0x0000FFFF0000FFFF)
        word *= np.uint64(42949672960001)
        word >>= np.uint64(32)
        return word.astype(np.float64), good == 0


def joined_lines(columns: np.ndarray) -> str:
    """Rows of texts ``[N, C]`` as lines, parted by spaces."""
    count, width = columns.shape
    pieces = np.empty((count, 2 * width), object)
    pieces[:, 0::2] = columns
    pieces[:, 1::2] = " "
    pieces[:, -1] = "\n"
    return "".join(pieces.ravel().tolist())


def float_texts(values: np.ndarray) -> np.ndarray:
    """``str`` of each float, as an array of objects.

    Coordinates are tenths of a pixel as a rule, so that few different ones occur: each of those
    is written once and then looked up.
    """
    values = np.asarray(values, np.float64)
    texts = np.empty(values.shape, object)
    with np.errstate(invalid="ignore", over="ignore"):
        tenths = np.rint(values * 10)
        common = (tenths / 10 == values) & (tenths >= 0) & (tenths < 10 * values.size + 1000)
    # The tenth 0 may be the float -0.0, which is written otherwise.
    common &= ~np.signbit(values)
    number = tenths[common].astype(np.int64)
    table = np.empty(number.max(initial=0) + 1, object)
    used = np.zeros(len(table), bool)
    used[number] = True
    used = np.flatnonzero(used)
    table[used] = list(map(repr, (used / 10).tolist()))
    texts[common] = table[number]
    texts[~common] = list(map(repr, values[~common].tolist()))
    return texts
