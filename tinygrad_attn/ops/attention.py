"""scaled_dot_product_attention: the one public door to attention, where every argument is checked.

The mathematics is in ``fused/attention.py``. Here shapes are held to the contract, and masks,
causality, windows and positions become the one thing that the kernels understand: who may attend
whom.
"""

import math
from contextlib import suppress
from contextvars import ContextVar

from ..backend import dtypes
from ..errors import DTypeError, ShapeError
from .check import as_float, as_tensors, broadcasts_to, number, whole_number
from .fused.attention import attention_spec, attention_weights_spec, open_pairs
from .fused.attention_dense import dense_attention
from .fused.attention_tiled import tiled_attention
from .fused.dropout import Drop

__all__ = ["scaled_dot_product_attention"]

DENSE_LIMIT = 512 * 512
"""How many scores a head may have before they are computed in tiles; measured in benchmarks/."""

lens = ContextVar("tinygrad_attn.lens", default=None)
"""Who wants to see the weights of every attention: see ``capture_attention``."""

_HERE = "scaled_dot_product_attention"
_FOREIGN = {
    "attn_mask": "mask= (boolean, True = may attend) or bias= (float, added to the scores)",
    "is_causal": "causal=",
    "dropout_p": "dropout=",
    "key_padding_mask": "mask= of shape (B, 1, 1, S), True = a real token",
    "enable_gqa": "nothing: fewer key heads than query heads already mean grouped queries",
}


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
        path: "spec", "dense" or "tiled" forces one way of computing the same thing.

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
    for name in foreign:
        hint = f"; write {_FOREIGN[name]}" if name in _FOREIGN else ""
        raise TypeError(f"{_HERE}: unknown argument {name!r}{hint}")
    q, k, v = map(as_float, as_tensors(_HERE, q=q, k=k, v=v))
    full = _check_shapes(q, k, v)
    dtype = dtypes.promote(dtypes.promote(q.dtype, k.dtype), v.dtype)  # a bias has no say in it
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else float(number(_HERE, "scale", scale))
    if softcap is not None and not number(_HERE, "softcap", softcap) > 0:
        raise ShapeError(f"{_HERE}: softcap is {softcap}; it must be positive")
    window = _check_window(window)
    if not 0 <= number(_HERE, "dropout", dropout) < 1:
        raise ShapeError(f"{_HERE}: dropout is {dropout}; it must be in 0..1, 1 excluded")
    mask, bias = _check_mask(mask, full, q), _check_bias(bias, full, q)
    sinks = _check_sinks(sinks, q)
    positions = (
        _positions("q_positions", q_positions, full[-2], q),
        _positions("k_positions", k_positions, full[-1], q),
    )
    drop = Drop.draw(_HERE, dropout, generator) if dropout else None
    limits = {"causal": bool(causal), "window": window}
    shaping = {"scale": scale, "softcap": None if softcap is None else float(softcap)}
    if path == "spec" and dtypes.is_half(q.dtype):  # the kernels are given float32 by the engine
        q, k, v = (x.astype(dtypes.float32) for x in (q, k, v))
    attend = _path(path, full)
    y = attend(q, k, v, bias, sinks, mask, *positions, drop=drop, **limits, **shaping)
    y = y if y.dtype == dtype else y.astype(dtype)

    def weights():
        allowed = open_pairs(q, k, mask, *positions, **limits)
        p = attention_weights_spec(q, k, bias, sinks, allowed, **shaping)
        return p if p.dtype == dtype else p.astype(dtype)

    if (viewer := lens.get()) is not None:
        y = viewer.see(y, weights)
    return (y, weights()) if return_weights else y


def _path(path, full):
    """The function that computes: the one asked for, else by how many scores there would be."""
    paths = {"spec": attention_spec, "dense": dense_attention, "tiled": tiled_attention}
    if path is None:
        path = "tiled" if math.prod(full[-2:]) > DENSE_LIMIT else "dense"
    if path not in paths:
        raise ShapeError(f"{_HERE}: path is {path!r}; it must be None or one of {', '.join(paths)}")
    return paths[path]


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


def _check_window(window):
    """The window as an int, or None."""
    with suppress(DTypeError):
        if window is None or whole_number(_HERE, "window", window) >= 1:
            return window if window is None else int(window)
    raise ShapeError(f"{_HERE}: window is {window!r}; it must be a whole number of at least 1")


def _check_mask(mask, full, q):
    if mask is None:
        return None
    mask = as_tensors(_HERE, q=q, mask=mask)[1]
    if mask.dtype != dtypes.bool_:
        raise DTypeError(
            f"{_HERE}: mask is {mask.dtype}; a mask is boolean, True where the query may attend; "
            "numbers to add to the scores are bias="
        )
    if not broadcasts_to(mask.shape, full):
        raise ShapeError(
            f"{_HERE}: mask is {mask.shape}, q is {q.shape}; it must broadcast to "
            f"(..., H, T, S) = {full}"
        )
    return mask


def _check_bias(bias, full, q):
    if bias is None:
        return None
    bias = as_tensors(_HERE, q=q, bias=bias)[1]
    if not dtypes.is_float(bias.dtype):
        raise DTypeError(
            f"{_HERE}: bias is {bias.dtype}; a bias is float and is added to the scores; "
            "a boolean that says who may attend is mask="
        )
    if not broadcasts_to(bias.shape, full):
        raise ShapeError(
            f"{_HERE}: bias is {bias.shape}, q is {q.shape}; it must broadcast to "
            f"(..., H, T, S) = {full}"
        )
    return bias


def _check_sinks(sinks, q):
    if sinks is None:
        return None
    sinks = as_tensors(_HERE, q=q, sinks=sinks)[1]
    if tuple(sinks.shape) != (q.shape[-3],) or not dtypes.is_float(sinks.dtype):
        raise ShapeError(
            f"{_HERE}: sinks is {sinks.shape} {sinks.dtype}, q is {q.shape}; there must be one "
            f"float for each of the {q.shape[-3]} query heads"
        )
    return sinks


def _positions(name, given, length, q):
    """Positions as whole numbers, (length,) or (B, length), or None where they are not given."""
    if given is None:
        return None
    given = as_tensors(_HERE, **{"q": q, name: given})[1]
    batch = q.shape[:-3]
    fits = given.ndim >= 1 and given.shape[-1] == length
    fits = fits and (
        given.ndim == 1 or (given.ndim == len(batch) + 1 and broadcasts_to(given.shape[:-1], batch))
    )
    if not fits:
        raise ShapeError(
            f"{_HERE}: {name} is {given.shape}, q is {q.shape}; it must be ({length},), or one row "
            f"for each sequence, {(*batch, length)}"
        )
    if given.dtype.kind not in "iu":
        raise DTypeError(f"{_HERE}: {name} are {given.dtype}; positions are whole numbers")
    given = given.astype(dtypes.int64)  # the difference of two unsigned or narrow ones wraps round
    if length > 1 and bool((given[..., 1:] < given[..., :-1]).any()):
        raise ShapeError(
            f"{_HERE}: {name} go backwards, q is {q.shape}; positions must ascend along the "
            "sequence"
        )
    return given
