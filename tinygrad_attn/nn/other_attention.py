"""The attention that came before dot products, and one that comes without a softmax.

Both keep the contract of ``ta.scaled_dot_product_attention``: masks say who *may* attend, what they
close has no influence, NaN included, and a query that may attend nothing gets exactly 0.
"""

import math
from functools import reduce

from ..backend import dtypes
from ..core import Tensor, autocast
from ..errors import DTypeError, ShapeError
from ..ops import (
    bitwise_and,
    broadcast_to,
    concatenate,
    cumsum,
    exp,
    expand_dims,
    matmul,
    ones_like,
    pad,
    tanh,
    where,
)
from ..ops.check import as_float, as_tensor, rounded, wide
from ..ops.fused.attention import largest, mix
from .check import check_sizes, refuse
from .linear import Linear
from .module import Module

__all__ = ["AdditiveAttention", "LinearAttention"]

_ADDITIVE, _LINEAR = "AdditiveAttention", "LinearAttention"


# ---- additive ------------------------------------------------------------------------------------


class AdditiveAttention(Module):
    """Bahdanau's attention  y = softmax(scores)·value  with  scores = uᵀ·tanh(W·q + U·k).

    A small network looks at each pair of a query and a key, which need not have one width. It is
    what translation used first, with one query at a time, the state of the decoder; for every pair
    it computes A hyperbolic tangents where a dot product needs A multiplications.

    Args:
        query_dim, key_dim: the widths of queries and keys.
        hidden_dim: the width of the network, A.
        generator: where the random numbers come from; the thread's own unless given.

    Parameters: ``query_proj.weight`` (A, query_dim), W; ``key_proj.weight`` (A, key_dim), U;
    ``score.weight`` (1, A), u.
    Shapes: query (B, T, query_dim), key (B, S, key_dim), value (B, S, Dv) → (B, T, Dv).
    Raises: ShapeError for sizes that do not fit; DTypeError for a mask that is not boolean;
    TypeError for PyTorch's names of masks, which mean the opposite.
    Reference: Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and
    Translate", arXiv:1409.0473.

    Example: a decoder's state looks at an encoded sentence of 5 words, of which 4 are real.

        >>> import tinygrad_attn as ta
        >>> attend = ta.nn.AdditiveAttention(query_dim=8, key_dim=6, hidden_dim=10)
        >>> state, words = ta.randn(1, 1, 8), ta.randn(1, 5, 6)
        >>> real = ta.tensor([[True, True, True, True, False]])
        >>> y, weights = attend(state, words, key_mask=real, need_weights=True)
        >>> y.shape, weights.shape, weights[0, 0, 4].item()
        ((1, 1, 6), (1, 1, 5), 0.0)
    """

    def __init__(self, query_dim: int, key_dim: int, hidden_dim: int, *, generator=None):
        check_sizes(_ADDITIVE, query_dim=query_dim, key_dim=key_dim, hidden_dim=hidden_dim)
        self.query_dim, self.key_dim, self.hidden_dim = query_dim, key_dim, hidden_dim
        self.query_proj = Linear(query_dim, hidden_dim, bias=False, generator=generator)
        self.key_proj = Linear(key_dim, hidden_dim, bias=False, generator=generator)
        self.score = Linear(hidden_dim, 1, bias=False, generator=generator)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        need_weights: bool = False,
        **foreign,
    ):
        """Let every query look at the keys.

        Args:
            query, key, value: the value is the key unless given.
            mask: boolean, True = may attend; broadcasts to (B, T, S).
            key_mask: boolean (B, S), True = a real token, False = padding.
            need_weights: return (y, weights) instead of y, the weights (B, T, S).
        """
        refuse(_ADDITIVE, foreign, has=())
        query, key = as_float(query, where=_ADDITIVE), as_float(key, where=_ADDITIVE)
        value = key if value is None else as_float(value, where=_ADDITIVE)
        _check_inputs(_ADDITIVE, query, key, value, (self.query_dim, self.key_dim, None))
        allowed = _allowed(_ADDITIVE, mask, key_mask, query, key)
        if allowed is not None:  # hidden from the gradients of the weights too: 0·NaN is no 0
            key = where(expand_dims(allowed.any(axis=-2), -1), key, 0)
        pairs = expand_dims(self.query_proj(query), -2) + expand_dims(self.key_proj(key), -3)
        if allowed is not None:
            pairs = where(expand_dims(allowed, -1), pairs, 0)  # (B, T, S, A)
        weights = _softmax_of_open(self.score(tanh(pairs))[..., 0], allowed)
        y = mix(weights, value, allowed)
        return (y, weights) if need_weights else y

    def extra_repr(self) -> str:
        return f"{self.query_dim}, {self.key_dim}, {self.hidden_dim}"


