"""Tensors from numbers."""

from ..backend import array_from, namespace
from ..core import Tensor

__all__ = ["tensor", "zeros_like"]


def tensor(data, requires_grad=False):
    """A new tensor from numbers, nested lists or an array."""
    return Tensor(array_from(data)).requires_grad_(requires_grad)


def zeros_like(x):
    """Zeros in the shape, dtype and place of x."""
    return Tensor(namespace(x.data).zeros_like(x.data))
