"""Label files and objects of tests."""

import json

import numpy as np

from DOTA_devkit.converters.annotation import ObjectRecord

SQUARE = [[10, 20], [30, 20], [30, 60], [10, 60]]
FLAT = [10, 20, 30, 20, 30, 60, 10, 60]


def put(tmp_path, name, content):
    """Write a text, or a document as JSON, and return its path."""
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def one(corners, name="ship", **fields):
    return ObjectRecord(name, np.array(corners, float), fields.pop("difficult", 0), 1, **fields)
