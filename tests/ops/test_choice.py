"""Choices: which argument gets the gradient, at ties, at bounds, and past NaN."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.ops.slopes import INF, NAN, slope, slopes
from tinygrad_attn.backend import backend_of

VALUES = [-1.0, 0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("fn", [ta.maximum, ta.minimum])
def test_ties_share_the_gradient(fn):
    assert slopes(fn, [1.0, 2.0, 2.0], [2.0, 2.0, 1.0]) in (
        [[0, 0.5, 1], [1, 0.5, 0]],
        [[1, 0.5, 0], [0, 0.5, 1]],
    )
    assert slope(lambda x: fn(x, x), [2.0]) == [1]
    assert slope(lambda x: fn(x, 2), [2.0]) == [0.5]


@pytest.mark.parametrize("fn", [ta.maximum, ta.minimum])
def test_beside_a_nan_both_get_the_gradient(fn):
    assert slopes(fn, [NAN, 1.0, NAN], [1.0, NAN, NAN]) == [[1, 1, 1], [1, 1, 1]]


def test_infinities_tie_like_numbers():
    assert slopes(ta.maximum, [INF, -INF], [INF, -INF]) == [[0.5, 0.5], [0.5, 0.5]]


def test_a_bound_lets_the_gradient_through():
    assert slope(lambda x: ta.clip(x, 0, 2), VALUES) == [0, 1, 1, 1, 0]
    assert slope(lambda x: x.clip(min=1), VALUES) == [0, 0, 1, 1, 1]
    assert slope(lambda x: x.clip(max=1), VALUES) == [1, 1, 1, 0, 0]


def test_a_bound_gets_the_gradient_where_it_decides():
    dx, low, high = slopes(ta.clip, VALUES, [0.0] * 5, [2.0] * 5)
    assert (dx, low, high) == ([0, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1])
    dx, low, high = slopes(ta.clip, VALUES, [2.0] * 5, [0.0] * 5)
    assert (dx, low, high) == ([0] * 5, [0] * 5, [1] * 5)


def test_clip_needs_a_bound():
    with pytest.raises(
        ta.ShapeError, match=r"clip: neither min nor max is given; x is \(1,\) float32"
    ):
        ta.clip(ta.tensor([1.0]))


def test_clip_stops_an_infinite_gradient():
    assert slope(lambda x: ta.sqrt(x.clip(0)), [-1.0, 4.0]) == [0, 0.25]
    assert slope(lambda x: ta.sqrt(x.clip(0)), [-1.0, 4.0], order=2) == [0, -1 / 32]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("order", [1, 2])
def test_the_branch_not_taken_gets_exactly_0(bad, order):
    chosen = ta.tensor([True, False])
    da, db = slopes(lambda a, b: ta.where(chosen, a, b) ** 2, [3.0, bad], [bad, 3.0], order=order)
    assert da == ([6, 0] if order == 1 else [2, 0]) and db == da[::-1]


def test_what_led_to_the_branch_not_taken_is_not_where_s_to_undo():
    x = [0.0, 2.0]
    assert np.isnan(slope(lambda x: ta.where(x > 0, ta.log(x), 0), x)[0])
    assert slope(lambda x: ta.where(x > 0, ta.log(ta.where(x > 0, x, 1)), 0), x) == [0, 0.5]


def test_a_condition_may_be_a_number_or_a_list():
    a, b = ta.tensor([1.0, 2.0]), ta.tensor([3.0, 4.0])
    assert ta.where([True, False], a, b).tolist() == [1, 4]
    assert ta.where(ta.tensor([0, 7]), a, b).tolist() == [3, 2]
    assert ta.where(False, a, b).tolist() == [3, 4]
    assert slope(lambda x: ta.where(ta.tensor([0, -2]), x, 0), [1.0, 1.0]) == [0, 1]


def test_numbers_have_no_say_in_the_dtype_of_a_choice():
    x = ta.tensor(np.ones(2, np.float16))
    for y in (
        ta.where(x > 0, x, 0.1),
        ta.maximum(x, 0.1),
        x.clip(0.1, 3),
        ta.nan_to_num(x, nan=0.1),
    ):
        assert y.dtype == np.float16
    assert ta.where([True, False], 1, 2).dtype == np.int64
    assert ta.where([True, False], 1.0, 2).dtype == np.float32


def test_nan_to_num_passes_gradients_where_x_is_finite():
    x = [1.0, NAN, INF, -INF]
    assert slope(lambda x: ta.nan_to_num(x, nan=5, posinf=6, neginf=-6), x) == [1, 0, 0, 0]
    replaced = ta.nan_to_num(ta.tensor(x), 5, 6, -6)
    assert replaced.tolist() == [1, 5, 6, -6]
    top = float(np.finfo(np.float32).max)
    assert ta.nan_to_num(ta.tensor(x)).tolist() == [1, 0, top, -top]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_keep_leaves_an_exact_0_whatever_was_there(dtype):
    x = np.array([[1.5, NAN, -0.0], [INF, -INF, 2.5]], dtype)
    mask = np.array([[True, False, True], [True, False, False]])
    for layout in (x, x.T.copy().T, np.broadcast_to(x[:, :1], (2, 3))):
        kept = backend_of(layout).keep(layout, mask)
        np.testing.assert_array_equal(kept, np.where(mask, layout, 0), strict=True)
    assert backend_of(x).keep(x[0, 0], mask[0, 1]) == 0
