"""Activations and swiglu on the CPU, in blocks; the slope is worked out on the way forward.

All are x·σ(z), a value times a gate between 0 and 1. The logistic function of z in

    gelu, tanh form     x/2·(1 + tanh u) = x·σ(2u)         with u = √(2/π)(x + 0.044715x³)
    gelu                x·Φ(x) = x/2·(1 + erf(x/√2))       where erf is itself a tanh, see erf.py
    silu                x·σ(x)

needs one exponential, half the price of a tanh, and loses no digits where the gate is nearly shut.
``linear`` applies the same block computations to what a product has left in the cache.
"""

import math

import numpy as np

from .blocks import for_blocks
from .erf import erf, normal_single

__all__ = ["ACTIVATIONS", "gelu", "gelu_tanh", "silu", "swiglu"]

_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1 / math.sqrt(2 * math.pi)  # the normal density at 0
_SLOPE, _CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715  # of z = 2u in the tanh form


def gelu_tanh(x, *, needs):
    """y = x·σ(z),  dy/dx = σ + y·(1 − σ)·dz/dx,  z = 2√(2/π)(x + 0.044715x³)."""
    return _with_slope(_gelu_tanh, x, needs[0])


def gelu(x, *, needs):
    """y = x·Φ(x),  dy/dx = Φ(x) + x·φ(x)."""
    return _with_slope(_gelu, x, needs[0])


def silu(x, *, needs):
    """y = x·σ(x),  dy/dx = σ + y·(1 − σ)."""
    return _with_slope(_silu, x, needs[0])


def swiglu(gate, up, *, needs):
    """y = silu(gate)·up,  ∂y/∂gate = (σ + silu·(1 − σ))·up,  ∂y/∂up = silu(gate)."""
    if gate.shape != up.shape or gate.dtype.kind in "biu":
        return NotImplemented
    gate, up = np.asarray(gate, order="C"), np.asarray(up, order="C")
    y, opened, slope = (np.empty_like(gate) for _ in range(3))
    flat = [x.reshape(-1) for x in (gate, up, y, opened, slope)]

    def compute(part):
        gate, up, y, opened, slope = (x[part] for x in flat)
        s = np.negative(gate)
        _logistic_of_minus(s)
        np.multiply(gate, s, out=opened)
        np.multiply(opened, up, out=y)
        if needs[0]:
            np.subtract(1, s, out=slope)
            slope *= opened
            slope += s
            slope *= up

    for_blocks(compute, gate.size)
    return y, lambda g: (g * slope if needs[0] else None, g * opened if needs[1] else None)


def _with_slope(compute, x, is_needed):
    """Run ``compute(x, y, slope)`` over blocks; on the way back the gradient is g·slope."""
    if x.dtype.kind in "biu":  # the engine asks what becomes of whole numbers: floats
        return NotImplemented
    x = np.asarray(x, order="C")
    y, slope = np.empty_like(x), np.empty_like(x) if is_needed else None
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    flat_slope = slope.reshape(-1) if is_needed else None

    def block(part):
        compute(flat_x[part], flat_y[part], flat_slope[part] if is_needed else None)

    for_blocks(block, x.size)
    return y, (lambda g: (g * slope,)) if is_needed else None


# ---- a block of each: y may be x itself, the slope None ------------------------------------------


def _gelu_tanh(x, y, slope):
    square = np.multiply(x, x)
    gate = np.multiply(square, -_SLOPE * _CUBIC)
    gate -= _SLOPE
    gate *= x
    _logistic_of_minus(gate)
    np.multiply(x, gate, out=y)
    if slope is not None:
        square *= 3 * _SLOPE * _CUBIC
        square += _SLOPE  # dz/dx
        np.subtract(1, gate, out=slope)
        slope *= square
        slope *= y
        slope += gate


def _gelu(x, y, slope):
    below = _normal(x)
    if slope is not None:
        np.multiply(x, x, out=slope)
        slope *= -0.5
        np.exp(slope, out=slope)
        slope *= x
        slope *= _DENSITY
        slope += below
    np.multiply(x, below, out=y)


def _silu(x, y, slope):
    gate = np.negative(x)
    _logistic_of_minus(gate)
    np.multiply(x, gate, out=y)
    if slope is not None:
        np.subtract(1, gate, out=slope)
        slope *= y
        slope += gate


def _relu(x, y, slope):
    np.maximum(x, 0, out=y)
    if slope is not None:
        np.not_equal(y, 0, out=slope)


ACTIVATIONS = {"relu": _relu, "gelu": _gelu, "gelu_tanh": _gelu_tanh, "silu": _silu}
"""The block computations by name; that of relu has a slope of booleans."""


def _logistic_of_minus(z):
    """σ(−z) = 1/(1 + eᶻ), in place; where eᶻ overflows it is the 0 that it should be."""
    np.exp(z, out=z)
    z += 1
    np.divide(1, z, out=z)


def _normal(x):
    """Φ(x), the normal distribution function."""
    if x.dtype == np.float32:
        return normal_single(x)
    below = erf(x * _ROOT_HALF)
    below += 1
    below *= 0.5
    return below
