"""linear on the CPU: a product of matrices, and one pass over what it leaves.

The product is one call for all rows. Then a block of rows at a time gets its bias, activation,
dropout and residual while it is in the cache; each as an array of its own would go through memory
again. The slope of the activation, 0 where dropout let nothing through, is kept as a factor f. So
the way back is one pass too, which also sums the gradient of the bias, and two products:

    g' = g∘f·upscale        ∂L/∂x = g'·weight        ∂L/∂weight = g'ᵀ·x        ∂L/∂bias = 1ᵀ·g'
"""

import math

import numpy as np

from ..random import keep_between
from .blocks import (
    BLOCK,
    for_row_blocks,
    product,
    row_blocks,
    stretched,
    sum_all_columns,
    sum_columns,
)
from .gates import ACTIVATIONS
from .threads import share

__all__ = ["linear"]


def linear(x, weight, bias=None, residual=None, *, activation=None, drop=None, needs):
    """residual + drop(activation(x·weightᵀ + bias)); what is None there is left out."""
    is_plain = activation is drop is residual is None
    if not is_plain and x.dtype.kind != "f":
        return NotImplemented
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y, factor = product(rows, weight.T), None
    if not (activation is drop is None) and any(needs[:3]):  # booleans do for a slope of 0 or 1
        make = np.ones if activation is None else np.empty  # which writes its slope there
        factor = make(y.shape, bool if activation in (None, "relu") else y.dtype)
    if not is_plain or (bias is not None and y.size > BLOCK):
        if residual is not None:
            shape = (*x.shape[:-1], len(weight))
            if residual.shape != shape:
                residual = np.broadcast_to(residual, shape)
            residual = residual.reshape(y.shape)
        _finish(y, factor, bias, residual, activation, drop)
    elif bias is not None:
        y += bias
    shape, upscale = y.shape, 1 if drop is None else drop.upscale

    def backward(given):
        g, gb = given.reshape(shape), None
        if factor is not None:
            g, gb = _through(g, factor, upscale)
        elif needs[2]:
            gb = sum_all_columns(g)
        gx = product(g, weight).reshape(x.shape) if needs[0] else None
        gw = product(g.T, rows) if needs[1] else None
        return gx, gw, gb if needs[2] else None, given if needs[3] else None

    return y.reshape(*x.shape[:-1], len(weight)), backward


def _finish(y, factor, bias, residual, activation, drop):
    """Make the product y the result, and fill in the factor of the way back, both in place."""
    width, blocks = y.shape[1], row_blocks(*y.shape)
    biases = stretched(bias, blocks, width)

    def compute(part):
        to, slope = y[part], None if factor is None else factor[part]
        if bias is not None:
            to += biases[: len(to)]
        if activation is not None:
            ACTIVATIONS[activation](to, to, slope)
        if drop is not None:
            ends = part.start * width, part.stop * width
            keep = keep_between(np, *ends, drop.rate, drop.key).reshape(to.shape)
            to *= keep
            to *= drop.upscale
            if slope is not None:
                slope *= keep
        if residual is not None:
            to += residual[part]

    share(compute, blocks)


def _through(g, factor, upscale):
    """(g∘factor·upscale, the sums of its columns)."""
    g, through = np.ascontiguousarray(g), np.empty(g.shape, g.dtype)

    def compute(part):
        to = through[part]
        if factor.dtype == bool:  # on the bits: 0 is exactly 0, whatever g is there
            bits = f"i{g.itemsize}"
            np.multiply(g[part].view(bits), factor[part], out=to.view(bits))
        else:
            np.multiply(g[part], factor[part], out=to)
        if upscale != 1:
            to *= upscale
        return sum_columns(to)

    return through, sum(for_row_blocks(compute, *g.shape), np.zeros(g.shape[1], g.dtype))