def _softmax_of_open(scores, allowed):
    """The weights (..., T, S): each row sums to 1, or is 0 where the query may attend nothing."""
    if allowed is not None:
        scores = where(allowed, scores, -math.inf)
    e = exp(scores - largest(scores.detach(), None))
    total = e.sum(axis=-1, keepdims=True)
    return e / where(total == 0, 1, total)


# ---- linear --------------------------------------------------------------------------------------


class LinearAttention(Module):
    """Attention without a softmax  yₜ = φ(qₜ)·Σₛ φ(kₛ)vₛᵀ / φ(qₜ)·Σₛ φ(kₛ),  φ(x) = elu(x) + 1.

    The weight of a pair is φ(q)·φ(k) instead of exp(q·k). So the sum over the keys does not depend
    on the query and is made once: T + S products of width E² for each head, in place of T·S of
    width E. When causal, the sum up to each step is a state (E, E) that is carried along, as that
    of a recurrent network.

    Args:
        embed_dim: the width of queries, keys, values and outputs, D.
        num_heads: how many heads, H; must divide D.
        bias: whether the four maps have biases.
        generator: where the random numbers come from; the thread's own unless given.

    Parameters: ``q_proj``, ``k_proj``, ``v_proj``, ``out_proj``, each with ``weight`` (D, D) and
    ``bias`` (D,).
    Shapes: query (B, T, D), key and value (B, S, D) → (B, T, D).
    Raises: ShapeError for sizes that do not fit or heads that do not divide; DTypeError for a
    mask that is not boolean; TypeError for a mask of pairs, which there cannot be.
    Reference: Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with
    Linear Attention", arXiv:2006.16236.
    """

    def __init__(self, embed_dim: int, num_heads: int, bias: bool = True, *, generator=None):
        check_sizes(_LINEAR, embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ShapeError(
                f"{_LINEAR}: embed_dim is {embed_dim}, num_heads is {num_heads}; num_heads must "
                "divide embed_dim"
            )
        self.embed_dim, self.num_heads = embed_dim, num_heads
        self.head_dim = embed_dim // num_heads
        self.q_proj = Linear(embed_dim, embed_dim, bias, generator=generator)
        self.k_proj = Linear(embed_dim, embed_dim, bias, generator=generator)
        self.v_proj = Linear(embed_dim, embed_dim, bias, generator=generator)
        self.out_proj = Linear(embed_dim, embed_dim, bias, generator=generator)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        key_mask: Tensor | None = None,
        causal: bool = False,
        **foreign,
    ) -> Tensor:
        """Let every query look at the keys.

        Args:
            query, key, value: the key is the query unless given, the value is the key.
            key_mask: boolean (B, S), True = a real token, False = padding.
            causal: query t attends keys up to its own, the last query standing at the last key.
        """
        for name in ("mask", "attn_mask", "bias", "window", "need_weights"):
            if name in foreign:
                raise TypeError(
                    f"{_LINEAR}: there is no {name}=, for the keys are summed up before any query "
                    "looks; only key_mask= and causal= are possible"
                )
        refuse(_LINEAR, foreign)
        query = as_float(query, where=_LINEAR)
        key = query if key is None else as_float(key, where=_LINEAR)
        value = key if value is None else as_float(value, where=_LINEAR)
        _check_inputs(_LINEAR, query, key, value, (self.embed_dim,) * 3)
        real = None if key_mask is None else expand_dims(_real(_LINEAR, key_mask, key), -1)
        if real is not None:
            key, value = where(real, key, 0), where(real, value, 0)
        q, k = _positive(self._split(self.q_proj(query))), _positive(self._split(self.k_proj(key)))
        if real is not None:
            k = where(expand_dims(real, -3), k, 0)
        y = _linear_attention(q, k, self._split(self.v_proj(value)), causal)
        return self.out_proj(y.swapaxes(-3, -2).reshape(query.shape))

    def _split(self, x):
        """(B, T, D) → (B, H, T, E)."""
        return x.reshape(*x.shape[:-1], self.num_heads, self.head_dim).swapaxes(-3, -2)

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}"


