"""Shape: the same elements, arranged otherwise. Each derivative arranges the gradient back."""

import math

from ..backend import dtypes, namespace
from ..core import primitive
from ..errors import ShapeError
from .check import as_shape, as_tensor, normalize_axes, normalize_axis, rounded, whole_number

__all__ = [
    "astype",
    "copy",
    "expand_dims",
    "flatten",
    "flip",
    "matrix_transpose",
    "moveaxis",
    "ravel",
    "reshape",
    "roll",
    "squeeze",
    "swapaxes",
    "transpose",
    "unflatten",
]


# ---- one tensor, the same elements ---------------------------------------------------------------


@primitive
def copy(x):
    """The same values in memory of their own.   ∂L/∂x = g."""
    return x.copy()


copy.derivatives(x=lambda g: g)


@primitive
def _astype(x, dtype):
    return rounded(x, dtype) if dtypes.is_float(dtype) else x.astype(dtype)


_astype.derivatives(x=lambda g: g)  # the engine casts it back


def astype(x, dtype):
    """The same values in another dtype, always a copy.   ∂L/∂x = g, cast back.

    Raises: DTypeError for a dtype that no tensor can have.
    """
    return _astype(x, dtypes.dtype(dtype, "astype"))


@primitive
def _reshape(x, shape):
    try:
        return x.reshape(shape)
    except ValueError as error:
        raise ShapeError(
            f"reshape: x is {tuple(x.shape)}, {x.size} elements, which do not fill {shape}; "
            f"the sizes must multiply to {x.size}"
        ) from error


_reshape.derivatives(x=lambda g, x_shape: g.reshape(x_shape))


def reshape(x, *shape):
    """The elements in a new shape, one size may be −1.   ∂L/∂x = g, in the old shape.

    Raises: ShapeError where the numbers of elements differ.

    Example:
        >>> import tinygrad_attn as ta
        >>> ta.arange(6).reshape(2, -1)
        tensor([[0, 1, 2],
                [3, 4, 5]])
    """
    x = as_tensor(x, where="reshape")
    return _reshape(x, as_shape("reshape", shape, free=True, x=x))


def ravel(x):
    """All elements along one axis.   ∂L/∂x = g, in the old shape."""
    return reshape(x, -1)


def flatten(x, start_axis=0, end_axis=-1):
    """The axes from ``start_axis`` to ``end_axis`` as one.   ∂L/∂x = g, in the old shape."""
    x = as_tensor(x, where="flatten")
    if not x.ndim:
        return ravel(x)
    first = normalize_axis("flatten", start_axis, x)
    last = normalize_axis("flatten", end_axis, x)
    if first > last:
        raise ShapeError(
            f"flatten: start_axis {start_axis} is after end_axis {end_axis}; x is "
            f"{tuple(x.shape)}; the start must not come after the end"
        )
    size = math.prod(x.shape[first : last + 1])
    return _reshape(x, (*x.shape[:first], size, *x.shape[last + 1 :]))


