"""Reductions at their edges: nothing to reduce, ties, zeros, infinities, 16 bits."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.backend import dtypes
from tinygrad_attn.checking import gradcheck

NAN, INF = math.nan, math.inf
SUMS = ("sum", "mean", "prod", "var", "std", "logsumexp", "norm", "nansum", "nanmean")
LINES = ("cumsum", "cumprod", "logcumsumexp")


def leaf(values, dtype=np.float64):
    return ta.tensor(values, dtype=dtype, requires_grad=True)


def gradient(y, x):
    return ta.grad(y.sum(), x).tolist()


# ---- of nothing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "var", "std", "nansum"])
@pytest.mark.filterwarnings("ignore:.*empty slice|Degrees of freedom:RuntimeWarning")
@np.errstate(all="ignore")
def test_nothing_reduces_as_in_numpy_and_without_a_warning_of_ours(name, shape):
    expected = getattr(np, name)(np.zeros(shape), axis=0)
    np.testing.assert_array_equal(getattr(ta, name)(ta.zeros(shape), axis=0), expected)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 0)])
@pytest.mark.parametrize("name", SUMS + LINES)
def test_the_gradient_has_the_shape_of_x_even_if_that_is_empty_or_has_no_axes(name, shape):
    x = leaf(np.ones(shape))
    y = getattr(ta, name)(x)
    assert ta.grad(y.sum(), x, create_graph=True).shape == shape


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_there_is_no_extreme_of_nothing(name):
    with pytest.raises(ta.ShapeError, match=rf"{name}: nothing to choose.*\(0, 2\)"):
        getattr(ta, name)(ta.zeros(0, 2), axis=0)
    assert getattr(ta, name)(ta.zeros(0, 2), axis=1).shape == (0,)


def test_of_nothing_all_is_true_any_false_the_count_0_and_logsumexp_negative_infinity():
    nothing = ta.zeros(0)
    assert ta.all(nothing).item() is True
    assert ta.any(nothing).item() is False
    assert ta.count_nonzero(nothing).item() == 0
    assert ta.logsumexp(nothing).item() == -INF


# ---- extremes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("extreme", [ta.max, ta.amax])
def test_ties_share_the_gradient_of_a_maximum(extreme):
    x = leaf([[1, 2, 2], [3, 3, 3]])
    assert gradient(extreme(x, axis=1), x) == [[0, 0.5, 0.5], [1 / 3] * 3]
    assert gradient(extreme(x), x) == [[0, 0, 0], [1 / 3] * 3]


@pytest.mark.parametrize("extreme", [ta.min, ta.amin])
def test_ties_share_the_gradient_of_a_minimum(extreme):
    x = leaf([1, 2, 1])
    assert gradient(extreme(x), x) == [0.5, 0, 0.5]


def test_argmax_takes_the_first_of_equals_and_is_int64():
    x = ta.tensor([[1, 3, 3], [4, 4, 0]])
    found = ta.argmax(x, axis=1)
    assert (found.tolist(), found.dtype) == ([1, 0], ta.int64)
    assert ta.argmax(x).item() == 3
    assert ta.argmin(x, axis=0, keepdims=True).tolist() == [[0, 0, 1]]


def test_nan_wins_every_extreme():
    assert math.isnan(ta.max(ta.tensor([1.0, NAN])).item())
    assert math.isnan(ta.min(ta.tensor([1.0, NAN])).item())


# ---- products with zeros -------------------------------------------------------------------------

ZEROS = [[2.0, 3.0, 5.0], [2.0, 0.0, 5.0], [0.0, 0.0, 5.0], [0.0, 0.0, 0.0]]


def test_the_gradient_of_a_product_is_the_product_of_the_others():
    x = leaf(ZEROS)
    assert gradient(ta.prod(x, axis=1), x) == [[15, 10, 6], [0, 10, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("row", ZEROS)
def test_products_are_right_to_third_order_where_there_are_zeros(row):
    x = leaf(row)
    by_hand = leaf(row)
    a, b, c = by_hand
    for y, z in [(ta.prod(x), a * b * c), (ta.cumprod(x), ta.stack([a, a * b, a * b * c]))]:
        weights = ta.tensor(np.arange(1.0, 1 + y.size).reshape(y.shape))
        y, z = (y * weights).sum(), (z * weights).sum()
        for _ in range(3):
            y = ta.grad(y, x, create_graph=True)
            z = ta.grad(z, by_hand, create_graph=True)
            np.testing.assert_allclose(y.numpy(), z.numpy(), atol=1e-12)
            y, z = (y * y).sum(), (z * z).sum()


def test_a_long_cumulative_product_with_zeros_passes_gradcheck():
    x = np.linspace(-1.5, 1.5, 21)
    x[[3, 10, 11]] = 0
    assert gradcheck(ta.cumprod, leaf(x), order=2)


# ---- spread and norms ----------------------------------------------------------------------------


def test_the_deviation_of_equal_elements_has_gradient_0():
    x = leaf([[2, 2, 2]])
    assert gradient(ta.std(x, axis=1), x) == [[0, 0, 0]]


def test_one_element_with_correction_has_no_deviation_and_no_gradient():
    x = leaf([5.0])
    assert math.isnan(ta.std(x, correction=1).item())
    assert math.isnan(gradient(ta.std(x, correction=1), x)[0])
    assert math.isnan(gradient(ta.var(x, correction=1), x)[0])


@pytest.mark.parametrize("ord", [0, 1, 2, 3, 1.5, 0.5, INF])
def test_a_norm_at_zero_has_gradient_0(ord):
    x = leaf([[0, 0], [3, -4]])
    grown = gradient(ta.norm(x, ord, axis=1), x)
    assert grown[0] == [0, 0]
    assert (grown[1] == [0, 0]) == (ord == 0)


def test_a_norm_over_several_axes_is_that_of_one_long_vector():
    x = np.arange(24.0).reshape(2, 3, 4)
    y = ta.norm(ta.tensor(x), axis=(0, 2))
    np.testing.assert_allclose(y, np.sqrt((x * x).sum(axis=(0, 2))))


def test_the_norm_of_whole_numbers_is_float32():
    for ord in (0, 1, 2, INF):
        assert ta.norm(ta.tensor([3, -4]), ord).dtype == ta.float32


def test_the_order_of_a_norm_is_a_number():
    with pytest.raises(ta.DTypeError, match="norm: ord is 'fro'"):
        ta.norm(ta.ones(2), "fro")
    with pytest.raises(ta.ShapeError, match="norm: nothing to choose"):
        ta.norm(ta.ones(0), INF)


# ---- infinities and NaN --------------------------------------------------------------------------


def test_logsumexp_of_negative_infinities_is_one_with_gradient_0():
    x = leaf([[-INF, -INF], [0, -INF]])
    y = ta.logsumexp(x, axis=1)
    assert y.tolist() == [-INF, 0]
    assert gradient(y, x) == [[0, 0], [1, 0]]


def test_logsumexp_overflows_for_no_x():
    assert ta.logsumexp(ta.tensor([1e4, 1e4])).item() == pytest.approx(1e4 + math.log(2))
    assert ta.logsumexp(ta.tensor([INF, 1.0])).item() == INF


def test_logcumsumexp_begins_anywhere_and_overflows_nowhere():
    x = leaf([-INF, -INF, -1000, 1000, 0, -INF])
    y = ta.logcumsumexp(x)
    assert y.tolist() == [-INF, -INF, -1000, 1000, 1000, 1000]
    assert gradient(y, x) == [0, 0, 1, 3, 0, 0]


def test_nansum_and_nanmean_pass_over_nan():
    x = leaf([[1, NAN, 3], [NAN, NAN, NAN]])
    assert ta.nansum(x, axis=1).tolist() == [4, 0]
    assert gradient(ta.nansum(x, axis=1), x) == [[1, 0, 1], [0, 0, 0]]
    assert ta.nanmean(x, axis=1).tolist()[0] == 2
    assert math.isnan(ta.nanmean(x, axis=1).tolist()[1])
    assert gradient(ta.nanmean(x, axis=1), x)[0] == [0.5, 0, 0.5]


# ---- dtypes --------------------------------------------------------------------------------------


def test_whole_numbers_add_up_to_int64_and_average_to_float32():
    x = ta.tensor([[100, 100], [100, 100]], dtype=ta.int8)
    for name in ("sum", "prod", "cumsum", "cumprod"):
        assert getattr(ta, name)(x).dtype == ta.int64
    assert ta.sum(x).item() == 400
    assert ta.sum(x > 0).item() == 4
    assert ta.mean(x).dtype == ta.float32


def test_16_bit_floats_accumulate_in_float32():
    x = ta.ones(70_000, dtype=ta.float16)
    assert ta.mean(x).item() == ta.nanmean(x).item() == 1
    assert ta.sum(x).item() == INF  # 70,000 is beyond float16, with no warning
    assert ta.norm(x).item() == pytest.approx(math.sqrt(70_000), rel=1e-3)
    assert ta.cumsum(x * 0.5)[-1].item() == 35_008  # the float16 nearest to 35,000


HALVES = [dtype for dtype in (dtypes.float16, dtypes.bfloat16) if dtype is not None]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("op", [ta.max, ta.min])
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_however_many_tie_in_16_bits_their_shares_are_the_whole(dtype, op, create_graph):
    """bfloat16 counts no further than 256, float16 than 65,504."""
    x = ta.ones(2, 70_000, dtype=dtype).requires_grad_()
    g = ta.grad(op(x, axis=1).sum(), x, create_graph=create_graph)
    assert g.dtype == dtype
    np.testing.assert_allclose(g.astype(ta.float64).sum(axis=1).numpy(), [1, 1], rtol=6e-3)


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axis", "error", "words"),
    [
        (2, ta.ShapeError, r"sum: axis 2 is out of range, x is \(2, 3\); the axes are -2 to 1"),
        ((0, -2), ta.ShapeError, "names an axis twice"),
        (1.5, ta.DTypeError, "axis is 1.5; it must be a whole number"),
        (True, ta.DTypeError, "axis is True"),
    ],
)
def test_an_axis_is_one_that_x_has(axis, error, words):
    with pytest.raises(error, match=words):
        ta.sum(ta.ones(2, 3), axis=axis)


def test_a_tensor_without_axes_has_none_to_name():
    with pytest.raises(ta.ShapeError, match="there are no axes"):
        ta.cumsum(ta.tensor(1.0), axis=0)


def test_lists_and_numbers_are_reduced_too():
    assert ta.sum([1, 2]).item() == 3
    assert ta.all([True, False]).item() is False
