"""The built-in sample set: stylized aerial scenes with exact labels, drawn from a fixed seed.

Code that draws or stores it belongs here; it is read like any other dataset in DOTA layout.
"""

from datasets.sample.folder import CLASSES, make_sample, write_scenes

__all__ = ["CLASSES", "make_sample", "write_scenes"]
