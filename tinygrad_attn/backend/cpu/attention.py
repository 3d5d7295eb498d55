"""Attention on the CPU: blocks of queries against all the keys that they can reach.

A block is small enough for its scores to stay near the core from the product q·kᵀ to the product
with v, and every row sees all of its keys at once, so no online softmax is needed. Under causality
the blocks further up see fewer keys; what lies beyond is never computed.

Two things that a softmax usually costs are saved:

    the division    is done on y (T × E) and not on the weights (T × S):  y = (eˢ·v) / Σ eˢ,
                    unless S is small, or eˢ·v so large or small that digits would be lost
    the maximum     is subtracted only in rows that need it, which shows in Σ eˢ: where that is
                    within e⁻³⁰ and e³⁰ nothing has overflowed, and nothing that counts has
                    vanished. The others are done again.

Which rows those are depends on what a query may attend and on nothing else, so that a closed pair
does not even change the rounding. On the way back, with g' = g/Σ eˢ and δ' = Σ g'∘y, the same
unnormalised eˢ serves:

    dV = (eˢ)ᵀ·g',   dS = eˢ∘(g'·Vᵀ − δ'),   dQ = dS·K·scale,   dK = dSᵀ·Q·scale

If there is much of eˢ, it is computed again. If there is little, which is where S is small and eˢ
has been divided, it is kept: it is the matrix of weights then, and g' is g. Unless there is a bias,
whose gradient is dS itself, V and δ' take the factor ``scale`` with them (``Scores.slope``).

Sinks, soft caps, masks or biases over several batch axes, and tensors without elements are rare:
they are declined (``NotImplemented``), and the portable kernel takes them.
"""

import numpy as np

from .blas import single_threaded_blas
from .reach import Reach
from .scores import Scores, is_finite
from .threads import share

__all__ = ["attention"]

LARGEST_INVERSE = 1e3  # of a 1/Σ eˢ that a gradient is multiplied by; it could overflow with more
KEPT = 2  # weights are kept while they are at most so many times the elements of q: S ≤ 2·E


def attention(
    q,
    k,
    v,
    bias=None,
    sinks=None,
    mask=None,
    q_positions=None,
    k_positions=None,
    *,
    causal,
    window,
    scale,
    softcap,
    drop,
    needs,
):
    """softmax(q·kᵀ·scale + bias)·v over the keys that each query may attend."""
    is_rare = sinks is not None or softcap is not None or q.dtype.kind != "f"
    if q.ndim > 4:  # several batch axes become one, along which nothing may be stretched
        by_sequence = [x for x in (q_positions, k_positions) if x is not None and x.ndim > 1]
        is_rare = is_rare or mask is not None or bias is not None or bool(by_sequence)
    if is_rare or not (q.size and k.size and v.size):
        return NotImplemented
    bits = f"i{q.itemsize}"
    reach = Reach(q_positions, k_positions, causal, window, q.shape[-2], k.shape[-2], bits)
    scores = Scores(q, k, v, bias, mask, reach, scale, drop)
    y = _like(q, (*q.shape[:-1], v.shape[-1]))
    to = scores.by_head(y)
    is_short = scores.size <= KEPT * q.size
    groups = scores.groups()

    def forward(group):
        kept = [_mix(scores, block, is_short, to[block.queries]) for block in scores.blocks(group)]
        return kept if any(needs) else None

    kept = share(forward, groups)
    with single_threaded_blas():
        is_clean = is_finite(y)
    if not is_clean and scores.hide_bad():  # closed values may have got in: again, without them
        kept = share(forward, groups)
    likes = (q, k, v, bias)

    def backward(g, into=None):
        places = [_like(x, x.shape) if need else None for x, need in zip(likes, needs)]
        if into is not None and q.ndim <= 4:  # beyond that, what is by head is no view
            places[:3] = into
        return _backward(scores, places, g, y, list(zip(groups, kept)))

    return y, backward


