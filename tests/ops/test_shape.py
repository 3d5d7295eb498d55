"""Shapes: what is refused, what is shared and what copied. What is computed stands in a table."""

import numpy as np
import pytest

import tinygrad_attn as ta


def x23(**options):
    return ta.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], **options)


# ---- forms of the arguments ----------------------------------------------------------------------


def test_a_shape_is_given_as_numbers_or_as_one_tuple():
    x = x23()
    for y in (
        x.reshape(3, 2),
        x.reshape((3, 2)),
        ta.reshape(x, [3, -1]),
        x.reshape(3, np.int64(2)),
    ):
        assert y.shape == (3, 2)
    assert x.reshape(6).shape == (6,)
    assert ta.tensor(1.0).reshape(()).shape == ta.tensor([1.0]).reshape(()).shape == ()


def test_axes_are_given_as_numbers_or_as_one_tuple():
    x = ta.zeros(2, 3, 4)
    assert x.transpose(2, 0, 1).shape == x.transpose((2, 0, 1)).shape == (4, 2, 3)
    assert x.T.shape == x.transpose().shape == x.transpose(None).shape == (4, 3, 2)
    assert x.mT.shape == (2, 4, 3)


def test_a_tensor_without_axes_has_one_element_to_arrange():
    x = ta.tensor(5.0)
    assert ta.flatten(x).tolist() == ta.ravel(x).tolist() == ta.repeat(x, 1).tolist() == [5]
    assert ta.squeeze(x).item() == ta.flip(x).item() == ta.pad(x, 2).item() == x.T.item() == 5
    assert ta.tile(x, 2).tolist() == [5, 5]


def test_empty_axes_are_kept():
    x = ta.zeros(0, 3)
    assert ta.concatenate([x, ta.ones(1, 3)]).tolist() == [[1, 1, 1]]
    assert [part.shape for part in ta.split(x, 3, axis=1)] == [(0, 1)] * 3
    assert [part.shape for part in ta.split(x, 2)] == [(0, 3)] * 2
    assert ta.unstack(x) == ()
    assert ta.tile(x, (2, 0)).shape == (0, 0)
    assert ta.unflatten(x, 1, (3, 1)).shape == (0, 3, 1)


def test_whole_numbers_stay_whole_and_kinds_mix_as_in_arithmetic():
    whole, half = ta.tensor([1, 2]), ta.tensor([0.5, 1.5], dtype=ta.float16)
    assert ta.concatenate([whole, whole]).dtype == ta.int64
    assert ta.concatenate([whole, half]).dtype == ta.float16
    assert ta.stack([whole, ta.tensor([0.5, 1.5])]).dtype == ta.float32


# ---- memory --------------------------------------------------------------------------------------


def test_arranging_shares_memory_and_copying_does_not():
    x = x23()
    for y in (x.reshape(3, 2), x.T, ta.expand_dims(x, 0), ta.broadcast_to(x, (4, 2, 3)), x[1:]):
        assert np.shares_memory(x.data, y.data)
    for y in (x.copy(), x.astype(ta.float32), ta.tile(x, 2), ta.concatenate([x])):
        assert not np.shares_memory(x.data, y.data)


def test_a_cast_to_fewer_bits_overflows_to_infinity_without_a_warning():
    assert ta.tensor([1e6, -1e6]).astype(ta.float16).tolist() == [float("inf"), float("-inf")]


def test_a_gradient_comes_back_in_the_dtype_of_its_tensor():
    x = x23(requires_grad=True)
    (x.astype(ta.float64) * 2).sum().backward()
    assert x.grad.dtype == ta.float32
    assert x.grad.tolist() == [[2, 2, 2], [2, 2, 2]]


def test_a_cast_to_whole_numbers_ends_the_graph():
    assert not x23(requires_grad=True).astype(ta.int64).requires_grad


# ---- gradients of what was joined ----------------------------------------------------------------


def test_the_same_tensor_may_be_joined_to_itself():
    x = x23(requires_grad=True)
    weights = ta.tensor([1.0, 10.0, 100.0])
    (ta.stack([x, x, 2 * x], axis=-1) * weights).sum().backward()
    assert x.grad.tolist() == [[211, 211, 211], [211, 211, 211]]


def test_only_what_wants_a_gradient_gets_one():
    x = x23(requires_grad=True)
    y = ta.concatenate([ta.ones(1, 3), x, ta.ones(2, 3)])
    assert ta.grad((y * y).sum(), x).tolist() == (2 * x).tolist()


def test_repeating_by_counts_adds_up_where_it_read():
    x = ta.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = ta.repeat(x, [0, 2, 1])
    assert y.tolist() == [2, 2, 3]
    assert ta.grad(y.sum(), x).tolist() == [0, 2, 1]
    assert ta.repeat(x, ta.tensor([1, 0, 0])).tolist() == [1]


