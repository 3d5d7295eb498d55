"""Arithmetic at its edges. The values and derivatives elsewhere: ``test_every_op``."""

import math
import operator

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.ops.slopes import INF, slope, slopes


@pytest.mark.parametrize("sign", ["+", "-", "*", "/", "//", "%", "**"])
def test_operators_take_numbers_lists_and_arrays_on_either_side(sign):
    x, other = np.array([1.5, 2.5], np.float32), [3.0, 4.0]
    for a, b in [(x, 2), (2, x), (x, 0.5), (x, other), (other, x)]:
        expected = eval(f"np.array(a) {sign} np.array(b)", {"np": np, "a": a, "b": b})
        mine = [ta.tensor(v) if v is x else v for v in (a, b)]
        y = eval(f"a {sign} b", {"a": mine[0], "b": mine[1]})
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-6)


def test_an_array_on_the_left_leaves_the_operator_to_the_tensor():
    y = np.array([1.0, 2.0]) * ta.tensor(np.array([3.0, 4.0]))
    assert isinstance(y, ta.Tensor) and y.tolist() == [3.0, 8.0]


def test_assignment_with_an_operator_makes_a_new_tensor():
    x = before = ta.tensor([1.0, 2.0])
    x += 1
    assert before.tolist() == [1.0, 2.0] and x.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    "a, b, dtype",
    [
        ([1, 2], 2, "int64"),
        ([1, 2], 2.5, "float32"),
        ([True, False], 1, "int64"),
        ([True, False], 0.5, "float32"),
        ([True, False], [True, True], "bool"),
        (np.int64([1, 2]), np.float32([1, 2]), "float32"),
        (np.float16([1, 2]), np.float32([1, 2]), "float32"),
        (np.float16([1, 2]), 1e-3, "float16"),
        (np.float16([1, 2]), np.int64([1, 2]), "float16"),
        (np.float32([1, 2]), np.float64(0.1), "float32"),
        (np.uint8([1, 2]), np.int32([1, 2]), "int32"),
    ],
)
def test_the_dtype_of_a_sum(a, b, dtype):
    assert (ta.tensor(a) + (b if np.isscalar(b) else ta.tensor(b))).dtype == dtype


def test_whole_numbers_divide_to_float32():
    assert (
        (ta.tensor([1, 2]) / ta.tensor([2, 4])).dtype
        == ta.reciprocal(ta.tensor([2])).dtype
        == np.float32
    )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "fn", [lambda x: x**2.5, lambda x: 2 - 3 / x, ta.sqrt, ta.rsqrt, lambda x: x**x]
)
def test_no_float_is_widened(fn, dtype):
    x = ta.tensor(np.array([0.5, 2.0], dtype)).requires_grad_()
    y = fn(x)
    assert y.dtype == dtype
    assert ta.grad(y.sum(), x).dtype == dtype


def test_booleans_have_no_difference():
    t = ta.tensor([True, False])
    with pytest.raises(ta.DTypeError, match=r"subtract: .*boolean.*a is \(2,\) bool"):
        t - t
    with pytest.raises(ta.DTypeError, match="negative: "):
        ta.negative(t)
    assert (1 - t).tolist() == [0, 1]


def test_the_kink_of_the_absolute_value():
    assert slope(abs, [-2.0, 0.0, 2.0]) == [-1, 0, 1]


def test_the_square_root_at_0_is_infinitely_steep():
    assert slope(ta.sqrt, [0.0, 4.0]) == [INF, 0.25]
    assert slope(lambda x: x**0.5, 0.0) == INF


def test_x_to_the_0_is_flat_even_at_0_and_infinity():
    points = [0.0, -1.5, 2.0, INF]
    assert slope(lambda x: x**0, points) == slope(lambda x: x**0, points, order=2) == [0, 0, 0, 0]
    zero = ta.zeros(4, dtype="float64")
    assert (
        slope(lambda x: x**zero, points)
        == slope(lambda x: x**zero, points, order=2)
        == [0, 0, 0, 0]
    )


def test_0_to_the_p():
    assert slope(lambda p: 0**p, [0.0, 0.5, 1.0, 2.0]) == [0, 0, 0, 0]
    assert slope(lambda p: 0**p, [0.0, 0.5, 1.0, 2.0], order=2) == [0, 0, 0, 0]
    assert slope(lambda p: 0**p, -1.0) == -INF
    dx, dp = slopes(ta.power, [0.0, 0.0, 0.0, 0.0], [0.0, 0.5, 1.0, 2.0])
    assert dx == [0, INF, 1, 0] and dp == [0, 0, 0, 0]


def test_a_square_has_a_constant_second_derivative_at_0():
    p = ta.tensor(np.array([1.0, 2.0, 3.0]))
    assert slope(lambda x: x**p, [0.0, 0.0, 0.0], order=2) == [0, 2, 0]
    assert slope(lambda x: x**2, [0.0, -1.0], order=2) == [2, 2]


def test_the_base_of_a_power_may_be_negative():
    assert slope(lambda x: x**3, [-2.0]) == [12]
    assert slope(lambda x: x ** ta.tensor(np.array([2.0, 3.0])), [-2.0, -2.0]) == [-4, 12]


@pytest.mark.parametrize("n", range(-3, 18))
def test_whole_powers_are_those_of_numpy(n):
    x = np.array([-1.7, -0.3, 0.6, 1.9])
    np.testing.assert_allclose((ta.tensor(x) ** n).numpy(), x**n, rtol=1e-13)
    np.testing.assert_allclose((ta.tensor(x) ** float(n)).numpy(), x**n, rtol=1e-13)


def test_whole_numbers_have_no_negative_powers():
    x = ta.tensor([1, 2])
    expected = r"power: .*x is \(2,\) int64, p is -1; use floats"
    with pytest.raises(ta.ShapeError, match=expected):
        x**-1
    with pytest.raises(ta.ShapeError, match=r"p is \(2,\) int64"):
        x ** ta.tensor([1, -1])
    assert (x**-1.0).tolist() == [1, 0.5]


def test_limits_are_values_and_raise_no_warnings():
    x = ta.tensor([0.0])
    assert (1 / x).tolist() == ta.rsqrt(x).tolist() == (x**-1).tolist() == [INF]
    assert math.isnan((x / 0).item()) and math.isnan(ta.sqrt(x - 1).item())


@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "lt", "and_"]
)
def test_shapes_that_do_not_broadcast(name):
    a, b = ta.tensor(np.ones((2, 3), int)), ta.tensor(np.ones(4, int))
    with pytest.raises(
        ta.ShapeError, match=r"shapes do not broadcast: .* is \(2, 3\) int64, .* is \(4,\)"
    ):
        getattr(operator, name)(a, b)
