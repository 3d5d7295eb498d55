"""float32 in, float32 out; numbers never widen; a kind of number is never lost on the way."""

import numpy as np
import pytest

import tinygrad_attn as ta
from tinygrad_attn.backend import dtypes
from tinygrad_attn.core import Tensor

FLOATS = [ta.float16, ta.float32, ta.float64]
if dtypes.bfloat16 is not None:
    FLOATS.append(dtypes.bfloat16)


def of(dtype, *values):
    return Tensor(np.array(values).astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_float_keeps_its_width_forward_and_back(dtype, device):
    x = of(dtype, 0.5, 1.5, 2.5).to(device).requires_grad_()
    loss = (ta.exp(x * 0.5) / (x + 1) - x**2).sum() + ta.softmax(x).max()
    loss.backward()
    assert loss.dtype == x.grad.dtype == dtype


@pytest.mark.parametrize(
    "number", [2, 2.5, True, np.float64(2.5), np.int64(2), np.float32(2)], ids=repr
)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_number_never_widens_a_tensor(dtype, number):
    x = of(dtype, 1.0, 2.0)
    for y in (x * number, number * x, x + number, number - x, x / number, number / x, x**number):
        assert isinstance(y, Tensor) and y.dtype == dtype


@pytest.mark.parametrize("whole", [ta.bool_, ta.uint8, ta.int32, ta.int64], ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_beside_a_float_whole_numbers_take_its_type(dtype, whole):
    x, n = of(dtype, 1.0, 2.0), of(whole, 1, 1)
    assert (x * n).dtype == (n * x).dtype == (n - x).dtype == ta.where(n > 0, n, x).dtype == dtype


def test_of_two_floats_the_wider_one_wins_and_gradients_go_back_to_their_own():
    x, y = of(ta.float32, 1.0, 2.0).requires_grad_(), of(ta.float64, 3.0, 4.0).requires_grad_()
    z = x * y
    assert z.dtype == ta.float64
    z.sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (ta.float32, ta.float64)


def test_what_is_created_has_the_usual_types():
    assert (
        ta.tensor([1.0, 2.0]).dtype
        == ta.tensor(1.0).dtype
        == ta.tensor([1, 2.5]).dtype
        == ta.float32
    )
    assert ta.tensor([1, 2]).dtype == ta.arange(3).dtype == ta.int64
    assert ta.tensor([True]).dtype == ta.bool_
    for dtype in (*FLOATS, ta.int32, ta.uint8):
        assert ta.tensor(np.ones(2).astype(dtype)).dtype == dtype


def test_whole_numbers_stay_whole_until_a_function_leaves_them():
    n = ta.tensor([1, 2, 3])
    assert (
        (n + n).dtype == (n * 2).dtype == (-n).dtype == n.sum().dtype == n.max().dtype == ta.int64
    )
    assert ta.exp(n).dtype == (n / n).dtype == ta.sqrt(n).dtype == n.mean().dtype == ta.float32
    assert (n * 0.5).dtype == ta.float32  # a Python float is no whole number
    np.testing.assert_allclose((n * 0.5).numpy(), [0.5, 1.0, 1.5])


@pytest.mark.parametrize("dtype", [d for d in FLOATS if d.itemsize == 2], ids=str)
@pytest.mark.parametrize(
    "reduce", [ta.sum, ta.mean, ta.var, ta.norm, ta.logsumexp], ids=lambda f: f.__name__
)
def test_16_bit_floats_are_summed_in_float32(dtype, reduce):
    x = np.full(8192, 0.75).astype(dtype)  # a running sum in 16 bits would stop growing
    y, exact = reduce(Tensor(x)), reduce(Tensor(x.astype(np.float64)))
    assert y.dtype == dtype
    assert float(y) == pytest.approx(float(exact), rel=4e-3, abs=1e-3)


@pytest.mark.parametrize(
    "value", [np.array([1j]), "text", ["a"], None, object()], ids=lambda value: type(value).__name__
)
def test_what_is_no_real_number_is_refused(value):
    with pytest.raises(ta.DTypeError, match="holds no real numbers"):
        ta.tensor(value)


def test_a_half_precision_gradient_is_summed_in_float32():
    bias = ta.zeros(2, dtype="float16").requires_grad_()
    (ta.ones(5000, 2, dtype="float16") * 1 + bias).backward(ta.ones(5000, 2, dtype="float16"))
    assert bias.grad.tolist() == [5000.0, 5000.0]
