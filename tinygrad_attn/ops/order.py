"""Order: sorting, the largest few, and looking up in a sorted line.

Where things are has no derivative; what is found there has. So each op that returns values finds
the positions first, and then gathers.
"""

from ..backend import dtypes, namespace
from ..core import primitive
from ..errors import ShapeError
from .check import along, as_tensor, as_tensors, normalize_axis, one_of, whole_number
from .index import gather
from .position import one_a_line

__all__ = ["argsort", "nonzero", "searchsorted", "sort", "topk"]


@primitive
def _argsort(x, axis, descending):
    """Stable: equals stay in their order, so that every library gives the same answer."""
    xp = namespace(x)
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable").astype(dtypes.int64)
    back = xp.argsort(xp.flip(x, axis=axis), axis=axis, kind="stable")  # the last equal first …
    return xp.flip(x.shape[axis] - 1 - back, axis=axis).astype(dtypes.int64)  # … and turned round


def argsort(x, axis=-1, descending=False):
    """The positions that put x in order along ``axis``, as int64.

    Equals keep their order; NaN counts as the largest.
    """
    x = as_tensor(x, where="argsort")
    return _argsort(x, normalize_axis("argsort", axis, x), descending)


def sort(x, axis=-1, descending=False):
    """x in order along ``axis``.   ∂L/∂x = g, taken back to where each value came from.

    Equals keep their order; NaN counts as the largest.
    """
    x = as_tensor(x, where="sort")
    axis = normalize_axis("sort", axis, x)
    return _read(x, _argsort(x, axis, descending), axis)


def topk(x, k, axis=-1, largest=True):
    """The k largest (or smallest) along ``axis``, in order, and where: (values, indices).

    ∂L/∂x = the gradient of the values, taken back to where each came from. Of equals the first are
    chosen.
    Raises: ShapeError unless 0 ≤ k ≤ the size of the axis.
    """
    x = as_tensor(x, where="topk")
    axis = normalize_axis("topk", axis, x)
    k = whole_number("topk", "k", k)
    if not 0 <= k <= x.shape[axis]:
        raise ShapeError(
            f"topk: k is {k}, but axis {axis} of x {tuple(x.shape)} has {x.shape[axis]} elements; "
            f"k must be in 0..{x.shape[axis]}"
        )
    where = _argsort(x, axis, bool(largest))[along(axis, slice(k))]
    return _read(x, where, axis), where


def _read(x, positions, axis):
    """x at positions of its own, no two the same, on each line along ``axis``."""
    return gather(x, one_a_line(x.shape, axis, positions.data), True)


@primitive
def _searchsorted(line, values, side):
    return namespace(line).searchsorted(line, values, side=side).astype(dtypes.int64)


def searchsorted(line, values, side="left"):
    """Where to insert each of ``values`` into a sorted ``line`` so that it stays sorted, as int64.

    Before its equals with ``side="left"``, after them with "right".
    Shapes: line (n,), values (...) → (...) of numbers in 0..n.
    """
    line, values = as_tensors("searchsorted", line=line, values=values)
    if line.ndim != 1:
        raise ShapeError(
            f"searchsorted: line is {tuple(line.shape)}, values are {tuple(values.shape)}; the "
            "line must have one axis"
        )
    one_of("searchsorted", "side", side, ("left", "right"), ShapeError)
    return _searchsorted(line, values, side)


@primitive
def _nonzero(x, axis):
    return namespace(x).nonzero(x)[axis].astype(dtypes.int64)


def nonzero(x):
    """The positions of all elements that are not 0: one int64 tensor for each axis, as a tuple."""
    x = as_tensor(x, where="nonzero")
    if not x.ndim:
        raise ShapeError("nonzero: x has no axes, it is (), so no positions; use x != 0")
    return tuple([_nonzero(x, axis) for axis in range(x.ndim)])
