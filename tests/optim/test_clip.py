"""Clipping: the norm of all gradients together, by the formula, and its edges."""

import math

import numpy as np
import pytest

import tinygrad_attn as ta
from tests import standin
from tinygrad_attn import nn, optim
from tinygrad_attn.errors import DTypeError, NonFiniteError, ShapeError


def with_gradients(*gradients, dtype="float32", device="cpu"):
    params = []
    for g in gradients:
        g = np.asarray(g, dtype)
        params.append(nn.Parameter(ta.zeros(g.shape, dtype=dtype, device=device)))
        params[-1].grad = ta.tensor(g, device=device)
    return params


RNG = np.random.default_rng(0)
GRADIENTS = [RNG.standard_normal((3, 4)), RNG.standard_normal(()), RNG.standard_normal(5)]
WHOLE = np.concatenate([g.ravel() for g in GRADIENTS])


@pytest.mark.parametrize("p", [2.0, 2, 1.0, 3.0, 0.5, math.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_formula(p, dtype):
    norm = np.linalg.norm(WHOLE, p)
    for limit in (0.5 * norm, 2 * norm):
        params = with_gradients(*GRADIENTS, dtype=dtype)
        found = optim.clip_grad_norm_(params, limit, p)
        assert isinstance(found, ta.Tensor) and found.shape == () and found.dtype == dtype
        np.testing.assert_allclose(found.item(), norm, rtol=1e-5)
        for param, g in zip(params, GRADIENTS):
            expected = g * min(1, limit / (norm + 1e-6))
            np.testing.assert_allclose(param.grad.numpy(), expected, rtol=1e-5)
            assert param.grad.dtype == dtype


def test_short_gradients_keep_every_bit():
    params = with_gradients(*GRADIENTS)
    before = [p.grad.numpy().copy() for p in params]
    optim.clip_grad_norm_(params, 1e6)
    for p, g in zip(params, before):
        np.testing.assert_array_equal(p.grad.numpy(), g)


def test_the_gradient_that_somebody_holds_is_not_written_to():
    (p,) = with_gradients([3.0, 4.0])
    held = p.grad
    optim.clip_grad_norm_(p, 1.0)
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8], rtol=1e-5)
    assert held.tolist() == [3, 4]


def test_parameters_without_gradients_and_shared_ones():
    p, q = with_gradients([3.0], [4.0])
    alone = nn.Parameter([1.0])
    assert optim.clip_grad_norm_(iter([p, alone, q, p]), 10.0).item() == pytest.approx(5)
    assert alone.grad is None
    assert optim.clip_grad_norm_([alone], 1.0).item() == 0
    assert optim.clip_grad_norm_([], 1.0).item() == 0
    empty = with_gradients(np.zeros((0, 3)))
    assert optim.clip_grad_norm_(empty, 1.0, math.inf).item() == 0


def test_gradients_of_0_stay_0():
    (p,) = with_gradients([0.0, 0.0])
    assert optim.clip_grad_norm_(p, 0.0).item() == 0 and p.grad.tolist() == [0, 0]


def test_16_bits_do_not_overflow_in_the_sum():
    (p,) = with_gradients(np.full(1000, 300.0), dtype="float16")
    norm = optim.clip_grad_norm_(p, 1.0)
    np.testing.assert_allclose(norm.item(), 300 * math.sqrt(1000), rtol=1e-4)
    assert p.grad.dtype == ta.float16
    np.testing.assert_allclose(p.grad.numpy(), 1 / math.sqrt(1000), rtol=1e-2)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_found_before_anything_changes(value):
    params = with_gradients([1.0], [value])
    with pytest.raises(NonFiniteError, match="clip_grad_norm_: the norm of the gradients is"):
        optim.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert params[0].grad.tolist() == [1]
    assert not math.isfinite(optim.clip_grad_norm_(params, 1.0).item())


def test_values_are_held_within_bounds():
    (p,) = with_gradients([-3.0, -0.5, 0.0, 2.0])
    optim.clip_grad_value_([p, nn.Parameter([1.0])], np.float64(1))
    assert p.grad.tolist() == [-1, -0.5, 0, 1] and p.grad.dtype == ta.float32


def test_another_device_gives_the_same(device):
    for there in {device, "standin"}:
        params = with_gradients(*GRADIENTS, device=there)
        norm = optim.clip_grad_norm_(params, 1.0)
        assert norm.device.startswith(there)
        np.testing.assert_allclose(norm.item(), np.linalg.norm(WHOLE), rtol=1e-5)
        optim.clip_grad_value_(params, 0.1)
        assert np.abs(params[0].grad.numpy()).max() <= np.float32(0.1)


def test_clipping_on_a_gpu_does_not_wait_for_it():
    params = with_gradients(*GRADIENTS, device="standin")
    before = standin.fake_cupy.synchronizations
    optim.clip_grad_norm_(params, 1.0)
    assert standin.fake_cupy.synchronizations == before


def test_arguments_are_checked():
    (p,) = with_gradients([1.0])
    for limit in (-1.0, math.nan):
        with pytest.raises(ShapeError, match=r"max_norm is .*; it must not be negative"):
            optim.clip_grad_norm_(p, limit)
        with pytest.raises(ShapeError, match=r"clip_value is .*; it must not be negative"):
            optim.clip_grad_value_(p, limit)
    with pytest.raises(ShapeError, match="norm_type is 0; it must be positive"):
        optim.clip_grad_norm_(p, 1.0, 0)
    with pytest.raises(DTypeError, match="parameters must be tensors, not ndarray"):
        optim.clip_grad_norm_([np.ones(2)], 1.0)
    with pytest.raises(DTypeError, match=r"parameters is a Linear; give model\.parameters\(\)"):
        optim.clip_grad_value_(nn.Linear(1, 1), 1.0)
