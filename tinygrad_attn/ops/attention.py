"""The public doors to attention, where every argument is checked.

The mathematics is in ``fused/attention.py``. Here shapes are held to the contract; masks,
causality, windows and positions, by which the kernels know who may attend whom, are held to it in
``attention_rules.py``.
"""

import math
from contextvars import ContextVar

from ..backend import dtypes
from ..errors import ShapeError
from .attention_rules import Call
from .check import as_float, as_tensor, as_tensors, whole_number
from .fused.attention import attention_spec, attention_weights_spec, open_pairs
from .fused.attention_dense import dense_attention
from .fused.attention_packed import _packed_attention, join, unpack
from .fused.attention_tiled import tiled_attention

__all__ = ["packed_attention", "scaled_dot_product_attention"]

DENSE_LIMIT = 512 * 512
"""How many scores a head may have on the dense path; with more it is the tiled one.

Only portable kernels differ there: those of the backends serve both paths alike.
"""

lens = ContextVar("tinygrad_attn.lens", default=None)
"""Who wants to see the weights of every attention: see ``capture_attention``."""

_HERE = "scaled_dot_product_attention"


def scaled_dot_product_attention(
    q,
    k,
    v,
    *,
    mask=None,
    bias=None,
    causal=False,
    window=None,
    scale=None,
    softcap=None,
    sinks=None,
    dropout=0.0,
    q_positions=None,
    k_positions=None,
    return_weights=False,
    generator=None,
    path=None,
    **foreign,
):
    """Attention  y = P·v,  P = softmax(q·kᵀ·scale + bias) over the keys that each query may attend.

    With S the scores and g = ∂L/∂y:  ∂L/∂v = Pᵀg,  dP = g·vᵀ,  dS = P∘(dP − Σₛ dP∘P),
    ∂L/∂q = dS·k·scale,  ∂L/∂k = dSᵀ·q·scale,  ∂L/∂bias = dS.

    Args:
        mask: boolean, True where the query *may attend* the key; broadcasts to (..., H, T, S).
        bias: floats added to the scores; broadcasts likewise, and −∞ closes a pair.
        causal: a query attends only keys whose position is not after its own.
        window: only the last ``window`` positions; without ``causal``, those less than that away.
        scale: of the scores, 1/√E unless given.
        softcap: squashes the scores into (−softcap, softcap) by softcap·tanh(scores/softcap).
        sinks: (H,) logits that take part in each head's softmax and lead nowhere.
        dropout: the probability of dropping a weight; the others are scaled up by 1/(1 − dropout).
        q_positions, k_positions: (T,) and (S,), or one row for each sequence, (B, T) and (B, S).
            Keys are numbered 0..S−1 and queries S−T..S−1 unless given: the last query is at the
            last key.
        return_weights: return (y, P) instead of y, P before dropout.
        path: "spec", "dense" or "tiled" forces one way of computing the same thing; a backend's own
            kernel may serve the last two alike.

    Shapes: q (..., H, T, E), k (..., Hk, S, E), v (..., Hk, S, Ev) → (..., H, T, Ev), where H is a
    multiple of Hk. The order is: scale, soft cap, bias, mask, softmax.

    A query that may attend nothing gets exactly 0 and passes back exactly 0. What a closed pair
    hides, NaN included, changes nothing.

    Raises: ShapeError for sizes that do not fit; DTypeError for a float mask or a boolean bias;
    TypeError for PyTorch's names, which mean the opposite or something else.
    Reference: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762; Ainslie et al., "GQA",
    arXiv:2305.13245; Gemma Team, "Gemma 2", arXiv:2408.00118 (soft cap); Xiao et al., "Efficient
    Streaming Language Models with Attention Sinks", arXiv:2309.17453.
    """
    q, k, v = map(as_float, as_tensors(_HERE, q=q, k=k, v=v))
    full = _check_shapes(q, k, v)
    dtype = dtypes.promote(dtypes.promote(q.dtype, k.dtype), v.dtype)  # a bias has no say in it
    path = _path(_HERE, path, full)
    tensors, options = Call(_HERE, "q", q, full).rules(
        width=q.shape[-1],
        mask=mask,
        bias=bias,
        causal=causal,
        window=window,
        scale=scale,
        softcap=softcap,
        sinks=sinks,
        dropout=dropout,
        q_positions=q_positions,
        k_positions=k_positions,
        generator=generator,
        **foreign,
    )
    if path == "spec" and dtypes.is_half(q.dtype):  # the kernels are given float32 by the engine
        q, k, v = (x.astype(dtypes.float32) for x in (q, k, v))
    y = _PATHS[path](q, k, v, *tensors, **options)
    y = y if y.dtype == dtype else y.astype(dtype)

    def weights():
        bias, sinks, mask, *positions = tensors
        limits = {name: options[name] for name in ("causal", "window")}
        shaping = {name: options[name] for name in ("scale", "softcap")}
        allowed = open_pairs(q, k, mask, *positions, **limits)
        p = attention_weights_spec(q, k, bias, sinks, allowed, **shaping)
        return p if p.dtype == dtype else p.astype(dtype)

    if (viewer := lens.get()) is not None:
        y = viewer.see(y, weights)
    return (y, weights()) if return_weights else y