def _positive(x):
    """elu(x) + 1: x + 1 above 0, eˣ below, and no −1 + 1 that would round off the eˣ."""
    return where(x > 0, x + 1, exp(where(x > 0, 0, x)))


@autocast(enabled=False)
def _linear_attention(q, k, v, causal):
    """Numerator and denominator at once: the denominator is the same sum with values of 1.

    In float32 at least, as any sum over all keys, though it is written as products of matrices.
    """
    dtype, (q, k, v) = v.dtype, map(wide, (q, k, v))
    v = concatenate([v, ones_like(v[..., :1])], axis=-1)  # (B, H, S, E + 1)
    if causal:
        states = cumsum(expand_dims(k, -1) * expand_dims(v, -2), axis=-3)  # (B, H, S, E, E + 1)
        y = matmul(expand_dims(q, -2), _last(states, q.shape[-2]))[..., 0, :]
    else:
        y = matmul(q, matmul(k.mT, v))  # (B, H, T, E + 1)
    total = y[..., -1:]
    return rounded(y[..., :-1] / where(total == 0, 1, total), dtype)


def _last(states, count):
    """The last ``count`` states; queries that stand before the first key find a state of 0."""
    missing = count - states.shape[-3]
    if missing <= 0:
        return states[..., -missing:, :, :]
    return pad(states, ((0, 0),) * (states.ndim - 3) + ((missing, 0), (0, 0), (0, 0)))


# ---- checks --------------------------------------------------------------------------------------


def _check_inputs(here, query, key, value, widths):
    shapes = f"{here}: query is {query.shape}, key is {key.shape}, value is {value.shape}"
    if min(query.ndim, key.ndim, value.ndim) < 3:
        raise ShapeError(f"{shapes}; each must be (batch, length, width)")
    for x, width in zip((query, key, value), widths):
        if width is not None and x.shape[-1] != width:
            wanted = ", ".join(str(width) for width in widths if width is not None)
            raise ShapeError(f"{shapes}; their widths must be {wanted}")
    if key.shape[:-1] != value.shape[:-1] or query.shape[:-2] != key.shape[:-2]:
        raise ShapeError(
            f"{shapes}; all must have one batch size, and key and value the same length"
        )


def _real(here, key_mask, key):
    """``key_mask``, held to one boolean for each key."""
    key_mask = as_tensor(key_mask, key, where=here)
    if key_mask.dtype != dtypes.bool_:
        raise DTypeError(
            f"{here}: key_mask is {key_mask.dtype}; it must be boolean, True = a real token"
        )
    if key_mask.shape != key.shape[:-1]:
        raise ShapeError(
            f"{here}: key_mask is {key_mask.shape}, key is {key.shape}; it must be "
            f"{key.shape[:-1]}, one boolean for each key"
        )
    return key_mask


def _allowed(here, mask, key_mask, query, key):
    """Who may attend whom, boolean (B, T, S), or None where all may attend all."""
    full = (*query.shape[:-1], key.shape[-2])
    parts = []
    if mask is not None:
        mask = as_tensor(mask, key, where=here)
        if mask.dtype != dtypes.bool_:
            raise DTypeError(
                f"{here}: mask is {mask.dtype}; a mask is boolean, True where the query may attend"
            )
        pairs = zip(reversed(mask.shape), reversed(full))
        if mask.ndim > len(full) or any(size not in (1, whole) for size, whole in pairs):
            raise ShapeError(
                f"{here}: mask is {mask.shape}; it must broadcast to (B, T, S) = {full}"
            )
        parts.append(broadcast_to(mask, full))
    if key_mask is not None:
        parts.append(broadcast_to(expand_dims(_real(here, key_mask, key), -2), full))
    return reduce(bitwise_and, parts) if parts else None