# ---- errors --------------------------------------------------------------------------------------

BAD = [
    (lambda x: x.reshape(4, 2), ta.ShapeError, r"reshape: x is \(2, 3\).*\(4, 2\)"),
    (lambda x: x.reshape(-1, -1), ta.ShapeError, "but for one −1"),
    (lambda x: x.reshape(2.0, 3), ta.DTypeError, "a size is 2.0"),
    (lambda x: ta.flatten(x, 1, 0), ta.ShapeError, "start_axis 1 is after end_axis 0"),
    (lambda x: ta.unflatten(x, 1, (2, 2)), ta.ShapeError, "their product must be 3"),
    (lambda x: ta.unflatten(x, 1, (2, -1)), ta.ShapeError, "does not split into"),
    (lambda x: ta.squeeze(x, 0), ta.ShapeError, r"axis 0 is not of size 1; x is \(2, 3\)"),
    (lambda x: ta.expand_dims(x, (0, 0)), ta.ShapeError, "names an axis twice"),
    (lambda x: ta.expand_dims(x, 4), ta.ShapeError, "axis 4 .*; the axes are -3 to 2"),
    (lambda x: ta.transpose(x, (0, 0)), ta.ShapeError, "each axis of x exactly once"),
    (lambda x: ta.swapaxes(x, 0, 2), ta.ShapeError, "axis 2 is out of range"),
    (lambda x: x[0].mT, ta.ShapeError, "two axes at least"),
    (lambda x: ta.moveaxis(x, (0, 1), 0), ta.ShapeError, "differ in length"),
    (lambda x: ta.roll(x, (1, 2), 0), ta.ShapeError, "differ in length"),
    (lambda x: ta.roll(x, 0.5), ta.DTypeError, "shift is 0.5"),
    (lambda x: ta.broadcast_to(x, (2, 2, 2)), ta.ShapeError, r"\(2, 3\), which does not broadcast"),
    (lambda x: ta.broadcast_to(x, (3,)), ta.ShapeError, "which does not broadcast"),
    (lambda x: ta.broadcast_arrays(x, x.T), ta.ShapeError, r"\(2, 3\), \(3, 2\)"),
    (lambda x: ta.meshgrid(x), ta.ShapeError, r"tensor 0 is \(2, 3\)"),
    (lambda x: ta.meshgrid(x[0], indexing="yx"), ta.ShapeError, "indexing is 'yx'"),
    (lambda x: ta.tile(x, -1), ta.ShapeError, "has the size -1"),
    (lambda x: ta.repeat(x, -1), ta.ShapeError, "no number may be negative"),
    (lambda x: ta.repeat(x, 1.5), ta.DTypeError, "must be whole numbers"),
    (lambda x: ta.repeat(x, [1, 2], 1), ta.ShapeError, "one for each of the 3 elements"),
    (lambda x: ta.concatenate([]), ta.ShapeError, "the sequence of tensors is empty"),
    (lambda x: ta.concatenate([x, x.T]), ta.ShapeError, r"tensor 1 is \(3, 2\)"),
    (lambda x: ta.concatenate([x, x[0]]), ta.ShapeError, r"tensor 1 is \(3,\)"),
    (lambda x: ta.concatenate([x[0, 0]]), ta.ShapeError, "there are no axes"),
    (lambda x: ta.stack([x, x.T]), ta.ShapeError, "the shapes must be equal"),
    (lambda x: ta.stack([x], axis=3), ta.ShapeError, "axis 3 is out of range"),
    (lambda x: ta.split(x, 2, axis=1), ta.ShapeError, "does not divide into 2 equal parts"),
    (lambda x: ta.split(x, 0), ta.ShapeError, "does not divide into 0"),
    (lambda x: ta.pad(x, -1), ta.ShapeError, "no width may be negative"),
    (lambda x: ta.pad(x, ((1, 1),) * 3), ta.ShapeError, "or 2 such pairs"),
    (lambda x: ta.pad(x, 1, "mirror"), ta.ShapeError, "mode is 'mirror'"),
    (lambda x: ta.pad(x[:0], 1, "edge"), ta.ShapeError, "has nothing to continue"),
    (lambda x: ta.tril(x[0]), ta.ShapeError, r"tril: x is \(3,\)"),
    (lambda x: ta.triu(x, 0.5), ta.DTypeError, "the offset is 0.5"),
    (lambda x: ta.diagonal(x, 0, 1, -1), ta.ShapeError, "they must differ"),
    (lambda x: ta.diag(x[None]), ta.ShapeError, "a line or a matrix"),
    (lambda x: x.astype("complex64"), ta.DTypeError, "none that a tensor can have"),
]


@pytest.mark.parametrize(("call", "error", "words"), BAD)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(x23())
