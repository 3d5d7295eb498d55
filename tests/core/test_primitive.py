"""A primitive of the user's own gets all: broadcasting undone, dtypes, higher orders, checks."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.backend import namespace
from tinygrad_attn.core import Tensor


@ta.primitive
def cube(x):
    """y = x³."""
    return x * x * x


cube.derivatives(x=lambda g, x: g * 3 * x * x)


@ta.primitive
def mixed(a, b, power):
    """y = aⁿ·b, with a number that is no tensor."""
    return a**power * b


mixed.derivatives(
    a=lambda g, a, b, power: g * power * a ** (power - 1) * b,
    b=lambda g, a, power: g * a**power,
)


@ta.primitive
def blend(*xs, scale):
    """y = scale · Σ (i + 1)·xᵢ."""
    return scale * sum((i + 1) * x for i, x in enumerate(xs))


blend.derivatives(xs=lambda g, i, scale: g * scale * (i + 1))


@ta.primitive
def outer_product(*xs):
    """y = Π xᵢ, whose rule needs all the others."""
    y = xs[0]
    for x in xs[1:]:
        y = y * x
    return y


def _without(xs, i):
    y = 1
    for k, x in enumerate(xs):
        y = y if k == i else y * x
    return y


outer_product.derivatives(xs=lambda g, xs, i: g * _without(xs, i))


def f64(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).uniform(0.5, 1.5, shape))


CALLS = [
    (cube, [f64(2, 3)]),
    (lambda a, b: mixed(a, b, 3), [f64(2, 3), f64(3)]),
    (lambda a, b: mixed(a, b, 2), [f64(2, 1), f64(1, 3)]),
    (lambda *xs: blend(*xs, scale=0.5), [f64(2, 3), f64(3), f64(1)]),
    (outer_product, [f64(2, 3), f64(3), f64(2, 1)]),
]


@pytest.mark.parametrize(("fn", "inputs"), CALLS)
def test_every_order_comes_from_one_rule(fn, inputs):
    report = ta.gradcheck(fn, inputs, order=3)
    assert report, report


def test_dtypes_are_the_engines_business(device):
    x = ta.tensor([1.0, 2.0]).to(device).requires_grad_()
    y = ta.tensor([1, 2]).to(device)
    z = mixed(x, y, 2)
    z.sum().backward()
    assert z.dtype == x.grad.dtype == ta.float32
    assert x.grad.tolist() == [2.0, 8.0]


def test_only_the_rules_that_are_wanted_run():
    ran = []
    op = ta.primitive(lambda a, b: a * b)
    op.derivatives(a=lambda g, b: ran.append("a") or g * b, b=lambda g, a: ran.append("b") or g * a)
    a, b = ta.tensor(2.0, requires_grad=True), ta.tensor(3.0, requires_grad=True)
    ta.grad(op(a, b), a)
    ta.grad(op(a.detach(), b), b)
    assert ran == ["a", "b"]


def test_a_rule_may_say_that_there_is_no_gradient():
    op = ta.primitive(lambda a, b: a * b).derivatives(a=lambda g, b: g * b, b=lambda g: None)
    a, b = ta.tensor(2.0, requires_grad=True), ta.tensor(3.0, requires_grad=True)
    assert ta.grad(op(a, b), [a, b], allow_unused=True)[1] is None


def test_an_argument_without_a_rule_gets_no_gradient():
    op = ta.primitive(lambda x, weight: x * weight).derivatives(x=lambda g, weight: g * weight)
    w = ta.tensor(3.0, requires_grad=True)
    assert not op(ta.tensor(2.0), w).requires_grad
    assert op(ta.tensor(2.0, requires_grad=True), w).requires_grad


def test_shapes_can_be_asked_for_without_the_values():
    op = ta.primitive(lambda x: x.reshape(-1))
    op.derivatives(x=lambda g, x_shape: g.reshape(x_shape))
    x = ta.ones(2, 3).requires_grad_()
    y = op(x * 1)
    assert y.node.saved == ((2, 3),)
    assert ta.grad(y.sum(), x).shape == (2, 3)


def test_a_rule_sees_namespaces_of_arrays_and_of_tensors():
    seen = []
    op = ta.primitive(lambda x: namespace(x).exp(x))
    op.derivatives(x=lambda g, y: seen.append(type(y).__name__) or g * y)
    x = ta.tensor(1.0, requires_grad=True)
    ta.grad(op(x), x)
    ta.grad(op(x), x, create_graph=True)
    assert seen == ["ndarray", "Tensor"]


def test_rules_can_be_exchanged_later():
    op = ta.primitive(lambda x: x * 2)
    x = ta.tensor(1.0, requires_grad=True)
    assert not op(x).requires_grad
    op.derivatives(x=lambda g: g * 2)
    assert ta.grad(op(x), x).item() == 2


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"z": lambda g: g}, "'z' is no argument of the op"),
        ({"x": lambda g, z: g}, "a rule asks for 'z'; it may ask for g, y, an argument of"),
        ({"x": lambda g, z_shape: g}, "a rule asks for 'z_shape'"),
    ],
)
def test_a_rule_about_nothing_is_refused_when_it_is_given(rules, message):
    with pytest.raises(TypeError, match=message):
        ta.primitive(lambda x: x).derivatives(**rules)


def test_a_gradient_of_the_wrong_shape_is_the_rules_fault():
    op = ta.primitive(lambda x: x * 1).derivatives(x=lambda g: g[:2])
    x = ta.ones(3).requires_grad_()
    with pytest.raises(
        ta.GraphError, match=r"argument 0 has shape \(2,\), but the argument is \(3,\); the rule"
    ):
        op(x).sum().backward()


def test_a_forward_that_returns_a_bare_number():
    op = ta.primitive(lambda x: float(x.sum())).derivatives(
        x=lambda g, x: g * namespace(x).ones_like(x)
    )
    y = op(f64(3))
    assert isinstance(y, Tensor) and y.shape == ()
