"""SwiGLU: the formula, its names, its sizes."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin  # noqa: F401 registers the device "standin"
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, ShapeError

X = np.random.default_rng(0).standard_normal((2, 5, 6)).astype(np.float32)


def by_hand(layer, x):
    def linear(part, x):
        bias = 0 if part.bias is None else part.bias.numpy()
        return x @ part.weight.numpy().T.astype(np.float64) + bias

    gate = linear(layer.w1, x)
    return linear(layer.w2, gate / (1 + np.exp(-gate)) * linear(layer.w3, x))


@pytest.mark.parametrize("bias", [False, True])
def test_the_formula(bias):
    layer = nn.SwiGLU(6, 7, bias=bias)
    np.testing.assert_allclose(layer(ta.tensor(X)).numpy(), by_hand(layer, X), atol=1e-6)


def test_the_names_are_the_documented_ones():
    weights = {"w1.weight": (7, 6), "w2.weight": (6, 7), "w3.weight": (7, 6)}
    biases = {"w1.bias": (7,), "w2.bias": (6,), "w3.bias": (7,)}
    shapes = {name: p.shape for name, p in nn.SwiGLU(6, 7).named_parameters()}
    assert shapes == weights
    shapes = {name: p.shape for name, p in nn.SwiGLU(6, 7, bias=True).named_parameters()}
    assert shapes == {**weights, **biases}


@pytest.mark.parametrize("width, inner", [(3, 8), (4, 11), (48, 128)])
def test_the_inner_width_is_eight_thirds_rounded_up(width, inner):
    assert nn.SwiGLU(width).w1.out_features == inner


@pytest.mark.parametrize("bias", [False, True])
def test_gradients_to_second_order(bias):
    layer = nn.SwiGLU(3, 4, bias=bias)
    assert ta.check_module(layer, ta.randn(1, 2, 3, generator=ta.Generator(0)))


def test_dropout_acts_on_the_inner_elements_and_in_training_only():
    layer = nn.SwiGLU(6, 7, dropout=0.5)
    assert np.abs(layer(ta.tensor(X)).numpy() - by_hand(layer, X)).max() > 1e-3
    np.testing.assert_allclose(layer.eval()(ta.tensor(X)).numpy(), by_hand(layer, X), atol=1e-6)
    nothing = nn.SwiGLU(6, 7, bias=True, dropout=1.0)
    bias = np.broadcast_to(nothing.w2.bias.numpy(), X.shape)
    np.testing.assert_array_equal(nothing(ta.tensor(X)).numpy(), bias)


def test_the_generator_decides():
    a, b = (nn.SwiGLU(4, generator=ta.Generator(3)).state_dict() for _ in range(2))
    assert all((a[name] == b[name]).all() for name in a)


def test_another_device_gives_the_same(device):
    layer = nn.SwiGLU(6, 7)
    expected = layer(ta.tensor(X)).numpy()
    y = layer.to(device)(ta.tensor(X, device=device))
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(
    "sizes, error, message",
    [
        ((0,), ShapeError, "d_model is 0; it must be at least 1"),
        ((4, 0), ShapeError, "dim_feedforward is 0"),
        ((4, 2.5), DTypeError, "dim_feedforward is 2.5; it must be a whole number"),
        (("4",), DTypeError, "d_model is '4'"),
        ((4, 4, False, 1.5), ShapeError, "probability is 1.5"),
    ],
)
def test_sizes_that_cannot_be(sizes, error, message):
    with pytest.raises(error, match=message):
        nn.SwiGLU(*sizes)


def test_an_input_of_another_width_is_refused():
    with pytest.raises(ShapeError, match="linear"):
        nn.SwiGLU(6)(ta.ones(2, 5))
