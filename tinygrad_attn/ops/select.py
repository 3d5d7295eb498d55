"""Selecting: along an axis, by a mask, by class. Each gathers or scatters with the right index."""

from ..backend import dtypes, namespace
from ..core import primitive
from ..errors import DTypeError, ShapeError
from .check import along, as_tensor, broadcasts_to, normalize_axis, whole_number
from .index import add_at, gather, getitem, overwrite
from .join import broadcast_to, common_shape
from .position import check_axis, check_range, fitting, index_array, one_a_line, resolve

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
    x = as_tensor(x, where="take")
    if axis is None:
        x, axis = x.reshape(-1), 0
    axis = normalize_axis("take", axis, x)
    indices = index_array("take", indices, x)
    if type(indices) is not int and indices.dtype.kind == "b":
        raise DTypeError(
            "take: indices are bool; they must be whole numbers: for a mask use x[mask]"
        )
    return gather(x, *resolve("take", x, along(axis, indices)))


def _index_along(where, x, indices, axis):
    """The index of each of ``indices`` on its own line along ``axis``, checked."""
    axis = normalize_axis(where, axis, x)
    indices = index_array(where, indices, x)
    if type(indices) is int or indices.dtype.kind == "b" or indices.ndim != x.ndim:
        given = "()" if type(indices) is int else f"{tuple(indices.shape)} {indices.dtype}"
        raise ShapeError(
            f"{where}: indices are {given}; they must be whole numbers with as many axes as "
            f"x {tuple(x.shape)}"
        )
    check_axis(where, indices, x, axis, "at ")
    parts = one_a_line(x.shape, axis, indices)
    common_shape(
        f"{where}: x {tuple(x.shape)} and indices {indices.shape}", *(part.shape for part in parts)
    )
    return parts


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
    x = as_tensor(x, where="take_along_axis")
    return gather(x, _index_along("take_along_axis", x, indices, axis), False)


def put_along_axis(x, indices, values, axis=-1):
    """x with ``values`` at the ``indices`` of every line along ``axis``, as a new tensor.

    ∂L/∂x = g, 0 where written; ∂L/∂values = g where written. NumPy's function of this name writes
    into x.
    Shapes: as ``take_along_axis``, values as the indices or broadcast to them.
    """
    x = as_tensor(x, where="put_along_axis")
    index = _index_along("put_along_axis", x, indices, axis)
    values = fitting("put_along_axis", x, values)
    return overwrite(x, index, values, False, "put_along_axis")


def scatter_add(x, indices, values, axis=-1):
    """x with ``values`` added at the ``indices`` of every line along ``axis``, as a new tensor.

    ∂L/∂x = g, ∂L/∂values = g where added. Repeated indices add up.
    Shapes: as ``take_along_axis``, values as the indices or broadcast to them.
    """
    x = as_tensor(x, where="scatter_add")
    index = _index_along("scatter_add", x, indices, axis)
    return add_at(x, index, fitting("scatter_add", x, values), False, "scatter_add")


# ---- masks and classes ---------------------------------------------------------------------------


def _mask(where, mask, x):
    mask = as_tensor(mask, x, where=where)
    if mask.dtype != dtypes.bool_:
        raise DTypeError(
            f"{where}: mask is {mask.dtype}; a mask is boolean, such as x > 0 or mask != 0"
        )
    return mask


def masked_fill(x, mask, value):
    """x with ``value`` where the mask is True.   ∂L/∂x = g where False, else 0; ∂L/∂value the rest.

    Raises: DTypeError for a mask that is not boolean, ShapeError for one that does not broadcast to
    x.
    """
    x, mask = as_tensor(x, where="masked_fill"), _mask("masked_fill", mask, x)
    value = fitting("masked_fill", x, value)
    for name, shape in (("mask", mask.shape), ("value", getattr(value, "shape", ()))):
        if not broadcasts_to(shape, x.shape):
            raise ShapeError(
                f"masked_fill: {name} is {tuple(shape)}, x is {tuple(x.shape)}; "
                f"the {name} must broadcast to x"
            )
    return namespace(x).where(mask, value, x)


def masked_select(x, mask):
    """The elements of x where the mask is True, as one line.   ∂L/∂x = g where selected, else 0.

    x and mask are broadcast together first.
    """
    x = as_tensor(x, where="masked_select")
    mask = _mask("masked_select", mask, x)
    shape = common_shape("masked_select", x.shape, mask.shape)
    return getitem(broadcast_to(x, shape), broadcast_to(mask, shape))


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
    ids = as_tensor(ids, where="one_hot")
    if ids.dtype.kind not in "iu":
        raise DTypeError(f"one_hot: ids are {ids.dtype}; they must be whole numbers")
    if num_classes is None:
        num_classes = max(int(ids.data.max()) + 1, 1) if ids.size else 0
    elif whole_number("one_hot", "num_classes", num_classes) < 0:
        raise ShapeError(f"one_hot: num_classes is {num_classes}; it must not be negative")
    check_range(
        "one_hot",
        ids.data,
        0,
        num_classes,
        "at ",
        f"for {num_classes} classes; "
        + (f"it must be in 0..{num_classes - 1}" if num_classes else "there are none"),
    )
    return _one_hot(ids, num_classes, dtypes.dtype(dtype, "one_hot"))
