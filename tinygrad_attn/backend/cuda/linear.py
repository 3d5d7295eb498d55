"""linear: products of matrices in the dtype of their operands, and a sum of rows for the bias."""

import math

from .. import backend_of
from .columns import column_sums
from .launch import contiguous, of_floats, over_rows

__all__ = ["linear"]


@of_floats
def linear(x, weight, bias=None, *, needs):
    """x @ weightᵀ + bias. 16-bit floats stay what they are: the products sum in float32."""
    matmul = backend_of(x).matmul
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = contiguous(matmul(rows, weight.T))
    if bias is not None:
        over_rows("columns.cu", "add_bias", (y, contiguous(bias)), *y.shape)

    def backward(g):
        g = g.reshape(y.shape)
        gx = matmul(g, weight).reshape(x.shape) if needs[0] else None
        gw = matmul(g.T, rows) if needs[1] else None
        gb = column_sums(contiguous(g)) if needs[2] else None
        return gx, gw, gb

    return y.reshape(*x.shape[:-1], weight.shape[0]), backward
