"""Where the project lies, and the folder of real data beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SHARED = ROOT.parent / "shared"
