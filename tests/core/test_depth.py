"""Long chains: no recursion, time in proportion, nothing left behind, nothing for the collector."""

import gc
import weakref

import pytest

import tinygrad_attn as ta
from tinygrad_attn.core.graph import Node

LONG, VERY_LONG = 10**5, pytest.param(10**6, marks=pytest.mark.slow)


@pytest.fixture(autouse=True)
def without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def nodes_alive():
    return sum(type(thing) is Node for thing in gc.get_objects())


@pytest.mark.parametrize("length", [LONG, VERY_LONG])
def test_a_long_chain_goes_forward_and_back_and_is_freed(length):
    before = nodes_alive()
    x = ta.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(length):
        y = y * 1.0
    assert nodes_alive() == before + length + 1
    y.backward()
    assert x.grad.item() == 1.0
    assert nodes_alive() == before + 2  # x, and y, which is freed of what lay behind it
    del y
    assert nodes_alive() == before + 1
    assert gc.collect() == 0


@pytest.mark.parametrize("length", [LONG, VERY_LONG])
def test_a_long_chain_that_is_never_walked_is_freed(length):
    before = nodes_alive()
    y = ta.tensor(1.0, requires_grad=True)
    for _ in range(length):
        y = y + 1.0
    last = weakref.ref(y)
    del y
    assert last() is None and nodes_alive() == before
    assert gc.collect() == 0


def test_a_long_chain_with_a_graph_of_its_gradient():
    before = nodes_alive()
    x = ta.tensor(2.0, requires_grad=True)
    y = x
    for _ in range(10**4):
        y = y * 1.0
    z = y * x
    first = ta.grad(z, x, create_graph=True)
    second = ta.grad(first, x)
    assert (first.item(), second.item()) == (4.0, 2.0)
    del x, y, z, first, second
    assert nodes_alive() == before


def test_a_wide_graph_is_walked_once_through_each_node():
    """y ← y + y, k times: 2ᵏ paths, k nodes."""
    x = ta.tensor(1.0, dtype=ta.float64, requires_grad=True)
    y = x
    for _ in range(1000):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**1000


def test_a_mistake_leaves_no_cycle():
    x = ta.ones(2, 3, requires_grad=True)
    for mistake in (lambda: x @ x, lambda: x.reshape(4, 4), lambda: x + ta.ones(4)):
        with pytest.raises(ta.ShapeError):
            mistake()
    del mistake
    assert gc.collect() == 0
