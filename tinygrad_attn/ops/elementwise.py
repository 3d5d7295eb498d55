"""Arithmetic, element by element: each op with its derivative right beside it.

In every rule ``g`` is ∂L/∂y, the gradient that arrives; the rule gives ∂L/∂(argument). Broadcasting
needs no thought here: the engine sums each result back to the shape of its argument.

``namespace(x)`` is the library that computes with x: NumPy or CuPy, and in a rule of a higher order
this very package. ``@quiet`` marks an op whose limits are values: 1/0 is ∞, with no warning.
"""

from ..backend import namespace, quiet
from ..core import primitive
from ..errors import ShapeError
from .choice import keep
from .numbers import all_whole, operands

__all__ = [
    "abs",
    "absolute",
    "add",
    "divide",
    "lerp",
    "multiply",
    "negative",
    "positive",
    "power",
    "reciprocal",
    "rsqrt",
    "sign",
    "sqrt",
    "square",
    "subtract",
]


# ---- sums and products ---------------------------------------------------------------------------


@primitive
def add(a, b):
    """Sum  y = a + b.   ∂L/∂a = g,  ∂L/∂b = g."""
    return a + b


add.derivatives(a=lambda g: g, b=lambda g: g)


@primitive
def subtract(a, b):
    """Difference  y = a − b.   ∂L/∂a = g,  ∂L/∂b = −g.  Booleans have none, as in NumPy."""
    return a - b


subtract.derivatives(a=lambda g: g, b=lambda g: -g)


@primitive
def multiply(a, b):
    """Product  y = a·b.   ∂L/∂a = g·b,  ∂L/∂b = g·a."""
    return a * b


multiply.derivatives(a=lambda g, b: g * b, b=lambda g, a: g * a)


@primitive
@quiet
def divide(a, b):
    """Quotient  y = a/b.   ∂L/∂a = g/b,  ∂L/∂b = −g·y/b.  Whole numbers divide to float32."""
    return a / b


divide.derivatives(a=lambda g, b: g / b, b=lambda g, y, b: -g * (y / b))


@primitive
def negative(x):
    """Negation  y = −x.   ∂L/∂x = −g."""
    return -x


negative.derivatives(x=lambda g: -g)


@primitive
def positive(x):
    """The same number,  y = +x.   ∂L/∂x = g."""
    return +x


positive.derivatives(x=lambda g: g)


@primitive
def lerp(a, b, weight):
    """Interpolation  y = a + w·(b − a).   ∂L/∂a = g·(1 − w),  ∂L/∂b = g·w,  ∂L/∂w = g·(b − a)."""
    return a + weight * (b - a)


lerp.derivatives(
    a=lambda g, weight: g * (1 - weight),
    b=lambda g, weight: g * weight,
    weight=lambda g, a, b: g * (b - a),
)


# ---- powers and roots ----------------------------------------------------------------------------


@primitive
@quiet
def power(x, p):
    """Power  y = xᵖ.   ∂L/∂x = g·p·xᵖ⁻¹,  ∂L/∂p = g·y·ln x.

    The edges: x⁰ is 1 with slope 0 everywhere, 0 included; at x = 0 ≤ p the slope in p is 0.
    Small whole exponents are multiplied out, which is tens of times faster than a general power.
    Raises: ShapeError for whole numbers to a negative power, which are not whole.
    """
    if (type(p) is int or type(p) is float) and 2 <= p <= 16 and p % 1 == 0:
        return _multiplied_out(x, int(p))
    if all_whole(x, p) and namespace(p).any(p < 0):
        raise ShapeError(
            f"power: whole numbers to a negative power are not whole; {operands(x=x, p=p)}; "
            "use floats: x.astype(ta.float32)"
        )
    return x**p


def _multiplied_out(x, n):
    """xⁿ by squaring: x⁵ = x·(x²)²."""
    y = None
    while n:
        if n % 2:
            y = x if y is None else y * x
        n //= 2
        x = x * x if n else x
    return y


def _power_x(g, x, p):
    """g·p·xᵖ⁻¹, where a zero exponent makes a zero slope, even at x = 0."""
    if not hasattr(p, "shape"):
        return namespace(g).zeros_like(g) if p == 0 else g * p * x ** (p - 1)
    flat = p == 0
    p = namespace(g).where(flat, 1, p)
    return keep(g * p * x ** (p - 1), ~flat)


def _power_p(g, x, p, y):
    """g·y·ln x, where 0ᵖ outweighs ln 0."""
    xp = namespace(g)
    flat = (p >= 0) & (x == 0)
    return g * keep(y * xp.log(xp.where(flat, xp.ones_like(y), x)), ~flat)


power.derivatives(x=_power_x, p=_power_p)


@primitive
def square(x):
    """Square  y = x².   ∂L/∂x = 2·g·x."""
    return namespace(x).square(x)


square.derivatives(x=lambda g, x: g * 2 * x)


@primitive
@quiet
def sqrt(x):
    """Square root  y = √x.   ∂L/∂x = g / (2y), infinite at 0."""
    return namespace(x).sqrt(x)


sqrt.derivatives(x=lambda g, y: g / (2 * y))


@primitive
@quiet
def rsqrt(x):
    """Reciprocal square root  y = 1/√x.   ∂L/∂x = −g·y³/2."""
    return 1 / namespace(x).sqrt(x)


rsqrt.derivatives(x=lambda g, y: g * -0.5 * (y * y * y))


@primitive
@quiet
def reciprocal(x):
    """Reciprocal  y = 1/x.   ∂L/∂x = −g·y².  Of whole numbers it is float32, not 0."""
    return 1 / x


reciprocal.derivatives(x=lambda g, y: -g * y * y)


# ---- size and sign -------------------------------------------------------------------------------


@primitive
def absolute(x):
    """Absolute value  y = |x|.   ∂L/∂x = g·sign x, taken as 0 at the kink."""
    return namespace(x).absolute(x)


absolute.derivatives(x=lambda g, x: g * namespace(g).sign(x))
abs = absolute


@primitive
def sign(x):
    """Sign  y = −1, 0 or 1.   ∂L/∂x = 0."""
    return namespace(x).sign(x)


sign.derivatives(x=lambda g: namespace(g).zeros_like(g))
