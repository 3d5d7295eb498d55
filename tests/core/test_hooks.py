"""Hooks on tensors, and gradients kept on computed ones."""

import pytest

import tinygrad_attn as ta


def leaf(*values):
    return ta.tensor(list(values), requires_grad=True)


def test_a_hook_sees_the_whole_gradient_once():
    x = leaf(1.0, 2.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    (y * y + y).sum().backward()
    assert seen == [[5.0, 9.0]]
    assert x.grad.tolist() == [10.0, 18.0]


def test_a_hook_replaces_the_gradient_and_can_be_removed():
    x = leaf(1.0)
    remove = x.register_hook(lambda g: 10 * g)
    (2 * x).sum().backward()
    assert x.grad.tolist() == [20.0]
    remove()
    x.grad = None
    (2 * x).sum().backward()
    assert x.grad.tolist() == [2.0]


def test_hooks_run_in_order():
    x = leaf(1.0)
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: g * 10)
    (2 * x).sum().backward()
    assert x.grad.tolist() == [30.0]


def test_a_hook_may_keep_what_it_sees():
    x = leaf(1.0)
    seen = []
    x.register_hook(seen.append)
    (2 * x).sum().backward()
    (2 * x).sum().backward()
    assert [g.tolist() for g in seen] == [[2.0], [2.0]]


@pytest.mark.parametrize("create_graph", [False, True])
def test_what_a_hook_writes_into_reaches_nobody(create_graph):
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    seed = ta.ones(2)

    def scribble(g):
        with ta.no_grad():
            g[0] = 100.0

    z = x + y
    for tensor in (x, y, z):
        tensor.register_hook(scribble)
    gx, gy = ta.grad(z, (x, y), seed, create_graph=create_graph)
    assert gx.tolist() == gy.tolist() == seed.tolist() == [1.0, 1.0]


def test_a_hook_is_a_function():
    with pytest.raises(TypeError, match="register_hook: hook is int; give a function"):
        leaf(1.0).register_hook(5)


def test_a_hook_with_a_graph_sees_tensors_that_can_be_differentiated():
    x = leaf(3.0)
    y = x * x
    y.register_hook(lambda g: g * x.sum())
    (first,) = ta.grad((y * 1).sum(), [x], create_graph=True)
    assert first.tolist() == [18.0]  # x · 2x
    assert ta.grad(first.sum(), x).tolist() == [12.0]


def test_a_gradient_that_does_not_fit_is_refused():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(ta.ShapeError, match=r"register_hook: the gradient is \(\)"):
        (2 * x).sum().backward()


def test_a_hook_needs_a_gradient_to_see():
    with pytest.raises(ta.GraphError, match="no gradient flows to this tensor"):
        ta.tensor(1.0).register_hook(print)


def test_a_computed_tensor_keeps_its_gradient_on_request():
    x = leaf(1.0, 2.0)
    y, z = x * 2, x * 3
    assert y.retain_grad() is y and y.retain_grad() is y  # twice is once
    (y * z).sum().backward()
    assert y.grad.tolist() == [3.0, 6.0]
    assert z.grad is None


def test_kept_gradients_accumulate_and_are_no_aliases():
    x = leaf(1.0)
    y = (x * 2).retain_grad()
    (y + 0.0).sum().backward(retain_graph=True)
    first = y.grad
    (y * 4).sum().backward()
    assert first.tolist() == [1.0] and y.grad.tolist() == [5.0]


def test_retaining_on_a_leaf_changes_nothing():
    x = leaf(1.0).retain_grad()
    (2 * x).sum().backward()
    assert x.grad.tolist() == [2.0]
