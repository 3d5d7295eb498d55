"""The sort task: right answers, and a test that training knows nothing of."""

import itertools

import numpy as np
import pytest

from tinygrad_attn.data import SortTask
from tinygrad_attn.data.sort import IGNORED
from tinygrad_attn.errors import DataError


def test_targets_are_the_next_tokens_of_the_answer_only():
    task = SortTask(length=5)
    inputs, targets = task.batch(20, seed=3)
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.shape == targets.shape == (20, task.context) == (20, 9)
    assert (targets[:, :4] == IGNORED).all()
    np.testing.assert_array_equal(targets[:, 4:], np.sort(inputs[:, :5], axis=1))
    np.testing.assert_array_equal(targets[:, 4:-1], inputs[:, 5:])


def test_a_batch_is_a_function_of_its_address():
    task = SortTask()
    first, _ = task.batch(16, seed=1, epoch=2, index=3)
    others = [
        task.batch(16, seed=s, epoch=e, index=i)[0] for s, e, i in [(0, 2, 3), (1, 0, 3), (1, 2, 0)]
    ]
    again, _ = task.batch(16, seed=1, epoch=2, index=3)
    np.testing.assert_array_equal(first, again)
    assert all((first != other).any() for other in others)


@pytest.mark.parametrize("length, digits", [(10, 10), (3, 4), (1, 2), (30, 5), (2, 100)])
def test_training_never_meets_a_test_sequence_nor_a_reordering_of_one(length, digits):
    task = SortTask(length, digits)
    tested = {tuple(row) for row in task.test(200)[1]}
    for index in range(20):
        inputs, _ = task.batch(64, seed=0, index=index)
        assert tested.isdisjoint(map(tuple, np.sort(inputs[:, :length], axis=1)))


def test_the_side_of_a_sequence_is_that_of_its_digits_in_any_order():
    task = SortTask(length=4, digits=5)
    for row in ([0, 1, 2, 3], [4, 4, 0, 1], [2, 2, 2, 1]):
        sides = task.is_held_out(np.array(list(itertools.permutations(row))))
        assert sides.all() or not sides.any()


def test_about_a_sixteenth_is_held_out():
    questions = np.random.default_rng(0).integers(0, 10, (20000, 10))
    assert 0.05 < SortTask().is_held_out(questions).mean() < 0.075


def test_test_sequences_are_held_out_and_sorted():
    task = SortTask()
    questions, answers = task.test(500, seed=1)
    assert task.is_held_out(questions).all()
    np.testing.assert_array_equal(answers, np.sort(questions, axis=1))
    assert len({tuple(row) for row in questions}) == 500


@pytest.mark.parametrize("length, digits", [(0, 10), (5, 1), (-1, 10)])
def test_a_task_needs_something_to_sort(length, digits):
    with pytest.raises(DataError, match=f"length {length}, digits {digits}"):
        SortTask(length, digits)


def test_an_empty_batch_is_an_error():
    with pytest.raises(DataError, match="0 sequences is empty"):
        SortTask().batch(0, seed=0)
