"""The CPU's norm of all gradients: exact to float32's last digits, whatever the sizes are."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.backend.test_cpu_kernels import strided
from tinygrad_attn import nn, optim
from tinygrad_attn.backend import dtypes, get_backend, quiet

NORM2, SCALE_ALL = (quiet(get_backend("cpu").kernels[name]) for name in ("norm2", "scale_all"))
DTYPES = [dtypes.float16, dtypes.float32, dtypes.float64]
if dtypes.bfloat16 is not None:
    DTYPES.append(dtypes.bfloat16)


@quiet
def exactly(gradients, dtype):
    """The norm by the formula, in numbers that neither overflow nor vanish, and then in a dtype."""
    flat = np.concatenate([g.astype("longdouble").ravel() for g in gradients])
    top = np.abs(flat).max(initial=0)
    return dtype.type(top * np.sqrt(np.square(flat / top).sum()) if 0 < top < np.inf else top)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([1.0, 1e30, 1e-30, 1e-44, 3e38, 1e-3]),
    shapes=st.lists(
        st.sampled_from([(), (1,), (5,), (0,), (3, 4), (1023,), (1025,), (90, 91), (100, 2000)]),
        min_size=1,
        max_size=6,
    ),
)
def test_the_norm_and_the_scaling(dtype, seed, size, shapes):
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        values = [rng.uniform(-1, 1, shape) * size for shape in shapes]
        gs = [strided(rng, np.asarray(value, dtype)) for value in values]
    before = [g.tobytes() for g in gs]
    norm = NORM2(gs)
    scaled = SCALE_ALL(gs, np.array(0.25, norm.dtype))
    assert norm.shape == () and norm.dtype == max(dtype, dtypes.float32, key=lambda d: d.itemsize)
    np.testing.assert_allclose(norm, exactly(gs, norm.dtype), rtol=20 * np.finfo(norm.dtype).eps)
    assert before == [g.tobytes() for g in gs]
    for y, g in zip(scaled, gs, strict=True):
        assert y.dtype == dtype and not np.shares_memory(y, g)
        np.testing.assert_array_equal(y, g * np.array(0.25, dtype))


@pytest.mark.parametrize(
    "size", [10**7, pytest.param(10**8, marks=pytest.mark.slow)], ids="{:.0e}".format
)
def test_no_digits_are_lost_over_many(size):
    x = np.full(size, 0.1, "float32")
    expected = math.sqrt(size) * float(x[0])
    np.testing.assert_allclose(NORM2([x]).item(), expected, rtol=1e-7)
    x[0] = 1e3
    expected = math.sqrt((size - 1) * float(x[1]) ** 2 + 1e6)
    np.testing.assert_allclose(NORM2([x]).item(), expected, rtol=1e-7)


@pytest.mark.parametrize("sizes", [(3, 20_000), (20_000, 3), (3, 4)])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite(value, sizes):
    gs = [np.ones(size, "float32") for size in sizes]
    gs[0][1] = value
    np.testing.assert_equal(NORM2(gs).item(), abs(value))


def test_several_dtypes_together():
    gs = [np.full(3, 2.0, dtype) for dtype in DTYPES]
    norm = NORM2(gs)
    assert norm.dtype == np.float64
    np.testing.assert_allclose(norm, math.sqrt(12 * len(gs)), rtol=1e-15)
    scaled = SCALE_ALL(gs, np.array(0.5))
    assert [g.dtype for g in scaled] == DTYPES


@pytest.mark.parametrize("kernels", [get_backend("cpu").kernels, {}], ids=["CPU", "portable"])
def test_a_factor_too_small_for_float16(kernels, monkeypatch):
    """3·10⁻⁶ has five bits in float16; the gradients would keep a norm of 1.002."""
    monkeypatch.setattr(type(get_backend("cpu")), "kernels", kernels)
    p = ta.zeros(100, dtype="float16", requires_grad=True)
    p.grad = ta.full(100, 3e4, dtype="float16")
    assert optim.clip_grad_norm_([p], 1.0).item() == pytest.approx(3e5)
    assert p.grad.dtype == p.dtype
    np.testing.assert_array_equal(p.grad.numpy(), np.float16(0.1))


def test_small_gradients_are_gathered(monkeypatch):
    calls, vecdot = [], np.vecdot
    monkeypatch.setattr(np, "vecdot", lambda a, b: calls.append(a.size) or vecdot(a, b))
    gs = [np.ones(shape, "float32") for shape in [(128,), (64, 2), ()] * 50 + [(20_000,)]]
    NORM2(gs)
    assert len(calls) == 4 and sum(calls) == sum(g.size for g in gs)


def clip(value, limit):
    """(peak bytes, the norm, the array before, the one afterwards) of clipping a large gradient."""
    p = nn.Parameter(np.zeros(2**20, "float32"))
    p.grad = nn.Parameter(np.full(2**20, value, "float32")).detach()
    before = p.grad.data
    tracemalloc.start()
    try:
        norm = optim.clip_grad_norm_(p, limit).item()
        return tracemalloc.get_traced_memory()[1], norm, before, p.grad.data
    finally:
        tracemalloc.stop()


def test_what_is_short_enough_is_not_copied():
    peak, norm, before, after = clip(1e-3, 1.1)
    assert norm == pytest.approx(1.024) and after is before
    assert peak < 100_000


def test_what_is_scaled_has_one_new_array():
    for value in (1.0, 1e30):
        peak, norm, before, after = clip(value, 1.0)
        assert norm == pytest.approx(1024 * value)
        np.testing.assert_allclose(after, 1 / 1024, rtol=1e-5)
        assert (before == np.float32(value)).all()
        assert peak < before.nbytes + 1_200_000
