"""The element types of tensors, and the one rule by which they mix.

    bool < integers < floats:  the higher kind wins and keeps its own width.

So int64 with float32 is float32, as in PyTorch (NumPy would answer float64), and a plain Python
number never widens a tensor. Every array library here shares NumPy's dtype objects.
"""

from contextlib import suppress

import numpy as np

from ..errors import DTypeError

__all__ = [
    "beside",
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
    "is_native_float",
    "is_real",
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
    if np.add(np.zeros(1, bfloat16), 1).dtype == bfloat16:
        _floats.add(bfloat16)
    else:  # before NumPy 2.2 a whole number widens it
        bfloat16 = None


_MEANT = {"float": float32, "int": int64, "bfloat16": bfloat16}  # else NumPy's names

_differentiable = {*_floats, np.dtype("complex128")}


def is_float(dtype):
    """Whether ``dtype`` can carry a gradient.

    Complex numbers can: no tensor of a user's holds any, but the gradient checker sends some
    through ops, because a tiny imaginary part brings the derivative along
    (``checking/numeric.py``).
    """
    return dtype in _differentiable


def is_native_float(dtype):
    """Whether a float ``dtype`` is the array library's own, which plain numbers do not widen."""
    return dtype in _differentiable and dtype is not bfloat16


def is_real(dtype):
    """Whether ``dtype`` is one that tensors have: of booleans, whole numbers or floats."""
    return dtype in _floats or dtype.kind in "biu"


def is_half(dtype):
    """Whether ``dtype`` is a 16-bit float, in which sums lose what they add."""
    return dtype.itemsize == 2 and dtype in _floats


def is_scalar(value):
    """Whether ``value`` is a plain number, Python's or NumPy's: something with no say in a
    dtype."""
    return isinstance(value, (bool, int, float, np.generic))


def plain(value):
    """The same number as Python's own bool, int or float, which never widens an array."""
    return value.item() if isinstance(value, np.generic) else value


def beside(value, dtype):
    """A plain number as it leaves arrays of ``dtype`` in that: NumPy adds 0.5 to bfloat16 in
    float32."""
    return dtype.type(value) if dtype is bfloat16 and type(value) is float else value


def dtype(value, where=None):
    """The dtype that a user means by ``ta.float32``, ``"float32"``, ``float`` or ``np.float32``.

    Python's ``float`` means float32 and ``int`` int64, the types that new tensors have; so do their
    names.
    Raises: DTypeError for complex, object, string and other types that tensors cannot have, for
    None, by which NumPy means float64, and for bfloat16 where ml_dtypes is missing.
    """
    if isinstance(value, np.dtype) and is_real(value):
        return value
    here = "" if where is None else f"{where}: "
    name = value.__name__ if isinstance(value, type) else value
    if isinstance(name, str) and name == "bfloat16" and bfloat16 is None:
        raise DTypeError(
            f"{here}bfloat16 needs the package ml_dtypes, and NumPy from 2.2 on; pip install "
            "'tinygrad-attn[bf16]', or use float16"
        )
    found = _MEANT.get(name) if isinstance(name, str) else None
    if found is None and name is not None and not str(name).startswith("a"):  # NumPy's old bytes
        with suppress(TypeError):
            found = np.dtype(name)
    if found is None or not is_real(found):
        raise DTypeError(
            f"{here}dtype {name!r:.60} is none that a tensor can have; "
            "use bool, an integer type, float16, float32 or float64"
        )
    return found


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
