"""Activations far out, at their kinks, and to the third order."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.ops.slopes import INF, NAN, slope

NAMES = "sigmoid log_sigmoid softsign relu relu6 leaky_relu elu selu softplus silu mish".split()
FAR = [-1e4, -100.0, 100.0, 1e4]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_far_out_are_finite(name, order):
    assert np.isfinite(slope(getattr(ta, name), FAR, order)).all()


@pytest.mark.parametrize(
    "name, values, slopes",
    [
        ("sigmoid", [0, 3.72e-44, 1, 1], [0, 3.72e-44, 0, 0]),
        ("log_sigmoid", [-1e4, -100, -3.72e-44, 0], [1, 1, 3.72e-44, 0]),
        ("softplus", [0, 3.72e-44, 100, 1e4], [0, 3.72e-44, 1, 1]),
        ("silu", [0, -3.72e-42, 100, 1e4], [0, -3.683e-42, 1, 1]),
        ("mish", [0, -3.72e-42, 100, 1e4], [0, -3.683e-42, 1, 1]),
        ("elu", [-1, -1, 100, 1e4], [0, 0, 1, 1]),
        ("relu", [0, 0, 100, 1e4], [0, 0, 1, 1]),
        ("relu6", [0, 0, 6, 6], [0, 0, 0, 0]),
        ("leaky_relu", [-100, -1, 100, 1e4], [0.01, 0.01, 1, 1]),
    ],
)
def test_values_and_slopes_far_out(name, values, slopes):
    fn = getattr(ta, name)
    np.testing.assert_allclose(fn(ta.tensor(np.array(FAR))).numpy(), values, rtol=1e-3, atol=1e-60)
    np.testing.assert_allclose(slope(fn, FAR), slopes, rtol=1e-3, atol=1e-60)


@pytest.mark.parametrize("name", NAMES)
def test_float32_neither_overflows_nor_widens(name):
    x = ta.tensor([-1e4, 0.0, 1e4]).requires_grad_()
    y = getattr(ta, name)(x)
    g = ta.grad(y.sum(), x)
    assert y.dtype == g.dtype == np.float32
    assert np.isfinite(y.numpy()).all() and np.isfinite(g.numpy()).all()


def test_kinks():
    assert slope(ta.relu, [-1.0, 0.0, 1.0]) == [0, 0, 1]
    assert slope(ta.relu6, [0.0, 1.0, 6.0, 7.0]) == [0, 1, 0, 0]
    assert slope(ta.leaky_relu, [-1.0, 0.0, 1.0]) == [0.01, 0.01, 1]
    assert slope(lambda x: ta.elu(x, 2.0), [0.0, 1.0]) == [2, 1]
    assert slope(ta.softsign, [0.0]) == [1]


def test_a_rectifier_stops_an_infinite_gradient():
    assert slope(lambda x: ta.sqrt(ta.relu(x)), [-1.0, 0.0, 4.0]) == [0, 0, 0.25]


def test_nan_is_not_rectified_away():
    for name in NAMES:
        assert math.isnan(getattr(ta, name)(NAN).item())


@pytest.mark.parametrize(
    "name", ["sigmoid", "log_sigmoid", "softplus", "silu", "mish", "elu", "logit"]
)
def test_the_third_derivative(name):
    x = ta.tensor(np.array([0.3, 0.8]))
    report = ta.gradcheck(getattr(ta, name), x, order=3)
    assert report, report


def test_logit_is_the_inverse_of_sigmoid():
    p = np.array([1e-9, 0.3, 0.5, 0.999])
    np.testing.assert_allclose(ta.sigmoid(ta.logit(ta.tensor(p))).numpy(), p, rtol=1e-12)


def test_logit_at_the_ends_and_with_eps():
    x = [0.0, 0.05, 0.1, 0.5, 0.9, 1.0]
    assert ta.logit(ta.tensor([0.0, 1.0])).tolist() == [-INF, INF]
    assert slope(ta.logit, [0.0, 0.5, 1.0]) == [INF, 4, INF]
    ends = -math.log(9), math.log(9)
    y = ta.logit(ta.tensor(np.array(x)), eps=0.1).tolist()
    assert y[:3] == pytest.approx([ends[0]] * 3) and y[4:] == pytest.approx([ends[1]] * 2)
    assert slope(lambda x: ta.logit(x, eps=0.1), x) == pytest.approx(
        [0, 0, 1 / 0.09, 4, 1 / 0.09, 0]
    )


def test_a_learned_slope_gets_the_sum_of_its_gradients():
    s = ta.tensor(0.25).requires_grad_()
    ta.leaky_relu(ta.tensor([-1.0, 2.0, -3.0]), s).sum().backward()
    assert s.grad.item() == -4


def test_glu_gates_one_half_by_the_other():
    x = ta.tensor(np.arange(12.0).reshape(2, 6))
    expected = x.numpy()[:, :3] / (1 + np.exp(-x.numpy()[:, 3:]))
    np.testing.assert_allclose(ta.glu(x).numpy(), expected)
    assert ta.glu(x, axis=0).shape == (1, 6)


def test_glu_of_an_odd_axis():
    with pytest.raises(ta.ShapeError, match=r"glu: axis -1 of x \(2, 3\) has an odd size"):
        ta.glu(ta.zeros(2, 3))
