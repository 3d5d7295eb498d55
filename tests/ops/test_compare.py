"""Questions: what they answer, and that they leave gradients and identity alone."""

import operator

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.ops.slopes import INF, NAN

SIGNS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("sign", SIGNS)
def test_comparisons_are_those_of_numpy(sign):
    a, b = np.array([1.0, 2.0, NAN, INF]), np.array([2.0, 2.0, NAN, INF])
    x, y = ta.tensor(a).requires_grad_(), ta.tensor(b)
    for mine, expected in [
        (sign(x, y), sign(a, b)),
        (sign(x, 2), sign(a, 2)),
        (sign(2, x), sign(2, a)),
    ]:
        assert mine.dtype == bool and not mine.requires_grad
        assert mine.tolist() == expected.tolist()
    assert sign(x, b.tolist()).tolist() == sign(x, b).tolist() == sign(a, b).tolist()


def test_a_number_has_no_say_in_the_dtype():
    x = ta.tensor([0.1])
    assert (x == 0.1).item() and (x == np.float64(0.1)).item() and (x == [0.1]).item()
    assert ta.isclose(x, np.float64(0.1), rtol=0, atol=0).item()


def test_whole_numbers_beside_floats_are_not_rounded():
    assert not (ta.tensor([2**24 + 1]) == float(2**24)).item()


def test_equality_with_what_is_no_number_is_identity():
    x = ta.tensor([1.0])
    assert (x == None) is False and (x != "cpu") is True  # noqa: E711
    with pytest.raises(ta.DTypeError, match="less: "):
        x < "a"  # noqa: B015


def test_tensors_go_into_sets_and_dictionaries_by_identity():
    x, same = ta.tensor([1.0, 2.0]), ta.tensor([1.0, 2.0])
    assert len({x, same, x}) == 2
    assert {x: "first", same: "second"}[same] == "second"


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
def test_logic_takes_numbers_for_true_unless_they_are_0(name):
    a, b = np.array([0, 0, 1, 2]), np.array([0.0, 0.5, 0.0, NAN])
    assert (
        getattr(ta, name)(ta.tensor(a), ta.tensor(b)).tolist() == getattr(np, name)(a, b).tolist()
    )


@pytest.mark.parametrize("sign", [operator.and_, operator.or_, operator.xor])
def test_bits(sign):
    for a, b in [
        (np.array([True, False]), np.array([True, True])),
        (np.array([6, 5]), np.array([3, 12])),
    ]:
        assert sign(ta.tensor(a), ta.tensor(b)).tolist() == sign(a, b).tolist()
        assert sign(b.tolist()[0], ta.tensor(a)).tolist() == sign(b.tolist()[0], a).tolist()


def test_not():
    assert (~ta.tensor([True, False])).tolist() == [False, True]
    assert (~ta.tensor([0, 5])).tolist() == [-1, -6]
    assert ta.logical_not(ta.tensor([0.0, 5.0])).tolist() == [True, False]


@pytest.mark.parametrize(
    "fn", [operator.invert, lambda x: x & True, lambda x: 1 | x, lambda x: x ^ x]
)
def test_floats_have_no_bits(fn):
    with pytest.raises(ta.DTypeError, match=r"floats have no bits.*\(1,\) float32.*use booleans"):
        fn(ta.tensor([1.0]))


def test_kinds_of_number():
    x = ta.tensor([1.0, INF, -INF, NAN])
    assert x.isnan().tolist() == [False, False, False, True]
    assert x.isinf().tolist() == [False, True, True, False]
    assert x.isfinite().tolist() == [True, False, False, False]
    assert ta.isfinite(ta.tensor([1, 2])).tolist() == [True, True]


def test_closeness():
    a, b = ta.tensor([1.0, INF, NAN, 0.0]), ta.tensor([1.000001, INF, NAN, 1e-9])
    assert ta.isclose(a, b).tolist() == [True, True, False, True]
    assert ta.isclose(a, b, equal_nan=True, atol=0).tolist() == [True, True, True, False]
    assert ta.allclose(a, b) is False and ta.allclose(a, b, equal_nan=True) is True


def test_equality_of_whole_arrays():
    x = ta.tensor([1.0, 2.0])
    assert ta.array_equal(x, [1, 2]) is True
    assert ta.array_equal(x, [[1, 2]]) is False and ta.array_equal(x, [1, 3]) is False
    assert ta.array_equal(ta.zeros(0), ta.zeros(0)) is True
