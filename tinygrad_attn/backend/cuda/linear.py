"""linear: products of matrices in the dtype of their operands, and a sum of rows for the bias.

What comes after the product is done by the kernels that there are for it alone.
"""

import math

from .. import backend_of, namespace
from . import pointwise
from .columns import column_sums
from .dropout import dropout
from .launch import contiguous, of_floats, over_rows

__all__ = ["linear"]


@of_floats
def linear(x, weight, bias=None, residual=None, *, activation=None, drop=None, needs):
    """residual + drop(activation(x @ weightᵀ + bias)).

    16-bit floats stay what they are: the products sum in float32.
    """
    matmul = backend_of(x).matmul
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = contiguous(matmul(rows, weight.T))
    if bias is not None:
        over_rows("columns.cu", "add_bias", (y, contiguous(bias)), *y.shape)
    y, ways_back = _finish(y, activation, drop)
    y_shape = y.shape
    y = y.reshape(*x.shape[:-1], weight.shape[0])
    if residual is not None:
        y = y + namespace(y).broadcast_to(residual, y.shape)

    def backward(given):
        g = given.reshape(y_shape)
        for go_back in ways_back if any(needs[:3]) else ():
            (g,) = go_back(g)
        gx = matmul(g, weight).reshape(x.shape) if needs[0] else None
        gw = matmul(g.T, rows) if needs[1] else None
        gb = column_sums(contiguous(g)) if needs[2] else None
        return gx, gw, gb, given if needs[3] else None

    return y, backward


def _finish(y, activation, drop):
    """drop(activation(y)), and the ways back through them, the last first."""
    ways_back = []
    if activation == "relu":
        y = namespace(y).maximum(y, 0)
        is_open = y != 0
        ways_back.append(lambda g: (backend_of(g).keep(g, is_open),))
    elif activation is not None:
        y, go_back = getattr(pointwise, activation)(y)
        ways_back.append(go_back)
    if drop is not None:
        y, go_back = dropout(y, drop=drop)
        ways_back.append(go_back)
    return y, ways_back[::-1]
