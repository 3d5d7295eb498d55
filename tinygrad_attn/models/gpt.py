"""GPT: a decoder-only Transformer, which reads tokens and at each one predicts the next.

    x = tokens[ids] + positions                what, and where
    x = x + attention(norm(x))                 look back for what matters       } n_layer times
    x = x + mlp(norm(x))                       think about what was found       }
    logits = norm(x) · tokensᵀ                 compare with every token

Each layer *adds* to x, so the gradient has a straight way down to the first; the norms stand before
the layers and not on that way (pre-norm). The table that turns tokens into vectors also turns
vectors into logits (a tied head): what is read as alike is predicted as alike.

Names of the parameters, for L in 0..n_layer−1. Linear weights are (out, in); each Linear has a bias
too, (out,), and with bias=False there are no biases anywhere:

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
from dataclasses import dataclass

from .. import nn
from ..core import Tensor, no_grad
from ..errors import ShapeError
from ..nn import init
from ..nn.check import check_sizes
from ..ops import gelu, linear, scaled_dot_product_attention, stack
from ..ops.check import as_tensor
from .cache import KVCache
from .generate import evaluating, generate, stream

__all__ = ["GPT", "GPTConfig"]


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT, checked when they are set.

    Args:
        vocab_size: how many different tokens there are, V.
        block_size: the longest sequence the model can read, its context.
        n_layer: blocks on top of each other.
        n_head: attention heads a block, H; each is n_embd / n_head wide, E.
        n_embd: width of the vectors between the blocks, D.
        n_kv_head: heads of keys and values, Hk, a divisor of n_head (grouped queries); n_head if
            None.
        dropout: probability of dropping, in training, an embedding, an attention weight, a layer's
            output.
        bias: whether Linear and LayerNorm have biases.

    Raises: ShapeError for sizes that are not positive or do not divide; DTypeError for fractions.
    """

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    n_kv_head: int | None = None
    dropout: float = 0.0
    bias: bool = True

    def __post_init__(self):
        if self.n_kv_head is None:
            object.__setattr__(self, "n_kv_head", self.n_head)
        names = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "n_kv_head")
        check_sizes("GPTConfig", **{name: getattr(self, name) for name in names})
        for whole, part in (("n_embd", "n_head"), ("n_head", "n_kv_head")):
            if getattr(self, whole) % getattr(self, part):
                raise ShapeError(
                    f"GPTConfig: {whole} {getattr(self, whole)} is not divisible by {part} "
                    f"{getattr(self, part)}; it must be a multiple of it"
                )
        if not 0 <= self.dropout < 1:
            raise ShapeError(
                f"GPTConfig: dropout is {self.dropout}; it must be in 0..1, 1 excluded"
            )


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
        self.positions = nn.Embedding(config.block_size, config.n_embd)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.norm = nn.LayerNorm(config.n_embd, bias=config.bias)
        self._initialize()

    def forward(self, ids: Tensor, *, cache: KVCache | None = None) -> Tensor:
        """Logits for the token after each of ``ids``.

        With a ``cache`` the ids continue what it holds: they attend it, and are added to it.
        Raises: ShapeError for ids that are not (B, T), empty, or longer than the context, what the
        cache holds included; IndexRangeError for an id outside 0..V−1.
        """
        ids = as_tensor(ids)
        past = 0 if cache is None else cache.length
        self._check(ids, past)
        length = ids.shape[1]
        x = self.tokens(ids) + self.positions.weight[past : past + length]  # (B, T, D)
        x = self.dropout(x)
        for i, block in enumerate(self.blocks):
            x = block(x, None if cache is None else cache.layer(i))
        if cache is not None:
            cache.advance(length)
        return linear(self.norm(x), self.tokens.weight)  # (B, T, V)

    def attention(self, ids: Tensor) -> Tensor:
        """Who looks at whom: the weights of all heads, (n_layer, B, H, T, T); rows sum to 1."""
        found = []

        def look(part, args, result):
            found.append(part.weights(args[0]))

        stop = [block.attention.register_forward_hook(look) for block in self.blocks]
        try:
            with evaluating(self), no_grad():
                self(ids)
        finally:
            for remove in stop:
                remove()
        return stack(found)

    def new_cache(self, batch: int) -> KVCache:
        """An empty cache for ``batch`` sequences, as long as the context."""
        config, table = self.config, self.tokens.weight
        return KVCache(
            config.n_layer,
            batch,
            config.n_kv_head,
            config.block_size,
            config.n_embd // config.n_head,
            dtype=table.dtype,
            device=table.device,
        )

    def generate(self, ids: Tensor, n: int, **options) -> Tensor:
        """``ids`` and ``n`` tokens more: see ``models.generate`` for the options."""
        return generate(self, ids, n, **options)

    def stream(self, ids: Tensor, n: int, **options):
        """The ``n`` tokens after ``ids`` one by one, as they are chosen: see ``models.stream``."""
        return stream(self, ids, n, **options)

    def _check(self, ids, past):
        if ids.ndim != 2 or not ids.size:
            raise ShapeError(
                f"GPT: ids is {tuple(ids.shape)}; it must be (B, T), neither of them 0"
            )
        if past + ids.shape[1] > self.config.block_size:
            held = f" after {past} in the cache" if past else ""
            raise ShapeError(
                f"GPT: ids is {tuple(ids.shape)}, {ids.shape[1]} tokens{held}; the context of this "
                f"model is {self.config.block_size}: give at most {self.config.block_size - past}"
            )

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
    """One layer: attention moves information between tokens, the mlp works on each token alone."""

    def __init__(self, config: GPTConfig):
        self.norm1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attention = CausalSelfAttention(config)
        self.norm2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x, past=None):
        """(B, T, D) → (B, T, D)."""
        x = x + self.attention(self.norm1(x), past)
        return x + self.mlp(self.norm2(x))


