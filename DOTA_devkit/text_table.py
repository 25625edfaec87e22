"""Parse and write the numbers of text files with array operations.

Result and label files contain millions of short decimal numbers such as ``371.3``. Splitting the
lines and calling ``float`` on each field takes longer than all the geometry that follows. Here
fields are found with array operations, and eight digits at a time are turned into a number by
the multiplications of Lemire ("Faster parsing of eight digits", 2018). A decimal of up to 15
digits is an integer below 2^53 divided by an exact power of ten, and IEEE division rounds
correctly, so the result is bit for bit that of ``float``. All other numbers (with an exponent,
with 16 digits, ``nan``) are left to ``float`` itself.
"""

from __future__ import annotations

import numpy as np

MAX_DIGITS = 15
"""Decimal digits of a number that is parsed without ``float``."""

# Fields parsed at a time, so that the temporaries stay in the cache.
_FIELDS_PER_STEP = 1 << 14
_POWERS_OF_TEN = 10.0 ** np.arange(MAX_DIGITS + 1)
_NEWLINE, _SPACE, _PLUS, _MINUS, _DOT = b"\n +-."


class NotANumber(ValueError):
    """A field is not a number.

    Attributes:
        token: index of the field in the table.
    """

    def __init__(self, token: int) -> None:
        super().__init__(f"field {token} is not a number")
        self.token = token


class TextTable:
    """The fields of a text, separated by any white space.

    Attributes:
        data: the text, with a line break at the end.
        starts: ``[T]``, position of the first byte of each field.
        ends: ``[T]``, position behind the last byte of each field.
        first: ``[L]``, index of the first field of each line.
        count: ``[L]``, number of fields of each line.
    """

    def __init__(self, data: bytes) -> None:
        if not data.endswith(b"\n"):
            data += b"\n"
        self.data = data
        text = np.frombuffer(data, np.uint8)
        # All bytes up to the dot: these include white space, signs and dots.
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
        # Signs and dots inside each field: the index of the first one and how many there are.
        self._inner, self._inner_count = inner, spaces - inner
        self.first = np.concatenate([[0], last[:-1]])
        self.count = last - self.first

    def field(self, token: int) -> str:
        """Decode one field."""
        return self.data[self.starts[token] : self.ends[token]].decode()

    def fields(self, first: np.ndarray, last: np.ndarray | None = None) -> list[str]:
        """Decode fields.

        Args:
            first: ``[N]``, indices of fields.
            last: ``[N]``, indices of later fields of the same lines; None: the same fields.

        Returns:
            ``[N]``, the text from the start of the first field to the end of the last one.
        """
        texts = TextCodes()
        codes = self.codes(first, last, texts).tolist()
        return list(map(texts.texts.__getitem__, codes))

    def codes(self, first: np.ndarray, last: np.ndarray | None, known: TextCodes) -> np.ndarray:
        """Encode fields as integers, one for each different text.

        Args:
            first: see `fields`.
            last: see `fields`.
            known: the codes; new texts are added.

        Returns:
            ``[N]`` int64.
        """
        starts = self.starts[first].tolist()
        ends = self.ends[first if last is None else last].tolist()
        data = self.data
        return np.array(
            [known[data[start:end]] for start, end in zip(starts, ends, strict=True)], np.int64
        )

    def numbers(self, tokens: np.ndarray) -> np.ndarray:
        """Parse fields as float64.

        Args:
            tokens: indices of fields, in any shape.

        Returns:
            The numbers, in the shape of ``tokens``.

        Raises:
            NotANumber: for the first field that ``float`` does not accept.
        """
        values = np.empty(tokens.shape)
        flat, flat_tokens = values.reshape(-1), tokens.reshape(-1)
        words = _Words(self.data)
        for start in range(0, len(flat), _FIELDS_PER_STEP):
            chunk = slice(start, start + _FIELDS_PER_STEP)
            flat[chunk] = self._numbers(flat_tokens[chunk], words)
        return values

    def _numbers(self, tokens: np.ndarray, words: _Words) -> np.ndarray:
        """`numbers` of one step."""
        start, end = self.starts[tokens], self.ends[tokens]
        event, inner = self._inner[tokens], self._inner_count[tokens]
        char = self._chars[event]
        signed = ((char == _MINUS) | (char == _PLUS)) & (self._events[event] == start) & (inner > 0)
        negative = signed & (char == _MINUS)
        start += signed
        event += signed
        inner -= signed
        has_point = (inner == 1) & (self._chars[event] == _DOT)
        point = np.where(has_point, self._events[event], end)
        integer_digits = point - start
        fraction_digits = end - point - has_point
        digits = integer_digits + fraction_digits
        plain = ((inner == 0) | has_point) & (digits > 0) & (digits <= MAX_DIGITS)
        integer_digits *= plain
        fraction_digits *= plain
        integer, integer_valid = words.integers(point, integer_digits)
        fraction, fraction_valid = words.integers(end, fraction_digits)
        scale = _POWERS_OF_TEN[fraction_digits]
        values = (integer * scale + fraction) / scale
        np.negative(values, out=values, where=negative)
        for k in np.flatnonzero(~(plain & integer_valid & fraction_valid)).tolist():
            try:
                values[k] = float(self.field(tokens[k]))
            except ValueError:
                raise NotANumber(int(tokens[k])) from None
        return values


