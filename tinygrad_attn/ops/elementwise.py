"""Arithmetic, element by element: each op with its derivative right beside it.

In every rule ``g`` is ∂L/∂y, the gradient that arrives; the rule gives ∂L/∂(argument). Broadcasting
needs no thought here: the engine sums each result back to the shape of its argument.
"""

from ..backend import is_array, namespace, quiet
from ..core import primitive

__all__ = [
    "absolute",
    "add",
    "divide",
    "maximum",
    "minimum",
    "multiply",
    "negative",
    "power",
    "reciprocal",
    "rsqrt",
    "sign",
    "sqrt",
    "square",
    "subtract",
    "where",
]


@primitive
def add(a, b):
    """Sum  y = a + b.   ∂L/∂a = g,  ∂L/∂b = g."""
    return a + b


add.derivatives(a=lambda g: g, b=lambda g: g)


@primitive
def subtract(a, b):
    """Difference  y = a − b.   ∂L/∂a = g,  ∂L/∂b = −g."""
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
@quiet
def power(x, p):
    """Power  y = xᵖ.   ∂L/∂x = g·p·xᵖ⁻¹,  ∂L/∂p = g·y·ln x.

    The edges follow from limits: x⁰ is 1 with slope 0 everywhere, 0 included; at x = 0 < p the slope in p
    is 0. Small whole exponents are multiplied out, which is tens of times faster than a general power.
    """
    if type(p) is int or type(p) is float:
        if p == 2:
            return x * x
        if p == 3:
            return x * x * x
        if p == 1:
            return x * 1
        if p == 0.5:
            return namespace(x).sqrt(x)
    return namespace(x).power(x, p)


def _power_x(g, x, p):
    """g·p·xᵖ⁻¹, where a zero exponent makes a zero slope even at x = 0."""
    if type(p) is int or type(p) is float:
        return namespace(g).zeros_like(g) if p == 0 else g * p * x ** (p - 1)
    xp = namespace(g)
    return g * p * xp.power(x, xp.where(p == 0, 1, p - 1))


def _power_p(g, x, y):
    """g·y·ln x, where xᵖ = 0 outweighs ln 0."""
    xp = namespace(g)
    return g * xp.where(y == 0, 0, y * xp.log(xp.where(y == 0, 1, x)))


power.derivatives(x=_power_x, p=_power_p)


@primitive
def square(x):
    """Square  y = x².   ∂L/∂x = 2·g·x."""
    return x * x


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
    """Reciprocal  y = 1/x.   ∂L/∂x = −g·y²."""
    return 1 / x


reciprocal.derivatives(x=lambda g, y: -g * y * y)


@primitive
def absolute(x):
    """Absolute value  y = |x|.   ∂L/∂x = g·sign x, taken as 0 at the kink."""
    return namespace(x).absolute(x)


absolute.derivatives(x=lambda g, x: g * namespace(x).sign(x))


@primitive
def sign(x):
    """Sign  y = −1, 0 or 1.   ∂L/∂x = 0."""
    return namespace(x).sign(x)


sign.derivatives(x=lambda g: namespace(g).zeros_like(g))


@primitive
def maximum(a, b):
    """The larger of the two, y = max(a, b).   The larger gets g; where they tie, each gets g/2."""
    return namespace(a if is_array(a) else b).maximum(a, b)


@primitive
def minimum(a, b):
    """The smaller of the two, y = min(a, b).   The smaller gets g; where they tie, each gets g/2."""
    return namespace(a if is_array(a) else b).minimum(a, b)


def _share(g, mine, other, y):
    """g where this argument is the one chosen, half of it where both are."""
    won = (mine == y).astype(g.dtype)
    tied = (mine == other).astype(g.dtype)
    return g * (won * (1 - 0.5 * tied))


for _extreme in (maximum, minimum):
    _extreme.derivatives(a=lambda g, a, b, y: _share(g, a, b, y), b=lambda g, a, b, y: _share(g, b, a, y))


@primitive
def where(condition, a, b):
    """Choice  y = a where the condition holds, else b.   ∂L/∂a = g where chosen, else 0; ∂L/∂b the rest.

    The branch not taken gets an exact zero, whatever NaN or infinity it holds.
    """
    return namespace(condition).where(condition, a, b)


where.derivatives(
    a=lambda g, condition: namespace(g).where(condition, g, 0),
    b=lambda g, condition: namespace(g).where(condition, 0, g),
)
