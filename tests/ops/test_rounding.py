"""Steps: values at the jumps, gradients of 0, and division by 0 among whole numbers."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.ops.slopes import INF, slope, slopes

STEPS = [ta.floor, ta.ceil, ta.trunc, ta.round]


@pytest.mark.parametrize("fn", STEPS)
def test_a_step_has_gradient_0_and_goes_on_being_differentiable(fn):
    assert slope(lambda x: fn(x) * x, [1.5, -2.0]) == fn(ta.tensor([1.5, -2.0])).tolist()
    assert slope(fn, [1.5, -2.0]) == slope(fn, [1.5, -2.0], order=2) == [0, 0]


@pytest.mark.parametrize("fn", STEPS)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16"])
def test_a_step_keeps_the_dtype_and_shares_no_memory(fn, dtype):
    x = ta.tensor(np.array([0, 1], dtype))
    y = fn(x)
    assert y.dtype == dtype and y.tolist() == x.tolist()
    assert not np.shares_memory(y.data, x.data)


def test_halves_go_to_the_even_neighbour():
    x = ta.tensor([0.5, 1.5, 2.5, -0.5])
    assert ta.round(x).tolist() == round(x).tolist() == [0, 2, 2, 0]
    assert round(ta.tensor([0.126, 0.134]), 2).tolist() == pytest.approx([0.13, 0.13])
    assert ta.round(ta.tensor([14, 26]), -1).tolist() == [10, 30]


def test_the_remainder_has_the_sign_of_the_divisor():
    a, b = [5.0, -5.0, 5.0, -5.0], [3.0, 3.0, -3.0, -3.0]
    assert ta.remainder(ta.tensor(a), ta.tensor(b)).tolist() == [2, 1, -1, -2]
    assert slopes(ta.remainder, a, b) == [[1, 1, 1, 1], [-1, 2, 2, -1]]
    assert slopes(ta.floor_divide, a, b) == [[0] * 4, [0] * 4]


def test_floats_divided_by_0():
    x = ta.tensor([1.0, -1.0])
    assert (x // 0).tolist() == [INF, -INF]
    assert np.isnan((x % 0).numpy()).all()


@pytest.mark.parametrize("name, sign", [("floor_divide", "//"), ("remainder", "%")])
@pytest.mark.parametrize("a, b", [(ta.tensor([1, 2]), 0), (5, ta.tensor([1, 0]))])
def test_whole_numbers_divided_by_0(name, sign, a, b):
    with pytest.raises(ta.ShapeError, match=f"{name}: b holds 0, .*use floats, or where"):
        eval(f"a {sign} b", {"a": a, "b": b})


def test_whole_numbers_stay_whole():
    a, b = ta.tensor([7, -7]), ta.tensor([2, 2])
    assert (a // b).tolist() == [3, -4] and (a // b).dtype == np.int64
    assert (a % b).tolist() == [1, 1] and (a % 2.0).dtype == np.float32
