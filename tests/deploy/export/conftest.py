"""Tests of exports trace each network once."""

import pytest


@pytest.fixture(autouse=True)
def traces_are_shared(traced_once):
    """Share the traces among all tests."""
