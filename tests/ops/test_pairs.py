"""Functions of two arguments where their formulas fail: at the origin, at 0·ln 0, at infinity."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.ops.slopes import INF, NAN, slope, slopes
from tinygrad_attn.errors import DTypeError


@pytest.mark.parametrize("fn", [ta.hypot, ta.arctan2])
@pytest.mark.parametrize("order", [1, 2])
def test_the_gradient_at_the_origin_is_0(fn, order):
    assert slopes(fn, 0.0, 0.0, order=order) == [0, 0]


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_lengths_and_angles_neither_overflow_nor_vanish(scale):
    a, b = 3 * scale, 4 * scale
    assert ta.hypot(ta.tensor(np.array(a)), b).item() == pytest.approx(5 * scale)
    np.testing.assert_allclose(slopes(ta.hypot, a, b), [0.6, 0.8])
    np.testing.assert_allclose(slopes(ta.arctan2, a, b), [0.16 / scale, -0.12 / scale])


def test_angles_are_of_all_four_quarters():
    y, x = ta.tensor([1.0, 1.0, -1.0, -1.0]), ta.tensor([1.0, -1.0, -1.0, 1.0])
    expected = np.array([0.25, 0.75, -0.75, -0.25]) * math.pi
    np.testing.assert_allclose(ta.arctan2(y, x).numpy(), expected, rtol=1e-6)


def test_logaddexp_of_infinities():
    a, b = [INF, -INF, INF, -INF, 1.0], [INF, -INF, -INF, 1.0, INF]
    assert ta.logaddexp(ta.tensor(a), ta.tensor(b)).tolist() == [INF, -INF, INF, 1, INF]
    assert slopes(ta.logaddexp, a, b) == [[0.5, 0.5, 1, 0, 0], [0.5, 0.5, 0, 1, 1]]
    assert slopes(ta.logaddexp, a, b, order=2) == [[0] * 5, [0] * 5]


def test_logaddexp_far_apart_and_at_a_tie():
    assert slopes(ta.logaddexp, [1e4, 0.0, -1e4], [0.0, 0.0, 0.0]) == [[1, 0.5, 0], [0, 0.5, 1]]
    assert slope(lambda a: ta.logaddexp(a, 0), [1e4, 0.0, -1e4], order=2) == [0, 0.25, 0]


def test_a_term_with_probability_0_is_0():
    a, b = [0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 2.0, INF, 0.0, NAN]
    y = ta.xlogy(ta.tensor(a), ta.tensor(b)).tolist()
    assert y[:4] == [0, 0, 0, -INF] and math.isnan(y[4])
    da, db = slopes(ta.xlogy, a[:4], b[:4])
    assert da == [0, math.log(2), INF, -INF] and db == [0, 0, 0, INF]


def test_entropy_is_differentiable_twice_where_a_probability_is_0():
    def entropy(p):
        return -ta.xlogy(p, p)

    assert slope(entropy, [0.0, 1.0]) == [0, -1]
    assert slope(entropy, [0.0, 1.0], order=2) == [0, -1]


@pytest.mark.parametrize("name", ["hypot", "arctan2", "logaddexp", "xlogy"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_plain_number_does_not_widen_value_or_gradient(name, dtype):
    fn, x = getattr(ta, name), ta.tensor(np.full(3, 0.7, dtype)).requires_grad_()
    for y in (fn(x, 0.3), fn(0.3, x), fn(x, np.float64(0.3))):
        assert y.dtype == dtype
        assert ta.grad(y.sum(), x, create_graph=True).dtype == dtype


@pytest.mark.parametrize("name", ["hypot", "arctan2", "logaddexp", "xlogy"])
def test_none_is_no_number(name):
    for pair in ((ta.ones(2), None), (None, ta.ones(2))):
        with pytest.raises(DTypeError, match=f"{name}: . is no tensor"):
            getattr(ta, name)(*pair)


@pytest.mark.parametrize("name", ["hypot", "arctan2", "logaddexp", "xlogy"])
def test_the_second_derivative_beside_a_plain_number(name):
    """The number must not pass through float32 on its way."""
    fn, x = getattr(ta, name), ta.tensor(np.array([0.7, 1.3]))
    for beside in (lambda x: fn(x, 0.3), lambda x: fn(0.3, x)):
        report = ta.gradcheck(beside, x, order=3)
        assert report, report
