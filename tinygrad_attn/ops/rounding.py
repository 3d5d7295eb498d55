"""Steps: functions that are flat between jumps, so that their gradient is 0 everywhere.

Whole numbers keep their dtype here. Divided by 0 they have no answer among themselves: NumPy gives
0 and a warning, a GPU whatever it likes, and these ops raise an error.
"""

from ..backend import namespace, quiet
from ..core import primitive
from ..errors import ShapeError
from .check import whole_number
from .numbers import all_whole, operands

__all__ = ["ceil", "floor", "floor_divide", "remainder", "round", "trunc"]


@primitive
def floor(x):
    """The largest whole number y ≤ x, in the dtype of x.   ∂L/∂x = 0."""
    return x.copy() if all_whole(x) else namespace(x).floor(x)


@primitive
def ceil(x):
    """The smallest whole number y ≥ x, in the dtype of x.   ∂L/∂x = 0."""
    return x.copy() if all_whole(x) else namespace(x).ceil(x)


@primitive
def trunc(x):
    """x without its fraction, towards 0, in the dtype of x.   ∂L/∂x = 0."""
    return x.copy() if all_whole(x) else namespace(x).trunc(x)


@primitive
def round(x, decimals=0):
    """x to so many decimals, halves to the even neighbour: of 0.5 it is 0, of 1.5 2.  ∂L/∂x = 0."""
    decimals = whole_number("round", "decimals", decimals)
    return x.copy() if all_whole(x) and decimals >= 0 else namespace(x).round(x, decimals)


@primitive
@quiet
def floor_divide(a, b):
    """Whole quotient  y = ⌊a/b⌋.   ∂L/∂a = 0,  ∂L/∂b = 0.

    Raises: ShapeError where whole numbers are divided by 0; floats give ±∞ or NaN.
    """
    _refuse_zero("floor_divide", a, b)
    return a // b


@primitive
@quiet
def remainder(a, b):
    """Rest of the division  y = a − b·⌊a/b⌋, with the sign of b.   ∂L/∂a = g,  ∂L/∂b = −g·⌊a/b⌋.

    Raises: ShapeError where whole numbers are divided by 0; floats give NaN.
    """
    _refuse_zero("remainder", a, b)
    return a % b


remainder.derivatives(a=lambda g: g, b=lambda g, a, b: -g * (a // b))


def _flat(g):
    return namespace(g).zeros_like(g)


for _step in (floor, ceil, trunc, round):
    _step.derivatives(x=_flat)
floor_divide.derivatives(a=_flat, b=_flat)


def _refuse_zero(where, a, b):
    if all_whole(a, b) and namespace(b).any(b == 0):
        raise ShapeError(
            f"{where}: b holds 0, and whole numbers have no infinity to answer with; "
            f"{operands(a=a, b=b)}; use floats, or where(b == 0, 1, b)"
        )
