"""Activations as layers, and dropout: who is dropped, how the rest grows, and the seed."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, ShapeError

X = np.array([[-3.0, -0.5, 0.0], [0.25, 1.0, 4.0]], np.float32)
ERF = np.vectorize(math.erf)


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.ReLU(), np.maximum(X, 0)),
        (nn.GELU(), X * 0.5 * (1 + ERF(X / math.sqrt(2)))),
        (
            nn.GELU("tanh"),
            X * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3))),
        ),
        (nn.SiLU(), X / (1 + np.exp(-X))),
        (nn.ReLU6(), np.clip(X, 0, 6)),
        (nn.LeakyReLU(), np.where(X > 0, X, 0.01 * X)),
        (nn.LeakyReLU(0.5), np.where(X > 0, X, 0.5 * X)),
        (nn.ELU(), np.where(X > 0, X, np.expm1(X))),
        (nn.ELU(alpha=2.0), np.where(X > 0, X, 2 * np.expm1(X))),
        (nn.SELU(), 1.0507009873554805 * np.where(X > 0, X, 1.6732632423543772 * np.expm1(X))),
        (nn.Softplus(), np.log1p(np.exp(X))),
        (nn.Softplus(beta=3.0), np.log1p(np.exp(3 * X)) / 3),
        (nn.Mish(), X * np.tanh(np.log1p(np.exp(X)))),
        (nn.GLU(dim=0), X[:1] / (1 + np.exp(-X[1:]))),
        (nn.LogSigmoid(), -np.log1p(np.exp(-X))),
        (nn.Softsign(), X / (1 + np.abs(X))),
        (nn.Tanh(), np.tanh(X)),
        (nn.Sigmoid(), 1 / (1 + np.exp(-X))),
        (nn.Softmax(), softmax(X, -1)),
        (nn.Softmax(dim=0), softmax(X, 0)),
        (nn.LogSoftmax(dim=0), np.log(softmax(X, 0))),
        (nn.LogSoftmax(), np.log(softmax(X, -1))),
    ],
    ids=repr,
)
def test_the_formula(layer, expected):
    y = layer(ta.tensor(X))
    assert y.dtype == ta.float32
    np.testing.assert_allclose(y.numpy(), expected, rtol=2e-5, atol=1e-6)
    assert list(layer.parameters()) == []


def test_gelu_checks_its_option():
    with pytest.raises(DTypeError, match="approximate is 'sigmoid'"):
        nn.GELU("sigmoid")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.ELU("a"), DTypeError, "ELU: alpha is 'a'; it must be a number"),
        (lambda: nn.LeakyReLU(None), DTypeError, "LeakyReLU: negative_slope is None"),
        (lambda: nn.Softplus(0), ShapeError, "Softplus: beta is 0; it must be greater than 0"),
        (lambda: nn.GLU()(ta.ones(2, 3)), ShapeError, "glu: axis -1 of x .* has an odd size"),
    ],
)
def test_options_outside_their_domain(make, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make()


def test_options_are_shown():
    shown = [nn.ELU(2.0), nn.LeakyReLU(), nn.Softplus(3.0), nn.GLU(0), nn.Mish()]
    assert [repr(layer) for layer in shown] == [
        "ELU(alpha=2.0)",
        "LeakyReLU(negative_slope=0.01)",
        "Softplus(beta=3.0)",
        "GLU(dim=0)",
        "Mish()",
    ]


def test_dropout_drops_and_scales_in_training_only():
    layer = nn.Dropout(0.25, generator=ta.Generator(0))
    x = ta.ones(100, 100, requires_grad=True)
    y = layer(x)
    dropped = y.numpy() == 0
    assert abs(dropped.mean() - 0.25) < 0.02
    np.testing.assert_allclose(y.numpy()[~dropped], 1 / 0.75, rtol=1e-6)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), x.numpy())


def test_a_seed_fixes_who_is_dropped():
    layer = nn.Dropout(0.5)
    x = ta.ones(64)
    ta.manual_seed(1)
    first, second = layer(x).numpy(), layer(x).numpy()
    ta.manual_seed(1)
    np.testing.assert_array_equal(layer(x).numpy(), first)
    assert (first != second).any()


def test_dropout_at_its_ends():
    x = ta.ones(8)
    np.testing.assert_array_equal(nn.Dropout(0.0)(x).numpy(), np.ones(8))
    np.testing.assert_array_equal(nn.Dropout(1.0)(x).numpy(), np.zeros(8))


@pytest.mark.parametrize("p", [-0.1, 1.5, math.nan])
def test_dropout_checks_its_probability(p):
    with pytest.raises(ShapeError, match=r"the probability is .*; it must be in 0\.\.1"):
        nn.Dropout(p)
    with pytest.raises(DTypeError, match=r"the probability is '0\.5'; it must be a number"):
        nn.Dropout("0.5")
