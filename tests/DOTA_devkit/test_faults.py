"""Errors of many files in one message."""

import pytest

from DOTA_devkit.errors import InputError
from DOTA_devkit.faults import MAX_SHOWN_FAULTS, map_collecting, shorten_faults


@pytest.mark.parametrize("count", [0, 1, MAX_SHOWN_FAULTS])
def test_shorten_faults_keeps_up_to_the_limit(count):
    faults = [f"fault {k}" for k in range(count)]
    assert shorten_faults(faults) == faults


def test_shorten_faults_counts_the_rest():
    faults = [f"fault {k}" for k in range(MAX_SHOWN_FAULTS + 7)]
    assert shorten_faults(faults) == [*faults[:MAX_SHOWN_FAULTS], "and 7 more"]
    assert shorten_faults(faults, limit=1) == ["fault 0", f"and {MAX_SHOWN_FAULTS + 6} more"]


def reject_odd(number):
    if number % 2:
        raise InputError(f"{number} is odd")
    return number // 2


def test_map_collecting_returns_all_results():
    assert map_collecting(reject_odd, [0, 2, 4]) == [0, 1, 2]


def test_map_collecting_reports_one_fault_alone():
    with pytest.raises(InputError, match=r"^3 is odd$"):
        map_collecting(reject_odd, [2, 3, 4])


def test_map_collecting_reports_all_faults_at_once():
    with pytest.raises(InputError) as raised:
        map_collecting(reject_odd, range(60))
    lines = str(raised.value).splitlines()
    assert lines[0] == "30 files cannot be used:"
    assert lines[1] == "  1 is odd" and lines[-1] == "  and 10 more"
    assert len(lines) == MAX_SHOWN_FAULTS + 2
