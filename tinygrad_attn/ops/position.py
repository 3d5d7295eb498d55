"""Positions: whatever indexes a tensor, brought to one form and checked.

NumPy raises for a position that is out of range, an array library for GPUs wraps it round silently,
and then a model learns from the wrong row. So every index is looked through here, on every device.
"""

from ..backend import (
    array_from,
    backend_of,
    dtypes,
    get_backend,
    in_one_place,
    is_array,
    namespace,
    on_device_of,
)
from ..core import Tensor
from ..errors import DeviceError, DTypeError, IndexRangeError, ShapeError
from .check import as_tensor
from .join import common_shape

__all__ = [
    "bad_slice",
    "check_axis",
    "check_range",
    "fitting",
    "index_array",
    "one_a_line",
    "resolve",
]


def resolve(where, x, index):
    """Any ``index`` as (a tuple of raw parts, whether no element is named twice).

    Raises: IndexRangeError for a position that is not there, too many parts, or a mask of another
    shape; DTypeError for a part that is no index; DeviceError for one on another device.
    """
    parts = index if isinstance(index, tuple) else (index,)
    shape = x.shape
    for axis, part in enumerate(parts):  # the usual case at a glance: a number or slice for an axis
        if axis == len(shape) or not (
            type(part) is slice or (type(part) is int and -shape[axis] <= part < shape[axis])
        ):
            with on_device_of(x.data):
                return _look_through(where, x, parts)
    return parts, True


def _look_through(where, x, parts):
    """What ``resolve`` does, for every form of index and with every check."""
    parts = [p if type(p) in _BASIC else index_array(where, p, x) for p in parts]
    taken = [_axes_taken(part) for part in parts]
    spare = x.ndim - sum(taken)
    ellipses = sum(part is ... for part in parts)
    if spare < 0 or ellipses > 1:
        rule = f"{sum(taken)} axes are indexed" if spare < 0 else "there are two ellipses"
        raise IndexRangeError(f"{where}: {rule}, but x is {tuple(x.shape)}; {_RIGHT_INDEX}")
    axis, distinct = 0, True
    for place, (part, count) in enumerate(zip(parts, taken)):
        if part is ...:
            axis += spare
        elif type(part) is int:
            if not -x.shape[axis] <= part < x.shape[axis]:
                raise _out_of_range(where, part, f"part {place} of the index", _span(x, axis))
        elif is_array(part):
            if part.dtype.kind == "b":
                _check_mask(where, x, axis, part)
            else:
                distinct = False
                check_axis(where, part, x, axis, f"part {place} of the index at ")
        axis += count
    if not distinct and len(parts) > 1:
        lines = [_positions_shape(part) for part in parts if is_array(part)]
        common_shape(f"{where}: x is {tuple(x.shape)}, arrays in the index", *lines)
    return tuple(parts), distinct


def _positions_shape(part):
    """The shape of the positions that an array in an index names; of a mask, one for each True."""
    return (int(part.sum()),) if part.dtype.kind == "b" and part.ndim else part.shape


def bad_slice(where, x, index):
    """What is wrong with the first slice of ``index`` that cannot be one, as an error to raise."""
    for part in index:
        if type(part) is slice and any(
            value is not None and not hasattr(value, "__index__")
            for value in (part.start, part.stop, part.step)
        ):
            rule, kind = f"{part} is not of whole numbers", DTypeError
            break
    else:
        rule, kind = "a slice has a step of 0", ShapeError
    return kind(
        f"{where}: {rule}; x is {tuple(x.shape)}; start, stop and step are whole numbers or "
        "nothing, and the step is not 0"
    )


_BASIC = {int, slice, type(None), type(...), bool}
_RIGHT_INDEX = "give one part at most for each axis, and one ... for all that are not named"


def _axes_taken(part):
    """How many axes of the tensor a part of an index speaks about."""
    if type(part) in (int, slice):
        return 1
    if is_array(part):
        return part.ndim if part.dtype.kind == "b" else 1
    return 0


