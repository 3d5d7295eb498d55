"""Every fused op against its spec: value, first order, second order, in every dtype."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_attn as ta
from tinygrad_attn.backend import get_backend
from tinygrad_attn.core import Tensor, fused
from tinygrad_attn.ops.activations import _swiglu
from tinygrad_attn.ops.fused.cross_entropy import _surprise
from tinygrad_attn.ops.fused.dropout import Drop, _dropout
from tinygrad_attn.ops.fused.embedding import _embedding
from tinygrad_attn.ops.fused.gelu import _gelu, _gelu_tanh
from tinygrad_attn.ops.fused.linear import _linear
from tinygrad_attn.ops.fused.linear_packed import _packed_linear
from tinygrad_attn.ops.fused.norm import _layer_norm, _rms_norm
from tinygrad_attn.ops.fused.softmax import _log_softmax, _softmax


@pytest.fixture(scope="module", params=["the CPU's kernels", "portable kernels"], autouse=True)
def kernels(request):
    """Every test of this file runs twice, so that neither form of a kernel goes untested."""
    backend = get_backend("cpu")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "portable kernels":
            patch.setattr(backend, "kernels", {}, raising=False)
        yield


def floats(rng, *shape):
    return ta.tensor(rng.standard_normal(shape), requires_grad=True)


def integers(rng, high, *shape):
    return ta.tensor(rng.integers(0, high, shape))


def gelu_case(op):
    return lambda rng, n, d: (op, (floats(rng, n, d),), {})


def norm_case(op, affine):
    def case(rng, n, d):
        arguments = [floats(rng, n, d + 1)]
        arguments += [floats(rng, d + 1) if given else None for given in affine]
        return op, arguments, {"eps": 1e-3, "axes": (1,)}

    return case


def softmax_case(op):
    return lambda rng, n, d: (
        op,
        (floats(rng, n, d + 1),),
        {"axis": int(rng.integers(0, 2)) if n else 1},
    )


def surprise_case(reduction, smoothing=0.0, ignored=False, weighted=False):
    def case(rng, n, d):
        target = rng.integers(0, d + 1, n)
        if ignored:
            target[rng.random(n) < 0.5] = -7
        share = ta.tensor(rng.random(d + 1)) if weighted else None
        options = {"smoothing": smoothing, "ignore_index": -7, "reduction": reduction}
        return _surprise, (floats(rng, n, d + 1), ta.tensor(target), share), options

    return case


def linear_case(activation, *given):
    """``given``: whether there is a bias, a residual, dropout."""

    def case(rng, n, d):
        sizes = (2, n, d), (3, d), (3,), (2, n, 3)
        has = (True, True, *given[:2])
        arguments = [floats(rng, *size) if there else None for size, there in zip(sizes, has)]
        drop = Drop(0.4, (int(rng.integers(2**62)), 3)) if given[2] else None
        return _linear, arguments, {"activation": activation, "drop": drop}

    return case


def packed_case(has_bias):
    def case(rng, n, d):
        outs = 3, 1, 2
        biases = [floats(rng, out) if has_bias else None for out in outs]
        weights = [floats(rng, out, d) for out in outs]
        return _packed_linear, [floats(rng, 2, n, d), *weights, *biases], {}

    return case


CASES = {
    "softmax": softmax_case(_softmax),
    "log_softmax": softmax_case(_log_softmax),
    "gelu": gelu_case(_gelu),
    "gelu, tanh": gelu_case(_gelu_tanh),
    "silu": gelu_case(ta.silu),
    "swiglu": lambda rng, n, d: (_swiglu, (floats(rng, n, d), floats(rng, n, d)), {}),
    "layer_norm": norm_case(_layer_norm, (True, True)),
    "layer_norm, weight alone": norm_case(_layer_norm, (True, False)),
    "layer_norm, plain": norm_case(_layer_norm, (False, False)),
    "rms_norm": norm_case(_rms_norm, (True,)),
    "rms_norm, plain": norm_case(_rms_norm, (False,)),
    "linear, packed": packed_case(True),
    "linear, packed, without bias": packed_case(False),
    "embedding": lambda rng, n, d: (
        _embedding,
        (integers(rng, 3, n, 2), floats(rng, 3, d)),
        {},
    ),
    "dropout": lambda rng, n, d: (
        _dropout,
        (floats(rng, n, d),),
        {"drop": Drop(0.5, (int(rng.integers(2**62)), 3))},
    ),
    "cross_entropy": surprise_case("mean"),
    "cross_entropy, each": surprise_case("none", smoothing=0.2),
    "cross_entropy, weighted": surprise_case("sum", weighted=True),
    "cross_entropy, all of it": surprise_case("mean", 0.1, ignored=True, weighted=True),
}

ACTIVATIONS = None, "relu", "gelu", "gelu_tanh", "silu"
for activation, *given_parts in product(ACTIVATIONS, *[(True, False)] * 3):
    parts = zip(("bias", "residual", "dropout"), given_parts)
    names = ["linear", activation, *(name for name, is_given in parts if is_given)]
    CASES[", ".join(filter(None, names))] = linear_case(activation, *given_parts)

sizes = st.integers(0, 4)


def differentiable(op, arguments):
    return [a for i, a in enumerate(arguments) if i in op.differentiable and isinstance(a, Tensor)]


def close(ours, theirs, tolerance=1e-12):
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
@given(seed=st.integers(0, 2**32), n=sizes, d=sizes)
def test_kernel_is_its_spec(name, seed, n, d):
    rng = np.random.default_rng(seed)
    op, arguments, options = CASES[name](rng, n, d)
    kernel, spec = op(*arguments, **options), op.spec(*arguments, **options)
    close(kernel, spec)
    inputs = differentiable(op, arguments)
    g = ta.tensor(rng.standard_normal(kernel.shape), requires_grad=True)
    by_kernel = ta.grad(kernel, inputs, g, retain_graph=True)
    for ours, theirs in zip(by_kernel, ta.grad(spec, inputs, g), strict=True):
        close(ours, theirs)
    by_replay = ta.grad(kernel, inputs, g, create_graph=True)
    for ours, theirs in zip(by_kernel, by_replay, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("name", CASES)
def test_second_order(name):
    op, arguments, options = CASES[name](np.random.default_rng(1), 3, 2)
    inputs = differentiable(op, arguments)

    def call(*xs):
        given = iter(xs)
        return op(
            *[next(given) if any(a is x for x in inputs) else a for a in arguments], **options
        )

    assert ta.gradcheck(call, inputs, order=2)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_no_dtype_widens(name, dtype):
    op, arguments, options = CASES[name](np.random.default_rng(2), 3, 4)
    narrow = [
        a.detach().astype(dtype).requires_grad_()
        if isinstance(a, Tensor) and a.requires_grad
        else a
        for a in arguments
    ]
    y = op(*narrow, **options)
    assert y.dtype == dtype
    inputs = differentiable(op, narrow)
    for g in ta.grad(y, [x for x in inputs if x.requires_grad], ta.ones_like(y)):
        assert g.dtype == dtype
    wide = op(*arguments, **options)
    tolerance = {"float16": 1e-2, "float32": 1e-5}[dtype]
    np.testing.assert_allclose(y.numpy(), wide.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_strided_input(name):
    op, arguments, options = CASES[name](np.random.default_rng(3), 4, 3)
    strided = [
        Tensor(np.repeat(a.data, 2, axis=-1)[..., ::2], a.node) if isinstance(a, Tensor) else a
        for a in arguments
    ]
    close(op(*strided, **options), op(*arguments, **options))


@pytest.mark.parametrize("name", CASES)
def test_kernel_leaves_its_inputs_alone(name):
    op, arguments, options = CASES[name](np.random.default_rng(4), 3, 3)
    before = [a.data.copy() if isinstance(a, Tensor) else None for a in arguments]
    y = op(*arguments, **options)
    inputs = differentiable(op, arguments)
    g = ta.ones_like(y)
    first = ta.grad(y, [x for x in inputs if x.requires_grad], g, retain_graph=True)
    second = ta.grad(y, [x for x in inputs if x.requires_grad], g)
    for a, kept in zip(arguments, before, strict=True):
        if kept is not None:
            np.testing.assert_array_equal(a.data, kept)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert (g.numpy() == 1).all()


def test_softmax_of_large_logits_is_finite():
    x = ta.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], requires_grad=True)
    y = ta.softmax(x)
    np.testing.assert_allclose(y.numpy(), [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
    assert np.isfinite(ta.log_softmax(x).numpy()).all()
    assert np.isfinite(ta.grad(y, x, ta.ones_like(y)).numpy()).all()


def test_a_replay_of_one_input_twice():
    """The same tensor in two places of a fused op, one of them computed from the other."""
    w = ta.tensor(np.random.default_rng(0).standard_normal((3, 3)), requires_grad=True)

    def through_itself(w):
        return ta.linear(w, ta.tanh(w), w[0])

    assert ta.gradcheck(through_itself, w, order=2)


def test_a_kernel_learns_what_is_wanted():
    seen = []

    @fused(spec=lambda a, b: a * b)
    def product(a, b, *, needs):
        seen.append(needs)
        return a * b, lambda g: (g * b if needs[0] else None, g * a if needs[1] else None)

    a, b = ta.tensor([2.0], requires_grad=True), ta.tensor([3.0])
    product(a, b).sum().backward()
    with ta.no_grad():
        product(a, b)
    assert seen == [(True, False), (False, False)]
    assert a.grad.tolist() == [3.0]
