"""GPT: a decoder-only Transformer, which reads tokens and at each one predicts the next.

    x = tokens[ids] + positions[0, 1, 2, …]    what, and where
    x = x + attention(norm(x))                 look back for what matters       } n_layer times
    x = x + mlp(norm(x))                       think about what was found       }
    logits = norm(x) · tokensᵀ                 compare with every token

Each layer *adds* to x, so the gradient has a straight way down to the first; the norms stand before
the layers and not on that way (pre-norm). The table that turns tokens into vectors also turns
vectors into logits (a tied head): what is read as alike is predicted as alike.

Where the tokens stand, and which keys a cache adds to theirs, is gathered in a ``place``, which is
handed down to attention: see ``place.py``.

Names of the parameters, for L in 0..n_layer−1. Linear weights are (out, in); each Linear has a bias
too, (out,), and with bias=False there are no biases anywhere. The vectors for positions are there
with positions="learned" only:

    tokens.weight  (V, D)                              positions.weight  (block_size, D)
    blocks.L.norm1.weight .bias  (D,)                  blocks.L.norm2.weight .bias  (D,)
    blocks.L.attention.query.weight  (H·E, D)          blocks.L.mlp.up.weight    (4·D, D)
    blocks.L.attention.key.weight    (Hk·E, D)         blocks.L.mlp.down.weight  (D, 4·D)
    blocks.L.attention.value.weight  (Hk·E, D)         norm.weight .bias  (D,)
    blocks.L.attention.out.weight    (D, H·E)

Reference: Radford et al., "Language Models are Unsupervised Multitask Learners" (GPT-2); Vaswani et
al., "Attention Is All You Need", arXiv:1706.03762.
"""

import math

from .. import nn
from ..core import Tensor, no_grad
from ..errors import ShapeError
from ..inside import capture_attention
from ..nn import init
from ..nn.linear import are_alike, is_plain
from ..ops import (
    alibi_bias,
    concatenate,
    gelu,
    linear,
    packed_attention,
    packed_linear,
    rope,
    scaled_dot_product_attention,
    stack,
)
from ..ops.check import as_tensor
from .cache import KVCache
from .config import GPTConfig
from .generate import generate, stream
from .place import Place, check_key_mask
from .texts import evaluating

__all__ = ["GPT", "GPTConfig"]


