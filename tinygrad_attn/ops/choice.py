"""Choices, element by element: one of several values passes, and the gradient goes back to it.

At a kink any slope between those of the two sides would do. The rules take PyTorch's: ``clip`` lets
the whole gradient through at its bounds. Two arguments of ``maximum`` that tie share it.
"""

from ..backend import backend_of, dtypes, namespace
from ..core import primitive
from ..errors import ShapeError
from .check import apply, as_tensor, number
from .numbers import operands, shared_namespace

__all__ = ["clip", "maximum", "minimum", "nan_to_num", "where"]


@primitive
def _keep(x, mask):
    return backend_of(x).keep(x, mask)


_keep.derivatives(x=lambda g, mask: keep(g, mask))


def keep(g, mask):
    """In rules: g where the mask holds, elsewhere 0, even where g is ∞ or NaN (0·∞ is not 0)."""
    return apply(_keep, g, mask)


@primitive
def _where(condition, a, b):
    return shared_namespace(condition, a, b).where(condition, a, b)


_where.derivatives(
    a=lambda g, condition: keep(g, condition),
    b=lambda g, condition: keep(g, ~condition),
)


def where(condition, a, b):
    """Choice  y = a where the condition holds, else b.   The one chosen gets g, the other 0.

    The branch not taken gets an exact zero, whatever NaN or infinity it holds. But what led there
    has a derivative of its own, and 0·∞ is NaN: the gradient of ``where(x > 0, log(x), 0)`` at 0 is
    NaN, as in PyTorch. Choose before: ``log(where(x > 0, x, 1))``. Numbers hold unless they are 0.
    """
    condition = as_tensor(condition, a, b, where="where")
    return _where(condition if condition.dtype == dtypes.bool_ else condition != 0, a, b)


@primitive
def maximum(a, b):
    """The larger of the two,  y = max(a, b).   It gets g; where they tie, each gets g/2.

    Beside a NaN neither is larger: y is NaN, and both get g, as in PyTorch.
    """
    return shared_namespace(a, b).maximum(a, b)


maximum.derivatives(
    a=lambda g, a, b: keep(g, ~(a <= b)) + keep(g * 0.5, a == b),
    b=lambda g, a, b: keep(g, ~(b <= a)) + keep(g * 0.5, a == b),
)


@primitive
def minimum(a, b):
    """The smaller of the two,  y = min(a, b).   It gets g; where they tie, each gets g/2.

    Beside a NaN neither is smaller: y is NaN, and both get g, as in PyTorch.
    """
    return shared_namespace(a, b).minimum(a, b)


minimum.derivatives(
    a=lambda g, a, b: keep(g, ~(a >= b)) + keep(g * 0.5, a == b),
    b=lambda g, a, b: keep(g, ~(b >= a)) + keep(g * 0.5, a == b),
)


@primitive
def clip(x, min=None, max=None):
    """x held between two bounds.   ∂L/∂x = g where min ≤ x ≤ max, the bounds included, else 0.

    A bound that is None does not bind; one that is a tensor gets g where it decides. If the bounds
    cross, max wins.
    Raises: ShapeError without any bound.
    """
    if min is None and max is None:
        raise ShapeError(f"clip: neither min nor max is given; {operands(x=x)}; give at least one")
    xp = shared_namespace(x, min, max)
    x = x if min is None else xp.maximum(x, min)
    return x if max is None else xp.minimum(x, max)


def _clip_x(g, x, min, max):
    g = g if min is None else keep(g, x >= min)
    return g if max is None else keep(g, x <= max)


def _clip_min(g, x, min, max):
    return keep(g, x < min if max is None else (min < max) & (x < min))


def _clip_max(g, x, min, max):
    return keep(g, x > max if min is None else (max < min) | (x > max))


clip.derivatives(x=_clip_x, min=_clip_min, max=_clip_max)


@primitive
def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    """NaN and infinities replaced by numbers.   ∂L/∂x = g where x is finite, else 0.

    Infinities become the largest and the smallest number of the dtype unless told otherwise.
    """
    for name, value in (("nan", nan), ("posinf", posinf), ("neginf", neginf)):
        if value is not None or name == "nan":
            number("nan_to_num", name, value)
    return namespace(x).nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


nan_to_num.derivatives(x=lambda g, x: keep(g, namespace(g).isfinite(x)))
