"""The built-in sample set: stylised aerial scenes with exact labels, drawn from a fixed seed."""

from datasets.sample.folder import CLASSES, make_sample

__all__ = ["CLASSES", "make_sample"]