def _mix(scores, block, is_short, to):
    """Write a block of y; returns what the way back needs.

    If the rows are short: eˢ, divided, and what dropout keeps of it. If not: which rows are steep,
    and 1/Σ eˢ.
    """
    (e, total, steep), keep = block.exponentials(), block.kept()
    inverse = 1 / total
    if is_short:
        e *= inverse
        if steep is not None:
            e[~block.open_pairs()] = 0  # 0·NaN is not 0, where 1/Σ eˢ is NaN
    thinned, v = e if keep is None else e * keep, scores.v[block.keys]
    mixed = np.matmul(thinned, v, out=to)
    if not is_short:
        odd = ~_is_moderate(mixed)
        mixed *= inverse
        if odd.any():
            mixed[odd] = ((thinned * inverse) @ v)[odd]
    if keep is not None:
        mixed *= e.dtype.type(scores.drop.upscale)
    block.spoil_values(mixed)
    return (e, keep, None, None) if is_short else (None, None, steep, inverse)


def _backward(scores, grads, g, y, parts):
    """The gradients of q, k, v and bias, written where they shall be, and None for the sinks."""
    by_head = [None if x is None else scores.by_head(x) for x in grads[:3]]
    g, y, gbias = scores.by_head(g), scores.by_head(y), grads[3]

    def backward(part):
        group, kept = part
        for block, saved in zip(scores.blocks(group), kept):
            _mix_back(scores, block, saved, (*by_head, gbias), g, y)

    if gbias is not None:  # several heads may add to the same place
        gbias[...] = 0
        with single_threaded_blas():
            for part in parts:
                backward(part)
    else:
        share(backward, parts)
    for grad in grads[:2]:
        if grad is not None and scores.slope != scores.scale:
            grad *= scores.scale
    return (*grads, None)


def _mix_back(scores, block, saved, grads, g, y):
    """Add what a block contributes to the gradients of q, k, v and bias."""
    gq, gk, gv, gbias = grads
    part = g[block.queries]
    e, keep, steep, inverse = saved
    if e is None:
        e, keep = block.exponentials_of(steep), block.kept()
        part = _divided(part, inverse, e)
    along = np.einsum("...e,...e->...", part, y[block.queries])[..., None]
    if keep is not None:
        part = part * e.dtype.type(scores.drop.upscale)
    if gv is not None:
        block.add_product(gv, e if keep is None else e * keep, part)
    gs = part @ block.shared.v_across[block.across]
    if keep is not None:
        gs *= keep
    gs -= along * g.dtype.type(scores.slope)
    gs *= e
    if not is_finite(gs):
        gs[e == 0] = 0  # of a closed pair, whatever overflow or NaN its query or value brought
    if gbias is not None:
        block.add_to(gbias, gs)
    if gq is not None:
        np.matmul(gs, block.k, out=gq[block.queries])
    if gk is not None:
        block.add_product(gk, gs, block.q)


def _divided(g, inverse, e):
    """g/Σ eˢ; where that would lose digits e is divided, in place, and not g."""
    divided = g * inverse
    odd = ~_is_moderate(divided)[..., None] | (inverse > LARGEST_INVERSE)
    if not odd.any():
        return divided
    e *= np.where(odd & ~np.isnan(inverse), inverse, 1)  # 0·NaN is not 0, in a closed pair
    return np.where(odd, g, divided)


def _is_moderate(x):
    """Which rows of x can be, or were, multiplied by eˢ and lose no digits at the ends of float32.

    That is, by an eˢ whose sum is usual. Rows of zeros have none to lose, but are not told apart.
    """
    squared = np.vecdot(x, x)
    return (squared > 1e-24) & (squared < 1e24)


def _like(x, shape):
    """A new array laid out in memory as x is, so that joining heads again copies nothing."""
    return np.empty_like(x, shape=shape, order="K" if x.ndim <= 4 else "C")
