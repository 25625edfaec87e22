"""Rows of scores as a text table and as csv; missing values are nan."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from DOTA_devkit.files import replacing
from DOTA_devkit.tables import format_table

Row = dict[str, str | int | float]
"""Column -> value. Scores are fractions, not percent."""


def format_rows(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Format rows as a text table with rules below the header and above the last row.

    Args:
        rows: at least one; the last one is the summary.
        columns: the columns to show, in this order.

    Returns:
        The table: scores in percent, score thresholds as they are, "-" for missing values.
    """
    cells = [[_cell(column, row.get(column)) for column in columns] for row in rows]
    header, *body, summary = format_table([columns, *cells]).split("\n")
    # The rightmost column is flush right, so every line has the width of the table.
    rule = "-" * len(header)
    return "\n".join([header, rule, *body, rule, summary])


def _cell(column: str, value: str | int | float | None) -> str:
    if value is None or is_nan(value):
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}" if column == "at score" else f"{100 * value:.2f}"
    return str(value)


def write_rows(rows: Sequence[Row], path: Path | str) -> None:
    """Write rows as csv; the first one has all columns, and missing values stay empty."""
    with replacing(path) as file:
        writer = csv.DictWriter(file, list(rows[0]), restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if is_nan(value) else value for key, value in row.items()})


def is_nan(value: object) -> bool:
    """Whether a value of a row is missing."""
    return isinstance(value, float) and math.isnan(value)
