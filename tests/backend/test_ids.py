"""Ids on a GPU: checked like on the CPU, word for word, and without asking for what was sent."""

import gc

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.standin import backend, fake_cupy
from tinygrad_attn.backend.cuda.spans import spans_of
from tinygrad_attn.errors import IndexRangeError

TABLE = np.arange(10.0, dtype="float32").reshape(5, 2)


def error_of(call, device):
    """What a wrong call on this device is told."""
    with pytest.raises(IndexRangeError) as error:
        call(lambda x: ta.tensor(x, device=device))
    return str(error.value)


def embed(ids, make):
    return ta.embedding(ids, make(TABLE))


WRONG = {
    "too large": lambda make: embed(make([[0, 4], [5, 1]]), make),
    "negative": lambda make: embed(make([0, -1]), make),
    "a part": lambda make: embed(make([[0, 9], [1, 2]])[:, 1:], make),
    "made on the device": lambda make: embed(make([3, 4]) + 1, make),
    "counted": lambda make: embed(ta.arange(3, 7, device=make(0).device), make),
    "written": lambda make: embed(changed(make([0, 1, 2]), 7), make),
    "a target": lambda make: ta.cross_entropy(make(TABLE), make([0, 1, -100, 2, 1])),
    "a target below": lambda make: ta.cross_entropy(make(TABLE), make([0, 1, -1, -100, 1])),
    "an index": lambda make: make(TABLE)[make([1, 5])],
    "along an axis": lambda make: ta.take_along_axis(make(TABLE), make([[2]] * 5), 1),
}


def changed(ids, value):
    ids[1] = value
    return ids


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ids_are_told_the_same_on_a_gpu(name):
    assert error_of(WRONG[name], "standin") == error_of(WRONG[name], "cpu")


RIGHT = {
    "sent": lambda make: embed(make([[0, 4], [2, 1]]), make),
    "of another width": lambda make: embed(make(np.array([4, 0], "int32")), make),
    "a part": lambda make: embed(make([[0, 1, 2], [2, 3, 4]])[1:, ::2].reshape(-1), make),
    "counted": lambda make: embed(ta.arange(5, device="standin"), make),
    "a target, some ignored": lambda make: ta.cross_entropy(make(TABLE), make([0, -100, 1, 1, 0])),
    "an index": lambda make: make(TABLE)[make([1, -5])],
    "brought": lambda make: embed(ta.tensor([1, 2]).to("standin"), make),
    "drawn": lambda make: embed(ta.randint(5, shape=(3,), device="standin"), make),
    "none": lambda make: embed(make(np.zeros((2, 0), int)), make),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_came_from_the_host_is_not_asked_for_again(name):
    before = fake_cupy.synchronizations
    RIGHT[name](lambda x: ta.tensor(x, device="standin"))
    assert fake_cupy.synchronizations == before


def test_what_the_device_made_is_looked_at_once():
    ids, table = (ta.tensor(x, device="standin") for x in ([1, 2], TABLE))
    ids = ids + 1
    before = fake_cupy.synchronizations
    ta.embedding(ids, table)
    assert fake_cupy.synchronizations == before + 1


def test_what_is_known_of_an_array_goes_with_it():
    gc.collect()
    known = backend._spans._known
    before = len(known)
    ids = ta.tensor([1, 2], device="standin")
    assert len(known) == before + 1
    del ids
    assert len(known) == before


def test_spans_keep_signs_apart_from_ids():
    assert spans_of(np.array([3, -100, 7])) == [(-100, -100), (3, 7)]
    assert spans_of(np.array([[2, 2]])) == [(2, 2)]
    assert spans_of(np.zeros(0, int)) == []


def test_a_mask_is_written_with_a_number_without_waiting():
    for shape in ((3,), (3, 2)):
        there, mask = ta.zeros(3, 2, device="standin"), ta.ones(shape, device="standin") > 0
        before = fake_cupy.synchronizations
        there[mask] = 7
        assert fake_cupy.synchronizations == before
        assert there.tolist() == [[7, 7]] * 3
