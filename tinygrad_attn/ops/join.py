"""Copies, joining and taking apart: many elements from one, many tensors in one, one in many.

Where an element was copied its gradient is the sum over the copies; where tensors were joined each
gets back the part of the gradient that it went to.
"""

from collections.abc import Iterable
from itertools import accumulate, pairwise

from ..backend import namespace
from ..core import Tensor, primitive
from ..errors import DTypeError, ShapeError
from .check import along, as_shape, as_tensor, broadcasts_to, normalize_axis, one_of, whole_number
from .shape import expand_dims, flatten

__all__ = [
    "broadcast_arrays",
    "broadcast_to",
    "concatenate",
    "meshgrid",
    "repeat",
    "split",
    "stack",
    "tile",
    "unstack",
]


# ---- copies --------------------------------------------------------------------------------------


@primitive
def _broadcast_to(x, shape):
    return namespace(x).broadcast_to(x, shape)


_broadcast_to.derivatives(x=lambda g: g)  # the engine sums over the copies


def broadcast_to(x, shape):
    """Copies of x along new axes and axes of size 1.   ∂L/∂x = g, summed over the copies.

    No memory is copied: every copy is the same element.
    Raises: ShapeError where ``shape`` would not leave every other size of x as it is.
    """
    x = as_tensor(x, where="broadcast_to")
    shape = as_shape("broadcast_to", shape, x=x)
    if not broadcasts_to(x.shape, shape):
        raise ShapeError(
            f"broadcast_to: x is {tuple(x.shape)}, which does not broadcast to {shape}; "
            "counted from the last axis, sizes must be equal, or 1 in x"
        )
    return _broadcast_to(x, shape)


def broadcast_arrays(*xs):
    """The tensors, each broadcast to the shape that all of them have in common, as a tuple."""
    xs = [as_tensor(x, where="broadcast_arrays") for x in xs]
    shape = common_shape("broadcast_arrays", *(x.shape for x in xs))
    return tuple([broadcast_to(x, shape) for x in xs])


def common_shape(where, *shapes):
    """The shape to which all ``shapes`` broadcast. Raises: ShapeError where there is none."""
    result = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for i in range(-len(shape), 0):
            if result[i] != shape[i] != 1:
                if result[i] != 1:
                    listed = ", ".join(str(tuple(shape)) for shape in shapes)
                    raise ShapeError(
                        f"{where}: shapes do not broadcast: {listed}; counted from the last axis, "
                        "sizes must be equal or 1"
                    )
                result[i] = shape[i]
    return tuple(result)


def meshgrid(*xs, indexing="xy"):
    """For each 1-D tensor, its values over the grid that all of them span, as a tuple.

    With ``indexing="ij"`` tensor i varies along axis i; with "xy" the first two axes are exchanged.
    """
    one_of("meshgrid", "indexing", indexing, ("xy", "ij"), ShapeError)
    xs = [as_tensor(x, where="meshgrid") for x in xs]
    for i, x in enumerate(xs):
        if x.ndim > 1:
            raise ShapeError(f"meshgrid: tensor {i} is {tuple(x.shape)}; each must have one axis")
    places = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        places[:2] = 1, 0
    lines = [
        x.reshape([-1 if i == place else 1 for i in range(len(xs))]) for x, place in zip(xs, places)
    ]
    return broadcast_arrays(*lines)


def tile(x, reps):
    """x beside itself, ``reps[i]`` times along axis i.   ∂L/∂x = g, summed over the tiles."""
    x = as_tensor(x, where="tile")
    reps = as_shape("tile", reps, x=x)
    ndim = max(x.ndim, len(reps))
    shape = (1,) * (ndim - x.ndim) + tuple(x.shape)
    reps = (1,) * (ndim - len(reps)) + reps
    apart = [size for n in shape for size in (1, n)]  # (n, m) as (1, n, 1, m)
    tiled = [size for rep, n in zip(reps, shape) for size in (rep, n)]
    return broadcast_to(x.reshape(apart), tiled).reshape([r * n for r, n in zip(reps, shape)])


