"""cross_entropy on the CPU: rows in blocks, so that no large matrix of probabilities is ever made.

Of each row two numbers are kept, its maximum m and ln Σ exp(x − m); as one number, their sum, they
would lose the digits that matter where logits are large. The way back works the probabilities out
again, block by block, straight into the gradient. Of few logits, exp(x − m) is kept instead.
"""

import numpy as np

from .blocks import for_row_blocks, sum_rows

__all__ = ["surprise"]

KEPT = 2**18  # logits at most whose exponentials are kept: a megabyte of float32


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
    e = np.empty_like(logits, order="C") if logits.size <= KEPT else None
    top, log_sum, distance = _statistics(logits, shares, e)
    loss = at_target * (log_sum - (logits[places] - top))
    if smoothing:
        loss += spread * (log_sum * shares.sum() - distance)
    loss[~kept] = 0
    total = (weight.sum() or 1) if reduction == "mean" else 1

    def backward(g):
        g = np.broadcast_to(g / total, slope.shape)
        to_all = None if spread is None else g * spread
        rows = top, log_sum, g * slope
        gx = _gradient(logits, e, rows, to_all, 1 if share is None else share)
        gx[places] -= g * at_target
        gx[~kept] = 0
        return (gx,)

    return (loss if reduction == "none" else loss.sum() / total), backward


def _statistics(logits, shares, room):
    """(the maximum m of each row, ln Σ exp(x − m), Σ shares·(x − m) if there are shares).

    If there is ``room`` for exp(x − m), it is written there.
    """
    top, log_sum = np.empty((2, len(logits)), logits.dtype)
    distance = None if shares is None else np.empty_like(top)  # not kept for the way back

    def compute(part):
        x = logits[part]
        np.max(x, axis=1, out=top[part])
        e = np.subtract(x, top[part, None], out=None if room is None else room[part])
        if shares is not None:
            np.matmul(e, shares, out=distance[part])
        np.exp(e, out=e)
        np.log(sum_rows(e)[:, 0], out=log_sum[part])

    for_row_blocks(compute, *logits.shape)
    return top, log_sum, distance


def _gradient(logits, e, rows, spread, share):
    """slope·softmax(logits) − spread·share; slope and spread have a number for each row.

    ``e`` is exp(x − m), or None if it was not kept.
    """
    gx = np.empty_like(logits, order="C")
    top, log_sum, slope = rows
    slope = slope * np.exp(-log_sum)  # Σ exp(x − m) is within 1..V, so nothing is lost in that

    def compute(part):
        to = gx[part]
        if e is None:
            np.subtract(logits[part], top[part, None], out=to)
            np.exp(to, out=to)
        np.multiply(to if e is None else e[part], slope[part, None], out=to)
        if spread is not None:
            to -= spread[part, None] * share

    for_row_blocks(compute, *logits.shape)
    return gx
