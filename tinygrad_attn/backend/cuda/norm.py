"""layer_norm and rms_norm: one kernel forward, one backward, and one that sums for the weights."""

import math

from .. import namespace
from .columns import joined
from .launch import contiguous, of_floats, over_rows, real, row_block

__all__ = ["layer_norm", "rms_norm"]

BLOCKS = 256  # of the way back: each leaves one row of sums for the gradients of the weights


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
        parts = [
            xp.empty((blocks, n), dtype=real(dtype)) if wanted else None for wanted in needs[1:]
        ]
        arrays = (x, affine[0], contiguous(g, dtype), *kept, gx, *parts)
        over_rows("norm.cu", f"{name}_backward", arrays, rows, n, most=BLOCKS)
        return gx, *joined(parts, shape, dtype)

    return y, backward