def repeat(x, repeats, axis=None):
    """Every element ``repeats`` times along ``axis``.   ∂L/∂x = g, summed over the copies.

    ``repeats`` is one number, or one for each element along the axis. Without an axis x is
    flattened.
    Raises: ShapeError for a negative number, or not one for each element.
    """
    x = as_tensor(x, where="repeat")
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = normalize_axis("repeat", axis, x)
    counts = as_tensor(repeats, where="repeat")
    if counts.size and counts.dtype.kind not in "iu":
        raise DTypeError(f"repeat: repeats is {counts.dtype}; it must be whole numbers")
    if counts.shape not in ((), (1,), (x.shape[axis],)):
        raise ShapeError(
            f"repeat: repeats is {tuple(counts.shape)}; it must be one number, or one for each of "
            f"the {x.shape[axis]} elements along axis {axis} of x {tuple(x.shape)}"
        )
    counts = counts.reshape(-1).tolist()
    if any(count < 0 for count in counts):
        raise ShapeError(
            f"repeat: repeats is {counts}, x is {tuple(x.shape)}; no number may be negative"
        )
    if len(counts) != x.shape[axis] or len(counts) == 1:
        shape = [*x.shape[: axis + 1], counts[0], *x.shape[axis + 1 :]]
        return flatten(broadcast_to(expand_dims(x, axis + 1), shape), axis, axis + 1)
    which = [i for i, count in enumerate(counts) for _ in range(count)]
    return x[along(axis, which)]


# ---- joining and taking apart --------------------------------------------------------------------


@primitive
def _concatenate(*xs, axis=0):
    return namespace(xs[0]).concatenate(xs, axis=axis)


def _concatenate_x(g, i, xs_shape, axis):
    """The part of g that xᵢ went to."""
    *_, start, stop = accumulate([shape[axis] for shape in xs_shape[: i + 1]], initial=0)
    return g[along(axis, slice(start, stop))]


_concatenate.derivatives(xs=_concatenate_x)


def concatenate(xs, axis=0):
    """The tensors one after another along an axis that they have; None flattens them first.

    ∂L/∂xᵢ = the part of g that xᵢ went to.
    Raises: ShapeError for no tensors, or for sizes that differ on another axis.
    """
    xs = _tensors("concatenate", xs)
    if axis is None:
        xs, axis = [x.reshape(-1) for x in xs], 0
    axis = normalize_axis("concatenate", axis, xs[0])
    for i, x in enumerate(xs):
        if x.ndim != xs[0].ndim or _without(x.shape, axis) != _without(xs[0].shape, axis):
            raise ShapeError(
                f"concatenate: tensor 0 is {tuple(xs[0].shape)}, tensor {i} is {tuple(x.shape)}; "
                f"the sizes must be equal on every axis but {axis}"
            )
    return _concatenate(*xs, axis=axis)


@primitive
def _stack(*xs, axis=0):
    return namespace(xs[0]).stack(xs, axis=axis)


_stack.derivatives(xs=lambda g, i, axis: g[along(axis, i)])


def stack(xs, axis=0):
    """The tensors one after another along a new axis.   ∂L/∂xᵢ = g at i along that axis.

    Raises: ShapeError for no tensors, or for shapes that differ.
    """
    xs = _tensors("stack", xs)
    axis = normalize_axis("stack", axis, xs[0], new=1)
    for i, x in enumerate(xs):
        if x.shape != xs[0].shape:
            raise ShapeError(
                f"stack: tensor 0 is {tuple(xs[0].shape)}, tensor {i} is {tuple(x.shape)}; "
                "the shapes must be equal"
            )
    return _stack(*xs, axis=axis)


def _tensors(where, xs):
    if not isinstance(xs, (Tensor, Iterable)) or isinstance(xs, str):
        raise DTypeError(f"{where}: xs is {xs!r:.60}; it must be a sequence of tensors")
    xs = [as_tensor(x, where=where) for x in xs]
    if not xs:
        raise ShapeError(f"{where}: the sequence of tensors is empty; give one at least")
    return xs


def _without(shape, axis):
    return (*shape[:axis], *shape[axis + 1 :])


def split(x, parts, axis=0):
    """x cut along ``axis``: into that many equal ``parts``, or at each of these places; a tuple.

    ∂L/∂x = the gradients of the parts, side by side.

    Raises: ShapeError where the parts would not be equal.
    """
    x = as_tensor(x, where="split")
    axis = normalize_axis("split", axis, x)
    size = x.shape[axis]
    if isinstance(parts, (tuple, list)):
        places = [whole_number("split", "a place", place) for place in parts]
    else:
        count = whole_number("split", "parts", parts)
        if count < 1 or size % count:
            raise ShapeError(
                f"split: axis {axis} of x {tuple(x.shape)} does not divide into {count} equal "
                "parts; give a number that divides its size, or a list of places to cut at"
            )
        places = range(size // count, size, size // count) if size else [0] * (count - 1)
    edges = [0, *places, size]
    return tuple([x[along(axis, slice(i, j))] for i, j in pairwise(edges)])


def unstack(x, axis=0):
    """The slices of x along ``axis``, which vanishes, as a tuple."""
    x = as_tensor(x, where="unstack")
    axis = normalize_axis("unstack", axis, x)
    return tuple([x[along(axis, i)] for i in range(x.shape[axis])])