class CausalSelfAttention(nn.Module):
    """Each token asks itself and all before it a question, and takes from each what answers."""

    def __init__(self, config: GPTConfig):
        self.heads, self.kv_heads = config.n_head, config.n_kv_head
        width = config.n_embd // config.n_head * config.n_kv_head
        self.query = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.key = nn.Linear(config.n_embd, width, bias=config.bias)
        self.value = nn.Linear(config.n_embd, width, bias=config.bias)
        self.out = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, past=None):
        """(B, T, D) → (B, T, D).

        The last query stands at the last key, so the same call is right for a whole sequence and,
        with the keys and values of the ``past`` before them, for the next token or the next few.
        """
        q, k, v = self._project(x)
        if past is not None:
            k, v = past.extend(k, v)  # (B, Hk, S, E)
        dropout = self.dropout.p if self.training else 0.0
        y = scaled_dot_product_attention(q, k, v, causal=True, dropout=dropout)
        return self.dropout(self.out(_join_heads(y)))

    def weights(self, x):
        """How much each token takes from each, (B, H, T, T), in a whole sequence x (B, T, D)."""
        return scaled_dot_product_attention(*self._project(x), causal=True, return_weights=True)[1]

    def _project(self, x):
        """What each token asks (B, H, T, E), what it answers to, what it gives (B, Hk, T, E)."""
        return (
            _split_heads(self.query(x), self.heads),
            _split_heads(self.key(x), self.kv_heads),
            _split_heads(self.value(x), self.kv_heads),
        )


class MLP(nn.Module):
    """Widen, bend, narrow: y = W₂·gelu(W₁·x)."""

    def __init__(self, config: GPTConfig):
        self.up = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.down = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):
        """(B, T, D) → (B, T, D)."""
        return self.dropout(self.down(gelu(self.up(x), approximate="tanh")))


def _split_heads(x, heads):
    """(B, T, H·E) → (B, H, T, E)."""
    batch, length, width = x.shape
    return x.reshape(batch, length, heads, width // heads).swapaxes(1, 2)


def _join_heads(x):
    """(B, H, T, E) → (B, T, H·E)."""
    batch, heads, length, width = x.shape
    return x.swapaxes(1, 2).reshape(batch, length, heads * width)
