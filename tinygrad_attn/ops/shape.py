"""Shape: the same elements, arranged otherwise. Each derivative arranges the gradient back."""

from ..backend import dtypes, namespace
from ..core import primitive

__all__ = ["astype", "broadcast_to", "copy", "reshape"]


@primitive
def copy(x):
    """The same values in memory of their own.   ∂L/∂x = g."""
    return x.copy()


copy.derivatives(x=lambda g: g)


@primitive
def _reshape(x, shape):
    return x.reshape(shape)


_reshape.derivatives(x=lambda g, x_shape: g.reshape(x_shape))


def reshape(x, *shape):
    """The elements in a new shape, one size may be −1.   ∂L/∂x = g, in the old shape."""
    return _reshape(x, tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)


@primitive
def broadcast_to(x, shape):
    """Copies of x along new axes and axes of size 1.   ∂L/∂x = g, which the engine sums over the copies."""
    return namespace(x).broadcast_to(x, shape)


broadcast_to.derivatives(x=lambda g: g)


@primitive
def _astype(x, dtype):
    return x.astype(dtype)


_astype.derivatives(x=lambda g: g)  # the engine casts it back


def astype(x, dtype):
    """The same values in another dtype.   ∂L/∂x = g, cast back."""
    return _astype(x, dtypes.dtype(dtype))
