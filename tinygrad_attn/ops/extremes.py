"""Extremes and questions: which element is largest, whether any is true.

Reductions that choose instead of adding up. Only ``max`` and ``min`` have a derivative: the chosen
element gets the gradient, and several that tie share it in equal parts.
"""

from ..backend import dtypes
from ..core import primitive
from ..errors import ShapeError
from .check import as_tensor, kept_shape, normalize_axes, normalize_axis, wide

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "max",
    "min",
]


# ---- extremes ------------------------------------------------------------------------------------


@primitive
def _max(x, axes, keepdims):
    return x.max(axis=axes, keepdims=keepdims)


@primitive
def _min(x, axes, keepdims):
    return x.min(axis=axes, keepdims=keepdims)


def _extreme_x(g, x, y, axes):
    """g in equal parts for all the elements that are the extreme one."""
    kept = kept_shape(x.shape, axes)
    won = wide((x == y.reshape(kept)).astype(g.dtype))  # they are counted
    return g.reshape(kept) * (won / won.sum(axis=axes, keepdims=True))


_max.derivatives(x=_extreme_x)
_min.derivatives(x=_extreme_x)


def axes_with_elements(where, x, axis):
    """``axis`` as a tuple of axes. Raises: ShapeError where no element is there to choose."""
    axes = normalize_axes(where, x, axis)
    if 0 in (x.shape[i] for i in axes):
        raise ShapeError(
            f"{where}: nothing to choose from along axis {axis}; x is {tuple(x.shape)}, "
            "and the reduced axes must not be empty"
        )
    return axes


def max(x, axis=None, keepdims=False):
    """Largest element  y = max x over ``axis``.   The largest gets g; those that tie share it.

    Raises: ShapeError where there is nothing to choose from.
    """
    x = as_tensor(x, where="max")
    return _max(x, axes_with_elements("max", x, axis), keepdims)


def min(x, axis=None, keepdims=False):
    """Smallest element  y = min x over ``axis``.   The smallest gets g; those that tie share it.

    Raises: ShapeError where there is nothing to choose from.
    """
    x = as_tensor(x, where="min")
    return _min(x, axes_with_elements("min", x, axis), keepdims)


amax, amin = max, min


@primitive
def _argmax(x, axis, keepdims):
    return x.argmax(axis=axis, keepdims=keepdims).astype(dtypes.int64)


@primitive
def _argmin(x, axis, keepdims):
    return x.argmin(axis=axis, keepdims=keepdims).astype(dtypes.int64)


def argmax(x, axis=None, keepdims=False):
    """Where the largest element is, the first of equals: along ``axis``, or in x flattened."""
    return _where_extreme("argmax", _argmax, x, axis, keepdims)


def argmin(x, axis=None, keepdims=False):
    """Where the smallest element is, the first of equals: along ``axis``, or in x flattened."""
    return _where_extreme("argmin", _argmin, x, axis, keepdims)


def _where_extreme(where, op, x, axis, keepdims):
    x = as_tensor(x, where=where)
    axis = None if axis is None else normalize_axis(where, axis, x)
    axes_with_elements(where, x, axis)
    return op(x, axis, keepdims)


# ---- questions -----------------------------------------------------------------------------------


@primitive
def _all(x, axes, keepdims):
    return x.all(axis=axes, keepdims=keepdims)


@primitive
def _any(x, axes, keepdims):
    return x.any(axis=axes, keepdims=keepdims)


@primitive
def _count_nonzero(x, axes, keepdims):
    return (x != 0).sum(axis=axes, keepdims=keepdims, dtype=dtypes.int64)


def all(x, axis=None, keepdims=False):
    """Whether every element over ``axis`` is true, that is not 0; of nothing, True."""
    x = as_tensor(x, where="all")
    return _all(x, normalize_axes("all", x, axis), keepdims)


def any(x, axis=None, keepdims=False):
    """Whether some element over ``axis`` is true, that is not 0; of nothing, False."""
    x = as_tensor(x, where="any")
    return _any(x, normalize_axes("any", x, axis), keepdims)


def count_nonzero(x, axis=None, keepdims=False):
    """How many elements over ``axis`` are not 0, as int64."""
    x = as_tensor(x, where="count_nonzero")
    return _count_nonzero(x, normalize_axes("count_nonzero", x, axis), keepdims)
