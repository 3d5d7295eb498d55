"""The functions of calculus at their limits, and their third derivatives."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.ops.slopes import INF, slope

POINT = {"arccosh": 1.7, "log": 0.7, "log1p": 0.7, "log2": 0.7, "log10": 0.7}
NAMES = (
    "exp expm1 exp2 log log1p log2 log10 sin cos tan arcsin arccos arctan sinh cosh tanh "
    "arcsinh arccosh arctanh erf erfc"
).split()


@pytest.mark.parametrize("name", NAMES)
def test_the_third_derivative(name):
    x = ta.tensor(np.array([POINT.get(name, -0.4), POINT.get(name, 0.2)]))
    report = ta.gradcheck(getattr(ta, name), x, order=3)
    assert report, report


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "bool"])
def test_floats_keep_their_dtype_and_whole_numbers_give_float32(name, dtype):
    x = ta.tensor(np.ones(2, dtype))
    y = getattr(ta, name)(x)
    assert y.dtype == (dtype if "float" in dtype else "float32")


@pytest.mark.parametrize("name", NAMES)
def test_a_list_or_a_number_will_do(name):
    x = POINT.get(name, 0.5)
    assert getattr(ta, name)(x).item() == pytest.approx(getattr(ta, name)([x]).tolist()[0])


@pytest.mark.parametrize(
    "name, x, y, dy",
    [
        ("log", 0.0, -INF, INF),
        ("log1p", -1.0, -INF, INF),
        ("log2", 0.0, -INF, INF),
        ("log10", 0.0, -INF, INF),
        ("exp", 1e4, INF, INF),
        ("exp", -1e4, 0, 0),
        ("expm1", -1e4, -1, 0),
        ("arcsin", 1.0, math.pi / 2, INF),
        ("arccos", 1.0, 0, -INF),
        ("arccosh", 1.0, 0, INF),
        ("arctanh", 1.0, INF, INF),
        ("tanh", 1e4, 1, 0),
        ("tanh", -1e4, -1, 0),
        ("arctan", 1e200, math.pi / 2, 0),
        ("erf", 1e4, 1, 0),
        ("erfc", -1e4, 2, 0),
    ],
)
def test_limits(name, x, y, dy):
    fn = getattr(ta, name)
    assert fn(ta.tensor(np.array(x))).item() == y
    assert slope(fn, x) == dy


def test_outside_the_domain_the_value_is_nan():
    for name, x in [
        ("log", -1.0),
        ("arcsin", 2.0),
        ("arccosh", 0.5),
        ("arctanh", 2.0),
        ("sin", INF),
    ]:
        assert math.isnan(getattr(ta, name)(x).item())


def test_small_arguments_keep_their_digits():
    for fn in (ta.expm1, ta.log1p, ta.sinh, ta.arcsinh, ta.arctanh):
        assert fn(ta.tensor(np.array(1e-18))).item() == 1e-18
