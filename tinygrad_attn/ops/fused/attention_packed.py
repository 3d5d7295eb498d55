"""Self-attention of queries, keys and values that lie side by side, as one product makes them.

    qkv   q₁ … q_H  k₁ … k_Hk  v₁ … v_Hk     (..., T, (H + 2·Hk)·E)
    y     y₁ … y_H                           (..., T, H·E)

To take heads apart and to put them together moves nothing in memory: the kernels of attention read
views, and on the way back they write views of one array, the gradient of qkv. So a layer needs one
product instead of three, on the way back two instead of six, and no sums of their results.

Those places are the second argument of ``backward(g, into)``, which the kernels of attention alone
have: three arrays for the gradients of q, k and v. A kernel is free to return others, and then they
are copied there.
"""

from ...backend import namespace
from ...core import fused
from .attention import attention_spec
from .attention_dense import CONSTANTS, dense_attention
from .attention_tiled import tiled_attention

__all__ = ["packed_attention_spec", "unpack"]

_PATHS = {"dense": dense_attention, "tiled": tiled_attention}


def unpack(qkv, heads, kv_heads):
    """q (..., H, T, E), k and v (..., Hk, T, E): views of qkv (..., T, (H + 2·Hk)·E)."""
    x = _split(qkv, heads + 2 * kv_heads)
    ends = heads, heads + kv_heads
    return x[..., : ends[0], :, :], x[..., ends[0] : ends[1], :, :], x[..., ends[1] :, :, :]


def _split(x, heads):
    """(..., T, H·E) → (..., H, T, E)."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(-3, -2)


def _join(x):
    """(..., H, T, E) → (..., T, H·E)."""
    *batch, heads, length, width = x.shape
    return x.swapaxes(-3, -2).reshape(*batch, length, heads * width)


def packed_attention_spec(
    qkv, bias, sinks, mask, q_positions, k_positions, *, heads, kv_heads, path, **options
):
    """The attention of q, k and v, whichever path computes it."""
    q, k, v = unpack(qkv, heads, kv_heads)
    return _join(attention_spec(q, k, v, bias, sinks, mask, q_positions, k_positions, **options))


@fused(spec=packed_attention_spec, constants=CONSTANTS, reads_result=True)
def _packed_attention(
    qkv,
    bias=None,
    sinks=None,
    mask=None,
    q_positions=None,
    k_positions=None,
    *,
    heads,
    kv_heads,
    path,
    causal,
    window,
    scale,
    softcap,
    drop,
    needs,
):
    q, k, v = unpack(qkv, heads, kv_heads)
    options = {"causal": causal, "window": window, "scale": scale, "softcap": softcap, "drop": drop}
    options["needs"] = (needs[0],) * 3 + needs[1:]
    others = bias, sinks, mask, q_positions, k_positions
    y, go_back = _PATHS[path].compute(q, k, v, *others, **options)

    def backward(g):
        gqkv = namespace(g).empty(qkv.shape, dtype=qkv.dtype) if needs[0] else None
        places = None if gqkv is None else unpack(gqkv, heads, kv_heads)
        *found, gbias, gsinks = go_back(_split(g, heads), places)
        for place, part in zip(places or (), found):
            if part is not place:
                place[...] = part
        return gqkv, gbias, gsinks

    return _join(y), backward


_packed_attention.forward.takes_halves = True  # the kernels inside see to them
