"""Attention: every query looks at all keys, and of each value takes what their match deserves.

    weights = softmax(q·kᵀ·scale + bias, over the keys that the query may attend)
    y       = weights · v

One rule holds on every path. *Who may attend whom* is settled by a boolean mask (True = may) and by
positions (a causal query looks at keys not after itself, a window limits how far). A closed pair
contributes exactly nothing, whatever NaN it hides; a query that may attend nothing gets exactly 0.

This file is the definition. ``attention_dense`` computes it from all scores at once,
``attention_tiled`` from a tile of them at a time; both are held to it by the tests.

Shapes here: q (..., H, T, E), k (..., Hk, S, E), v (..., Hk, S, Ev). Where H is a multiple of Hk
each key head serves H/Hk query heads, whose rows are simply stacked under one another.

Reference: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762; for grouped heads Ainslie
et al., "GQA", arXiv:2305.13245.
"""

import math

from ...backend import backend_of, dtypes, is_array, namespace
from ...core import Tensor

__all__ = [
    "attention_spec",
    "attention_weights_spec",
    "cap",
    "count_positions",
    "fold",
    "largest",
    "match",
    "matmul_heads",
    "may_attend",
    "mix",
    "open_pairs",
    "without_closed",
]


def may_attend(mask, q_positions, k_positions, *, causal, window):
    """Which pairs are open, as a boolean that broadcasts to (..., H, T, S), or None where all are.

    Causal: the key is not after the query. Window w: it is one of the last w positions up to the
    query, or, without causality, less than w away on either side.
    """
    if not causal and window is None:
        return mask
    ahead = q_positions[..., :, None] - k_positions[..., None, :]  # how far q is past k
    if window is None:
        allowed = ahead >= 0
    elif causal:
        allowed = (ahead >= 0) & (ahead < window)
    else:
        allowed = (ahead > -window) & (ahead < window)
    if allowed.ndim > 2:  # one row of positions for each sequence: the same for all its heads
        allowed = namespace(allowed).expand_dims(allowed, -3)
    return allowed if mask is None else allowed & mask


def count_positions(q, k, q_positions, k_positions):
    """The positions as given; else keys are numbered 0..S−1, and queries S−T..S−1."""
    queries, keys = q.shape[-2], k.shape[-2]
    q_positions = _count(q, keys - queries, keys) if q_positions is None else q_positions
    return q_positions, _count(k, 0, keys) if k_positions is None else k_positions


def _count(like, first, end):
    """The whole numbers first..end−1 where ``like`` lives, a raw array if that is one."""
    raw = like if is_array(like) else like.data
    backend = backend_of(raw)
    with backend.on(backend.device_of(raw)):
        numbers = backend.xp.arange(first, end, dtype=dtypes.int64)
    return numbers if raw is like else Tensor(numbers)


def open_pairs(q, k, mask, q_positions, k_positions, *, causal, window):
    """``may_attend`` for all pairs of q and k, whose positions may be None."""
    if causal or window is not None:
        q_positions, k_positions = count_positions(q, k, q_positions, k_positions)
    return may_attend(mask, q_positions, k_positions, causal=causal, window=window)


def attention_weights_spec(q, k, bias, sinks, allowed, *, scale, softcap):
    """The weights (..., H, T, S): each row sums to 1, or is 0 where the query may attend nothing.

    In this order: scale, soft cap, bias, mask, softmax. A sink is a logit of its own for each head
    that takes part in the softmax and takes its share of the weight nowhere.
    """
    xp = namespace(q)
    scores = match(without_closed(q, allowed), k, allowed)
    if allowed is not None:  # a closed product may be infinite, and no derivative is to meet it
        scores = xp.where(allowed, scores, 0)
    scores = scores * scale
    if softcap is not None:
        scores = softcap * xp.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias
    if allowed is not None:
        scores = xp.where(allowed, scores, -math.inf)
    top = largest(scores.detach(), None if sinks is None else sinks.detach())
    e = xp.exp(scores - top)
    total = e.sum(axis=-1, keepdims=True)
    if sinks is not None:
        total = total + xp.exp(sinks[:, None, None] - top)
    return e / xp.where(total == 0, 1, total)


