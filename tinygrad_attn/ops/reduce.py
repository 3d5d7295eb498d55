"""Reductions: many elements to one, along any axes.

Each is written for one normalised ``axis``, a tuple of non-negative numbers; the public function above
it takes what NumPy takes (None, one axis, several, negative ones).
"""

from ..backend import dtypes, namespace
from ..core import primitive
from .check import normalize_axes

__all__ = ["sum"]


def _widened(x):
    """The dtype in which to add up: 16-bit floats would lose what they sum."""
    return dtypes.float32 if x.dtype.itemsize == 2 and dtypes.is_float(x.dtype) else None


def _spread(g, shape, axes):
    """``g``, whose ``axes`` were reduced away, broadcast back over ``shape``."""
    kept = tuple(1 if i in axes else size for i, size in enumerate(shape))
    return namespace(g).broadcast_to(g.reshape(kept), shape)


@primitive
def _sum(x, axes, keepdims):
    total = namespace(x).sum(x, axis=axes, keepdims=keepdims, dtype=_widened(x))
    return total.astype(x.dtype) if _widened(x) else total


_sum.derivatives(x=lambda g, x_shape, axes: _spread(g, x_shape, axes))


def sum(x, axis=None, keepdims=False):
    """Sum  y = Σ x over ``axis``.   ∂L/∂x = g, broadcast back. 16-bit floats accumulate in float32.

    Shapes: the reduced axes vanish, or stay as 1 with ``keepdims``.
    Raises: ShapeError for an axis that x does not have, or names twice.
    """
    return _sum(x, normalize_axes("sum", x, axis), keepdims)
