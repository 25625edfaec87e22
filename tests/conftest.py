"""What the tests share: the folder of real data and recorded outputs, absent on a bare clone."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with fixtures, real images and weights; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no recorded outputs at {SHARED}")
    return SHARED
