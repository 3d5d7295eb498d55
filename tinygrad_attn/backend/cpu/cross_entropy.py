"""cross_entropy on the CPU: rows in blocks, so that no matrix of probabilities is ever made.

Of each row only ln Σ exp is kept; the way back works the probabilities out again, block by block,
straight into the gradient.
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
    log_z = _log_sum_exp(logits)
    weight = kept.astype(logits.dtype)
    if share is not None:
        share = share.astype(logits.dtype, copy=False)
        weight *= share[places[1]]
    at_target = slope = weight * (1 - smoothing)
    loss = at_target * (log_z - logits[places])
    spread = None
    if smoothing:
        share = np.ones(logits.shape[1], logits.dtype) if share is None else share
        spread = kept * logits.dtype.type(smoothing / logits.shape[1])
        slope = at_target + spread * share.sum()
        loss += spread * (log_z * share.sum() - logits @ share)
    loss[~kept] = 0
    total = (weight.sum() or 1) if reduction == "mean" else 1

    def backward(g):
        g = np.broadcast_to(g / total, slope.shape)
        gx = _probabilities(logits, log_z, g * slope, None if spread is None else g * spread, share)
        gx[places] -= g * at_target
        gx[~kept] = 0
        return (gx,)

    return (loss if reduction == "none" else loss.sum() / total), backward


def _log_sum_exp(logits):
    """ln Σ exp of each row."""
    log_z = np.empty(len(logits), logits.dtype)

    def compute(part):
        x = logits[part]
        top = x.max(axis=1, keepdims=True)
        e = np.subtract(x, top)
        np.exp(e, out=e)
        log_z[part] = (np.log(sum_rows(e)) + top)[:, 0]

    for_row_blocks(compute, *logits.shape)
    return log_z


def _probabilities(logits, log_z, scale, spread, share):
    """scale·softmax(logits) − spread·share, the first two a number for each row."""
    gx = np.empty_like(logits, order="C")

    def compute(part):
        to = np.subtract(logits[part], log_z[part, None], out=gx[part])
        np.exp(to, out=to)
        to *= scale[part, None]
        if spread is not None:
            to -= spread[part, None] * share

    for_row_blocks(compute, *logits.shape)
    return gx
