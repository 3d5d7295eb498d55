"""Cross entropy: one kernel forward, one backward, and never a second matrix of probabilities."""

from .. import dtypes, namespace
from .launch import contiguous, of_floats, over_rows, real

__all__ = ["surprise"]


@of_floats
def surprise(logits, target, share, *, smoothing):
    """(N, V) logits and N targets, −1 for ignored rows, to N losses; ``share`` weighs classes."""
    xp, dtype = namespace(logits), logits.dtype
    rows, n = logits.shape
    logits, share = contiguous(logits), contiguous(share, dtype)
    target = contiguous(target, dtypes.int64)
    share_sum = xp.sum(share, dtype=real(dtype)) if smoothing else None
    losses = xp.empty(rows, dtype=dtype)
    kept = [xp.empty(rows, dtype=real(dtype)) for _ in range(2)]  # what the way back needs
    given = (logits, target, share, share_sum)
    over_rows("cross_entropy.cu", "cross_entropy", (*given, losses, *kept), rows, n, smoothing)

    def backward(g):
        gx = xp.empty(logits.shape, dtype=dtype)
        arrays = (*given, *kept, contiguous(g, dtype), gx)
        over_rows("cross_entropy.cu", "cross_entropy_backward", arrays, rows, n, smoothing)
        return (gx,)

    return losses, backward
