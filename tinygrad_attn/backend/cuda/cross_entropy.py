"""Cross entropy: one kernel forward, one for the mean, one backward.

There is never a second matrix of probabilities.
"""

import numpy as np

from .. import dtypes, namespace
from .launch import BLOCK, contiguous, kernel, of_floats, over_rows, real, scalars

__all__ = ["surprise"]


@of_floats
def surprise(logits, target, share=None, *, smoothing, ignore_index, reduction):
    """(N, V) logits and N targets to N losses, or one; ``share`` weighs classes."""
    xp, dtype, wide = namespace(logits), logits.dtype, real(logits.dtype)
    rows, n = logits.shape
    logits, share = contiguous(logits), contiguous(share, dtype)
    target = contiguous(target, dtypes.int64)
    share_sum = xp.sum(share, dtype=wide) if smoothing and share is not None else None
    losses, weights, *kept = (xp.empty(rows, dtype=wide) for _ in range(4))
    given, numbers = (logits, target, share, share_sum), (smoothing, ignore_index)
    arrays = (*given, losses, weights, *kept)
    over_rows("cross_entropy.cu", "cross_entropy", arrays, rows, n, *numbers)
    y, total = losses.astype(dtype, copy=False), None
    if reduction != "none":
        y = xp.empty((), dtype=dtype)
        total = xp.empty((), dtype=wide) if reduction == "mean" else None
        reduce = kernel(xp, "cross_entropy.cu", "reduce", dtype)
        divisor = np.uintp(0) if total is None else total
        reduce((1,), (BLOCK,), (losses, weights, y, divisor, *scalars(dtype, (rows,))))

    def backward(g):
        gx = xp.empty(logits.shape, dtype=dtype)
        arrays = (*given, weights, *kept, contiguous(g, dtype), total, gx)
        step = int(reduction == "none")
        over_rows("cross_entropy.cu", "cross_entropy_backward", arrays, rows, n, *numbers, step)
        return (gx,)

    return y, backward