class TextCodes(dict):
    """A dict from the bytes of a text to its code, an integer assigned at first look-up.

    Attributes:
        texts: code -> text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def __missing__(self, raw: bytes) -> int:
        code = self[raw] = len(self.texts)
        self.texts.append(raw.decode())
        return code


class _Words:
    """The eight bytes before any position of a text, as one uint64."""

    def __init__(self, data: bytes) -> None:
        padded = b"0" * 8 + data
        # One word per byte: the words overlap and are not aligned.
        self._words = np.ndarray((len(data) + 1,), "<u8", padded, strides=(1,))

    def integers(self, ends: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parse up to 16 digits before each end; also return whether all of them are digits."""
        value, valid = self._eight_digits(ends, np.minimum(digits, 8))
        long = np.flatnonzero(digits > 8)
        if len(long):
            high, high_valid = self._eight_digits(ends[long] - 8, digits[long] - 8)
            value[long] += high * 1e8
            valid[long] &= high_valid
        return value, valid

    def _eight_digits(self, ends: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        word = self._words[ends]
        word ^= np.uint64(0x3030303030303030)
        # Bytes before the number, at the low end of the word, become zero.
        shift = (8 * (8 - digits)).astype(np.uint64)
        word >>= shift
        word <<= shift
        invalid = ((word + np.uint64(0x7676767676767676)) | word) & np.uint64(0x8080808080808080)
        word *= np.uint64(2561)
        word >>= np.uint64(8)
        word &= np.uint64(0x00FF00FF00FF00FF)
        word *= np.uint64(6553601)
        word >>= np.uint64(16)
        word &= np.uint64(0x0000FFFF0000FFFF)
        word *= np.uint64(42949672960001)
        word >>= np.uint64(32)
        return word.astype(np.float64), invalid == 0


def joined_lines(columns: np.ndarray) -> str:
    """Join rows of texts ``[N, C]`` to lines of fields separated by spaces."""
    count, width = columns.shape
    pieces = np.empty((count, 2 * width), object)
    pieces[:, 0::2] = columns
    pieces[:, 1::2] = " "
    pieces[:, -1] = "\n"
    return "".join(pieces.ravel().tolist())


def float_texts(values: np.ndarray) -> np.ndarray:
    """Write each float as ``str`` does.

    Coordinates are usually tenths of a pixel, so that few different ones occur: each of these is
    formatted once and then looked up.

    Args:
        values: floats of any shape.

    Returns:
        The texts, an object array of the same shape.
    """
    values = np.asarray(values, np.float64)
    texts = np.empty(values.shape, object)
    with np.errstate(invalid="ignore", over="ignore"):
        tenths = np.rint(values * 10)
        common = (tenths / 10 == values) & (tenths >= 0) & (tenths < 10 * values.size + 1000)
    # 0 tenths may be the float -0.0, which is written differently.
    common &= ~np.signbit(values)
    index = tenths[common].astype(np.int64)
    table = np.empty(index.max(initial=0) + 1, object)
    used = np.zeros(len(table), bool)
    used[index] = True
    used = np.flatnonzero(used)
    table[used] = list(map(repr, (used / 10).tolist()))
    texts[common] = table[index]
    texts[~common] = list(map(repr, values[~common].tolist()))
    return texts
