"""Which of several processes this one is."""

import os

import pytest

from processes.numbers import ProcessNumbers, job_name, restarted_job

TWO = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ProcessNumbers(0, 1, None, 1)),
        (TWO, ProcessNumbers(1, 4, 0, 2)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, ProcessNumbers(3, 8, None, 1)),
        ({"RANK": "1"}, ProcessNumbers(0, 1, None, 1)),
        ({"RANK": "", "WORLD_SIZE": "2"}, ProcessNumbers(0, 1, None, 1)),
        ({"RANK": "-1", "WORLD_SIZE": "0"}, ProcessNumbers(0, 1, None, 1)),
    ],
)
def test_numbers_of_the_environment(environment, expected):
    assert ProcessNumbers.of(environment) == expected


FILE = os.sep.join(["", "tmp", "torchelastic_x1", "none_q", "attempt_0", "0", "error.json"])


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, None),
        ({"TORCHELASTIC_RUN_ID": "job7", "TORCHELASTIC_ERROR_FILE": FILE}, "job7"),
        ({"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_ERROR_FILE": FILE}, "torchelastic_x1"),
        ({"TORCHELASTIC_RUN_ID": "none"}, None),
    ],
)
def test_a_job_keeps_its_name_when_it_is_restarted(environment, name):
    assert job_name(environment) == name
    assert restarted_job(environment) is None
    assert restarted_job({**environment, "TORCHELASTIC_RESTART_COUNT": "0"}) is None
    assert restarted_job({**environment, "TORCHELASTIC_RESTART_COUNT": "2"}) == name
