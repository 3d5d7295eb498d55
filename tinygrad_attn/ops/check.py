"""What ops share: bring an argument to its one form, or say what is wrong with it."""

import functools
import math

from ..backend import array_from, dtypes, in_one_place, is_array, quiet
from ..core import Tensor
from ..core.autocast import RULES
from ..core.graph import mode
from ..errors import DeviceError, DTypeError, ShapeError

__all__ = [
    "along",
    "apply",
    "as_float",
    "as_shape",
    "as_tensor",
    "as_tensors",
    "broadcasts_to",
    "count_along",
    "kept_shape",
    "left_shape",
    "narrow",
    "normalize_axes",
    "normalize_axis",
    "number",
    "one_of",
    "probability",
    "rounded",
    "sum_dtype",
    "whole_number",
    "wide",
]


def apply(op, x, *args):
    """``op(x, *args)`` inside a derivative rule: recorded for a Tensor, bare for a raw array.

    For ops that are ours alone, or do more than those of array libraries; any other a rule calls by
    ``namespace(g)``.
    """
    return op(x, *args) if isinstance(x, Tensor) else op.forward(x, *args)


def as_tensor(x, *beside, where="tensor"):
    """``x`` as a Tensor, itself if it is one; numbers and lists on the device of ``beside``.

    An array is copied, wherever it is.

    Raises: DTypeError for what holds no numbers, ShapeError for ragged lists, in the name of the op
    that asks, ``where``.
    """
    if isinstance(x, Tensor):
        return x
    homes = (other.device for other in beside if isinstance(other, Tensor) and not is_array(x))
    return Tensor(array_from(x, next(homes, None), where))


def as_tensors(where, **operands):
    """The operands of an op as Tensors, numbers and lists on the device of those that are Tensors.

    Under ``autocast`` floats get the dtype in which the op is to compute.
    Raises: as ``as_tensor``; DeviceError where they are in two places.
    """
    tensors = {name: x for name, x in operands.items() if isinstance(x, Tensor)}
    if in_one_place([x.data for x in tensors.values()]):
        if len(tensors) == len(operands):
            return _precise(where, list(operands.values()))
    else:
        places = ", ".join(f'{name} is on "{x.device}"' for name, x in tensors.items())
        raise DeviceError(
            f"{where}: {places}; nothing moves by itself: bring them together with .to(device)"
        )
    return _precise(
        where, [as_tensor(x, *tensors.values(), where=where) for x in operands.values()]
    )


def as_float(x, where="tensor"):
    """``x`` as a Tensor of floats: whole numbers and booleans become float32."""
    x = as_tensor(x, where=where)
    x = x if dtypes.is_float(x.dtype) else x.astype(dtypes.float32)
    return _precise(where, [x])[0]


def _precise(where, tensors):
    """The tensors in the dtype in which ``autocast``, if it is on, has the op ``where`` compute.

    Ops that are composed of others pass here; of all others the engine takes care (``core/op.py``).
    """
    casting = mode.get().casting
    if casting is None or where not in RULES:
        return tensors
    floats = [x.dtype for x in tensors if dtypes.is_float(x.dtype)]
    if not floats:
        return tensors
    dtype = casting.by_rule(RULES[where], functools.reduce(dtypes.promote, floats))
    return [x if x.dtype == dtype or x.dtype not in floats else x.astype(dtype) for x in tensors]


def whole_number(where, name, value):
    """``value`` as a Python int. Raises: DTypeError for what is none: 2.0, True."""
    if not isinstance(value, bool):
        try:
            return value.__index__()
        except (AttributeError, TypeError):
            pass
    raise DTypeError(f"{where}: {name} is {value!r}; it must be a whole number")


def number(where, name, value):
    """``value`` as a plain number of Python's. Raises: DTypeError for what is none."""
    if dtypes.is_scalar(value):
        return dtypes.plain(value)
    raise DTypeError(f"{where}: {name} is {value!r:.60}; it must be a number")


def probability(where, name, value):
    """``value`` as a number in 0..1. Raises: DTypeError for no number, ShapeError outside."""
    if 0 <= number(where, name, value) <= 1:
        return value
    raise ShapeError(f"{where}: {name} is {value}; a probability must be in 0..1")


def one_of(where, name, value, choices, error=DTypeError):
    """``value``, which must be one of these strings. Raises: ``error`` where it is not."""
    if isinstance(value, str) and value in choices:
        return value
    *most, last = [f'"{choice}"' for choice in choices]
    raise error(f"{where}: {name} is {value!r:.60}; it must be {', '.join(most)} or {last}")


