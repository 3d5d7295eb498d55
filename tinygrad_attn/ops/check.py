"""Checks that ops share: bring an argument to its one form, or say what is wrong with it."""

from ..backend import array_from
from ..core import Tensor
from ..errors import DTypeError, ShapeError

__all__ = ["as_tensor", "normalize_axes", "normalize_axis"]


def as_tensor(x):
    """``x`` itself if it is a Tensor; numbers, lists and arrays become one."""
    return x if isinstance(x, Tensor) else Tensor(array_from(x))


def normalize_axis(where, axis, ndim):
    """One axis as a number in 0..ndim−1. Raises: ShapeError, DTypeError."""
    try:
        axis = axis.__index__()
    except (AttributeError, TypeError) as error:
        raise DTypeError(f"{where}: axis {axis!r} is not a whole number") from error
    if not -ndim <= axis < ndim:
        have = f"axes {-ndim} to {ndim - 1}" if ndim else "no axes"
        raise ShapeError(f"{where}: axis {axis} is out of range; the tensor has {ndim} dimensions, {have}")
    return axis % ndim


def normalize_axes(where, x, axis):
    """``axis`` as a tuple of distinct numbers in 0..ndim−1; None means all of them."""
    ndim = x.ndim
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(normalize_axis(where, a, ndim) for a in axes)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{where}: axis {axis} names an axis twice; the tensor is {x.shape}")
    return axes