def index_array(where, part, x):
    """A part of an index as a raw array of whole numbers or booleans, on the device of ``x``.

    A caller's own array is copied, since it might change before the way back. A whole number of
    NumPy's, or of a tensor without axes, becomes an int like any other.
    """
    if isinstance(part, Tensor):
        array = part.data
    elif type(part) is type(x.data):
        with on_device_of(part):
            array = part.copy()
    else:
        array = array_from(part, x.device, where)
        if isinstance(part, (list, tuple)) and not array.size:
            with on_device_of(array):
                array = array.astype(dtypes.int64)
    if array.dtype.kind not in "iub":
        raise DTypeError(
            f"{where}: an index is {array.dtype} of shape {tuple(array.shape)}; it must be whole "
            "numbers or booleans, slices, None or ..."
        )
    if not in_one_place([array, x.data]):
        home = backend_of(array).device_of(array)
        raise DeviceError(
            f'{where}: x is on "{x.device}" but an index is on "{home}"; move one with .to(device)'
        )
    return array if array.ndim or array.dtype.kind == "b" else int(backend_of(array).to_host(array))


def _check_mask(where, x, axis, mask):
    part = tuple(x.shape[axis : axis + mask.ndim])
    if part != tuple(mask.shape):
        raise IndexRangeError(
            f"{where}: a mask is {tuple(mask.shape)}, but the axes that it selects from are {part} "
            f"of x {tuple(x.shape)}; they must be equal"
        )


def one_a_line(shape, axis, positions):
    """The index by which each line along ``axis`` of ``shape`` is read at ``positions`` of its own.

    On every other axis a part of the index counts along: line i is read at what stands in line i.
    """
    xp, ndim = namespace(positions), len(shape)
    parts = [
        xp.arange(n).reshape([-1 if i == j else 1 for j in range(ndim)])
        for i, n in enumerate(shape)
    ]
    parts[axis] = positions
    return tuple(parts)


def check_axis(where, positions, x, axis, spot):
    """Hold positions along an axis of x, negative ones too, to its size."""
    check_range(where, positions, -x.shape[axis], x.shape[axis], spot, _span(x, axis))


def check_range(where, positions, low, end, spot, span):
    """Raise IndexRangeError naming the first position outside low..end−1, if there is one."""
    if not positions.size or backend_of(positions).lies_within(positions, low, end):
        return
    host = backend_of(positions).to_host
    with on_device_of(positions):
        outside = host((positions < low) | (positions >= end))
    if outside.any():
        first = int(outside.reshape(-1).argmax())
        place = tuple(int(i) for i in get_backend("cpu").xp.unravel_index(first, positions.shape))
        raise _out_of_range(where, int(host(positions)[place]), f"{spot}{place}", span)


def _span(x, axis):
    size = x.shape[axis]
    allowed = f"it must be in {-size}..{size - 1}" if size else "the axis is empty"
    return f"for axis {axis} of x {tuple(x.shape)}; {allowed}"


def _out_of_range(where, position, spot, span):
    return IndexRangeError(f"{where}: index {position} ({spot}) is out of range {span}")


# ---- values to write -----------------------------------------------------------------------------

_RANKS = {"b": 0, "i": 1, "u": 1, "f": 2}  # a tensor can hold what ranks no higher than itself
_KINDS = {bool: "b", int: "i", float: "f"}


def _kind(dtype):
    return "f" if dtypes.is_float(dtype) else dtype.kind


def fitting(where, x, values):
    """``values`` as x can hold them: a plain number, or a tensor of x's own dtype."""
    if dtypes.is_scalar(values):
        values = dtypes.plain(values)
        kind, given, narrows = _KINDS[type(values)], type(values).__name__, False
    else:
        values = as_tensor(values, x, where=where)
        kind, given = _kind(values.dtype), values.dtype
        narrows = kind != "f" and values.itemsize > x.itemsize
    if _RANKS[kind] > _RANKS[_kind(x.dtype)] or narrows:
        raise DTypeError(
            f"{where}: x is {x.dtype} and cannot hold {given} values; cast one with astype"
        )
    if not isinstance(values, Tensor):
        return values
    if values.device != x.device:
        raise DeviceError(
            f'{where}: x is on "{x.device}" but values are on "{values.device}"; '
            "move one with .to(device)"
        )
    return values if values.dtype == x.dtype else values.astype(x.dtype)
