"""MultiheadAttention: several attentions side by side, each in its own few dimensions."""

from ..backend import dtypes
from ..core import Tensor
from ..errors import DTypeError, ShapeError
from ..ops import expand_dims, linear, packed_attention, scaled_dot_product_attention, zeros
from ..ops.check import as_tensor
from ..ops.join import common_shape
from . import init
from .check import check_batch_first, check_probability, check_sizes, refuse
from .linear import Linear
from .module import Module
from .parameter import Parameter

__all__ = ["MultiheadAttention"]

_HERE = "MultiheadAttention"


class MultiheadAttention(Module):
    """Attention  y = W_o·[head₁; …; head_H]  with  headᵢ = softmax(qᵢ·kᵢᵀ/√E)·vᵢ  and  q = W_q·x ….

    Each head compares queries and keys in E = D/H dimensions of its own, so that one head may
    follow grammar while another looks for names. With ``num_kv_heads`` several query heads share a
    head of keys and values, which makes caches smaller.

    Args:
        embed_dim: the width of queries and outputs, D.
        num_heads: how many heads, H; must divide D.
        dropout: the probability with which attention weights are dropped in training.
        bias: whether the four maps have biases.
        kdim, vdim: the widths of keys and values where they are not D.
        num_kv_heads: heads of keys and values, Hk; must divide H.
        batch_first: True, the only layout there is; for code that spells it out.
        generator: where the random numbers come from; the thread's own unless given.

    Parameters: ``in_proj_weight`` (D + 2·Hk·E, D), W_q over W_k over W_v, or the three apart as
    ``q_proj_weight``, ``k_proj_weight``, ``v_proj_weight`` where kdim or vdim differ from D;
    ``in_proj_bias``; ``out_proj.weight``, ``out_proj.bias``.
    Shapes: query (B, T, D), key (B, S, kdim), value (B, S, vdim) → (B, T, D).
    Raises: ShapeError for sizes that do not fit or heads that do not divide; DTypeError for a float
    mask or a boolean bias; TypeError for PyTorch's names of masks, which mean the opposite.
    Reference: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762; Ainslie et al., "GQA",
    arXiv:2305.13245.

    Example: a sentence that looks at itself, and at another one.

        >>> import tinygrad_attn as ta
        >>> attend = ta.nn.MultiheadAttention(embed_dim=8, num_heads=2)
        >>> english, french = ta.randn((1, 5, 8)), ta.randn((1, 7, 8))
        >>> attend(english, causal=True).shape
        (1, 5, 8)
        >>> y, weights = attend(english, french, need_weights=True)
        >>> weights.shape
        (1, 2, 5, 7)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        num_kv_heads: int | None = None,
        batch_first: bool = True,
        generator=None,
    ):
        check_batch_first(_HERE, batch_first)
        check_probability(_HERE, dropout)
        self.embed_dim, self.num_heads, self.dropout = embed_dim, num_heads, dropout
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        self._check_sizes()
        self.head_dim = embed_dim // num_heads
        width = self.num_kv_heads * self.head_dim  # of all keys, and of all values
        self._rows = (embed_dim, width, width)  # of W_q, W_k and W_v
        is_packed = self.kdim == self.vdim == embed_dim
        self.in_proj_weight = Parameter(zeros((sum(self._rows), embed_dim))) if is_packed else None
        self.q_proj_weight = None if is_packed else Parameter(zeros((embed_dim, embed_dim)))
        self.k_proj_weight = None if is_packed else Parameter(zeros((width, self.kdim)))
        self.v_proj_weight = None if is_packed else Parameter(zeros((width, self.vdim)))
        self.in_proj_bias = Parameter(zeros(sum(self._rows))) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, generator=generator)
        self._draw(generator)

    def _check_sizes(self):
        D, H, Hk = self.embed_dim, self.num_heads, self.num_kv_heads
        check_sizes(
            _HERE, embed_dim=D, num_heads=H, num_kv_heads=Hk, kdim=self.kdim, vdim=self.vdim
        )
        if D % H:
            raise ShapeError(
                f"{_HERE}: embed_dim is {D}, num_heads is {H}; num_heads must divide embed_dim"
            )
        if H % Hk:
            raise ShapeError(
                f"{_HERE}: num_heads is {H}, num_kv_heads is {Hk}; the second must divide the first"
            )

    def reset_parameters(self, generator=None):
        """Draw W_q, W_k and W_v by Glorot's rule, W_o as in Linear; the biases become 0."""
        self.out_proj.reset_parameters(generator)
        self._draw(generator)

    def _draw(self, generator):
        for weight in (
            self.in_proj_weight,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
        ):
            if weight is not None:
                init.xavier_uniform_(weight, generator=generator)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        key_mask: Tensor | None = None,
        causal: bool = False,
        window: int | None = None,
        q_positions: Tensor | None = None,
        k_positions: Tensor | None = None,
        need_weights: bool = False,
        cache=None,
        **foreign,
    ):
        """Let every query look at the keys.

        Args:
            query, key, value: the key is the query unless given, the value is the key.
            mask: boolean, True = may attend; broadcasts to (B, H, T, S).
            bias: floats added to the scores; broadcasts likewise.
            key_mask: boolean (B, S), True = a real token, False = padding.
            causal, window, q_positions, k_positions: as in ``ta.scaled_dot_product_attention``.
            need_weights: return (y, weights) instead of y, the weights (B, H, T, S) for each head.
            cache: this layer's part of a step of a ``models.KVCache``, ``place.layer(i)``: the
                tokens are added to it, and look at all that it holds. Causal self-attention only.
        """
        refuse(_HERE, foreign)
        query = as_tensor(query, where=_HERE)
        key = query if key is None else as_tensor(key, where=_HERE)
        value = key if value is None else as_tensor(value, where=_HERE)
        self._check_inputs(query, key, value)
        mask = combine(mask, key_mask, key)
        positions = {"q_positions": q_positions, "k_positions": k_positions}
        rules = {"causal": causal, **positions}
        if cache is not None:
            given = {"key_mask": key_mask, **positions}
            self._check_cached(cache, key is query is value, causal, window, given)
            rules = cache.rules
        dropout = self.dropout if self.training else 0.0
        rules = dict(mask=mask, bias=bias, window=window, dropout=dropout, **rules)
        is_packed = key is query is value and self.in_proj_weight is not None
        if is_packed and cache is None and not need_weights:
            qkv = linear(query, self.in_proj_weight, self.in_proj_bias)
            return self.out_proj(packed_attention(qkv, self.num_heads, self.num_kv_heads, **rules))
        q, k, v = self._project(query, key, value)
        if cache is not None:
            k, v = cache.extend(k, v)  # (B, Hk, S, E)
        heads = scaled_dot_product_attention(q, k, v, return_weights=need_weights, **rules)
        heads, weights = heads if need_weights else (heads, None)
        y = self.out_proj(heads.swapaxes(-3, -2).reshape(query.shape))
        return (y, weights) if need_weights else y

    def _project(self, query, key, value):
        """q (B, H, T, E), k (B, Hk, S, E) and v (B, Hk, S, E)."""
        starts = (0, self._rows[0], self._rows[0] + self._rows[1])
        apart = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        projected = []
        for x, weight, start, rows in zip((query, key, value), apart, starts, self._rows):
            part = slice(start, start + rows)
            weight = self.in_proj_weight[part] if weight is None else weight
            bias = None if self.in_proj_bias is None else self.in_proj_bias[part]
            y = linear(x, weight, bias)  # (B, T, rows)
            heads = y.reshape(*y.shape[:-1], rows // self.head_dim, self.head_dim)
            projected.append(heads.swapaxes(-3, -2))
        return projected

    def _check_inputs(self, query, key, value):
        shapes = f"{_HERE}: query is {query.shape}, key is {key.shape}, value is {value.shape}"
        widths = (self.embed_dim, self.kdim, self.vdim)
        if min(query.ndim, key.ndim, value.ndim) < 2:
            raise ShapeError(f"{shapes}; each must be (batch, length, width)")
        if (query.shape[-1], key.shape[-1], value.shape[-1]) != widths:
            raise ShapeError(
                f"{shapes}; their widths must be {widths[0]}, {widths[1]} and {widths[2]}"
            )
        if key.shape[:-1] != value.shape[:-1] or query.shape[:-2] != key.shape[:-2]:
            raise ShapeError(
                f"{shapes}; all must have one batch size, and key and value the same length"
            )

    def _check_cached(self, cache, is_self_attention, causal, window, given):
        if not (is_self_attention and causal):
            raise ShapeError(
                f"{_HERE}: with a cache, tokens look back at those before them; give the query "
                "only, and causal=True"
            )
        for name, value in given.items():
            if value is not None:
                raise ShapeError(
                    f"{_HERE}: {name} is given beside a cache, which knows where its tokens stand; "
                    "padding is named once, in cache.step(length, key_mask)"
                )
        if cache.window is not None and (window is None or window > cache.window):
            raise ShapeError(
                f"{_HERE}: window is {window}, but the cache keeps no more than a window of "
                f"{cache.window}; they must be equal"
            )

    def extra_repr(self) -> str:
        parts = [f"embed_dim={self.embed_dim}", f"num_heads={self.num_heads}"]
        if self.num_kv_heads != self.num_heads:
            parts.append(f"num_kv_heads={self.num_kv_heads}")
        if self.kdim != self.embed_dim or self.vdim != self.embed_dim:
            parts.append(f"kdim={self.kdim}, vdim={self.vdim}")
        if self.dropout:
            parts.append(f"dropout={self.dropout}")
        return ", ".join(parts)


def combine(mask, key_mask, key):
    """One mask that broadcasts to (B, H, T, S): a pair is open if both masks say so."""
    if key_mask is None:
        return mask
    key_mask = as_tensor(key_mask, where=_HERE)
    if key_mask.dtype != dtypes.bool_:
        raise DTypeError(
            f"{_HERE}: key_mask is {key_mask.dtype}; it must be boolean, True = a real token"
        )
    if key_mask.shape != key.shape[:-1]:
        raise ShapeError(
            f"{_HERE}: key_mask is {key_mask.shape}, key is {key.shape}; "
            f"key_mask must be {key.shape[:-1]}, one boolean for each key"
        )
    key_mask = expand_dims(key_mask, (-3, -2))  # (B, 1, 1, S)
    mask = None if mask is None else as_tensor(mask, where=_HERE)
    if mask is None or mask.dtype != dtypes.bool_:  # a float mask is explained where masks are used
        return key_mask if mask is None else mask
    common_shape(f"{_HERE}: mask and key_mask, key is {key.shape}", mask.shape, key_mask.shape)
    return mask & key_mask
