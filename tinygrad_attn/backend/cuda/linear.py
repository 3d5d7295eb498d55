"""linear: products of matrices in the dtype of their operands, one kernel each way for the rest.

The rest is bias, activation, dropout and residual on the way forward, and on the way back the
gradients of the product and of the bias.
"""

import math

import numpy as np

from .. import backend_of, namespace
from .columns import BLOCKS, counters, sums_like
from .dropout import dropped
from .launch import BLOCK, KEPT, contiguous, of_floats, over_grid, real

__all__ = ["linear"]

ENOUGH = 1024  # blocks, to keep a GPU busy

NAMES = {"relu": "Relu", "gelu": "Gelu", "gelu_tanh": "GeluTanh", "silu": "Silu"}  # in CUDA


@of_floats
def linear(x, weight, bias=None, residual=None, *, activation=None, drop=None, needs):
    """residual + drop(activation(x @ weightᵀ + bias)); the products of 16 bits sum in float32."""
    xp, matmul = namespace(x), backend_of(x).matmul
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    product = contiguous(matmul(rows, weight.T))
    bias, shape, y = contiguous(bias, x.dtype), (*x.shape[:-1], weight.shape[0]), product
    if residual is not None:
        residual = contiguous(xp.broadcast_to(residual, shape), x.dtype)
    if any(part is not None for part in (bias, residual, activation, drop)):
        if activation is not None and any(needs[:3]):
            y = xp.empty(product.shape, dtype=product.dtype)  # the way back asks for the product
        _launch("epilogue", activation, drop, (product, bias, residual, y), product.shape)

    def backward(g):
        flat, gb = g.reshape(y.shape), None
        if needs[2] or (any(needs[:2]) and not activation is drop is None):
            flat, gb = _back(flat, product, bias, activation, drop, needs)
        gx = matmul(flat, weight).reshape(x.shape) if needs[0] else None
        gw = matmul(flat.T, rows) if needs[1] else None
        return gx, gw, gb, g if needs[3] else None

    return y.reshape(shape), backward


def _back(g, product, bias, activation, drop, needs):
    """The gradients of the product, which is g itself where nothing happened to it, and of bias."""
    xp, g, (rows, n) = namespace(g), contiguous(g, product.dtype), g.shape
    is_changed, (grid, _) = not activation is drop is None, _blocks(rows, n)
    gproduct = xp.empty(g.shape, dtype=g.dtype) if is_changed and any(needs[:2]) else None
    across = min(grid[0], BLOCKS, ENOUGH // max(grid[1], 1) + 1)
    sums = sums_like(bias, needs[2], across, real(g.dtype))
    given = (None if activation is None else product, bias, g)
    arrays = (*given, gproduct, *sums, counters(xp, grid[1]))
    _launch("epilogue_backward", activation, drop, arrays, (rows, n), across)
    return g if gproduct is None else gproduct, sums[1]


def _blocks(rows, n):
    """((blocks that share the rows, blocks that share the columns), (threads along, down))."""
    along = 1
    while along < 32 and along * KEPT < n:
        along *= 2
    down = BLOCK // along
    return (-(-rows // down), -(-n // (along * KEPT))), (along, down)


def _launch(name, activation, drop, arrays, shape, across=None):
    """Launch a kernel on matrices of one shape; ``across`` blocks share the rows, if not all do."""
    if 0 in shape:
        return
    (every, tiles), block = _blocks(*shape)
    rule = (1.0, np.uint64(0), np.uint32(0))
    if drop is not None:
        rule = (float(drop.upscale), *dropped(drop.rate, drop.key))
    macros = () if activation is None else (f"-DACTIVATION={NAMES[activation]}",)
    grid, dtype = (across or every, tiles), next(a for a in arrays if a is not None).dtype
    over_grid("linear.cu", name, dtype, grid, block, arrays, shape[1], (*shape, *rule), macros)
