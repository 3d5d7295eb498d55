"""LayerNorm and RMSNorm: the formulas, over one axis and several, with and without weights."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)


def inputs(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def set_random(module):
    for p in module.parameters():
        nn.init.normal_(p, 1.0, 0.3, generator=ta.Generator(1))
    return module


def layer_norm(x, axes, eps):
    centred = x - x.mean(axis=axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=axes, keepdims=True) + eps)


def rms_norm(x, axes, eps):
    return x / np.sqrt((x**2).mean(axis=axes, keepdims=True) + eps)


SHAPES = [(4, (-1,)), ((4,), (-1,)), ((3, 4), (-2, -1)), ([2, 3, 4], (-3, -2, -1))]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_layer_norm_is_the_formula(shape, axes, affine):
    layer = set_random(nn.LayerNorm(shape, eps=1e-3, elementwise_affine=affine))
    x = inputs(2, 3, 4)
    expected = layer_norm(x, axes, 1e-3)
    if affine:
        expected = expected * layer.weight.numpy() + layer.bias.numpy()
    y = layer(ta.tensor(x))
    assert y.shape == x.shape and y.dtype == ta.float32
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_rms_norm_is_the_formula(shape, axes, affine):
    layer = set_random(nn.RMSNorm(shape, eps=1e-3, elementwise_affine=affine))
    x = inputs(2, 3, 4)
    expected = rms_norm(x, axes, 1e-3)
    if affine:
        expected = expected * layer.weight.numpy()
    np.testing.assert_allclose(layer(ta.tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("dtype", "eps"), [("float32", 2.0**-23), ("float64", 2.0**-52)])
def test_rms_norm_without_an_eps_takes_that_of_the_dtype(dtype, eps):
    x = np.full(4, 1e-4, dtype)
    y = nn.RMSNorm(4).to(dtype)(ta.tensor(x))
    np.testing.assert_allclose(y.numpy(), rms_norm(x, -1, eps), rtol=1e-5)


def test_names_are_those_of_pytorch():
    assert list(nn.LayerNorm(3).state_dict()) == ["weight", "bias"]
    assert list(nn.LayerNorm(3, bias=False).state_dict()) == ["weight"]
    assert list(nn.LayerNorm(3, elementwise_affine=False).state_dict()) == []
    assert list(nn.RMSNorm((2, 3)).state_dict()) == ["weight"]


@pytest.mark.parametrize("layer", [nn.LayerNorm(3), nn.RMSNorm(3)])
def test_reset_brings_back_ones_and_zeros(layer):
    set_random(layer).reset_parameters()
    assert layer.weight.tolist() == [1, 1, 1]
    assert isinstance(layer, nn.RMSNorm) or layer.bias.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "layer",
    [
        nn.LayerNorm((2, 3)),
        nn.LayerNorm((2, 3), elementwise_affine=False),
        nn.LayerNorm(3, bias=False),
        nn.RMSNorm((2, 3)),
        nn.RMSNorm((2, 3), elementwise_affine=False),
    ],
    ids=repr,
)
def test_gradients_to_second_order(layer):
    assert ta.check_module(layer, ta.randn(2, 2, 3, generator=ta.Generator(0)))


@pytest.mark.parametrize("kind", [nn.LayerNorm, nn.RMSNorm])
@pytest.mark.parametrize("affine", [True, False])
def test_an_input_that_ends_in_other_sizes_is_refused(kind, affine):
    layer = kind((3, 4), elementwise_affine=affine)
    for shape in ((3, 5), (4,), (4, 3)):
        with pytest.raises(ShapeError, match=rf"x is \({shape[0]},.*normalized_shape is \(3, 4\)"):
            layer(ta.ones(shape))


def test_options_are_checked():
    with pytest.raises(ShapeError, match="LayerNorm: normalized_shape is empty"):
        nn.LayerNorm(())
    with pytest.raises(ShapeError, match="RMSNorm: normalized_shape is 0"):
        nn.RMSNorm((3, 0))
    with pytest.raises(DTypeError, match=r"LayerNorm: normalized_shape is 2\.5"):
        nn.LayerNorm(2.5)
    with pytest.raises(ShapeError, match="LayerNorm: eps is -1"):
        nn.LayerNorm(3, eps=-1)