_MOST = 2**60  # elements: their bytes are still counted in 64 bits
_AXES = 64  # of an array of NumPy's


def as_shape(where, shape, free=False, x=None):
    """A tuple of sizes from ``(2, 3)``, ``((2, 3),)`` or ``5``; one may be −1 where ``free``.

    Raises: DTypeError for a size that is no whole number, ShapeError for a negative one, beside the
    shape of ``x`` where that is what gets the new one.
    """
    if isinstance(shape, (tuple, list)) and len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = shape[0]
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not {int}.issuperset(map(type, sizes)):
        sizes = tuple([whole_number(where, "a size", n) for n in sizes])
    least, most = (min(sizes), max(sizes)) if sizes else (0, 0)
    if least < 0 and not (free and least == -1 and sizes.count(-1) == 1):
        allowed = "sizes are not negative" + (", but for one −1" if free else "")
        beside = "" if x is None else f", x is {tuple(x.shape)}"
        raise ShapeError(f"{where}: shape {sizes} has the size {least}{beside}; {allowed}")
    held = math.prod(sizes) if least else math.prod(filter(None, sizes))  # NumPy leaves 0 out too
    if most >= _MOST or held >= _MOST:
        raise ShapeError(
            f"{where}: shape {sizes} is more than memory can hold; give fewer than 2⁶⁰ elements"
        )
    if len(sizes) > _AXES:
        raise ShapeError(f"{where}: {len(sizes)} sizes; a tensor has at most {_AXES} axes")
    return sizes


def broadcasts_to(shape, whole):
    """Whether ``shape`` broadcasts to ``whole`` without adding to it."""
    pairs = zip(reversed(shape), reversed(whole))
    return len(shape) <= len(whole) and all(size in (1, full) for size, full in pairs)


def normalize_axis(where, axis, x, new=0):
    """One axis of x, or of a result with so many ``new`` ones, as a number in 0..ndim−1.

    Raises: ShapeError for an axis that is not there, DTypeError for what is no whole number.
    """
    ndim = x.ndim + new
    if type(axis) is not int:
        axis = whole_number(where, "axis", axis)
    if -ndim <= axis < ndim:
        return axis + ndim if axis < 0 else axis
    have = f"the axes are {-ndim} to {ndim - 1}" if ndim else "there are no axes"
    have += " in the result" if new else ""
    raise ShapeError(f"{where}: axis {axis} is out of range, x is {tuple(x.shape)}; {have}")


def along(axis, part):
    """The index that takes ``part`` along ``axis``, and of all axes before it everything."""
    return (slice(None),) * axis + (part,)


def normalize_axes(where, x, axis):
    """``axis`` as a tuple of distinct numbers in 0..ndim−1; None means all of them."""
    if axis is None:
        return tuple(range(x.ndim))
    if isinstance(axis, (tuple, list)):
        axes = tuple([normalize_axis(where, a, x) for a in axis])
        if len(set(axes)) != len(axes):
            raise ShapeError(
                f"{where}: axis {axis} names an axis twice; x is {tuple(x.shape)}; each must be "
                "another"
            )
        return axes
    return (normalize_axis(where, axis, x),)


# ---- what reductions share -----------------------------------------------------------------------


def wide(x):
    """``x`` as it is to be added up: 16-bit floats, which would lose what they sum, as float32."""
    return x.astype(dtypes.float32) if dtypes.is_half(x.dtype) else x


def sum_dtype(x):
    """The dtype of sums: float32 for 16-bit floats, int64 for integers but the widest."""
    if dtypes.is_half(x.dtype):
        return dtypes.float32
    return (
        dtypes.int64
        if x.dtype.kind in "bi" or (x.dtype.kind == "u" and x.itemsize < 8)
        else x.dtype
    )


def narrow(y, x):
    """Undo ``wide``: the result in the dtype that ``x`` had."""
    return rounded(y, x.dtype) if dtypes.is_half(x.dtype) else y


@quiet
def rounded(x, dtype):
    """``x`` in a float dtype; what is too large for it is infinite, and no cause for a warning."""
    return x.astype(dtype)


def kept_shape(shape, axes):
    """``shape`` with 1 in place of the reduced axes."""
    return tuple(1 if i in axes else size for i, size in enumerate(shape))


def left_shape(shape, axes, keepdims):
    """The shape of a result: without the reduced axes, or with 1 in place of them."""
    return (
        kept_shape(shape, axes)
        if keepdims
        else tuple(n for i, n in enumerate(shape) if i not in axes)
    )


def count_along(shape, axes):
    """How many elements go into each result."""
    return math.prod(shape[i] for i in axes)
