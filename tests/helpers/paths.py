"""The project's root folder, and the folder of recorded outputs and real data beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SHARED = ROOT.parent / "shared"
