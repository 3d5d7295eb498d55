"""The one visible table that gives Tensor its operators and methods.

Tensor has no arithmetic of its own; every operator and method is an op, put on the class here. To give
Tensor a new method, write the op and add its name to the table.
"""

from ..core import Tensor, backward
from . import elementwise, reduce, shape

__all__ = []

OPERATORS = {  # operator -> op of the tensor and one other operand
    "__add__": elementwise.add,
    "__sub__": elementwise.subtract,
    "__mul__": elementwise.multiply,
    "__truediv__": elementwise.divide,
    "__pow__": elementwise.power,
}

REFLECTED = {  # the same with the tensor on the right: 2 - x
    "__radd__": elementwise.add,
    "__rsub__": elementwise.subtract,
    "__rmul__": elementwise.multiply,
    "__rtruediv__": elementwise.divide,
    "__rpow__": elementwise.power,
}

UNARY = {"__neg__": elementwise.negative, "__abs__": elementwise.absolute}

METHODS = {
    "backward": backward,
    **{name: getattr(elementwise, name) for name in "sqrt square".split()},
    **{name: getattr(reduce, name) for name in "sum".split()},
    **{name: getattr(shape, name) for name in "astype broadcast_to copy reshape".split()},
}


def _operator(op):
    return lambda self, other: op(self, other)


def _reflected(op):
    return lambda self, other: op(other, self)


def _unary(op):
    return lambda self: op(self)


def _method(op):
    def method(self, *args, **options):
        return op(self, *args, **options)

    method.__name__, method.__doc__ = op.__name__, op.__doc__
    return method


for table, binding in ((OPERATORS, _operator), (REFLECTED, _reflected), (UNARY, _unary), (METHODS, _method)):
    for name, op in table.items():
        setattr(Tensor, name, binding(op))
