"""Ids and positions on a GPU: checked like on the CPU, without asking for what was sent."""

import gc
from functools import partial

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.standin import backend, fake_cupy
from tinygrad_attn.backend.cuda.known import spans_of
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
    known = backend._known._facts
    before = len(known)
    ids = ta.tensor([1, 2], device="standin")
    assert len(known) == before + 1
    del ids
    assert len(known) == before


def test_spans_keep_signs_apart_from_ids():
    assert spans_of(np.array([3, -100, 7])) == [(-100, -100), (3, 7)]
    assert spans_of(np.array([[2, 2]])) == [(2, 2)]
    assert spans_of(np.zeros(0, int)) == []


# ---- positions -----------------------------------------------------------------------------------


def attend(positions, make):
    """Attention of as many tokens as there are positions."""
    x = make(np.ones((*positions.shape[:-1], 2, positions.shape[-1], 4), "float32"))
    options = {"causal": True, "q_positions": positions, "k_positions": positions}
    return ta.scaled_dot_product_attention(x, x, x, **options)


BACKWARDS = {
    "sent": lambda make: make([0, 2, 1]),
    "a row": lambda make: make([[0, 1], [3, 2]]),
    "reversed": lambda make: make([0, 1, 2])[::-1],
    "from row to row": lambda make: make([[0, 4], [2, 3]]).reshape(-1),
    "transposed": lambda make: make([[3, 4], [1, 2]]).swapaxes(0, 1),
    "made on the device": lambda make: 3 - make([0, 1, 2]),
    "written": lambda make: changed(make([0, 1, 2]), 5),
    "counted down": lambda make: ta.arange(3, 0, -1, device=make(0).device),
}
ASCENDING = {
    "sent": lambda make: make([0, 2, 2]),
    "of another width": lambda make: make(np.array([0, 3, 4], "uint8")),
    "rows": lambda make: make([[5, 6], [0, 1]]),
    "a part": lambda make: make([[5, 6, 7, 8], [0, 1, 2, 3]])[1:, 1::2],
    "brought": lambda make: ta.tensor([1, 2]).to("standin"),
    "counted": lambda make: ta.arange(4, device="standin"),
}


@pytest.mark.parametrize("name", BACKWARDS)
def test_positions_that_go_backwards_are_told_the_same_on_a_gpu(name):
    told = []
    for device in ("standin", "cpu"):
        with pytest.raises(ta.ShapeError, match="q_positions go backwards") as error:
            make = partial(ta.tensor, device=device)
            attend(BACKWARDS[name](make), make)
        told.append(str(error.value))
    assert told[0] == told[1]


@pytest.mark.parametrize("name", ASCENDING)
def test_positions_that_were_sent_are_not_asked_for(name):
    make = partial(ta.tensor, device="standin")
    positions = ASCENDING[name](make)
    before = fake_cupy.synchronizations
    attend(positions, make)
    assert fake_cupy.synchronizations == before


def test_positions_that_the_device_made_are_looked_at_once():
    make = partial(ta.tensor, device="standin")
    positions, before = make([0, 1, 2]) + 1, fake_cupy.synchronizations
    for _ in range(3):
        attend(positions, make)
    assert fake_cupy.synchronizations == before + 1


# ---- masks ---------------------------------------------------------------------------------------


def test_a_mask_is_written_with_a_number_without_waiting():
    for shape in ((3,), (3, 2)):
        there, mask = ta.zeros(3, 2, device="standin"), ta.ones(shape, device="standin") > 0
        before = fake_cupy.synchronizations
        there[mask] = 7
        assert fake_cupy.synchronizations == before
        assert there.tolist() == [[7, 7]] * 3
