"""Linear: the formula, the first weights, gradients, and inputs of another width."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn import nn
from tinygrad_attn.errors import DTypeError, ShapeError


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 0, 3), (2, 4, 3)])
def test_the_formula(shape, bias):
    layer = nn.Linear(3, 2, bias)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = x @ layer.weight.numpy().T + (layer.bias.numpy() if bias else 0)
    y = layer(ta.tensor(x))
    assert y.dtype == ta.float32
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_names_and_shapes_are_those_of_pytorch():
    assert {k: v.shape for k, v in nn.Linear(3, 2).state_dict().items()} == {
        "weight": (2, 3),
        "bias": (2,),
    }
    assert list(nn.Linear(3, 2, bias=False).state_dict()) == ["weight"]
    assert nn.Linear(3, 2, bias=False).bias is None


def test_weights_and_bias_are_uniform_within_one_over_the_root_of_the_width():
    layer = nn.Linear(100, 400, generator=ta.Generator(1))
    for p in (layer.weight, layer.bias):
        x = p.numpy()
        assert 0.095 < np.abs(x).max() <= 0.1
        assert abs(x.std() - 0.1 / math.sqrt(3)) < 0.006


def test_a_seed_fixes_the_weights():
    ta.manual_seed(5)
    first = nn.Linear(3, 4)
    ta.manual_seed(5)
    second = nn.Linear(3, 4)
    third = nn.Linear(3, 4)
    np.testing.assert_array_equal(first.weight.numpy(), second.weight.numpy())
    assert (first.weight.numpy() != third.weight.numpy()).any()
    mine = nn.Linear(3, 4, generator=ta.Generator(5))
    np.testing.assert_array_equal(mine.weight.numpy(), first.weight.numpy())


def test_gradients_to_second_order():
    assert ta.check_module(nn.Linear(3, 2), ta.randn(4, 3))
    assert ta.check_module(nn.Linear(3, 2, bias=False), ta.randn(2, 2, 3))


def test_an_input_of_another_width_is_refused():
    with pytest.raises(ShapeError, match=r"linear: x is \(2, 4\), weight is \(2, 3\)"):
        nn.Linear(3, 2)(ta.ones(2, 4))


@pytest.mark.parametrize(
    ("sizes", "error", "text"),
    [
        ((0, 2), ShapeError, "Linear: in_features is 0; it must be at least 1"),
        ((2, -1), ShapeError, "Linear: out_features is -1; it must be at least 1"),
        ((2.0, 1), DTypeError, "Linear: in_features is 2.0; it must be a whole number"),
        ((True, 1), DTypeError, "Linear: in_features is True; it must be a whole number"),
    ],
)
def test_sizes_are_checked(sizes, error, text):
    with pytest.raises(error, match=text):
        nn.Linear(*sizes)
