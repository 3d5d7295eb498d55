"""Questions with the answer yes or no: comparisons, logic, and what kind of number something is.

Truth has no slope: the results are boolean, and no gradient flows through them. Plain numbers have
no say in a dtype here either: a float32 tensor equals 0.1 where it holds float32's nearest to that.
"""

import functools

from ..backend import (
    array_from,
    backend_of,
    dtypes,
    is_array,
    namespace,
    quiet,
    require_real,
)
from ..core import primitive
from ..errors import DTypeError
from .check import as_tensors
from .numbers import all_whole, operands, shared_namespace

__all__ = [
    "allclose",
    "array_equal",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "equal",
    "greater",
    "greater_equal",
    "invert",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
]


def of_arrays(function):
    """Let a forward take numbers and lists beside arrays, as the engine does for ops with rules."""

    @functools.wraps(function)
    def forward(*arguments):
        home = next((backend_of(a).device_of(a) for a in arguments if is_array(a)), None)
        return function(*[beside(home, a) for a in arguments])

    def beside(home, a):
        if is_array(a):
            require_real(function.__name__, a, a.dtype)
            return a
        if home and dtypes.is_scalar(a):
            return dtypes.plain(a)
        return array_from(a, home, function.__name__)

    return forward


# ---- comparisons ---------------------------------------------------------------------------------


@primitive
@of_arrays
def equal(a, b):
    """Whether a = b. NaN equals nothing, itself included."""
    return a == b


@primitive
@of_arrays
def not_equal(a, b):
    """Whether a ≠ b. NaN differs from everything, itself included."""
    return a != b


@primitive
@of_arrays
def less(a, b):
    """Whether a < b."""
    return a < b


@primitive
@of_arrays
def less_equal(a, b):
    """Whether a ≤ b."""
    return a <= b


@primitive
@of_arrays
def greater(a, b):
    """Whether a > b."""
    return a > b


@primitive
@of_arrays
def greater_equal(a, b):
    """Whether a ≥ b."""
    return a >= b


@primitive
@quiet
@of_arrays
def isclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether |a − b| ≤ atol + rtol·|b|, element by element; equal infinities are close.

    It is not symmetric: b is the one to be close to. ``equal_nan`` makes NaN close to NaN.
    """
    return shared_namespace(a, b).isclose(a, b, rtol, atol, equal_nan)


def allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether all elements of a are close to those of b, as ``isclose`` has it; a Python bool."""
    return bool(isclose(a, b, rtol, atol, equal_nan).data.all())


def array_equal(a, b):
    """Whether a and b have the same shape and equal elements; a Python bool."""
    a, b = as_tensors("array_equal", a=a, b=b)
    return a.shape == b.shape and bool(equal(a, b).data.all())


# ---- kinds of number -----------------------------------------------------------------------------


@primitive
@of_arrays
def isnan(x):
    """Whether x is NaN, not a number."""
    return namespace(x).isnan(x)


@primitive
@of_arrays
def isinf(x):
    """Whether x is ∞ or −∞."""
    return namespace(x).isinf(x)


@primitive
@of_arrays
def isfinite(x):
    """Whether x is an ordinary number, neither infinite nor NaN."""
    return namespace(x).isfinite(x)


# ---- logic ---------------------------------------------------------------------------------------


@primitive
@of_arrays
def logical_and(a, b):
    """Whether both hold. A number holds unless it is 0."""
    return shared_namespace(a, b).logical_and(a, b)


@primitive
@of_arrays
def logical_or(a, b):
    """Whether at least one holds. A number holds unless it is 0."""
    return shared_namespace(a, b).logical_or(a, b)


@primitive
@of_arrays
def logical_xor(a, b):
    """Whether exactly one holds. A number holds unless it is 0."""
    return shared_namespace(a, b).logical_xor(a, b)


@primitive
@of_arrays
def logical_not(x):
    """Whether x does not hold. A number holds unless it is 0."""
    return namespace(x).logical_not(x)


@primitive
@of_arrays
def bitwise_and(a, b):
    """``a & b``, bit by bit: of booleans, whether both hold."""
    _refuse_floats("bitwise_and", a=a, b=b)
    return a & b


@primitive
@of_arrays
def bitwise_or(a, b):
    """``a | b``, bit by bit: of booleans, whether at least one holds."""
    _refuse_floats("bitwise_or", a=a, b=b)
    return a | b


@primitive
@of_arrays
def bitwise_xor(a, b):
    """``a ^ b``, bit by bit: of booleans, whether exactly one holds."""
    _refuse_floats("bitwise_xor", a=a, b=b)
    return a ^ b


@primitive
@of_arrays
def invert(x):
    """``~x``, bit by bit: of booleans, whether x does not hold."""
    _refuse_floats("invert", x=x)
    return ~x


def _refuse_floats(where, **arguments):
    if not all_whole(*arguments.values()):
        raise DTypeError(
            f"{where}: floats have no bits to combine; {operands(**arguments)}; "
            "use booleans such as x > 0, or whole numbers"
        )
