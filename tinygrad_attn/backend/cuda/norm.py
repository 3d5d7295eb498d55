"""layer_norm and rms_norm: one kernel forward, one backward."""

import math
from itertools import chain

from .. import namespace
from .columns import BLOCKS, counters, sums_like
from .launch import contiguous, of_floats, over_rows, real, row_block

__all__ = ["layer_norm", "rms_norm"]


@of_floats
def layer_norm(x, weight=None, bias=None, *, eps, axes, needs):
    """(x − mean) / √(variance + eps) · weight + bias."""
    return _norm("layer_norm", x, (weight, bias), eps, axes, needs)


@of_floats
def rms_norm(x, weight=None, *, eps, axes, needs):
    """x / √(mean of squares + eps) · weight."""
    return _norm("rms_norm", x, (weight,), eps, axes, needs)


def _norm(name, x, affine, eps, axes, needs):
    """Either norm; ``affine`` are the weight and, where there is one, the bias.

    Of each row its scale is kept, and the mean where there is one.
    """
    xp, dtype = namespace(x), x.dtype
    shape = x.shape[axes[0] :]
    rows, n = math.prod(x.shape[: axes[0]]), math.prod(shape)
    x, affine = contiguous(x), [contiguous(part, dtype) for part in affine]
    y = xp.empty(x.shape, dtype=dtype)
    kept = [xp.empty(rows, dtype=real(dtype)) for _ in affine]
    over_rows("norm.cu", name, (x, *affine, y, *kept), rows, n, float(eps))

    def backward(g):
        gx = xp.empty(x.shape, dtype=dtype) if needs[0] else None
        blocks = min(-(-rows // row_block(n)[1]), BLOCKS)
        sums = [sums_like(part, need, blocks, real(dtype)) for part, need in zip(affine, needs[1:])]
        given = (x, affine[0], contiguous(g, dtype), *kept)
        arrays = (*given, gx, *chain.from_iterable(sums), counters(xp))
        over_rows("norm.cu", f"{name}_backward", arrays, rows, n, most=BLOCKS)
        return gx, *(found for _, found in sums)

    return y, backward
