"""JSON values that know their place in the file, so that every error can name it.

Python's parser gives no line numbers; the place is the path of keys and positions that leads to
the value, such as ``shapes[3].points``.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from DOTA_devkit.errors import InputError
from DOTA_devkit.formats.text import read_utf8
from DOTA_devkit.number_ranges import COORDINATE, NumberRange

# Characters that no text file or XML document can hold; half a surrogate pair is one of them.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}


class JsonValue:
    """One value of a document.

    Attributes:
        path: the file.
        place: keys and positions from the top of the document, empty for the document itself.
        value: the value as `json` gives it.
    """

    __slots__ = ("path", "place", "value")

    def __init__(self, path: Path, place: str, value: Any) -> None:
        self.path = path
        self.place = place
        self.value = value

    @property
    def where(self) -> str:
        """``file: place`` of the value, for error messages."""
        return f"{self.path}: {self.place}" if self.place else str(self.path)

    def error(self, expected: str) -> InputError:
        """Build the error for a value that is not what was expected."""
        kind = next((text for type_, text in _KINDS.items() if type(self.value) is type_), None)
        found = repr(self.value)[:40] if kind is None or isinstance(self.value, str) else kind
        return InputError(f"{self.where}: expected {expected}, got {found}")

    def find(self, key: str) -> JsonValue | None:
        """Return the member called `key` of an object, None if it is absent or null.

        Raises:
            InputError: the value is not an object.
        """
        if not isinstance(self.value, dict):
            raise self.error("an object")
        value = self.value.get(key)
        return None if value is None else JsonValue(self.path, self._under(key), value)

    def required(self, key: str) -> JsonValue:
        """Return the member called `key` of an object.

        Raises:
            InputError: the value is not an object, or has no such member.
        """
        member = self.find(key)
        if member is None:
            raise InputError(f"{self.where}: expected {key!r}, which is absent")
        return member

    def member_names(self) -> list[str]:
        """Return the names of the members of an object.

        Raises:
            InputError: the value is not an object.
        """
        if not isinstance(self.value, dict):
            raise self.error("an object")
        return list(self.value)

    def elements(self) -> list[JsonValue]:
        """Return the elements of a list.

        Raises:
            InputError: the value is not a list.
        """
        if not isinstance(self.value, list):
            raise self.error("a list")
        return [
            JsonValue(self.path, f"{self.place}[{index}]", value)
            for index, value in enumerate(self.value)
        ]

    def text(self) -> str:
        """Return a text of one line that is not blank, without the blanks around it.

        Raises:
            InputError: the value is anything else, or has control characters.
        """
        text = self.value.strip() if isinstance(self.value, str) else ""
        if not text:
            raise self.error("a text")
        if UNWRITABLE.search(text) or len(text.splitlines()) > 1:
            raise self.error("a text of one line without control characters")
        return text

    def number(self, allowed: NumberRange = COORDINATE) -> float:
        """Return a number.

        Args:
            allowed: the range of the number.

        Raises:
            InputError: the value is no number, or out of the range.
        """
        try:
            number = float(self.value) if type(self.value) in (int, float) else math.nan
        except OverflowError:
            number = math.inf
        if not allowed.holds(number):
            raise self.error(str(allowed))
        return number

    def key(self) -> int | str:
        """Return an id: an integer or a text.

        Raises:
            InputError: the value is anything else.
        """
        if type(self.value) not in (int, str):
            raise self.error("an id (an integer or a text)")
        return self.value

    def numbers(self) -> np.ndarray:
        """Return a list of coordinates as float64.

        Raises:
            InputError: the value is no list, or an element is no number of `COORDINATE`.
        """
        numbers = _plain_numbers(self.value)
        if numbers is None:
            return np.array([element.number() for element in self.elements()])
        return numbers

    def points(self) -> np.ndarray:
        """Return a list of points, ``[[x, y], ...]``, as ``[K, 2]`` float64.

        Raises:
            InputError: the value is anything else.
        """
        if isinstance(self.value, list) and all(
            type(row) is list and len(row) >= 2 for row in self.value
        ):
            points = _plain_numbers([value for row in self.value for value in row[:2]])
            if points is not None:
                return points.reshape(-1, 2)
        rows = []  # the way that finds the wrong value
        for element in self.elements():
            row = element.numbers()
            if len(row) < 2:
                raise InputError(f"{element.where}: expected x and y, got {len(row)} numbers")
            rows.append(row[:2])
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def _under(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key


def _plain_numbers(values: object) -> np.ndarray | None:
    """Return a list of coordinates as float64 if it is one, else None."""
    if not isinstance(values, list) or not {int, float}.issuperset(map(type, values)):
        return None
    try:
        numbers = np.array(values, dtype=np.float64)
    except OverflowError:
        return None
    return numbers if COORDINATE.holds(numbers).all() else None


def read_json(path: Path | str) -> JsonValue:
    """Read a JSON file in UTF-8, UTF-16 with a byte order mark, or GB 18030.

    Raises:
        InputError: the file is no JSON document, is nested too deeply, or has an integer of
            thousands of digits; the message has the file and, if it is known, the line.
        OSError: the file cannot be read.
    """
    path = Path(path)
    try:
        return JsonValue(path, "", json.loads(read_utf8(path)))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: expected a JSON document: {error.msg}") from None
    except RecursionError:
        raise InputError(
            f"{path}: expected a label file, got JSON that is nested too deep"
        ) from None
    except InputError:
        raise
    except ValueError:  # Python refuses to parse it, as that takes quadratic time
        raise InputError(
            f"{path}: expected a label file, got an integer of over 4300 digits"
        ) from None
