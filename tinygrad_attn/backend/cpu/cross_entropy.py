"""cross_entropy on the CPU: rows in blocks, so that no matrix of probabilities is ever made.

Of each row two numbers are kept, its maximum m and ln Σ exp(x − m); as one number, their sum, they
would lose the digits that matter where logits are large. The way back works the probabilities out
again, block by block, straight into the gradient.
"""

import numpy as np

from .blocks import for_row_blocks, sum_rows

__all__ = ["surprise"]


def surprise(logits, target, share=None, *, smoothing, ignore_index, reduction):
    """−Σᵥ qᵥ·ln softmax(logits)ᵥ for each row, and the reduction; see the spec for q.

    With p = softmax(logits):  ∂L/∂logits = g·(slope·p − spread·share − at_target·onehot).
    """
    kept = target != ignore_index
    places = np.arange(len(target)), np.where(kept, target, 0)
    top, log_sum = _log_sum_exp(logits)
    weight = kept.astype(logits.dtype)
    if share is not None:
        share = share.astype(logits.dtype, copy=False)
        weight *= share[places[1]]
    at_target = slope = weight * (1 - smoothing)
    loss = at_target * (log_sum - (logits[places] - top))
    spread = None
    if smoothing:
        share = np.ones(logits.shape[1], logits.dtype) if share is None else share
        spread = kept * logits.dtype.type(smoothing / logits.shape[1])
        slope = at_target + spread * share.sum()
        loss += spread * (log_sum * share.sum() - (logits - top[:, None]) @ share)
    loss[~kept] = 0
    total = (weight.sum() or 1) if reduction == "mean" else 1

    def backward(g):
        g = np.broadcast_to(g / total, slope.shape)
        gx = _probabilities(logits, top, log_sum, g * slope)
        if spread is not None:
            gx -= (g * spread)[:, None] * share
        gx[places] -= g * at_target
        gx[~kept] = 0
        return (gx,)

    return (loss if reduction == "none" else loss.sum() / total), backward


def _log_sum_exp(logits):
    """(the maximum m of each row, ln Σ exp(x − m))."""
    top, log_sum = np.empty((2, len(logits)), logits.dtype)

    def compute(part):
        x = logits[part]
        np.max(x, axis=1, out=top[part])
        e = np.subtract(x, top[part, None])
        np.exp(e, out=e)
        np.log(sum_rows(e)[:, 0], out=log_sum[part])

    for_row_blocks(compute, *logits.shape)
    return top, log_sum


def _probabilities(logits, top, log_sum, scale):
    """scale·softmax(logits), all but the logits a number for each row."""
    gx = np.empty_like(logits, order="C")
    scale = scale * np.exp(-log_sum)  # Σ exp(x − m) is within 1..V, so nothing is lost in that

    def compute(part):
        to = np.subtract(logits[part], top[part, None], out=gx[part])
        np.exp(to, out=to)
        to *= scale[part, None]

    for_row_blocks(compute, *logits.shape)
    return gx
