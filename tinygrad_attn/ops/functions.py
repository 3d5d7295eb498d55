"""The functions of calculus: exponentials, logarithms, circles, hyperbolas, the normal integral.

A derivative is written by the result ``y`` where that is possible: of an exponential nothing but
its own value need then be kept. ∞ and NaN are values here, and raise no warnings.
"""

import math

from ..backend import backend_of, namespace, quiet
from ..core import primitive

__all__ = [
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctanh",
    "cos",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "sin",
    "sinh",
    "tan",
    "tanh",
]

LN2, LN10 = math.log(2), math.log(10)
TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


# ---- exponentials and logarithms -----------------------------------------------------------------


@primitive
@quiet
def exp(x):
    """Exponential  y = eˣ.   ∂L/∂x = g·y."""
    return namespace(x).exp(x)


exp.derivatives(x=lambda g, y: g * y)


@primitive
@quiet
def expm1(x):
    """y = eˣ − 1, exact for small x too.   ∂L/∂x = g·(y + 1)."""
    return namespace(x).expm1(x)


expm1.derivatives(x=lambda g, y: g * (y + 1))


@primitive
@quiet
def exp2(x):
    """Power of two  y = 2ˣ.   ∂L/∂x = g·y·ln 2."""
    return namespace(x).exp2(x)


exp2.derivatives(x=lambda g, y: g * LN2 * y)


@primitive
@quiet
def log(x):
    """Natural logarithm  y = ln x.   ∂L/∂x = g/x.  Of 0 it is −∞, of less NaN."""
    return namespace(x).log(x)


log.derivatives(x=lambda g, x: g / x)


@primitive
@quiet
def log1p(x):
    """y = ln(1 + x), exact for small x too.   ∂L/∂x = g / (1 + x)."""
    return namespace(x).log1p(x)


log1p.derivatives(x=lambda g, x: g / (1 + x))


@primitive
@quiet
def log2(x):
    """Logarithm to base 2.   ∂L/∂x = g / (x·ln 2)."""
    return namespace(x).log2(x)


log2.derivatives(x=lambda g, x: g / LN2 / x)


@primitive
@quiet
def log10(x):
    """Logarithm to base 10.   ∂L/∂x = g / (x·ln 10)."""
    return namespace(x).log10(x)


log10.derivatives(x=lambda g, x: g / LN10 / x)


# ---- circles -------------------------------------------------------------------------------------


@primitive
@quiet
def sin(x):
    """Sine of x in radians.   ∂L/∂x = g·cos x."""
    return namespace(x).sin(x)


sin.derivatives(x=lambda g, x: g * namespace(g).cos(x))


@primitive
@quiet
def cos(x):
    """Cosine of x in radians.   ∂L/∂x = −g·sin x."""
    return namespace(x).cos(x)


cos.derivatives(x=lambda g, x: -g * namespace(g).sin(x))


@primitive
@quiet
def tan(x):
    """Tangent of x in radians.   ∂L/∂x = g·(1 + y²)."""
    return namespace(x).tan(x)


tan.derivatives(x=lambda g, y: g * (1 + y * y))


@primitive
@quiet
def arcsin(x):
    """Angle in [−π/2, π/2] whose sine is x.   ∂L/∂x = g / √(1 − x²), infinite at ±1."""
    return namespace(x).arcsin(x)


arcsin.derivatives(x=lambda g, x: g / namespace(g).sqrt(1 - x * x))


@primitive
@quiet
def arccos(x):
    """Angle in [0, π] whose cosine is x.   ∂L/∂x = −g / √(1 − x²), infinite at ±1."""
    return namespace(x).arccos(x)


arccos.derivatives(x=lambda g, x: -g / namespace(g).sqrt(1 - x * x))


@primitive
def arctan(x):
    """Angle in (−π/2, π/2) whose tangent is x.   ∂L/∂x = g / (1 + x²)."""
    return namespace(x).arctan(x)


arctan.derivatives(x=lambda g, x: g / (1 + x * x))


# ---- hyperbolas ----------------------------------------------------------------------------------


@primitive
@quiet
def sinh(x):
    """Hyperbolic sine  y = (eˣ − e⁻ˣ)/2.   ∂L/∂x = g·cosh x."""
    return namespace(x).sinh(x)


sinh.derivatives(x=lambda g, x: g * namespace(g).cosh(x))


@primitive
@quiet
def cosh(x):
    """Hyperbolic cosine  y = (eˣ + e⁻ˣ)/2.   ∂L/∂x = g·sinh x."""
    return namespace(x).cosh(x)


cosh.derivatives(x=lambda g, x: g * namespace(g).sinh(x))


@primitive
def tanh(x):
    """Hyperbolic tangent  y = sinh x / cosh x.   ∂L/∂x = g·(1 − y²)."""
    return namespace(x).tanh(x)


tanh.derivatives(x=lambda g, y: g * (1 - y * y))


@primitive
def arcsinh(x):
    """Inverse of sinh.   ∂L/∂x = g / √(1 + x²)."""
    return namespace(x).arcsinh(x)


arcsinh.derivatives(x=lambda g, x: g / namespace(g).sqrt(1 + x * x))


@primitive
@quiet
def arccosh(x):
    """Inverse of cosh, for x ≥ 1.   ∂L/∂x = g / √(x² − 1), infinite at 1."""
    return namespace(x).arccosh(x)


arccosh.derivatives(x=lambda g, x: g / namespace(g).sqrt(x * x - 1))


@primitive
@quiet
def arctanh(x):
    """Inverse of tanh, for |x| < 1.   ∂L/∂x = g / (1 − x²), infinite at ±1."""
    return namespace(x).arctanh(x)


arctanh.derivatives(x=lambda g, x: g / (1 - x * x))


# ---- the normal integral -------------------------------------------------------------------------


@primitive
def erf(x):
    """Error function  y = 2/√π ∫₀ˣ e⁻ᵗ² dt.   ∂L/∂x = g·2/√π·e⁻ˣ²."""
    return backend_of(x).erf(x)


erf.derivatives(x=lambda g, x: g * (TWO_OVER_ROOT_PI * namespace(g).exp(-x * x)))


@primitive
def erfc(x):
    """y = 1 − erf x, exact where that is tiny.   ∂L/∂x = −g·2/√π·e⁻ˣ²."""
    return backend_of(x).erfc(x)


erfc.derivatives(x=lambda g, x: g * (-TWO_OVER_ROOT_PI * namespace(g).exp(-x * x)))
