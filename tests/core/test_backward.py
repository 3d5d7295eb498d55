"""The walk back: what it adds up, what it frees, what it refuses, and who owns the result."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin
from tinygrad_attn.core import Tensor


def leaf(*values, device="cpu"):
    return ta.tensor(list(values)).to(device).requires_grad_()


# ---- values --------------------------------------------------------------------------------------


def test_a_tensor_used_twice_gets_both_gradients(device):
    x = leaf(1.0, 2.0, device=device)
    y = x * x + 3 * x
    (y * y).sum().backward()
    value = np.array([1.0, 2.0])
    np.testing.assert_allclose(x.grad.numpy(), 2 * (value**2 + 3 * value) * (2 * value + 3))
    assert x.grad.device == x.device


def test_a_second_backward_accumulates():
    x = leaf(1.0, 2.0)
    (2 * x).sum().backward()
    (3 * x).sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]
    x.grad = None
    (4 * x).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_a_gradient_can_be_handed_in():
    x = leaf(1.0, 2.0)
    (x * x).backward(ta.tensor([10.0, 100.0]))
    assert x.grad.tolist() == [20.0, 400.0]


def test_grad_touches_no_grad_and_takes_several():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    z = x * y
    dx, dy = ta.grad([z.sum(), (2 * x).sum()], [x, y])
    assert (dx.tolist(), dy.tolist()) == ([5.0, 6.0], [1.0, 2.0])
    assert x.grad is None and y.grad is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_an_input_named_twice_gets_two_arrays(create_graph):
    x = ta.tensor([1.0, 2.0], requires_grad=True)
    first, second = ta.grad((x * x * x).sum(), (x, x), create_graph=create_graph)
    assert not np.shares_memory(first.numpy(), second.numpy())
    assert first.tolist() == second.tolist() == [3.0, 12.0]
    if create_graph:
        assert ta.grad(second.sum(), x).tolist() == [6.0, 12.0]


@pytest.mark.parametrize("name", ["outputs", "inputs", "grad_outputs"])
def test_what_is_no_sequence_of_tensors_is_refused(name):
    x = ta.tensor(1.0, requires_grad=True)
    given = {"outputs": x * x, "inputs": x, "grad_outputs": ta.tensor(1.0), name: 1.0}
    with pytest.raises(ta.DTypeError, match=f"grad: {name} must be tensors, not float"):
        ta.grad(**given)


def test_an_output_named_twice_counts_twice():
    x = leaf(1.0)
    y = (3 * x).sum()
    assert ta.grad([y, y], x).tolist() == [6.0]


def test_gradients_with_respect_to_computed_tensors():
    x = leaf(1.0, 2.0)
    y = x * x
    z = (y * y).sum()
    dy, dx = ta.grad(z, [y, x])
    assert dy.tolist() == [2.0, 8.0] and dx.tolist() == [4.0, 32.0]


def test_a_tensor_is_its_own_input():
    x = leaf(1.0, 2.0)
    y = (x * 2).sum()
    assert ta.grad(y, y).item() == 1.0


def test_higher_orders_and_the_gradient_of_grad_outputs():
    x, v = ta.tensor(2.0, requires_grad=True), ta.tensor(5.0, requires_grad=True)
    first = ta.grad(x**4, x, v, create_graph=True)
    assert first.item() == 5 * 32
    assert ta.grad(first, v, retain_graph=True).item() == 32
    second = ta.grad(first, x, create_graph=True)
    third = ta.grad(second, x, create_graph=True)
    assert (second.item(), third.item()) == (5 * 48, 5 * 48)


def test_backward_with_create_graph_gives_gradients_with_a_graph():
    x = leaf(3.0)
    (x**3).sum().backward(create_graph=True)
    assert x.grad.requires_grad
    (second,) = ta.grad(x.grad.sum(), [x])
    assert second.tolist() == [18.0]
    x.grad = None  # undoes the cycle


# ---- what is not there ---------------------------------------------------------------------------


def test_unused_inputs():
    x, unused = leaf(1.0), leaf(2.0)
    y = (2 * x).sum()
    with pytest.raises(ta.GraphError, match="no output depends on input 1; pass allow_unused=True"):
        ta.grad(y, [x, unused], retain_graph=True)
    dx, nothing = ta.grad(y, [x, unused], allow_unused=True)
    assert dx.tolist() == [2.0] and nothing is None


def test_a_dropped_gradient_is_no_gradient():
    x, y = leaf(1.0), leaf(2.0)
    z = (x * y.detach()).sum()
    assert ta.grad(z, [x, y], allow_unused=True)[1] is None


@pytest.mark.parametrize("dtype", [ta.bool_, ta.int64, ta.uint8], ids=str)
def test_whole_numbers_refuse_gradients(dtype):
    n = ta.tensor(np.ones(2, dtype))
    with pytest.raises(ta.DTypeError, match=f"needs real numbers, but this tensor is {dtype}"):
        n.requires_grad_()
    x = leaf(1.0, 2.0)
    assert not (x > 1).requires_grad and not x.astype(ta.int64).requires_grad


def test_nothing_requires_a_gradient():
    with pytest.raises(ta.GraphError, match="does not require a gradient"):
        ta.tensor(1.0).backward()
    with pytest.raises(ta.GraphError, match="input 0 does not require a gradient"):
        ta.grad(leaf(1.0).sum(), ta.tensor(1.0))


def test_a_vector_has_no_single_gradient():
    with pytest.raises(ta.ShapeError, match=r"output has shape \(2,\).*reduce it to a scalar"):
        leaf(1.0, 2.0).exp().backward()


@pytest.mark.parametrize(
    ("gradient", "kind", "message"),
    [
        (ta.tensor([1.0]), ta.ShapeError, r"gradient is \(1,\) but its tensor is \(2,\)"),
        (ta.tensor(np.ones(2)), ta.DTypeError, "gradient is float64 but its tensor is float32"),
        (np.ones(2), ta.DTypeError, "a gradient is a Tensor, not ndarray"),
    ],
)
def test_a_gradient_that_does_not_fit(gradient, kind, message):
    with pytest.raises(kind, match=message):
        leaf(1.0, 2.0).exp().backward(gradient)


def test_as_many_gradients_as_outputs():
    x = leaf(1.0)
    with pytest.raises(ta.ShapeError, match="2 outputs but 1 grad_outputs"):
        ta.grad([x * 2, x * 3], x, [ta.tensor([1.0])])


# ---- the graph is freed --------------------------------------------------------------------------


def test_a_second_walk_over_a_freed_graph_says_what_to_do():
    x = leaf(1.0, 2.0)
    y = ta.exp(x)
    y.sum().backward()
    for again in (lambda: y.sum().backward(), lambda: ta.grad(y.sum(), x)):
        with pytest.raises(ta.GraphError, match="freed by an earlier walk; pass retain_graph=True"):
            again()


def test_a_retained_graph_can_be_walked_again():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_a_part_that_was_not_walked_is_not_freed():
    x = leaf(1.0)
    shared, apart = x * 2, x * 3
    (shared * 1).sum().backward()
    (apart * 1).sum().backward()
    assert x.grad.tolist() == [5.0]


# ---- who owns a gradient -------------------------------------------------------------------------


def test_no_gradient_is_an_alias(device):
    a, b = leaf(1.0, 2.0, device=device), leaf(3.0, 4.0, device=device)
    seed = ta.tensor([1.0, 1.0]).to(device)
    (a + b).backward(seed)
    arrays = [a.grad.data, b.grad.data, seed.data]
    assert len({id(array) for array in arrays}) == 3
    a.grad.data[...] = 100  # a write into one is seen in no other
    assert b.grad.tolist() == seed.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x + 0.0,
        lambda x: x.reshape(2, 1),
        lambda x: x.copy(),
        lambda x: ta.broadcast_to(x, (3, 2)),
        lambda x: x * 1.0,
        lambda x: x[::-1],
        lambda x: x,
    ],
)
def test_a_gradient_shares_no_memory_with_what_was_handed_in(op):
    x = leaf(1.0, 2.0)
    y = op(x)
    seed = ta.ones_like(y)
    (gradient,) = ta.grad([y], [x], [seed])
    assert not np.shares_memory(gradient.data, seed.data)
    assert not np.shares_memory(gradient.data, x.data)


@pytest.mark.parametrize("retained", [False, True])
def test_what_a_residual_hands_on_is_not_written(retained, device):
    """x + gelu(x), thrice: the gradient that the sum hands on is its own too, and stays."""
    x = leaf(0.5, -1.0, device=device)
    y, steps = x, []
    for _ in range(3):
        y = y + ta.gelu(y)
        if retained:
            y.retain_grad()
        steps.append(y)
    seed = ta.tensor([1.0, 2.0]).to(device)
    y.backward(seed)
    assert seed.tolist() == [1.0, 2.0]
    values = [np.array([0.5, -1.0], "float32"), *(step.numpy() for step in steps)]
    gradient = np.array([1.0, 2.0], "float32")
    for i in (2, 1, 0):
        if retained:
            np.testing.assert_allclose(steps[i].grad.numpy(), gradient, rtol=1e-5)
        point = ta.tensor(values[i], requires_grad=True)
        gradient = gradient * (1 + ta.grad(ta.gelu(point).sum(), point).numpy())
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-5)


def a_kernel(way_back):
    """A fused op 2·a + 2·bᵀ with this way back."""

    @ta.fused(spec=lambda a, b: 2 * a + 2 * b.swapaxes(0, 1))
    def both(a, b):
        return 2 * a + 2 * b.T, way_back

    return both


def test_a_residual_is_added_in_place_to_what_a_kernel_made():
    made = []

    def way_back(g):
        made.append(2 * g)
        return made[0], 2 * g.T.copy()

    x, z = ta.ones(2, 2, requires_grad=True), ta.ones(2, 2)
    middle = x * 1.0
    (middle + a_kernel(way_back)(middle, z)).backward(ta.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert made[0].tolist() == x.grad.tolist() == [[3.0, 6.0], [9.0, 12.0]]  # and 2 to 8 before


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_but_not_where_another_gradient_is_a_view_of_that(turned, second):
    """One of its gradients is the other one turned; to the first or the second a residual comes."""

    def way_back(g):
        h = 2 * g.T if turned else 2 * g
        return (h.T, h) if turned else (h, h.T)

    x, z = (ta.ones(2, 2, requires_grad=True) for _ in range(2))
    m, n = x * 1.0, z * 1.0
    g = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    ((n if second else m) + a_kernel(way_back)(m, n)).backward(ta.tensor(g))
    assert x.grad.tolist() == (2 * g + (0 if second else g)).tolist()
    assert z.grad.tolist() == (2 * g.T + (g if second else 0)).tolist()


def test_nor_to_what_a_rule_of_a_primitive_returns_which_may_be_kept():
    """It should not be (``ta.audit`` finds that), but no number gets wrong by it here."""
    nothing = np.zeros(2, "float32")

    @ta.primitive
    def step(x):
        return (x > 0) * np.float32(1)

    step.derivatives(x=lambda g: nothing)
    for _ in range(2):
        x = leaf(1.0, 2.0)
        middle = x * 1.0
        (middle + step(middle)).backward(ta.tensor([1.0, 10.0]))
        assert x.grad.tolist() == [1.0, 10.0]
    assert nothing.tolist() == [0.0, 0.0]


def test_a_write_into_one_gradient_of_a_norm_is_none_into_another():
    x, w, b = (ta.randn(*shape, requires_grad=True) for shape in ((3, 4), (4,), (4,)))
    ta.layer_norm(x, w, b).sum().backward()
    k = ta.ones(4, requires_grad=True)
    loss = (k * b.grad).sum()
    w.grad[0] = 0.0
    loss.backward()
    assert k.grad.tolist() == [3.0] * 4


@pytest.mark.parametrize(
    "op",
    [
        lambda x, w, b: ta.linear(x, w, b, residual=x),
        lambda x, w, b: ta.linear(x, w, b, residual=x, activation="gelu_tanh"),
        lambda x, w, b: ta.linear(x, w, activation="relu"),
        lambda x, w, b: ta.layer_norm(x, b, b),
        lambda x, w, b: ta.layer_norm(x + 100, b, b),  # rows that go the long way
        lambda x, w, b: ta.rms_norm(x, b),
        lambda x, w, b: ta.packed_linear(x, [w] * 3, [b] * 3),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_pieces_that_an_op_vouches_for_overlap_with_nothing(op, dtype, device):
    """Nor with what it saved: after a write into all of them it finds the same gradients."""
    shapes = (3, 4), (4, 4), (4,)
    x, w, b = (ta.randn(*shape).astype(dtype).to(device).requires_grad_() for shape in shapes)
    y = op(x, w, b)
    assert y.node.op.gives_pieces
    g = ta.ones_like(y).data

    def pull_back():
        return [part for _, part in y.node.op.pull_back(y.node, g, None, False)]

    parts, again = pull_back(), pull_back()
    for part in parts:
        others = [t for t in (g, y.data, x.data, w.data, b.data, *parts) if t is not part]
        before = [Tensor(other).tolist() for other in others]
        if part is not g:  # a residual's
            part[...] = 7
        assert [Tensor(other).tolist() for other in others] == before
    third = [Tensor(part).tolist() for part in pull_back()]
    assert third == [Tensor(part).tolist() for part in again]


def test_the_first_gradient_is_not_written_by_the_second_backward():
    x = leaf(1.0, 2.0)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert first.tolist() == [2.0, 2.0] and x.grad.tolist() == [5.0, 5.0]


def test_a_0d_gradient_is_an_array(device):
    x = ta.tensor(2.0).to(device).requires_grad_()
    (x * x + x).backward()
    assert x.grad.shape == () and x.grad.numpy() == 5.0


def test_setting_a_gradient_by_hand():
    x = leaf(1.0, 2.0)
    x.grad = ta.tensor([5.0, 6.0])
    (x * 1).sum().backward()
    assert x.grad.tolist() == [6.0, 7.0]
    del x.grad
    assert x.grad is None
    with pytest.raises(ta.ShapeError, match="gradient is"):
        x.grad = ta.tensor([1.0])
    with pytest.raises(ta.GraphError, match="does not require a gradient"):
        ta.tensor(1.0).grad = Tensor(np.ones((), np.float32))


def test_a_gradient_on_another_device_is_refused():
    x = ta.ones(2, requires_grad=True)
    elsewhere = ta.ones(2, device=standin.backend.name)
    with pytest.raises(ta.DeviceError, match=r'its tensor on "cpu"; use \.to\("cpu"\)'):
        (x * 2).backward(elsewhere)
