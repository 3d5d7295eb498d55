"""gelu: a smooth gate that lets x through as likely as a normal variable falls below it."""

import math

from ...backend import backend_of, namespace
from ...core import fused
from ..check import as_tensor, one_of

__all__ = ["gelu"]

_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1 / math.sqrt(2 * math.pi)  # the normal density at 0
_SLOPE, _CUBIC = math.sqrt(2 / math.pi), 0.044715  # of the tanh form


def gelu_spec(x):
    """x·Φ(x), Φ the normal distribution function."""
    return 0.5 * x * (1 + namespace(x).erf(x * _ROOT_HALF))


def gelu_tanh_spec(x):
    """x·(1 + tanh(√(2/π)(x + 0.044715x³)))/2."""
    return 0.5 * x * (1 + namespace(x).tanh(_SLOPE * (x + _CUBIC * x * x * x)))


@fused(spec=gelu_spec)
def _gelu(x, *, needs):
    xp = namespace(x)
    below = backend_of(x).erf(x * _ROOT_HALF)  # becomes Φ(x)
    below += 1
    below *= 0.5
    y = x * below
    if not needs[0]:
        return y, None
    slope = xp.square(x, out=xp.empty_like(x))  # becomes dy/dx = Φ(x) + x·φ(x)
    slope *= -0.5
    xp.exp(slope, out=slope)
    slope *= x
    slope *= _DENSITY
    slope += below
    return y, lambda g: (g * slope,)


@fused(spec=gelu_tanh_spec)
def _gelu_tanh(x, *, needs):
    xp = namespace(x)
    square = xp.square(x, out=xp.empty_like(x))
    t = xp.multiply(square, _SLOPE * _CUBIC, out=xp.empty_like(x))
    t += _SLOPE
    t *= x
    xp.tanh(t, out=t)  # tanh(√(2/π)(x + 0.044715x³))
    half = t + 1
    half *= 0.5
    y = x * half
    if not needs[0]:
        return y, None
    slope = square  # becomes dy/dx = (1 + t)/2 + x/2·(1 − t²)·√(2/π)(1 + 3·0.044715x²)
    slope *= 3 * _SLOPE * _CUBIC
    slope += _SLOPE
    t *= t
    xp.subtract(1, t, out=t)
    slope *= t
    slope *= x
    slope *= 0.5
    slope += half
    return y, lambda g: (g * slope,)


def gelu(x, approximate="none"):
    """Gaussian error linear unit  y = x·Φ(x).   ∂L/∂x = g·(Φ(x) + x·φ(x)).

    Φ and φ are the standard normal distribution function and density. ``approximate="tanh"`` is the
    older y = x/2·(1 + tanh(√(2/π)(x + 0.044715x³))), to which some published weights were trained.
    The kernel works out dy/dx on the way forward, where all its parts are at hand.

    Raises: DTypeError for another name of an approximation.
    Reference: Hendrycks, Gimpel, "Gaussian Error Linear Units (GELUs)", arXiv:1606.08415.
    """
    one_of("gelu", "approximate", approximate, ("none", "tanh"))
    return (_gelu if approximate == "none" else _gelu_tanh)(as_tensor(x, where="gelu"))
