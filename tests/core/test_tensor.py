"""What a tensor is besides its graph: a value that can be looked at, copied, pickled."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.core import Tensor


def leaf(*values):
    return ta.tensor(list(values), requires_grad=True)


def test_what_it_says_of_itself(device):
    x = ta.zeros(2, 3, 4, dtype=ta.float32).to(device)
    assert (x.shape, x.ndim, x.size, x.itemsize, x.nbytes) == ((2, 3, 4), 3, 24, 4, 96)
    assert x.dtype == ta.float32 and x.device.partition(":")[0] == device
    assert len(x) == 2 and [row.shape for row in x] == [(3, 4)] * 2


def test_leaves_and_results():
    x = leaf(1.0)
    y = x * 2
    assert x.is_leaf and x.requires_grad and not y.is_leaf and y.requires_grad
    assert ta.tensor(1.0).is_leaf and not ta.tensor(1.0).requires_grad
    x.requires_grad = False
    assert not x.requires_grad
    with pytest.raises(ta.GraphError, match="computed by multiply; only a leaf"):
        y.requires_grad_(False)


def test_detach_shares_values_and_cuts_the_graph():
    x = leaf(1.0)
    y = x.detach()
    assert y.data is x.data and not y.requires_grad


def test_as_numbers():
    assert ta.tensor([[2.5]]).item() == 2.5 and isinstance(ta.tensor(2.5).item(), float)
    assert (
        float(ta.tensor(2.5)) == 2.5 and int(ta.tensor(3)) == 3 and bool(ta.tensor([0.0])) is False
    )
    assert [10, 20][ta.tensor(1)] == 20
    assert ta.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("use", "kind", "message"),
    [
        (
            lambda x: x.item(),
            ta.ShapeError,
            r"item: needs exactly one element, but the shape is \(2,\)",
        ),
        (bool, ta.ShapeError, r"truth of a tensor of shape \(2,\) is ambiguous"),
        (lambda x: [1][x], ta.DTypeError, "only a whole number can be an index"),
        (lambda x: len(x.sum()), ta.ShapeError, "a 0-d tensor has no length"),
        (lambda x: list(x.sum()), ta.ShapeError, "a 0-d tensor has no axis"),
    ],
)
def test_what_it_cannot_be(use, kind, message):
    with pytest.raises(kind, match=message):
        use(ta.tensor([1.0, 2.0]))


def test_numpy_sees_it_without_a_copy():
    x = ta.tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), x.data)
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ta.ShapeError, match="without a copy"):
        np.array(x, dtype=np.float64, copy=False)


def test_numpy_leaves_arithmetic_to_us():
    x, a = leaf(1.0, 2.0), np.array([3.0, 4.0], np.float32)
    for y in (a + x, a - x, a * x, a / x, a @ x, a > x):
        assert isinstance(y, Tensor)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (ta.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (ta.tensor([1, 2]), "tensor([1, 2])"),
        (ta.tensor(3.0), "tensor(3.)"),
        (ta.tensor([True]), "tensor([ True])"),
        (ta.tensor(np.ones(1)), "tensor([1.], dtype=float64)"),
        (leaf(1.0), "tensor([1.], requires_grad=True)"),
        (leaf(1.0) * 2, "tensor([2.], from=multiply)"),
    ],
)
def test_repr(x, text):
    assert repr(x) == text


def test_repr_of_what_is_empty_and_of_rows():
    assert repr(ta.zeros(0, 3)) == "tensor([], dtype=float32, shape=(0, 3))"
    assert repr(ta.ones(2, 2)) == "tensor([[1., 1.],\n        [1., 1.]])"


# ---- copies --------------------------------------------------------------------------------------


def test_copy_shares_and_deepcopy_does_not():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    shallow, deep = copy.copy(x), copy.deepcopy(x)
    assert shallow.data is x.data and shallow.node is x.node
    assert not np.shares_memory(deep.data, x.data) and deep.node is not x.node
    assert deep.requires_grad and deep.grad.tolist() == [3.0, 3.0]
    (deep * 1).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_deepcopy_keeps_what_was_one_tensor_one():
    x = leaf(1.0)
    first, second = copy.deepcopy([x, x])
    assert first is second


@pytest.mark.parametrize(
    "x", [leaf(1.0, 2.0), ta.tensor(3), ta.zeros(0, 2), ta.tensor(np.ones(1))], ids=repr
)
def test_pickling(x):
    twin = pickle.loads(pickle.dumps(x))
    assert twin.tolist() == x.tolist() and twin.shape == x.shape
    assert (twin.dtype, twin.device, twin.requires_grad) == (x.dtype, x.device, x.requires_grad)
    twin.requires_grad_(False)[...] = 7  # the memory is its own, and writable


@pytest.mark.parametrize("how", [copy.deepcopy, pickle.dumps])
def test_a_graph_is_neither_copied_nor_pickled(how):
    with pytest.raises(
        ta.GraphError, match=r"computed by multiply and its graph cannot be .*use detach\(\)"
    ):
        how(leaf(1.0) * 2)
    how((leaf(1.0) * 2).detach())


# ---- memory --------------------------------------------------------------------------------------


def test_memory_goes_back_by_reference_counting_alone():
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = ta.exp(x * 2)
        hidden, array = weakref.ref(y), weakref.ref(y.data)
        loss = (y * y).sum()
        del y
        assert hidden() is None  # the tensor is gone at once, its array is saved for the walk
        assert array() is not None
        loss.backward()
        assert array() is None  # the walk has released it, while the loss still lives
    finally:
        gc.enable()


def test_a_graph_that_is_never_walked_goes_with_its_result():
    gc.disable()
    try:
        y = ta.exp(leaf(1.0))
        array = weakref.ref(y.data)
        loss = (y * y).sum()
        del y, loss
        assert array() is None
    finally:
        gc.enable()


def test_an_op_keeps_only_what_its_derivative_asks_for():
    x = leaf(1.0, 2.0)
    y = x * 3
    array = weakref.ref(y.data)
    z = (y + 1).sum()  # neither an addition nor a sum needs its argument
    del y
    assert array() is None
    z.backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_higher_order_graph_leaves_no_cycle():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = ta.softmax(ta.exp(x))
        (first,) = ta.grad((y * y).sum(), [x], create_graph=True)
        (second,) = ta.grad((first * first).sum(), [x])
        arrays = [weakref.ref(t.data) for t in (y, first, second)]
        del y, first, second
        assert [array() for array in arrays] == [None] * 3
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_number_is_formatted_as_one():
    loss = ta.tensor(2.0, requires_grad=True) * 1
    assert f"{loss:.3f}" == "2.000"
    assert f"{loss}" == str(loss)
    assert f"{ta.tensor([1, 2])}" == "tensor([1, 2])"