class GPT(nn.Module):
    """A stack of blocks between a table of token vectors and the same table read backwards.

    Shapes: ids (B, T) of whole numbers in 0..V−1 → logits (B, T, V); those at t know tokens 0..t
    only.

    Example:
        >>> import tinygrad_attn as ta
        >>> from tinygrad_attn.models import GPT, GPTConfig
        >>> model = GPT(GPTConfig(vocab_size=10, block_size=8, n_layer=2, n_head=2, n_embd=16))
        >>> model(ta.tensor([[3, 1, 4]])).shape
        (1, 3, 10)
    """

    def __init__(self, config: GPTConfig):
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = None
        if config.positions == "learned":
            self.positions = nn.LearnedPositions(config.block_size, config.n_embd)
        elif config.positions == "sinusoidal":
            self.positions = nn.SinusoidalPositions(config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self._initialize()

    def forward(
        self, ids: Tensor, *, cache: KVCache | None = None, key_mask: Tensor | None = None
    ) -> Tensor:
        """Logits for the token after each of ``ids``.

        With a ``cache`` the ids continue what it holds: they attend it, and are added to it. With a
        ``key_mask`` (B, T) only the ids at which it is True are read; the others are padding, on
        whichever side, and the logits there mean nothing.

        Raises: ShapeError for ids that are not (B, T), empty, or longer than the context, what the
        cache holds included, and for the cache of another model or batch; IndexRangeError for an id
        outside 0..V−1; ShapeError or DTypeError for a key_mask that is no booleans (B, T).
        """
        ids = as_tensor(ids, where="GPT")
        key_mask = self._check(ids, cache, key_mask)
        x = self.tokens(ids)  # (B, T, D)
        if cache is None:
            return self._read(x, Place.whole(ids.shape, key_mask, device=x.device))
        logits = []
        for start in range(0, ids.shape[1], cache.chunk):
            part = slice(start, start + cache.chunk)
            tokens, real = x[:, part], None if key_mask is None else key_mask[:, part]
            with cache.step(tokens.shape[1], real) as place:
                logits.append(self._read(tokens, place))
        return logits[0] if len(logits) == 1 else concatenate(logits, axis=1)

    def _read(self, x, place):
        """Logits (B, T, V) of tokens x (B, T, D) that stand at ``place``."""
        bias = None
        if self.positions is not None:
            x = self.positions(x, None if place.is_usual else place.positions)
        if self.config.positions == "alibi":
            where = (place.positions, place.key_positions)
            bias = alibi_bias(self.config.n_head, *where, dtype=x.dtype)  # ([B,] H, T, S)
        x = self.dropout(x)
        for i, block in enumerate(self.blocks):
            x = block(x, place.layer(i), bias)
        return linear(self.norm(x), self.tokens.weight)

    def attention(self, ids: Tensor) -> Tensor:
        """Who looks at whom: the weights of all heads, (n_layer, B, H, T, T); rows sum to 1."""
        with evaluating(self), no_grad(), capture_attention() as maps:
            self(ids)
        return stack(list(maps.values()))

    def new_cache(self, batch: int) -> KVCache:
        """An empty cache for ``batch`` sequences: room for the context, or for two windows."""
        size, window = self.config.longest, self.config.window
        if size is None or (window is not None and 2 * window < size):
            size = 2 * window
        else:
            window = None  # the context fits, and nothing has to be let go
        return KVCache(**self._form(batch), size=size, window=window)

    def _form(self, batch):
        """What the cache of this model is like."""
        config, table = self.config, self.tokens.weight
        sizes = {"layers": config.n_layer, "batch": batch, "heads": config.n_kv_head}
        width = config.n_embd // config.n_head
        return {**sizes, "width": width, "dtype": table.dtype, "device": table.device}

    def generate(self, ids, n: int, **options) -> Tensor | list[Tensor]:
        """``ids`` and ``n`` tokens more: see ``models.generate`` for the options."""
        return generate(self, ids, n, **options)

    def stream(self, ids, n: int, **options):
        """The ``n`` tokens after ``ids`` one by one, as they are chosen: see ``models.stream``."""
        return stream(self, ids, n, **options)

    def _check(self, ids, cache, key_mask):
        """Hold the arguments to what this model can read; returns the key_mask as a Tensor."""
        if ids.ndim != 2 or not ids.size:
            raise ShapeError(
                f"GPT: ids is {tuple(ids.shape)}; it must be (B, T), neither of them 0"
            )
        batch = ids.shape[0]
        if cache is not None and cache.form != self._form(batch):
            raise ShapeError(
                f"GPT: ids is {tuple(ids.shape)}, the cache is for {_listed(cache.form)}; it must "
                f"be for {_listed(self._form(batch))}: use model.new_cache({batch})"
            )
        key_mask = None if key_mask is None else check_key_mask("GPT", key_mask, ids.shape)
        past, longest = [0] * batch if cache is None else cache.lengths, self.config.longest
        if longest is None or max(past) + ids.shape[1] <= longest:
            return key_mask  # whichever are padding: nobody has to look
        new = [ids.shape[1]] * batch if key_mask is None else key_mask.sum(axis=1).numpy()
        total, held = max((old + more, old) for old, more in zip(past, new))
        if total > longest:
            after = f" after {held} in the cache" if held else ""
            raise ShapeError(
                f"GPT: ids is {tuple(ids.shape)}, {total - held} tokens{after}; the context of "
                f"this model is {longest}: give at most {longest - held}"
            )
        return key_mask

    def _initialize(self):
        """Small normal weights, and smaller ones where a layer adds to x.

        2·n_layer such additions would make the variance of x grow with depth; dividing their
        standard deviation by √(2·n_layer) keeps it the same for every depth.
        """
        added = 0.02 / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                is_last = name.endswith(("attention.out.weight", "mlp.down.weight"))
                init.normal_(parameter, std=added if is_last else 0.02)
            elif name.endswith("bias"):
                init.zeros_(parameter)


class Block(nn.Module):
    """One layer: attention moves information between tokens, the mlp works on each token alone.

    Both are handed the residual, x, and return it with what they found added: their last product
    can do that on the way.
    """

    def __init__(self, config: GPTConfig):
        self.norm1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attention = CausalSelfAttention(config)
        self.norm2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x, place, bias=None):
        """(B, T, D) → (B, T, D)."""
        x = self.attention(self.norm1(x), place, bias, residual=x)
        return self.mlp(self.norm2(x), residual=x)


