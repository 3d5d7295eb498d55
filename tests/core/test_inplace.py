"""Writes in place: allowed where no graph needs the old value, and never silently wrong."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.core.tensor import write


def leaf(*values):
    return ta.tensor(list(values), requires_grad=True)


def test_augmented_assignment_rebinds():
    x = leaf(1.0, 2.0)
    y = x
    y += 1
    y *= 2
    assert x.tolist() == [1.0, 2.0] and y.tolist() == [4.0, 6.0] and y is not x


def test_writing_what_no_graph_needs():
    x = ta.tensor([1.0, 2.0, 3.0])
    x[0] = 10
    x[1:] = ta.tensor([20.0, 30.0])
    x[x > 25] = 0
    assert x.tolist() == [10.0, 20.0, 0.0]
    assert (x * leaf(1.0)).sum().requires_grad


@pytest.mark.parametrize(
    "view", [lambda x: x, lambda x: x.reshape(1, 2), lambda x: x[1:], lambda x: x.detach()]
)
def test_a_saved_array_that_was_overwritten_through_any_view_is_noticed(view):
    x, w = ta.tensor([1.0, 2.0]), leaf(3.0, 4.0)
    y = (x * w).sum()  # the gradient of w is x
    view(x)[...] = 5.0
    with pytest.raises(
        ta.GraphError, match=r"multiply needs an array of shape \(2,\) that was overwritten"
    ):
        y.backward()


def test_a_view_saved_and_its_base_written():
    x, w = ta.tensor([[1.0, 2.0], [3.0, 4.0]]), leaf(1.0, 1.0)
    y = (x[0] * w).sum()
    x[1] = 0.0  # the same buffer: refused, though it is the other row
    with pytest.raises(ta.GraphError, match="overwritten"):
        y.backward()


def test_a_result_that_its_rule_needs():
    x = leaf(1.0, 2.0)
    y = ta.exp(x)
    write(y, 0.0)
    with pytest.raises(ta.GraphError, match="exp needs an array"):
        y.sum().backward()


@pytest.mark.parametrize("op", [ta.softmax, ta.log_softmax])
def test_a_result_that_a_kernel_needs(op):
    x = leaf(1.0, 2.0)
    y = op(x)
    with ta.no_grad():
        y[0] = 0.0
    with pytest.raises(ta.GraphError, match="softmax needs an array"):
        y.sum().backward()


@pytest.mark.parametrize("path", ["dense", "tiled"])
def test_a_result_that_attention_needs(path):
    x = ta.ones((1, 3, 2), requires_grad=True)
    y = ta.scaled_dot_product_attention(x, x, x, path=path)
    with ta.no_grad():
        y[0] = 0.0
    with pytest.raises(ta.GraphError, match="attention needs an array"):
        y.sum().backward()


def test_a_result_that_no_kernel_needs():
    x = leaf(1.0, 2.0)
    y = ta.gelu(x)
    with ta.no_grad():
        y[...] = 0.0
    y.sum().backward()
    assert x.grad.tolist() == pytest.approx([1.0833155, 1.0852319])


def test_a_kernel_notices_too():
    x, w = ta.tensor([[1.0, 2.0]]), ta.tensor([[3.0, 4.0]], requires_grad=True)
    y = ta.linear(x, w).sum()
    x[0, 0] = 7.0
    with pytest.raises(ta.GraphError, match="linear needs an array"):
        y.backward()


def test_a_write_that_nobody_needs_undone_is_allowed():
    x, w = ta.tensor([1.0, 2.0]), leaf(3.0, 4.0)
    y = (x + w).sum()  # an addition saves nothing
    x[...] = 5.0
    y.backward()
    assert w.grad.tolist() == [1.0, 1.0]


def test_a_write_before_the_op_is_part_of_its_value():
    x, w = ta.tensor([1.0, 2.0]), leaf(3.0, 4.0)
    x[0] = 5.0
    (x * w).sum().backward()
    assert w.grad.tolist() == [5.0, 2.0]


def test_a_step_of_an_optimizer_between_forward_and_backward_is_noticed():
    w = leaf(3.0, 4.0)
    loss = (w * w).sum()
    write(w, w.data - 1)
    with pytest.raises(ta.GraphError, match="overwritten in place after the op had run"):
        loss.backward()
    (w * w).sum().backward()  # a new forward is fine
    assert w.grad.tolist() == [4.0, 6.0]


def test_the_values_of_a_leaf_are_given():
    x = leaf(1.0, 2.0)
    with pytest.raises(ta.GraphError, match="leaf that requires a gradient"):
        x[0] = 5.0
    with ta.no_grad():
        x[0] = 5.0
    assert x.tolist() == [5.0, 2.0]


def test_a_write_into_a_computed_tensor_is_part_of_the_graph():
    x, v = leaf(1.0, 2.0, 3.0), leaf(10.0)
    y = x * x
    before = y.detach()
    y[1] = v[0]
    assert y.tolist() == [1.0, 10.0, 9.0] and before.tolist() == [1.0, 4.0, 9.0]
    dx, dv = ta.grad((y * y).sum(), [x, v])
    assert (dx.tolist(), dv.tolist()) == ([4.0, 0.0, 108.0], [20.0])


def test_the_line_is_named_under_detect_anomaly():
    x, w = ta.tensor([1.0, 2.0]), leaf(3.0, 4.0)
    with ta.detect_anomaly():
        y = (x * w).sum()  # this line
    x[0] = 0.0
    with pytest.raises(ta.GraphError, match=r"called at .*test_inplace\.py.*# this line"):
        y.backward()


def test_numpy_cannot_write_behind_our_back():
    x = ta.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 5
    own = x.numpy().copy()
    own[0] = 5
    assert x.tolist() == [1.0, 2.0]
    source = np.ones(2, np.float32)
    y = ta.tensor(source)
    source[0] = 7
    assert y.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "op",
    [ta.multiply, ta.matmul, lambda w, x: x * w, lambda w, x: ta.linear(w, x[None]), ta.maximum],
    ids=["multiply", "matmul", "reflected", "linear", "maximum"],
)
def test_an_array_beside_a_tensor_is_copied(op, device):
    """No write of ours: nobody would notice, and the gradient would be that of other numbers."""
    w = ta.tensor([3.0, 4.0], device=device).requires_grad_()
    x = (ta.ones(2, device=device) * 5).data
    y = op(w, x).sum()
    x[...] = 7.0
    found = ta.grad(y, w).tolist()
    assert found == ta.grad(op(w, ta.full((2,), 5.0, device=device)).sum(), w).tolist()
