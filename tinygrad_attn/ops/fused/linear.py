"""linear: the affine map that every layer is made of."""

import math

from ...backend import backend_of, namespace
from ...core import fused
from ...errors import ShapeError
from ..check import as_tensor

__all__ = ["linear"]


def linear_spec(x, weight, bias):
    """x @ weightᵀ + bias."""
    y = namespace(x).matmul(x, weight.swapaxes(0, 1))
    return y if bias is None else y + bias


@fused(spec=linear_spec)
def _linear(x, weight, bias=None, *, needs):
    matmul = backend_of(x).matmul
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = matmul(rows, weight.T)
    if bias is not None:
        y += bias
    y_shape = y.shape

    def backward(g):
        xp = namespace(g)
        g = g.reshape(y_shape)
        gx = matmul(g, weight).reshape(x.shape) if needs[0] else None
        gw = matmul(g.T, rows) if needs[1] else None
        gb = matmul(xp.ones(len(g), dtype=g.dtype), g) if needs[2] else None  # sums faster than sum
        return gx, gw, gb

    return y.reshape(*x.shape[:-1], weight.shape[0]), backward


def linear(x, weight, bias=None):
    """Affine map  y = x·weightᵀ + bias.   ∂L/∂x = g·weight,  ∂L/∂weight = gᵀ·x,  ∂L/∂bias = Σ g.

    The weight is stored (out, in), so that each row is what one output looks for.

    Shapes: x (..., in), weight (out, in), bias (out,) or None → (..., out).
    Raises: ShapeError where these sizes do not fit.
    """
    x, weight = as_tensor(x, where="linear"), as_tensor(weight, where="linear")
    bias = None if bias is None else as_tensor(bias, weight, where="linear")
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: {_shapes(x, weight)}; weight must be (out, in) with in = x.shape[-1]"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(
            f"linear: {_shapes(x, weight)}, bias is {bias.shape}; bias must be (weight.shape[0],)"
        )
    return _linear(x, weight, bias)


def _shapes(x, weight):
    return f"x is {x.shape}, weight is {weight.shape}"
