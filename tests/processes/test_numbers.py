"""Which of several processes this one is."""

import os

import pytest

from processes.numbers import ProcessNumbers, agent_name

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


def error_file(*parts):
    return {"TORCHELASTIC_ERROR_FILE": os.sep.join(["", *parts, "error.json"])}


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, None),
        ({"TORCHELASTIC_ERROR_FILE": ""}, None),
        ({"TORCHELASTIC_ERROR_FILE": "error.json"}, None),
        (error_file("tmp", "torchelastic_x1", "none_q", "attempt_0", "0"), "none_q"),
        (error_file("tmp", "torchelastic_x1", "none_q", "attempt_2", "1"), "none_q"),
        (error_file("logs", "job7_x", "attempt_0", "0"), "job7_x"),
        (error_file("a", "folder", "of", "another", "launcher"), None),
    ],
)
def test_torchrun_keeps_its_name_when_it_restarts_processes(environment, name):
    assert agent_name(environment) == name
