"""Slopes from values alone: how exact they are, and what they say where there is none."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.checking.arguments import subject_of
from tinygrad_attn.checking.numeric import Differences, central_slope, complex_slope
from tinygrad_attn.core import Tensor

SMOOTH = [  # (function of an array, its derivative, where)
    (np.exp, np.exp, [-2.0, 0.0, 3.0]),
    (np.sin, np.cos, [0.0, 1.0, 100.0]),
    (lambda x: x**5, lambda x: 5 * x**4, [-3.0, 0.0, 0.1]),
    (np.log, lambda x: 1 / x, [1e-4, 0.5, 50.0]),
    (np.tanh, lambda x: 1 - np.tanh(x) ** 2, [-0.3, 0.0, 2.0]),
    (lambda x: np.tanh(1000 * x), lambda x: 1000 / np.cosh(1000 * x) ** 2, [0.0005, 0.001]),
    (lambda x: 1e6 + np.sin(x), np.cos, [0.3, 0.7]),
]


def curve_of(f, x):
    x = np.array(x)
    return lambda t: f(x + t), f(x)


@pytest.mark.parametrize(("f", "slope", "x"), SMOOTH)
def test_central_differences_are_right_within_the_error_that_they_state(f, slope, x):
    with np.errstate(all="ignore"):
        found = central_slope(*curve_of(f, x), 2.0**-6)
    exact = slope(np.array(x))
    assert not found.kinked.any()
    assert (np.abs(found.value - exact) <= found.error + 1e-14 * np.abs(exact)).all()
    assert (found.error <= 1e-6 * np.abs(exact).max()).all()


@pytest.mark.parametrize(("f", "slope", "x"), SMOOTH[:5])
def test_a_complex_step_has_all_the_digits(f, slope, x):
    value, _ = complex_slope(*curve_of(f, x))
    np.testing.assert_allclose(value, slope(np.array(x)), rtol=4e-15, atol=1e-30)


KINKS = [
    (np.abs, 0.0),
    (lambda x: np.maximum(x, 1), 1.0),
    (np.floor, 3.0),
    (np.sqrt, 0.0),
    (np.cbrt, 0.0),
]


@pytest.mark.parametrize(("f", "x"), KINKS)
def test_a_kink_is_noticed_at_the_point_only(f, x):
    assert central_slope(*curve_of(f, [x]), 2.0**-6).kinked.all()
    with np.errstate(all="ignore"):
        for distance in (1e-2, 1e-4, 1e-6):
            assert not central_slope(*curve_of(f, [x + distance]), 2.0**-6).kinked.any()


def test_a_place_where_two_kinks_cancel_is_smooth():
    found = central_slope(*curve_of(lambda x: np.maximum(np.abs(x) - 0.001, 0), [0.0]), 2.0**-6)
    assert not found.kinked.any() and found.value == 0


def test_noise_is_stated_as_uncertainty():
    rng = np.random.default_rng(0)
    found = central_slope(
        lambda t: np.sin([1 + t]) + 1e-3 * rng.normal(size=1), np.sin([1.0]), 2.0**-6
    )
    assert found.error > 1e-3


def test_columns_stand_side_by_side():
    x = Tensor(np.array([1.0, 2.0]))
    with subject_of(lambda x: ta.exp(x), x) as subject:
        for method in ("complex", "central"):
            slopes = Differences(subject, method).columns([0, 1])
            np.testing.assert_allclose(slopes.value, np.diag(np.exp([1.0, 2.0])), atol=1e-11)
        assert Differences(subject).columns([]).value.shape == (2, 0)


def test_the_step_can_be_chosen():
    x = Tensor(np.array([1.0]))
    steps = []

    def fn(x):
        steps.append(abs(float(x.data[0] - 1)))
        return x * x * x

    with subject_of(fn, x) as subject:
        Differences(subject, "central", 0.25).column(0)
    assert max(steps) == 0.25


def test_no_tensor_of_a_user_is_complex():
    with pytest.raises(ta.DTypeError, match="complex128 holds no real numbers"):
        ta.tensor(np.array([1j]))
