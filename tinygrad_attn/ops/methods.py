"""The one visible table that gives Tensor its operators and methods.

Tensor has no arithmetic of its own; every operator and method is an op, put on the class here. To
give Tensor a new method, write the op and add its name to the table.
"""

from inspect import isfunction

from ..backend import dtypes, is_array
from ..core import Tensor, backward
from . import (
    activations,
    choice,
    compare,
    create,
    cumulative,
    diagonals,
    elementwise,
    extremes,
    functions,
    index,
    join,
    linalg,
    order,
    reduce,
    rounding,
    select,
    shape,
)

__all__ = []

OPERATORS = {  # operator -> op of the tensor and one other operand
    "__add__": elementwise.add,
    "__sub__": elementwise.subtract,
    "__mul__": elementwise.multiply,
    "__truediv__": elementwise.divide,
    "__matmul__": linalg.matmul,
    "__floordiv__": rounding.floor_divide,
    "__mod__": rounding.remainder,
    "__pow__": elementwise.power,
    "__and__": compare.bitwise_and,
    "__or__": compare.bitwise_or,
    "__xor__": compare.bitwise_xor,
    "__lt__": compare.less,
    "__le__": compare.less_equal,
    "__gt__": compare.greater,
    "__ge__": compare.greater_equal,
}

EQUALITY = {"__eq__": compare.equal, "__ne__": compare.not_equal}

REFLECTED = {  # the same with the tensor on the right: 2 - x
    "__radd__": elementwise.add,
    "__rsub__": elementwise.subtract,
    "__rmul__": elementwise.multiply,
    "__rtruediv__": elementwise.divide,
    "__rmatmul__": linalg.matmul,
    "__rfloordiv__": rounding.floor_divide,
    "__rmod__": rounding.remainder,
    "__rpow__": elementwise.power,
    "__rand__": compare.bitwise_and,
    "__ror__": compare.bitwise_or,
    "__rxor__": compare.bitwise_xor,
}

UNARY = {
    "__neg__": elementwise.negative,
    "__pos__": elementwise.positive,
    "__abs__": elementwise.absolute,
    "__invert__": compare.invert,
}

PAGES = {  # page of ops -> those of it that are methods too
    activations: "relu sigmoid",
    choice: "clip maximum minimum",
    compare: "isfinite isinf isnan",
    create: "cpu cuda to",
    cumulative: "cumprod cumsum logcumsumexp",
    diagonals: "diagonal trace tril triu",
    elementwise: "abs reciprocal rsqrt sign sqrt square",
    extremes: "all any argmax argmin max min",
    functions: "cos erf exp log log1p sin tanh",
    index: "index_add index_put",
    join: "broadcast_to repeat split tile unstack",
    linalg: "dot matmul",
    order: "argsort nonzero sort topk",
    reduce: "logsumexp mean norm prod std sum var",
    rounding: "ceil floor round trunc",
    select: "masked_fill take",
    shape: "astype copy expand_dims flatten flip moveaxis ravel reshape roll squeeze swapaxes "
    "transpose unflatten",
}

METHODS = {
    "backward": backward,
    "__getitem__": index.getitem,
    "__setitem__": index.setitem,
    "__round__": rounding.round,
    **{name: getattr(page, name) for page, names in PAGES.items() for name in names.split()},
}

PROPERTIES = {"T": shape.transpose, "mT": shape.matrix_transpose}


def _operator(op):
    return lambda self, other: op(self, other)


def _equality(op):
    def compare(self, other):
        known = (
            isinstance(other, (Tensor, list, tuple)) or is_array(other) or dtypes.is_scalar(other)
        )
        return op(self, other) if known else NotImplemented  # as None: Python compares identities

    return compare


def _reflected(op):
    return lambda self, other: op(other, self)


def _unary(op):
    return lambda self: op(self)


def _method(op):
    if isfunction(op):  # Python makes a method of that by itself
        return op

    def method(self, *args, **options):
        return op(self, *args, **options)

    method.__name__, method.__doc__ = op.__name__, op.__doc__
    return method


BINDINGS = (
    (OPERATORS, _operator),
    (EQUALITY, _equality),
    (REFLECTED, _reflected),
    (UNARY, _unary),
    (METHODS, _method),
    (PROPERTIES, property),
)
for table, binding in BINDINGS:
    for name, op in table.items():
        setattr(Tensor, name, binding(op))
