"""Fused ops: a kernel now, its spec for every higher order."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.backend import backend_of, namespace
from tinygrad_attn.core import Tensor


def swish_spec(x, slope):
    """x · σ(slope · x), of primitives."""
    return x * ta.sigmoid(x * slope)


@ta.fused(spec=swish_spec)
def swish(x, slope, *, needs):
    """The same in one kernel."""
    xp = namespace(x)
    s = 1 / (1 + xp.exp(-(x * slope)))
    if not any(needs):
        return x * s, None

    def backward(g):
        inner = g * x * s * (1 - s)
        return (g * s + inner * slope if needs[0] else None), (inner * x if needs[1] else None)

    return x * s, backward


def f64(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).uniform(-1.5, 1.5, shape))


@pytest.mark.parametrize(
    "shapes", [((2, 3), (2, 3)), ((2, 3), (3,)), ((3,), ()), ((0, 2), (2,))], ids=str
)
def test_kernel_and_spec_are_one_function_to_every_order(shapes):
    inputs = [f64(*shape, seed=i) for i, shape in enumerate(shapes)]
    np.testing.assert_allclose(swish(*inputs).numpy(), swish_spec(*inputs).numpy())
    report = ta.gradcheck(swish, inputs, order=3)
    assert report, report


def test_one_op_is_recorded_not_those_of_the_spec():
    y = swish(f64(3).requires_grad_(), f64(3))
    assert y.node.op.name == "swish" and len(y.node.parents) == 2


def test_the_kernel_is_told_what_is_needed():
    told = []

    @ta.fused(spec=lambda a, b: a * b)
    def product(a, b, *, needs):
        told.append(needs)
        return a * b, lambda g: (g * b, g * a)

    a, b = f64(2).requires_grad_(), f64(2).requires_grad_()
    product(a, b), product(a, b.detach()), product(a.detach(), b)
    with ta.no_grad():
        product(a, b)
    assert told == [(True, True), (True, False), (False, True), (False, False)]


def test_constants_get_no_gradient_and_keep_their_dtype():
    @ta.fused(spec=lambda x, mask: ta.where(mask, x, 0.0), constants=("mask",))
    def masked(x, mask):
        assert mask.dtype == bool
        return x * mask, lambda g: (g * mask,)

    x, mask = f64(3), ta.tensor([True, False, True])
    assert ta.gradcheck(masked, (x, mask), order=2)


def test_an_input_computed_from_another_is_not_followed_twice():
    """The spec is replayed behind aliases: b depends on a, but that path is not this op's."""
    x = f64(3)
    report = ta.gradcheck(lambda a: swish(a, a * a), x, order=3)
    assert report, report


def test_the_same_tensor_in_both_places():
    assert ta.gradcheck(lambda a: swish(a, a), f64(3), order=2)


def test_a_backend_may_own_a_faster_kernel(monkeypatch):
    x = f64(3)
    called = []

    def faster(x, slope, *, needs):
        called.append(needs)
        return x * 0, lambda g: (g, g)

    monkeypatch.setattr(backend_of(x.data), "kernels", {"swish": faster})
    assert swish(x, 1.0).tolist() == [0.0, 0.0, 0.0] and called == [(False, False)]


def test_the_kernel_is_forgotten_where_the_graph_goes_on():
    """A wrong kernel gives a wrong first order; the second order is the spec's, and right."""

    @ta.fused(spec=lambda x: x * x * x)
    def wrong(x):
        return x * x * x, lambda g: (g * 0,)

    x = ta.tensor(2.0, requires_grad=True)
    assert ta.grad(wrong(x), x).item() == 0
    first = ta.grad(wrong(x), x, create_graph=True)
    assert (first.item(), ta.grad(first, x).item()) == (12.0, 12.0)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_kernels_compute_16_bit_floats_in_float32(dtype):
    seen = []

    @ta.fused(spec=lambda x: x * 2)
    def double(x):
        seen.append(x.dtype)
        return x * 2, lambda g: (seen.append(g.dtype) or g * 2,)

    x = ta.ones(2).astype(dtype).requires_grad_()
    y = double(x)
    y.sum().backward()
    assert seen == [ta.float32, ta.float32] and y.dtype == x.grad.dtype == dtype
