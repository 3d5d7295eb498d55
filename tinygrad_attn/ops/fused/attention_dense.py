"""The dense path of attention: all scores at once, the fastest way while they fit in the cache."""

import math

from ...backend import namespace
from ...core import fused
from .attention import (
    attention_spec,
    cap,
    fold,
    largest,
    match,
    matmul_heads,
    mix,
    open_pairs,
    without_closed,
)

__all__ = ["dense_attention"]

CONSTANTS = ("mask", "q_positions", "k_positions")


@fused(spec=attention_spec, constants=CONSTANTS, reads_result=True)
def dense_attention(
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
    """Attention from the whole matrix of weights P, which the way back uses again.

    dV = Pᵀg,  dP = g·Vᵀ,  dS = P∘(dP − Σ dP∘P),  dQ = dS·K·scale,  dK = dSᵀ·Q·scale.
    """
    xp = namespace(q)
    allowed = open_pairs(q, k, mask, q_positions, k_positions, causal=causal, window=window)
    q = without_closed(q, allowed)
    weights, cap_slope = _weights(q, k, bias, sinks, allowed, scale, softcap)
    keep = None if drop is None else drop.keep(weights) * weights.dtype.type(drop.upscale)
    thinned = weights if keep is None else weights * keep
    y = mix(thinned, v, allowed)

    def backward(g, into=None):
        gv = fold(thinned, g, v.shape[-3]) if needs[2] else None
        gs = matmul_heads(g, v.swapaxes(-1, -2))  # dP, and step by step dS
        if keep is not None:
            gs *= keep
        if allowed is not None:  # a closed pair may have met a NaN in v, and 0·NaN is not 0
            gs = xp.where(allowed, gs, 0)
        gs *= weights
        along = xp.sum(gs, axis=-1, keepdims=True)
        gs -= weights * along
        if allowed is not None and not bool(xp.isfinite(along).all()):
            gs = xp.where(allowed, gs, 0)  # nor is what an open pair of its row has met
        gbias = gs.copy() if needs[3] else None
        gsinks = None
        if needs[4]:  # a sink holds the weight that the keys of its row leave over
            left = 1 - xp.sum(weights, axis=-1, keepdims=True)
            gsinks = -xp.sum(left * along, axis=(-2, -1))
        if cap_slope is not None:
            gs *= cap_slope
        gs *= scale
        gq = mix(gs, k, allowed) if needs[0] else None
        gk = fold(gs, q, k.shape[-3]) if needs[1] else None
        return gq, gk, gv, gbias, gsinks

    return y, backward


def _weights(q, k, bias, sinks, allowed, scale, softcap):
    """The weights, and the slope of the soft cap or None, in few passes over one buffer."""
    xp = namespace(q)
    s = match(q * scale, k, allowed)
    cap_slope = None if softcap is None else cap(s, softcap)
    if bias is not None:
        s = s + bias
    if allowed is not None:
        s = xp.where(allowed, s, -math.inf)
    top = largest(s, sinks)
    s -= top
    xp.exp(s, out=s)
    total = xp.sum(s, axis=-1, keepdims=True)
    if sinks is not None:
        total += xp.exp(sinks[:, None, None] - top)
    s /= xp.where(total == 0, 1, total)
    if allowed is not None and not bool(xp.isfinite(total).all()):
        s = xp.where(allowed, s, 0)  # a NaN in an open pair has made NaN of the row
    return s, cap_slope
