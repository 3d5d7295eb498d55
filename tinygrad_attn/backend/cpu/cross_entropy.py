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
    weight = kept.astype(logits.dtype)
    if share is not None:
        share = share.astype(logits.dtype, copy=False)
        weight *= share[places[1]]
    at_target = slope = weight * (1 - smoothing)
    shares = spread = None
    if smoothing:
        shares = np.ones(logits.shape[1], logits.dtype) if share is None else share
        spread = kept * logits.dtype.type(smoothing / logits.shape[1])
        slope = at_target + spread * shares.sum()
    top, log_sum, distance = _statistics(logits, shares)
    loss = at_target * (log_sum - (logits[places] - top))
    if smoothing:
        loss += spread * (log_sum * shares.sum() - distance)
    loss[~kept] = 0
    total = (weight.sum() or 1) if reduction == "mean" else 1

    def backward(g):
        g = np.broadcast_to(g / total, slope.shape)
        to_all = None if spread is None else g * spread
        gx = _gradient(logits, top, log_sum, g * slope, to_all, 1 if share is None else share)
        gx[places] -= g * at_target
        gx[~kept] = 0
        return (gx,)

    return (loss if reduction == "none" else loss.sum() / total), backward


def _statistics(logits, shares):
    """(the maximum m of each row, ln Σ exp(x − m), Σ shares·(x − m) if there are shares)."""
    top, log_sum = np.empty((2, len(logits)), logits.dtype)
    distance = None if shares is None else np.empty_like(top)  # not kept for the way back

    def compute(part):
        x = logits[part]
        np.max(x, axis=1, out=top[part])
        e = np.subtract(x, top[part, None])
        if shares is not None:
            np.matmul(e, shares, out=distance[part])
        np.exp(e, out=e)
        np.log(sum_rows(e)[:, 0], out=log_sum[part])

    for_row_blocks(compute, *logits.shape)
    return top, log_sum, distance


def _gradient(logits, top, log_sum, slope, spread, share):
    """slope·softmax(logits) − spread·share; slope and spread have a number for each row."""
    gx = np.empty_like(logits, order="C")
    slope = slope * np.exp(-log_sum)  # Σ exp(x − m) is within 1..V, so nothing is lost in that

    def compute(part):
        to = np.subtract(logits[part], top[part, None], out=gx[part])
        np.exp(to, out=to)
        to *= slope[part, None]
        if spread is not None:
            to -= spread[part, None] * share

    for_row_blocks(compute, *logits.shape)
    return gx
