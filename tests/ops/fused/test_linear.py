"""linear and what comes after its product; packed_linear. Their kernels: ``test_fused.py``."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, ShapeError

ACTIVATIONS = {
    None: lambda x: x,
    "relu": ta.relu,
    "gelu": ta.gelu,
    "gelu_tanh": lambda x: ta.gelu(x, "tanh"),
    "silu": ta.silu,
}


def floats(*shape, seed=0, **options):
    x = np.random.default_rng(seed).standard_normal(shape)
    return ta.tensor(x, requires_grad=True, **options)


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_is_what_the_ops_compute_one_by_one(device, activation, rate):
    """The same elements are dropped as by ``dropout``, too."""
    inputs = [floats(*shape, device=device) for shape in ((2, 3, 4), (5, 4), (5,), (2, 3, 5))]
    x, weight, bias, residual = inputs
    options = {"activation": activation, "residual": residual, "dropout": rate}
    found = ta.linear(x, weight, bias, **options, generator=ta.Generator(7))
    y = ACTIVATIONS[activation](ta.linear(x, weight, bias))
    expected = ta.dropout(y, rate, generator=ta.Generator(7)) + residual
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-13)
    g = floats(2, 3, 5, seed=1, device=device)
    for one, other in zip(*(ta.grad(y, inputs, g) for y in (found, expected))):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-13)


@pytest.mark.parametrize("wanted", ["residual alone", "bias alone", "weight alone", "nothing"])
def test_only_what_is_wanted(device, wanted):
    inputs = {
        name: ta.tensor(np.ones(shape), device=device, requires_grad=wanted.startswith(name))
        for name, shape in {"x": (3, 4), "weight": (5, 4), "bias": 5, "residual": (3, 5)}.items()
    }
    y = ta.linear(**inputs, activation="silu", dropout=0.3)
    assert y.requires_grad == (wanted != "nothing")
    if y.requires_grad:
        y.backward(ta.ones_like(y))
    for name, x in inputs.items():
        assert (x.grad is None) == (not wanted.startswith(name))


def test_a_gradient_of_the_residual_is_nobody_elses():
    x, weight, residual, g = floats(3, 4), floats(5, 4), floats(3, 5), floats(3, 5)
    y = ta.linear(x, weight, residual=residual)
    gr, gy = ta.grad(y, [residual, y], g.detach())
    assert not np.shares_memory(gr.data, g.data) and not np.shares_memory(gr.data, gy.data)
    np.testing.assert_array_equal(gr.numpy(), g.numpy())


def test_a_vector_and_one_that_is_its_own_residual():
    x, weight = floats(4), floats(4, 4)
    assert ta.gradcheck(lambda x, w: ta.linear(x, w, residual=x, activation="gelu"), [x, weight])


def test_of_whole_numbers_it_is_a_float():
    x, weight = ta.tensor([[1, 2]]), ta.tensor([[3, 4]])
    assert ta.linear(x, weight).dtype == ta.int64
    y = ta.linear(x, weight, activation="relu", residual=ta.tensor([[1]]))
    assert y.dtype == ta.float32 and y.tolist() == [[12.0]]


def test_under_autocast_the_residual_keeps_its_digits():
    x, weight = ta.ones(2, 3), ta.ones(4, 3)
    residual = ta.full((2, 4), 1 + 2.0**-20)
    with ta.autocast():
        assert ta.linear(x, weight, activation="relu").dtype == ta.float16
        y = ta.linear(x, weight, residual=residual)
    assert y.dtype == ta.float32 and (y.numpy() == np.float32(4 + 2.0**-20)).all()


def test_the_layer_passes_it_on():
    layer, x = nn.Linear(4, 4), floats(2, 4, dtype="float32")
    y = layer(x, activation="gelu", residual=x)
    np.testing.assert_allclose(y.numpy(), (x + ta.gelu(layer(x))).numpy(), atol=1e-6)
    assert (layer(x, dropout=1.0).numpy() == 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"activation": "tanh"},
            DTypeError,
            "activation is 'tanh'; it must be None or one of relu",
        ),
        ({"dropout": 1.5}, ShapeError, "dropout is 1.5; a probability must be in 0..1"),
        ({"residual": ta.ones(1, 5)}, ShapeError, r"residual is \(1, 5\); .* the result, \(3, 5\)"),
        ({"residual": 1.0}, ShapeError, r"x is \(3, 4\), weight is \(5, 4\), residual is \(\)"),
    ],
)
def test_what_it_refuses(options, error, message):
    state = ta.Generator(0)
    with pytest.raises(error, match=f"linear: .*{message}"):
        ta.linear(ta.ones(3, 4), ta.ones(5, 4), generator=state, **options)
    assert state.get_state() == ta.Generator(0).get_state()


# ---- three maps at once --------------------------------------------------------------------------


def parts(device="cpu", **options):
    weights = [floats(n, 4, seed=n, device=device, **options) for n in (5, 1, 2)]
    return weights, [floats(n, seed=n + 9, device=device, **options) for n in (5, 1, 2)]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("has_bias", [True, False])
def test_packed_linear_is_three(device, dtype, has_bias):
    weights, biases = parts(device)
    x = floats(2, 3, 4, device=device)
    inputs = [x, *weights, *(biases if has_bias else [])]
    found, expected = (call(*[t.astype(dtype) for t in inputs]) for call in (packed, one_by_one))
    assert found.dtype == dtype
    room = {"float64": 1e-13, "float32": 1e-5, "float16": 2e-2}[dtype]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=room)
    g = floats(2, 3, 8, seed=3, device=device).astype(dtype)
    for one, other in zip(*(ta.grad(y, inputs, g) for y in (found, expected))):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=room)


def packed(x, *rest):
    return ta.packed_linear(x, rest[:3], rest[3:] or [None] * 3)


def one_by_one(x, *rest):
    biases = rest[3:] or [None] * 3
    return ta.concatenate([ta.linear(x, w, b) for w, b in zip(rest, biases)], axis=-1)


def test_gradients_are_pieces_of_one_array_and_yet_apart():
    """No copy is made of them; what one gets from elsewhere in the graph, the others do not."""
    weights, biases = parts()
    x = floats(3, 4)
    y = ta.packed_linear(x, weights, biases)
    (ta.sum(y) + 10 * ta.sum(weights[1]) + 10 * ta.sum(biases[0])).backward()
    grads = [t.grad.data for t in (weights[0], weights[2], biases[1], biases[2])]
    assert grads[0].base is grads[1].base and grads[2].base is grads[3].base
    assert not any(grad.base is None for grad in grads)
    for i, (weight, bias) in enumerate(zip(weights, biases)):
        expected = x.numpy().sum(axis=0) + 10 * (i == 1)
        np.testing.assert_allclose(weight.grad.numpy(), np.tile(expected, (len(weight), 1)))
        assert (bias.grad.numpy() == 3 + 10 * (i == 0)).all()
    weights[0].grad[...] = 0
    assert weights[2].grad.numpy().all()


def test_weights_and_biases_may_be_rows_of_an_array():
    x, weights, biases = ta.randn(2, 3), ta.randn(3, 4, 3), ta.randn(3, 4)
    expected = ta.packed_linear(x, list(weights), list(biases)).numpy()
    for kind in (lambda x: x, lambda x: x.numpy()):
        found = ta.packed_linear(x, kind(weights), kind(biases)).numpy()
        np.testing.assert_array_equal(found, expected)


def test_a_weight_for_all_three():
    x, w = floats(3, 4), floats(2, 4)
    assert ta.gradcheck(lambda x, w: ta.packed_linear(x, [w, w, w]), [x, w], order=2)


@pytest.mark.parametrize(
    ("count", "changes", "message"),
    [
        (2, {}, "there must be three weights, and three biases or none"),
        (3, {"biases": [ta.ones(5)]}, r"biases are \[\(5,\)\]; there must be three"),
        (3, {"x": ta.ones(2, 3)}, r"each weight must be \(out, in\) with in = x.shape\[-1\]"),
        (3, {"biases": [ta.ones(5)] * 3}, r"each must be \(weight.shape\[0\],\)"),
    ],
)
def test_what_packed_linear_refuses(count, changes, message):
    given = {"x": ta.ones(2, 4), "weights": parts(dtype="float32")[0][:count], **changes}
    with pytest.raises(ShapeError, match=f"packed_linear: x is .*{message}"):
        ta.packed_linear(**given)
