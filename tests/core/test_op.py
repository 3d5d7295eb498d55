"""How every op is called: names, numbers, devices, and what it says when it cannot."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin
from tinygrad_attn.core import Tensor, sum_to

# ---- undoing broadcasting ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "to"),
    [
        ((2, 3), (2, 3)),
        ((2, 3), (3,)),
        ((2, 3), (1, 3)),
        ((2, 3), (2, 1)),
        ((2, 3), (1, 1)),
        ((2, 3), (1,)),
        ((2, 3), ()),
        ((4, 2, 3), (2, 1)),
        ((4, 2, 3), (4, 1, 3)),
        ((0, 3), (1, 3)),
        ((0, 3), (3,)),
        ((2, 0), (2, 1)),
        ((), ()),
    ],
    ids=str,
)
def test_sum_to_is_the_transpose_of_broadcasting(of, to):
    rng = np.random.default_rng(0)
    x, small = np.asarray(rng.normal(size=of)), np.asarray(rng.normal(size=to))
    summed = np.asarray(sum_to(x, to))
    assert summed.shape == to
    assert (np.broadcast_to(small, of) * x).sum() == pytest.approx((small * summed).sum())
    recorded = sum_to(Tensor(x).requires_grad_(), to)
    np.testing.assert_array_equal(recorded.numpy(), summed)
    assert recorded.requires_grad


@pytest.mark.parametrize(
    ("of", "to"), [((2, 3), (2,)), ((3,), (1, 3)), ((2, 3), (2, 2)), ((1,), (2,))]
)
def test_sum_to_refuses_what_no_broadcasting_can_have_made(of, to):
    with pytest.raises(ta.ShapeError, match="is not a broadcast form of"):
        sum_to(np.zeros(of), to)


# ---- arguments -----------------------------------------------------------------------------------


def test_arguments_by_name_and_left_out():
    @ta.primitive
    def scaled(x, factor=2.0, *, shift=0.0):
        return x * factor + shift

    scaled.derivatives(x=lambda g, factor, shift: g * factor + 0 * shift)
    x = ta.tensor([1.0], requires_grad=True)
    assert scaled(x).tolist() == [2.0]
    assert scaled(x, 3.0).tolist() == scaled(factor=3.0, x=x).tolist() == [3.0]
    assert scaled(x, shift=1.0).tolist() == [3.0]
    (gradient,) = ta.grad(scaled(x, factor=5.0, shift=1.0).sum(), [x])
    assert gradient.tolist() == [5.0]


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((), {}, "multiply: 'a' is missing; the signature is multiply"),
        ((1.0,), {}, "'b' is missing"),
        ((1.0, 2.0, 3.0), {}, "3 positional arguments"),
        ((1.0, 2.0), {"c": 1}, "unknown argument 'c'"),
        ((1.0, 2.0), {"b": 1}, "'b' given twice"),
    ],
)
def test_arguments_that_do_not_fit(args, options, message):
    with pytest.raises(TypeError, match=message.replace("(", r"\(")):
        ta.multiply(*map(ta.tensor, args), **options)


def test_numbers_lists_and_arrays_stand_for_tensors():
    x = ta.tensor([1.0, 2.0])
    for other in (3, 3.0, [3.0, 3.0], np.full(2, 3.0, np.float32), ta.tensor(3.0)):
        assert ta.multiply(x, other).tolist() == ta.multiply(other, x).tolist() == [3.0, 6.0]
    assert ta.add(1, 2).item() == 3 and ta.exp(0.0).dtype == ta.float32


# ---- errors --------------------------------------------------------------------------------------


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ta.ShapeError) as caught:
        ta.ones(2, 3) + ta.ones(4)
    assert str(caught.value) == (
        "add: shapes do not broadcast: a is (2, 3) float32, b is (4,) float32; "
        "counted from the last axis, sizes must be equal or 1"
    )
    assert isinstance(caught.value, ValueError)


def test_two_devices_are_never_mixed():
    here, there = ta.ones(2), ta.ones(2).to(standin.backend.name)
    for use in (
        lambda: here * there,
        lambda: ta.where(here > 0, there, there),
        lambda: there @ here,
    ):
        with pytest.raises(ta.DeviceError, match=r'is on "cpu".*nothing moves by itself') as caught:
            use()
        assert "standin" in str(caught.value)


def test_a_failing_forward_names_the_op_and_the_operands():
    @ta.primitive
    def picky(x, n):
        if n > 2:
            raise ValueError("n is too large")
        return x

    with pytest.raises(ta.ShapeError, match=r"^picky: n is too large \(x is \(2,\) float32"):
        picky(ta.ones(2), 3)