class CausalSelfAttention(nn.Module):
    """Each token asks itself and all before it a question, and takes from each what answers.

    Query, key and value are three maps of the same x. Where nothing comes between them and
    attention, no rotation, cache or hook, one product with the weights of all three does their
    work, and they are not called themselves.
    """

    def __init__(self, config: GPTConfig):
        self.heads, self.kv_heads = config.n_head, config.n_kv_head
        self.is_rotary, self.window = config.positions == "rope", config.window
        width = config.n_embd // config.n_head * config.n_kv_head
        self.query = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.key = nn.Linear(config.n_embd, width, bias=config.bias)
        self.value = nn.Linear(config.n_embd, width, bias=config.bias)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, place, bias=None, residual=None):
        """(B, T, D) → (B, T, D), added to the residual if there is one."""
        rules = {"bias": bias, "window": self.window, "dropout": self.dropout.rate, **place.rules}
        parts = self.query, self.key, self.value
        nothing_between = place.is_whole and not self.is_rotary
        if nothing_between and are_alike(parts):  # one product makes q, k and v
            qkv = packed_linear(x, [p.weight for p in parts], [p.bias for p in parts])
            y = packed_attention(qkv, self.heads, self.kv_heads, **rules)
        else:
            q, k, v = self._project(x, place)
            y = _join_heads(scaled_dot_product_attention(q, k, v, **rules))
        return _added(self.out, y, self.dropout, residual)

    def _project(self, x, place):
        """What each token asks, q (B, H, T, E); what answers, k, with what, v (B, Hk, S, E).

        Queries and keys may have to turn first, and the ``place`` of the tokens adds the keys and
        values of those before them, if there are any.
        """
        q = _split_heads(self.query(x), self.heads)
        k, v = (_split_heads(part(x), self.kv_heads) for part in (self.key, self.value))
        if self.is_rotary:
            q, k = rope(q, place.positions), rope(k, place.positions)
        return q, *place.extend(k, v)


class MLP(nn.Module):
    """Widen, bend, narrow: y = W₂·gelu(W₁·x)."""

    def __init__(self, config: GPTConfig):
        self.up = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.down = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, residual=None):
        """(B, T, D) → (B, T, D), added to the residual if there is one."""
        x = self.up(x, activation="gelu_tanh") if is_plain(self.up) else gelu(self.up(x), "tanh")
        return _added(self.down, x, self.dropout, residual)


def _added(layer, x, dropout, residual):
    """residual + dropout(layer(x)), if there is a residual: one op, where the layer is plain."""
    if is_plain(layer):
        return layer(x, residual=residual, dropout=dropout.rate)
    y = dropout(layer(x))
    return y if residual is None else residual + y


def _listed(form):
    """What a cache is like, in words."""
    return ", ".join(f"{name} {value}" for name, value in form.items())


def _split_heads(x, heads):
    """(B, T, H·E) → (B, H, T, E)."""
    batch, length, width = x.shape
    return x.reshape(batch, length, heads, width // heads).swapaxes(1, 2)


def _join_heads(x):
    """(B, H, T, E) → (B, T, H·E)."""
    batch, heads, length, width = x.shape
    return x.swapaxes(1, 2).reshape(batch, length, heads * width)
