"""erf and erfc against the C library's, one element at a time."""

import math

import numpy as np
import pytest

from tinygrad_attn.backend.cpu.erf import _erf_single, erf, erfc

FLOATS = [np.float16, np.float32, np.float64]


@pytest.fixture(autouse=True)
def strict():
    """Any floating-point warning is an error; an underflow to 0 or a subnormal is legitimate."""
    with np.errstate(all="raise", under="ignore"):
        yield


def reference(function, x):
    """The C library's value in float64, element by element."""
    return np.array([function(float(v)) for v in x.flat]).reshape(x.shape)


def relative_error(y, exact):
    return np.max(np.abs(y.astype(np.float64) - exact) / np.abs(exact))


def both_signs(dtype, low, high, count):
    """A linear grid over ±high and a logarithmic one from ±low, without 0, rounded to dtype."""
    grid = np.concatenate([np.linspace(low, high, count), np.geomspace(low, high, count)])
    return np.concatenate([-grid, grid]).astype(dtype)


def test_erf_float64_is_right_to_two_ulp():
    x = both_signs(np.float64, 1e-300, 7.0, 20_000)
    assert relative_error(erf(x), reference(math.erf, x)) <= 4e-16


def test_erf_float64_across_the_seam_at_one():
    x = 1 + np.arange(-2000, 2001) * 2.0**-53
    x = np.concatenate([-x, x])
    assert relative_error(erf(x), reference(math.erf, x)) <= 4e-16
    assert relative_error(erfc(x), reference(math.erfc, x)) <= 2e-15


def test_erfc_float64_keeps_its_relative_accuracy():
    x = np.linspace(-7.0, 26.0, 60_000)
    assert relative_error(erfc(x), reference(math.erfc, x)) <= 2e-15


def test_erfc_float64_fades_through_the_subnormals():
    x = np.linspace(26.0, 28.0, 2001)
    np.testing.assert_allclose(erfc(x), reference(math.erfc, x), rtol=2e-15, atol=1e-322)


def test_erf_float32():
    x = both_signs(np.float32, 1e-30, 5.0, 20_000)
    y, exact = erf(x), reference(math.erf, x)
    assert np.max(np.abs(y - exact)) <= 1.5e-7  # 0.9e-7 with a SIMD tanh, 1.2e-7 with glibc's
    assert relative_error(y, exact) <= 2.5e-7
    assert np.max(np.abs(y)) <= 1


def test_erfc_float32():
    x = np.linspace(-5.0, 9.0, 20_000, dtype=np.float32)
    assert relative_error(erfc(x), reference(math.erfc, x)) <= 2.0**-24 + 1e-14


def test_every_finite_float16():
    x = np.arange(2**16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)]
    for ours, theirs in ((erf, math.erf), (erfc, math.erfc)):
        y, exact = ours(x), reference(theirs, x)
        half_ulp = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64) / 2
        assert np.all(np.abs(y - exact) <= half_ulp * (1 + 1e-3))


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values(dtype):
    top, bottom = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, top, -top, bottom, -bottom], dtype)
    y = np.array([0.0, -0.0, 1, -1, np.nan, 1, -1, bottom, -bottom], dtype)
    np.testing.assert_array_equal(erf(x), y)
    np.testing.assert_array_equal(np.signbit(erf(x))[:2], [False, True])
    np.testing.assert_array_equal(erfc(x), np.array([1, 1, 0, 2, np.nan, 0, 2, 1, 1], dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_dtype_and_odd_symmetry(dtype):
    x = np.linspace(0, 6, 5001).astype(dtype)
    y = erf(x)
    assert y.dtype == dtype and erfc(x).dtype == dtype
    np.testing.assert_array_equal(erf(-x), -y)


@pytest.mark.parametrize("dtype", FLOATS)
def test_rises_and_falls_to_the_last_bit(dtype):
    x = np.linspace(-7, 7, 50_001).astype(dtype)
    one_bit = np.finfo(dtype).eps
    assert np.all(np.diff(erf(x)) >= -one_bit)
    assert np.all(np.diff(erfc(x)) <= one_bit)


@pytest.mark.parametrize("function", [erf, erfc])
@pytest.mark.parametrize("dtype", FLOATS)
def test_shapes(function, dtype):
    for shape in [(), (1,), (0,), (3, 0, 2), (2, 3, 4), (40_000,)]:  # the last spans several blocks
        x = np.full(shape, 0.5, dtype)
        y = function(x)
        assert isinstance(y, np.ndarray) and y.shape == shape and y.dtype == dtype
        np.testing.assert_array_equal(y, np.full(shape, function(np.array(0.5, dtype))))


@pytest.mark.parametrize("function", [erf, erfc])
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_strides_and_no_write_to_the_input(function, dtype):
    x = np.linspace(-4, 4, 600).astype(dtype).reshape(20, 30)
    x.flags.writeable = False
    y = function(x)
    np.testing.assert_array_equal(function(x.T), y.T)
    np.testing.assert_array_equal(function(x[::-2, 1::3]), y[::-2, 1::3])
    np.testing.assert_array_equal(function(np.broadcast_to(x[0], (5, 30)))[3], y[0])


def test_float32_never_passes_through_float64():
    """A subclass notes the dtype of every array that the kernel makes."""
    seen = set()

    class Tapped(np.ndarray):
        def __array_finalize__(self, parent):
            seen.add(self.dtype)

    _erf_single(np.linspace(-5, 5, 100, dtype=np.float32).view(Tapped))
    assert seen == {np.dtype(np.float32)}


def test_integers_become_floats():
    np.testing.assert_array_equal(erf(np.array([0, 1])), erf(np.array([0.0, 1.0])))
    with pytest.raises(TypeError):
        erf(np.array([1j]))