def attention_spec(
    q, k, v, bias, sinks, mask, q_positions, k_positions, *, causal, window, scale, softcap, drop
):
    """weights · v, the weights thinned by dropout, if ``drop`` says which of them survive."""
    xp = namespace(q)
    allowed = open_pairs(q, k, mask, q_positions, k_positions, causal=causal, window=window)
    weights = attention_weights_spec(q, k, bias, sinks, allowed, scale=scale, softcap=softcap)
    if drop is not None:
        weights = xp.where(drop.keep(weights), weights * drop.upscale, 0)
    if allowed is not None:  # ∂L/∂weights of a closed pair may be infinite: it ends here
        weights = xp.where(allowed, weights, 0)
    return mix(weights, v, allowed)


def largest(scores, sinks):
    """The largest score of each row, to subtract before exp; 0 where a row has none.

    A shift of all scores of a row changes nothing, so it counts as a constant.
    """
    xp = namespace(scores)
    if scores.shape[-1]:
        top = xp.max(scores, axis=-1, keepdims=True)
    else:  # no keys, and no library has a largest of nothing
        top = xp.sum(scores, axis=-1, keepdims=True) - math.inf
    if sinks is not None:
        top = xp.maximum(top, sinks[:, None, None])
    return xp.where(top == -math.inf, 0, top)


def cap(scores, softcap):
    """The soft cap  s ← c·tanh(s/c), in place; returns its slope  1 − tanh²(s/c)."""
    scores /= softcap
    namespace(scores).tanh(scores, out=scores)
    slope = 1 - scores * scores
    scores *= softcap
    return slope


def matmul_heads(a, b):
    """a (..., H, T, X) @ b (..., Hk, X, Y) → (..., H, T, Y): a group of heads to each of b."""
    matmul = namespace(a).matmul
    if a.shape[-3] == b.shape[-3]:
        return matmul(a, b)
    *batch, heads, rows, inner = a.shape
    groups = b.shape[-3]
    product = matmul(a.reshape(*batch, groups, heads // groups * rows, inner), b)
    return product.reshape(*batch, heads, rows, b.shape[-1])


def fold(a, b, groups):
    """aᵀ·b, summed over the query heads that share a key head.

    a (..., H, T, S), b (..., H, T, X) → (..., Hk, S, X): one product over the stacked rows of a
    group sums over its heads too.
    """
    *batch, heads, rows, _ = a.shape
    stacked = (*batch, groups, heads // groups * rows)
    a = a.reshape(*stacked, a.shape[-1]).swapaxes(-1, -2)
    return namespace(a).matmul(a, b.reshape(*stacked, b.shape[-1]))


def without_closed(q, allowed):
    """The queries, 0 where one may attend nothing: no NaN that it holds meets a key's gradient."""
    xp = namespace(q)
    if allowed is None or bool(xp.isfinite(q).all()):
        return q
    return xp.where(allowed.any(axis=-1, keepdims=True), q, 0)


def match(q, k, allowed):
    """The products q·kᵀ. Of a key that is not finite, open pairs see NaN, closed ones nothing."""
    xp = namespace(q)
    if allowed is None or bool(xp.isfinite(k).all()):
        return matmul_heads(q, k.swapaxes(-1, -2))
    finite = xp.isfinite(k).all(axis=-1, keepdims=True)
    scores = matmul_heads(q, xp.where(finite, k, 0).swapaxes(-1, -2))
    ones = xp.ones_like(q[..., :1])
    lost = matmul_heads(ones, (~finite).astype(q.dtype).swapaxes(-1, -2)) > 0  # whole columns
    return xp.where(lost & allowed, math.nan, scores)


def mix(weights, values, allowed):
    """Σⱼ weightsᵢⱼ·valuesⱼ, where a closed pair adds exactly nothing, not 0·NaN.

    Only values that are not finite make a difference: they are left out of the product, and whoever
    may attend one gets NaN for it.
    """
    xp = namespace(weights)
    if allowed is None or bool(xp.isfinite(values).all()):
        return matmul_heads(weights, values)
    finite = xp.isfinite(values)
    pairs = xp.broadcast_to(allowed, weights.shape).astype(weights.dtype)
    touched = matmul_heads(pairs, (~finite).astype(weights.dtype)) > 0
    return xp.where(touched, math.nan, matmul_heads(weights, xp.where(finite, values, 0)))