def packed_attention(qkv, num_heads, num_kv_heads=None, *, path=None, **rules):
    """Self-attention  y = softmax(q·kᵀ·scale + bias)·v  of  qkv = [q, k, v], with heads joined.

    ∂L/∂qkv = [∂L/∂q, ∂L/∂k, ∂L/∂v], all as in ``scaled_dot_product_attention(q, k, v, **rules)``.
    But q, k and v, which one product has made, are read where they lie, and so are their gradients
    written: nothing is moved in memory.

    Args:
        qkv: of each token its H queries, Hk keys and Hk values, side by side.
        num_heads, num_kv_heads: H, and Hk if it is another; it must divide H.
        path: "spec", "dense" or "tiled" forces one way of computing the same thing.
        rules: mask, bias, causal, window, scale, softcap, sinks, dropout, q_positions, k_positions
            and generator, as in ``scaled_dot_product_attention``.

    Shapes: qkv (..., T, (H + 2·Hk)·E) → (..., T, H·E).
    Raises: ShapeError where heads and width do not fit; else as ``scaled_dot_product_attention``.

    Example:
        >>> import tinygrad_attn as ta
        >>> x, weight = ta.randn(2, 5, 8), ta.randn(3 * 8, 8)
        >>> ta.packed_attention(ta.linear(x, weight), num_heads=4, causal=True).shape
        (2, 5, 8)
    """
    where = "packed_attention"
    qkv = as_float(as_tensor(qkv, where=where), where)
    heads, kv_heads, width = _check_packed(where, qkv, num_heads, num_kv_heads)
    length = qkv.shape[-2]
    path = _path(where, path, (length, length))
    if path == "spec" or lens.get() is not None:  # somebody wants to see it head by head
        q, k, v = unpack(qkv, heads, kv_heads)
        return join(scaled_dot_product_attention(q, k, v, path=path, **rules))
    full = (*qkv.shape[:-2], heads, length, length)
    tensors, options = Call(where, "qkv", qkv, full).rules(width=width, **rules)
    sizes = {"heads": heads, "kv_heads": kv_heads, "path": path}
    return _packed_attention(qkv, *tensors, **sizes, **options)


def _check_packed(where, qkv, heads, kv_heads):
    """(H, Hk, E), or the error that says why they are none."""
    heads = whole_number(where, "num_heads", heads)
    kv_heads = heads if kv_heads is None else whole_number(where, "num_kv_heads", kv_heads)
    shown = f"{where}: qkv is {qkv.shape}, num_heads is {heads}, num_kv_heads is {kv_heads}"
    if qkv.ndim < 2 or heads < 1 or kv_heads < 1 or heads % kv_heads:
        raise ShapeError(
            f"{shown}; qkv must be (..., length, width), and the second number divide the first"
        )
    width, rest = divmod(qkv.shape[-1], heads + 2 * kv_heads)
    if rest or not width:
        raise ShapeError(
            f"{shown}; the width must be a multiple of num_heads + 2·num_kv_heads, "
            f"{heads + 2 * kv_heads}, and not 0"
        )
    return heads, kv_heads, width


_PATHS = {"spec": attention_spec, "dense": dense_attention, "tiled": tiled_attention}


def _path(where, path, full):
    """The name of the path: the one asked for, else by how many scores there would be."""
    if path is None:
        return "tiled" if math.prod(full[-2:]) > DENSE_LIMIT else "dense"
    if not (isinstance(path, str) and path in _PATHS):
        raise ShapeError(
            f"{where}: path is {path!r:.60}; it must be None or one of {', '.join(_PATHS)}"
        )
    return path


def _check_shapes(q, k, v):
    """The shape (..., H, T, S) of the scores, or a ShapeError that shows all three operands."""
    shapes = f"q is {q.shape}, k is {k.shape}, v is {v.shape}"
    if min(q.ndim, k.ndim, v.ndim) < 3:
        raise ShapeError(f"{_HERE}: {shapes}; each must be (..., heads, length, width)")
    if q.shape[-1] != k.shape[-1]:
        raise ShapeError(f"{_HERE}: {shapes}; q and k must have the same width, their last size")
    if k.shape[-3:-1] != v.shape[-3:-1]:
        raise ShapeError(f"{_HERE}: {shapes}; k and v must agree in heads and length")
    if not k.shape[-3] or q.shape[-3] % k.shape[-3]:
        raise ShapeError(
            f"{_HERE}: {shapes}; the {q.shape[-3]} query heads must be a multiple of the "
            f"{k.shape[-3]} key heads"
        )
    if not q.shape[:-3] == k.shape[:-3] == v.shape[:-3]:
        raise ShapeError(
            f"{_HERE}: {shapes}; the batch sizes, before the last three, must be equal"
        )
    if not q.shape[-1]:
        raise ShapeError(f"{_HERE}: {shapes}; the width of q and k must not be 0")
    return (*q.shape[:-1], k.shape[-2])
