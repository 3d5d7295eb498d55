"""Cross entropy: one kernel forward, one backward, and never a second matrix of probabilities."""

from .. import dtypes, namespace
from .launch import contiguous, of_floats, over_rows, real

__all__ = ["surprise"]


@of_floats
def surprise(logits, target, share=None, *, smoothing, ignore_index, reduction):
    """(N, V) logits and N targets to N losses, or one; ``share`` weighs classes."""
    xp, dtype, wide = namespace(logits), logits.dtype, real(logits.dtype)
    rows, n = logits.shape
    if share is None and smoothing:
        share = xp.ones(n, dtype=dtype)
    logits, share = contiguous(logits), contiguous(share, dtype)
    target = contiguous(target, dtypes.int64)
    share_sum = xp.sum(share, dtype=wide) if smoothing else None
    losses, weights, *kept = (xp.empty(rows, dtype=wide) for _ in range(4))
    given, numbers = (logits, target, share, share_sum), (smoothing, ignore_index)
    arrays = (*given, losses, weights, *kept)
    over_rows("cross_entropy.cu", "cross_entropy", arrays, rows, n, *numbers)
    total = None
    if reduction == "mean":
        total = xp.sum(weights)
        total = xp.where(total == 0, 1, total)

    def backward(g):
        g = g.astype(wide) if total is None else g.astype(wide) / total
        gx = xp.empty(logits.shape, dtype=dtype)
        arrays = (*given, weights, *kept, contiguous(g), gx)
        step = int(reduction == "none")
        over_rows("cross_entropy.cu", "cross_entropy_backward", arrays, rows, n, *numbers, step)
        return (gx,)

    y = losses if reduction == "none" else xp.sum(losses)
    return (y if total is None else y / total).astype(dtype), backward
