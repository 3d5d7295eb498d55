"""Functions of two arguments, each with a place where its formula fails: ln 0·0, ∞ − ∞, the origin.

There a rule replaces what it is about to divide by or take the logarithm of, *before* it does so.
To throw the NaN away afterwards is not enough: it comes back, as 0·NaN, in the second derivative.
"""

from ..backend import namespace, quiet
from ..core import primitive
from .choice import keep
from .numbers import shared_namespace

__all__ = ["arctan2", "hypot", "logaddexp", "xlogy"]


@primitive
@quiet
def hypot(a, b):
    """Length  y = √(a² + b²), without overflow.   ∂L/∂a = g·a/y,  ∂L/∂b = g·b/y.

    At the origin, from where it rises in every direction, the gradient is taken as 0.
    """
    return shared_namespace(a, b).hypot(a, b)


def _over_length(a, y):
    """a/y, the cosine of an angle; 0 at the origin."""
    origin = y == 0
    return keep(a / namespace(y).where(origin, 1, y), ~origin)


hypot.derivatives(
    a=lambda g, a, y: g * _over_length(a, y), b=lambda g, b, y: g * _over_length(b, y)
)


@primitive
def arctan2(a, b):
    """Angle of the point (b, a), from −π to π.   ∂L/∂a = g·b/r²,  ∂L/∂b = −g·a/r²,  r² = a² + b².

    At the origin, which lies in no direction, the gradient is taken as 0.
    """
    return shared_namespace(a, b).arctan2(a, b)


def _over_square(g, a, b):
    """a/r², divided twice by r so that nothing overflows; 0 at the origin."""
    r = namespace(g).hypot(a, b)
    origin = r == 0
    r = namespace(g).where(origin, 1, r)
    return keep(a / r / r, ~origin)


arctan2.derivatives(
    a=lambda g, a, b: g * _over_square(g, b, a),
    b=lambda g, a, b: -g * _over_square(g, a, b),
)


@primitive
@quiet
def logaddexp(a, b):
    """Sum of what two logarithms stand for,  y = ln(eᵃ + eᵇ).   ∂L/∂a = g·eᵃ⁻ʸ,  ∂L/∂b = g·eᵇ⁻ʸ.

    Each gets its share of the sum. Two equal infinities share evenly, as equal numbers do.
    """
    return shared_namespace(a, b).logaddexp(a, b)


def _share(g, a, b, y):
    """g·eᵃ⁻ʸ. Where a = y there is no need to subtract, and between infinities no way to."""
    xp = namespace(g)
    whole = a == y
    share = xp.exp(xp.where(whole, 0, a - y))
    return g * xp.where(whole & (b == y), 0.5, share)


logaddexp.derivatives(a=_share, b=lambda g, a, b, y: _share(g, b, a, y))


@primitive
@quiet
def xlogy(a, b):
    """y = a·ln b, and 0 where a = 0, even at b = 0.   ∂L/∂a = g·ln b,  ∂L/∂b = g·a/b.

    So an entropy, −Σ p·ln p, may have terms with p = 0; both slopes are 0 there.
    """
    xp = shared_namespace(a, b)
    return xp.where((a == 0) & (b == b), 0, a * xp.log(_like(a, b)))


def _like(a, b):
    """b; a plain number, whose logarithm would be in double, as an array like a."""
    return b if hasattr(b, "shape") else namespace(a).full_like(a, float(b))  # not of None


def _xlogy_a(g, a, b):
    xp = namespace(g)
    return g * xp.log(xp.where((a == 0) & (b <= 0), 1, _like(a, b)))


def _xlogy_b(g, a, b):
    nothing = (a == 0) & (b <= 0)
    return g * keep(a / namespace(g).where(nothing, 1, b), ~nothing)


xlogy.derivatives(a=_xlogy_a, b=_xlogy_b)
