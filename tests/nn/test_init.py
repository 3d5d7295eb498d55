"""First values: the formulas, the distributions, and that a seed fixes them."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin  # noqa: F401 registers the device "standin"
from tinygrad_attn.errors import DTypeError, ShapeError
from tinygrad_attn.nn import init

SHAPE = (300, 200)  # (out, in)


def drawn(fill, *args, shape=SHAPE, **options):
    tensor = ta.zeros(shape)
    assert fill(tensor, *args, generator=ta.Generator(0), **options) is tensor
    return tensor.numpy()


def check_uniform(x, low, high):
    """Flat between low and high: bounds nearly reached, mean and deviation those of the formula."""
    width = high - low
    assert low <= x.min() < low + width / 500 and high - width / 500 < x.max() <= high
    assert abs(x.mean() - (low + high) / 2) < width / 100
    assert abs(x.std() - width / math.sqrt(12)) < width / 100


def check_normal(x, mean, std):
    assert abs(x.mean() - mean) < std / 50 and abs(x.std() - std) < std / 50
    assert abs((np.abs(x - mean) < std).mean() - 0.6827) < 0.01


def test_plain_distributions():
    check_uniform(drawn(init.uniform_), 0, 1)
    check_uniform(drawn(init.uniform_, -2, 5), -2, 5)
    check_normal(drawn(init.normal_), 0, 1)
    check_normal(drawn(init.normal_, 3, 0.1), 3, 0.1)


def test_the_truncated_normal_stays_within_values_not_multiples():
    x = drawn(init.trunc_normal_, 0.0, 1.0, -1.0, 2.0)
    assert -1 <= x.min() < -0.99 and 1.98 < x.max() <= 2
    density = [math.exp(-0.5) / math.sqrt(2 * math.pi), math.exp(-2) / math.sqrt(2 * math.pi)]
    mass = 0.5 * (math.erf(2 / math.sqrt(2)) - math.erf(-1 / math.sqrt(2)))
    assert abs(x.mean() - (density[0] - density[1]) / mass) < 0.02
    narrow = drawn(init.trunc_normal_, std=0.02)
    check_normal(narrow, 0, 0.02)


def test_constants():
    x = ta.zeros(2, 3)
    assert init.constant_(x, 2.5).tolist() == [[2.5] * 3] * 2
    assert init.ones_(x).tolist() == [[1] * 3] * 2
    assert init.zeros_(x).tolist() == [[0] * 3] * 2


def test_xavier_looks_at_both_fans():
    check_uniform(drawn(init.xavier_uniform_), -math.sqrt(6 / 500), math.sqrt(6 / 500))
    check_uniform(drawn(init.xavier_uniform_, 2.0), -2 * math.sqrt(6 / 500), 2 * math.sqrt(6 / 500))
    check_normal(drawn(init.xavier_normal_, 3.0), 0, 3 * math.sqrt(2 / 500))


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 200), ("fan_out", 300)])
def test_kaiming_looks_at_one_fan(mode, fan):
    bound = math.sqrt(2) * math.sqrt(3 / fan)
    check_uniform(drawn(init.kaiming_uniform_, mode=mode), -bound, bound)
    check_normal(drawn(init.kaiming_normal_, mode=mode), 0, math.sqrt(2 / fan))
    bound = math.sqrt(2 / (1 + 5)) * math.sqrt(3 / fan)
    check_uniform(drawn(init.kaiming_uniform_, math.sqrt(5), mode=mode), -bound, bound)
    check_normal(
        drawn(init.kaiming_normal_, mode=mode, nonlinearity="tanh"), 0, 5 / 3 / math.sqrt(fan)
    )


def test_the_window_of_a_convolution_multiplies_the_fans():
    bound = math.sqrt(6 / ((20 + 30) * 50))
    check_uniform(drawn(init.xavier_uniform_, shape=(30, 20, 50)), -bound, bound)


@pytest.mark.parametrize(
    ("name", "gain"),
    [("linear", 1), ("sigmoid", 1), ("tanh", 5 / 3), ("relu", math.sqrt(2)), ("selu", 0.75)],
)
def test_gains(name, gain):
    assert init.calculate_gain(name) == gain


def test_the_gain_of_a_leaky_relu_depends_on_its_slope():
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01**2))
    assert init.calculate_gain("leaky_relu", 0.5) == math.sqrt(2 / 1.25)
    with pytest.raises(DTypeError, match="nonlinearity is 'softplus'; it must be one of linear"):
        init.calculate_gain("softplus")


def test_the_same_seed_gives_the_same_values_on_every_device():
    ta.manual_seed(3)
    here = init.normal_(ta.zeros(4, 5))
    ta.manual_seed(3)
    there = init.normal_(ta.zeros(4, 5).to("standin"))
    assert there.device == "standin:0"
    np.testing.assert_array_equal(there.numpy(), here.numpy())
    again = init.normal_(ta.zeros(4, 5))
    assert np.abs(again.numpy() - here.numpy()).max() > 0.1


def test_the_dtype_stays():
    assert init.uniform_(ta.zeros(3, dtype=ta.float64)).dtype == ta.float64
    assert init.ones_(ta.zeros(3, dtype=ta.float16)).dtype == ta.float16


def test_an_empty_weight_is_left_empty():
    assert init.xavier_uniform_(ta.zeros(0, 0)).shape == (0, 0)
    assert init.kaiming_normal_(ta.zeros(3, 0)).shape == (3, 0)


def test_what_cannot_be_filled_is_refused():
    with pytest.raises(ShapeError, match=r"xavier_uniform_: the tensor is \(3,\); fans need"):
        init.xavier_uniform_(ta.zeros(3))
    with pytest.raises(DTypeError, match="kaiming_normal_: mode is 'in'"):
        init.kaiming_normal_(ta.zeros(3, 3), mode="in")
    with pytest.raises(DTypeError, match="normal_: the tensor is int64"):
        init.normal_(ta.tensor([1, 2]))
    with pytest.raises(DTypeError, match="constant_: list is no Tensor"):
        init.zeros_([1.0])


def test_writing_is_noticed_by_a_graph_that_needs_the_old_values():
    w = ta.ones(2, requires_grad=True)
    loss = (w * w).sum()
    init.zeros_(w)
    with pytest.raises(ta.GraphError, match="overwritten in place"):
        loss.backward()