def unflatten(x, axis, sizes):
    """One axis as several of the given ``sizes``, one may be −1.   ∂L/∂x = g, in the old shape."""
    x = as_tensor(x, where="unflatten")
    axis = normalize_axis("unflatten", axis, x)
    sizes = as_shape("unflatten", sizes, free=True, x=x)
    known = math.prod(n for n in sizes if n != -1)
    if -1 in sizes and known and x.shape[axis] % known == 0:
        sizes = tuple(x.shape[axis] // known if n == -1 else n for n in sizes)
    elif -1 in sizes or known != x.shape[axis]:
        raise ShapeError(
            f"unflatten: axis {axis} of x {tuple(x.shape)} does not split into {sizes}; "
            f"their product must be {x.shape[axis]}"
        )
    return _reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def squeeze(x, axis=None):
    """x without its axes of size 1, or without those named.   ∂L/∂x = g, in the old shape.

    Raises: ShapeError for a named axis whose size is not 1.
    """
    x = as_tensor(x, where="squeeze")
    if axis is None:
        axes = [i for i, n in enumerate(x.shape) if n == 1]
    else:
        axes = normalize_axes("squeeze", x, axis)
        if any(x.shape[i] != 1 for i in axes):
            raise ShapeError(
                f"squeeze: axis {axis} is not of size 1; x is {tuple(x.shape)}; "
                "only axes of size 1 can go"
            )
    return _reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def expand_dims(x, axis):
    """x with axes of size 1 at the places ``axis`` of the result.   ∂L/∂x = g, in the old shape."""
    x = as_tensor(x, where="expand_dims")
    places = axis if isinstance(axis, (tuple, list)) else (axis,)
    ndim = x.ndim + len(places)
    places = {normalize_axis("expand_dims", place, x, new=len(places)) for place in places}
    if x.ndim + len(places) != ndim:
        raise ShapeError(
            f"expand_dims: axis {axis} names an axis twice; x is {tuple(x.shape)}; each must be "
            "another"
        )
    sizes = iter(x.shape)
    return _reshape(x, tuple(1 if i in places else next(sizes) for i in range(ndim)))


# ---- axes in another order -----------------------------------------------------------------------


@primitive
def _transpose(x, axes):
    return x.transpose(axes)


_transpose.derivatives(
    x=lambda g, axes: g.transpose(tuple(sorted(range(len(axes)), key=axes.__getitem__)))
)


def transpose(x, *axes):
    """The axes in another order: axis i of the result is ``axes[i]`` of x; by default reversed.

    ∂L/∂x = g, in the old order.
    Raises: ShapeError unless ``axes`` names every axis once.
    """
    x = as_tensor(x, where="transpose")
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = axes[0]
    if not axes:
        return _transpose(x, tuple(range(x.ndim))[::-1])
    order = tuple([normalize_axis("transpose", axis, x) for axis in axes])
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(
            f"transpose: axes are {tuple(axes)}, x is {tuple(x.shape)}; "
            "they must name each axis of x exactly once"
        )
    return _transpose(x, order)


def swapaxes(x, axis1, axis2):
    """Two axes exchanged.   ∂L/∂x = g, exchanged again."""
    x = as_tensor(x, where="swapaxes")
    i, j = normalize_axis("swapaxes", axis1, x), normalize_axis("swapaxes", axis2, x)
    order = list(range(x.ndim))
    order[i], order[j] = j, i
    return _transpose(x, tuple(order))


def matrix_transpose(x):
    """The last two axes exchanged, ``x.mT``.   ∂L/∂x = g, exchanged again."""
    x = as_tensor(x, where="matrix_transpose")
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose: x is {tuple(x.shape)}; it must have two axes at least")
    return swapaxes(x, -1, -2)


def moveaxis(x, source, destination):
    """The axes ``source`` moved to the places ``destination``, the others in their order.

    ∂L/∂x = g, moved back.
    """
    x = as_tensor(x, where="moveaxis")
    sources = normalize_axes("moveaxis", x, source)
    places = normalize_axes("moveaxis", x, destination)
    if len(sources) != len(places):
        raise ShapeError(
            f"moveaxis: source {source} and destination {destination} differ in length; "
            f"give a place for each axis; x is {tuple(x.shape)}"
        )
    order = [i for i in range(x.ndim) if i not in sources]
    for place, axis in sorted(zip(places, sources)):
        order.insert(place, axis)
    return _transpose(x, tuple(order))


@primitive
def _flip(x, axes):
    return namespace(x).flip(x, axis=axes)


_flip.derivatives(x=lambda g, axes: namespace(g).flip(g, axis=axes))


def flip(x, axis=None):
    """The elements in reverse order along ``axis``, or along all.   ∂L/∂x = g, reversed again."""
    x = as_tensor(x, where="flip")
    return _flip(x, normalize_axes("flip", x, axis))


@primitive
def _roll(x, shifts, axes):
    return namespace(x).roll(x, shifts, axes)


_roll.derivatives(x=lambda g, shifts, axes: namespace(g).roll(g, tuple(-s for s in shifts), axes))


def roll(x, shift, axis=None):
    """The elements moved on by ``shift`` along ``axis``, the last ones coming in first.

    Without an axis x is rolled as one line. ∂L/∂x = g, rolled back.
    """
    x = as_tensor(x, where="roll")
    if axis is None:
        return roll(x.reshape(-1), shift, 0).reshape(x.shape)
    axes = normalize_axes("roll", x, axis)
    shifts = shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)
    shifts = tuple([whole_number("roll", "shift", s) for s in shifts])
    if len(shifts) != len(axes):
        raise ShapeError(
            f"roll: shift {shift} and axis {axis} differ in length; give a shift for each axis; "
            f"x is {tuple(x.shape)}"
        )
    return _roll(x, shifts, axes)
