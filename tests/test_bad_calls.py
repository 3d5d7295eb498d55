"""Every call of ``bad_calls.py`` is refused: with its class, in one form, in the words on file."""

import re

import pytest

import tinygrad_attn as ta
from tests.bad_calls import CALLS, GOLDEN, STANDIN, golden_text

OF_LIBRARIES = [  # what NumPy and Python say where nobody has looked at the arguments before them
    "could not be broadcast",
    "setting an array element",
    "AxisError",
    "ufunc",
    "NoneType",
    "object is not",
    "object cannot be interpreted",
    "object has no attribute",
    "unsupported operand",
    "not supported between",
    "could not convert",
    "cannot reshape array",
    "index out of bounds",
    "slice indices must be",
    "Cannot cast",
    "scalar index",
]
RIGHT = re.compile(r"; |\bmust\b|\boutside \S+\.\.\S+|, not \w")  # how a message says what would be


@pytest.fixture(scope="module")
def refusals():
    """(line of the table, its error, the tensors that the call had made) for every line."""
    return [(bad, *bad.refused()) for bad in CALLS]


def faulty(refusals, is_right):
    """The calls, and what they are told, for which ``is_right`` does not hold."""
    return [(bad.call, str(told)) for bad, told, made in refusals if not is_right(bad, told, made)]


def test_there_are_many_and_each_stands_once():
    calls = [bad.call for bad in CALLS]
    assert len(calls) >= 200
    assert len(set(calls)) == len(calls)


def test_each_raises_its_class(refusals):
    assert not faulty(refusals, lambda bad, told, made: type(told) is bad.error)


def test_all_classes_are_ours_but_for_arguments_that_do_not_exist():
    others = {bad.error for bad in CALLS if not issubclass(bad.error, ta.TinygradAttnError)}
    assert others == {TypeError}


def test_each_speaks_in_the_name_of_its_op(refusals):
    def is_right(bad, told, made):
        return re.match(rf"{re.escape(bad.op)}(\b|\W)", str(told))

    assert not faulty(refusals, is_right)


def test_each_shows_the_shape_of_every_tensor_or_names_the_option_at_fault(refusals):
    def is_right(bad, told, made):
        if bad.option:
            return bad.option in str(told)
        return bad.error is not ta.ShapeError or all(str(x.shape) in str(told) for x in made)

    assert not faulty(refusals, is_right)


def test_wrong_devices_are_named(refusals):
    def is_right(bad, told, made):
        return bad.error is not ta.DeviceError or all(x.device in str(told) for x in made)

    assert not faulty(refusals, is_right)


def test_each_says_what_would_be_right(refusals):
    def is_right(bad, told, made):
        return bad.error is TypeError or RIGHT.search(str(told))

    assert not faulty(refusals, is_right)


def test_no_library_speaks_in_our_place(refusals):
    def is_right(bad, told, made):
        return not any(words in str(told) for words in OF_LIBRARIES)

    assert not faulty(refusals, is_right)


def test_the_same_is_refused_on_the_standin():
    """Where an array library wraps wrong positions round, or fails with other words, as well."""
    there = [(bad, *bad.refused(STANDIN)) for bad in CALLS]
    assert not faulty(there, lambda bad, told, made: type(told) is bad.error)
    test_each_speaks_in_the_name_of_its_op(there)
    test_no_library_speaks_in_our_place(there)


def test_the_words_are_those_on_file():
    """After a change that is meant: ``python -m tests.bad_calls --update``, and read the diff."""
    assert golden_text() == GOLDEN.read_text(encoding="utf-8")
