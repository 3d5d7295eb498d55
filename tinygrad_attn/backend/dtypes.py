"""The element types of tensors, and the one rule by which they mix.

    bool < integers < floats:  the higher kind wins and keeps its own width.

So int64 with float32 is float32, as in PyTorch (NumPy would answer float64), and a plain Python
number never widens a tensor. Every array library here shares NumPy's dtype objects.
"""

import numpy as np

from ..errors import DTypeError

__all__ = [
    "bfloat16",
    "bool_",
    "dtype",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_float",
    "is_half",
    "is_scalar",
    "promote",
    "uint8",
]

bool_ = np.dtype("bool")
uint8, int8, int16, int32, int64 = map(np.dtype, ("uint8", "int8", "int16", "int32", "int64"))
float16, float32, float64 = map(np.dtype, ("float16", "float32", "float64"))

_floats = {float16, float32, float64}

try:  # bfloat16 is no part of NumPy; the small package ml_dtypes adds it, and CuPy understands that
    from ml_dtypes import bfloat16 as _bfloat16
except ImportError:
    bfloat16 = None
else:
    bfloat16 = np.dtype(_bfloat16)
    _floats.add(bfloat16)


_differentiable = {*_floats, np.dtype("complex128")}


def is_float(dtype):
    """Whether ``dtype`` can carry a gradient.

    Complex numbers can: no tensor of a user's holds any, but the gradient checker sends some
    through ops, because a tiny imaginary part brings the derivative along
    (``checking/numeric.py``).
    """
    return dtype in _differentiable


def is_half(dtype):
    """Whether ``dtype`` is a 16-bit float, in which sums lose what they add."""
    return dtype in _floats and dtype.itemsize == 2


def is_scalar(value):
    """Whether ``value`` is a plain number, Python's or NumPy's: something with no say in a
    dtype."""
    return isinstance(value, (bool, int, float, np.generic))


def plain(value):
    """The same number as Python's own bool, int or float, which never widens an array."""
    return value.item() if isinstance(value, np.generic) else value


def dtype(value):
    """The dtype that a user means by ``ta.float32``, ``"float32"``, ``float`` or ``np.float32``.

    Python's ``float`` means float32 and ``int`` int64, the types that new tensors have.
    Raises: DTypeError for complex, object, string and other types that tensors cannot have.
    """
    if value is float:
        return float32
    if isinstance(value, str) and value == "bfloat16" and bfloat16 is not None:
        return bfloat16
    try:
        found = np.dtype(value)
    except TypeError:
        found = None
    if found is None or not (found in _floats or found.kind in "biu"):
        raise DTypeError(
            f"dtype {value!r} is none that a tensor can have; "
            "use bool, an integer type, float16, float32 or float64"
        )
    return np.dtype(np.int64) if value is int else found


def promote(first, second):
    """The common dtype of two arrays: of two floats or two integers the wider, else the float."""
    if first == second:
        return first
    if is_float(first) != is_float(second):
        return first if is_float(first) else second
    if {first, second} == {float16, bfloat16}:
        return float32
    if bfloat16 is not None and bfloat16 in (first, second):  # NumPy takes None for float64
        return second if first == bfloat16 else first
    wider = np.promote_types(first, second)
    if is_float(wider) and not is_float(first):  # int64 with uint64 has no integer that holds both
        raise DTypeError(f"no integer type holds both {first} and {second}; cast one with astype")
    return wider
