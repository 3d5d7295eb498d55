"""Selecting: along an axis, by a mask, by class. Each gathers or scatters with the right index."""

from ..backend import dtypes, namespace
from ..core import primitive
from ..errors import DTypeError, ShapeError
from .check import as_tensor, normalize_axis
from .index import add_at, gather, getitem, overwrite
from .join import broadcast_arrays, common_shape
from .position import check_axis, check_range, fitting, index_array, resolve

__all__ = [
    "masked_fill",
    "masked_select",
    "one_hot",
    "put_along_axis",
    "scatter_add",
    "take",
    "take_along_axis",
]


def take(x, indices, axis=None):
    """The elements at ``indices`` along ``axis``.   ∂L/∂x = g, added to what was read.

    Without an axis x is flattened.
    Shapes: the axis gives way to those of ``indices``.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = normalize_axis("take", axis, x)
    return gather(x, *resolve("take", x, (slice(None),) * axis + (indices,)))


def _one_a_line(where, x, indices, axis):
    """The index that pairs each of ``indices`` with its own place on the axes but ``axis``."""
    axis = normalize_axis(where, axis, x)
    indices = index_array(where, indices, x)
    if type(indices) is int or indices.dtype.kind == "b" or indices.ndim != x.ndim:
        given = "()" if type(indices) is int else f"{tuple(indices.shape)} {indices.dtype}"
        raise ShapeError(
            f"{where}: indices are {given}; they must be whole numbers with as many axes as "
            f"x {tuple(x.shape)}"
        )
    check_axis(where, indices, x, axis, "at ")
    xp = namespace(indices)
    parts = [
        xp.arange(n).reshape([-1 if i == j else 1 for j in range(x.ndim)])
        for i, n in enumerate(x.shape)
    ]
    parts[axis] = indices
    common_shape(
        f"{where}: x {tuple(x.shape)} and indices {indices.shape}", *(part.shape for part in parts)
    )
    return tuple(parts)


def take_along_axis(x, indices, axis=-1):
    """On every line along ``axis`` the elements at its own ``indices``.   ∂L/∂x = g, added there.

    Shapes: x and indices have as many axes, equal in size (or 1) but for ``axis``; the result as
    indices.

    Example:
        >>> import tinygrad_attn as ta
        >>> ta.take_along_axis(ta.tensor([[1, 2], [3, 4]]), ta.tensor([[1], [0]]), axis=1)
        tensor([[2],
                [3]])
    """
    x = as_tensor(x)
    return gather(x, _one_a_line("take_along_axis", x, indices, axis), False)


def put_along_axis(x, indices, values, axis=-1):
    """x with ``values`` at the ``indices`` of every line along ``axis``, as a new tensor.

    ∂L/∂x = g, 0 where written; ∂L/∂values = g where written. NumPy's function of this name writes
    into x.
    Shapes: as ``take_along_axis``, values as the indices or broadcast to them.
    """
    x = as_tensor(x)
    index = _one_a_line("put_along_axis", x, indices, axis)
    return overwrite(x, index, fitting("put_along_axis", x, values), False)


def scatter_add(x, indices, values, axis=-1):
    """x with ``values`` added at the ``indices`` of every line along ``axis``, as a new tensor.

    ∂L/∂x = g, ∂L/∂values = g where added. Repeated indices add up.
    Shapes: as ``take_along_axis``, values as the indices or broadcast to them.
    """
    x = as_tensor(x)
    index = _one_a_line("scatter_add", x, indices, axis)
    return add_at(x, index, fitting("scatter_add", x, values), False)


# ---- masks and classes ---------------------------------------------------------------------------


def _mask(where, mask, x):
    mask = as_tensor(mask, x)
    if mask.dtype != dtypes.bool_:
        raise DTypeError(f"{where}: mask is {mask.dtype}; a mask is boolean")
    return mask


def masked_fill(x, mask, value):
    """x with ``value`` where the mask is True.   ∂L/∂x = g where False, else 0; ∂L/∂value the rest.

    Raises: DTypeError for a mask that is not boolean, ShapeError for one that does not broadcast to
    x.
    """
    x, mask = as_tensor(x), _mask("masked_fill", mask, x)
    if common_shape("masked_fill", x.shape, mask.shape) != tuple(x.shape):
        raise ShapeError(
            f"masked_fill: mask is {tuple(mask.shape)}, x is {tuple(x.shape)}; "
            "the mask must broadcast to x"
        )
    return namespace(x).where(mask, fitting("masked_fill", x, value), x)


def masked_select(x, mask):
    """The elements of x where the mask is True, as one line.   ∂L/∂x = g where selected, else 0.

    x and mask are broadcast together first.
    """
    x, mask = broadcast_arrays(x, _mask("masked_select", mask, x))
    return getitem(x, mask)


@primitive
def _one_hot(ids, num_classes, dtype):
    return (ids[..., None] == namespace(ids).arange(num_classes)).astype(dtype)


def one_hot(ids, num_classes=None, dtype=dtypes.int64):
    """For each id a line of ``num_classes`` numbers, 1 at the id and 0 elsewhere.

    Whole numbers (int64) unless told otherwise. Without ``num_classes`` there are as many as the
    largest id needs.
    Shapes: ids (...) → (..., num_classes).
    Raises: DTypeError for ids that are no integers, IndexRangeError for an id outside
    0..num_classes−1.
    """
    ids = as_tensor(ids)
    if ids.dtype.kind not in "iu":
        raise DTypeError(f"one_hot: ids are {ids.dtype}; they must be whole numbers")
    if num_classes is None:
        num_classes = max(int(ids.data.max()) + 1, 0) if ids.size else 0
    check_range(
        "one_hot",
        ids.data,
        0,
        num_classes,
        "at ",
        f"for {num_classes} classes; it must be in 0..{num_classes - 1}",
    )
    return _one_hot(ids, num_classes, dtypes.dtype(dtype))
