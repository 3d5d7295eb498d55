"""The clock of an example stops at the line with its result."""

import sys

import pytest

from benchmarks.examples import EXAMPLES, FOLDER, tables, time_to_line
from benchmarks.rounds import Failed


def test_the_line_is_found_and_the_rest_may_follow():
    command = [sys.executable, "-c", "print('begin'); print('  the result: 3'); print('more')"]
    assert time_to_line(command, "result", 1)[1] == "the result: 3"


def test_an_example_without_a_result_fails_with_what_it_said():
    command = [sys.executable, "-c", "print('something is wrong')"]
    with pytest.raises(Failed, match="something is wrong"):
        time_to_line(command, "result", 1)


def test_every_example_is_there():
    for command in EXAMPLES:
        assert (FOLDER / command.split()[0]).exists()


def test_the_result_stands_beside_its_time():
    assert tables({"a.py": ([3.0, 1.0, 2.0], "all right")}) == (
        "|        |    s | result    |\n"
        "| ------ | ---: | --------- |\n"
        "| `a.py` | 2.00 | all right |"
    )
