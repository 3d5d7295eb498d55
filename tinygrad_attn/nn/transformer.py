"""The Transformer: attention to mix tokens, a small network to work on each, residuals around both.

    pre-norm   x + part(norm(x))        norm_first=True: deep stacks train without a warm-up
    post-norm  norm(x + part(x))        norm_first=False: the first paper's, and PyTorch's default

The masks of every layer here have one meaning: ``mask`` and ``key_mask`` are boolean, True where
one may look, ``bias`` is added to the scores. Those of a second sequence begin with ``cross_``.
Nothing is causal unless ``causal=True`` says so.

Reference: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762; for the place of the norm
Xiong et al., "On Layer Normalization in the Transformer Architecture", arXiv:2002.04745.
"""

import copy
from collections.abc import Callable
from functools import partial

from ..core import Tensor
from ..errors import DTypeError
from . import init
from .activation import GELU, Dropout, ReLU, SiLU
from .attention import MultiheadAttention
from .check import check_batch_first, check_sizes, refuse
from .container import ModuleList
from .linear import Linear
from .module import Module
from .norm import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

_ACTIVATIONS = {"relu": ReLU, "gelu": GELU, "silu": SiLU}


class _Block(Module):
    """What encoder and decoder layers share: parts, residuals, and the feed-forward network."""

    looks_across = False
    """Whether there is a second attention, to another sequence."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable = "relu",
        layer_norm_eps: float = 1e-5,
        *,
        norm_first: bool = False,
        bias: bool = True,
        num_kv_heads: int | None = None,
        batch_first: bool = True,
        generator=None,
    ):
        where = type(self).__name__
        check_batch_first(where, batch_first)
        check_sizes(where, d_model=d_model, nhead=nhead, dim_feedforward=dim_feedforward)
        if not callable(activation) and activation not in _ACTIVATIONS:
            raise DTypeError(
                f"{where}: activation is {activation!r}; it must be {', '.join(_ACTIVATIONS)}, or "
                "a function of a tensor"
            )
        attention = partial(
            MultiheadAttention, d_model, nhead, dropout, bias, num_kv_heads=num_kv_heads
        )
        norm = partial(LayerNorm, d_model, layer_norm_eps, bias=bias)
        self.norm_first = norm_first
        self.self_attn = attention(generator=generator)
        if self.looks_across:
            self.multihead_attn = attention(generator=generator)
        self.linear1 = Linear(d_model, dim_feedforward, bias, generator=generator)
        self.activation = activation if callable(activation) else _ACTIVATIONS[activation]()
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, generator=generator)
        self.norm1, self.dropout1 = norm(), Dropout(dropout)
        self.norm2, self.dropout2 = norm(), Dropout(dropout)
        if self.looks_across:
            self.norm3, self.dropout3 = norm(), Dropout(dropout)

    def _residual(self, x, norm, part):
        """x and what ``part`` makes of it, normalised before or after."""
        return x + part(norm(x)) if self.norm_first else norm(x + part(x))

    def _feed_forward(self, x):
        """Each token on its own: up to the inner width, through the activation, and down again."""
        return self.linear2(self.dropout(self.activation(self.linear1(x))))

    def extra_repr(self) -> str:
        return f"norm_first={self.norm_first}"


class TransformerEncoderLayer(_Block):
    """Self-attention, then a feed-forward network, each with dropout, a norm and a residual.

    Args:
        d_model: the width of the model, D.
        nhead: how many heads; must divide D.
        dim_feedforward: the inner width of the feed-forward network.
        dropout: its probability, everywhere.
        activation: "relu", "gelu", "silu", or a function of a tensor.
        layer_norm_eps, bias: passed on to the layers inside.
        norm_first: norms before the parts, not after the residuals.
        num_kv_heads: heads of keys and values, if fewer than ``nhead``.

    Parameters: ``self_attn.*``, ``linear1.*``, ``linear2.*``, ``norm1.*``, ``norm2.*``.
    Shapes: x (B, T, D) → (B, T, D).
    """

    def forward(
        self,
        src: Tensor,
        *,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        key_mask: Tensor | None = None,
        causal: bool = False,
        window: int | None = None,
        **foreign,
    ) -> Tensor:
        """Let the tokens of each sequence look at one another; masks as in MultiheadAttention."""
        refuse("TransformerEncoderLayer", foreign)
        look = partial(
            self.self_attn, mask=mask, bias=bias, key_mask=key_mask, causal=causal, window=window
        )
        x = self._residual(src, self.norm1, lambda x: self.dropout1(look(x)))
        return self._residual(x, self.norm2, lambda x: self.dropout2(self._feed_forward(x)))


class TransformerDecoderLayer(_Block):
    """Self-attention, attention to a memory, then a feed-forward network, each with a residual.

    Arguments as for TransformerEncoderLayer.

    Parameters: ``self_attn.*``, ``multihead_attn.*`` (to the memory), ``linear1.*``, ``linear2.*``,
    ``norm1.*``, ``norm2.*``, ``norm3.*``.
    Shapes: tgt (B, T, D), memory (B, S, D) → (B, T, D).
    """

    looks_across = True

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        *,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        key_mask: Tensor | None = None,
        causal: bool = False,
        window: int | None = None,
        cross_mask: Tensor | None = None,
        cross_bias: Tensor | None = None,
        cross_key_mask: Tensor | None = None,
        **foreign,
    ) -> Tensor:
        """Let the tokens look at one another, and at the memory by the masks called cross."""
        refuse("TransformerDecoderLayer", foreign)
        look = partial(
            self.self_attn, mask=mask, bias=bias, key_mask=key_mask, causal=causal, window=window
        )
        across = partial(
            self.multihead_attn,
            key=memory,
            mask=cross_mask,
            bias=cross_bias,
            key_mask=cross_key_mask,
        )
        x = self._residual(tgt, self.norm1, lambda x: self.dropout1(look(x)))
        x = self._residual(x, self.norm2, lambda x: self.dropout2(across(x)))
        return self._residual(x, self.norm3, lambda x: self.dropout3(self._feed_forward(x)))


class _Stack(Module):
    """A layer copied several times, one after the other, and a norm at the end if one is given."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None = None):
        check_sizes(type(self).__name__, num_layers=num_layers)
        self.layers = ModuleList(copy.deepcopy(layer) for _ in range(num_layers))
        self.norm = norm

    def _finish(self, x):
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """A stack of encoder layers.

    As in PyTorch the layers are copies of the one given, so they start out equal; ``init`` redraws
    them.

    Args:
        encoder_layer: the layer to copy.
        num_layers: how many.
        norm: a last norm, which pre-norm stacks need.

    Parameters: ``layers.0.*``, …, ``norm.*``.
    Shapes: src (B, T, D) → (B, T, D).
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None):
        super().__init__(encoder_layer, num_layers, norm)

    def forward(self, src: Tensor, **masks) -> Tensor:
        """Through all layers, each with the same masks; arguments as in TransformerEncoderLayer."""
        x = src
        for layer in self.layers:
            x = layer(x, **masks)
        return self._finish(x)


class TransformerDecoder(_Stack):
    """A stack of decoder layers; see TransformerEncoder.

    Parameters: ``layers.0.*``, …, ``norm.*``.
    Shapes: tgt (B, T, D), memory (B, S, D) → (B, T, D).
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None):
        super().__init__(decoder_layer, num_layers, norm)

    def forward(self, tgt: Tensor, memory: Tensor, **masks) -> Tensor:
        """Through all layers, each with the same masks; arguments as in TransformerDecoderLayer."""
        x = tgt
        for layer in self.layers:
            x = layer(x, memory, **masks)
        return self._finish(x)


class Transformer(Module):
    """An encoder for the source and a decoder for the target: the Transformer of the first paper.

    Embeddings, positions and the output map are not part of it. All matrices are drawn by Glorot's
    rule.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, norm_first, bias: as
            in TransformerEncoderLayer.
        num_encoder_layers, num_decoder_layers: how many of each.

    Parameters: ``encoder.layers.*``, ``encoder.norm.*``, ``decoder.layers.*``, ``decoder.norm.*``.
    Shapes: src (B, S, D), tgt (B, T, D) → (B, T, D).
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable = "relu",
        *,
        layer_norm_eps: float = 1e-5,
        norm_first: bool = False,
        bias: bool = True,
        batch_first: bool = True,
        generator=None,
    ):
        check_batch_first("Transformer", batch_first)
        sizes = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps)
        options = {"norm_first": norm_first, "bias": bias, "generator": generator}
        norm = partial(LayerNorm, d_model, layer_norm_eps, bias=bias)
        encoder_layer = TransformerEncoderLayer(*sizes, **options)
        decoder_layer = TransformerDecoderLayer(*sizes, **options)
        self.encoder = TransformerEncoder(encoder_layer, num_encoder_layers, norm())
        self.decoder = TransformerDecoder(decoder_layer, num_decoder_layers, norm())
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw all matrices anew by Glorot's rule; vectors stay as they are."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter, generator=generator)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        *,
        source_mask: Tensor | None = None,
        source_bias: Tensor | None = None,
        source_key_mask: Tensor | None = None,
        cross_key_mask: Tensor | None = None,
        **masks,
    ) -> Tensor:
        """Encode the source, then decode the target beside it.

        Args:
            source_mask, source_bias, source_key_mask: of the encoder.
            cross_key_mask: which encoded tokens the target may look at: those of
                ``source_key_mask`` unless given.
            masks: mask, bias, key_mask, causal, window, cross_mask, cross_bias of the decoder.
        """
        refuse("Transformer", [name for name in masks if name.startswith("src")], "source_")
        memory = self.encoder(src, mask=source_mask, bias=source_bias, key_mask=source_key_mask)
        cross_key_mask = source_key_mask if cross_key_mask is None else cross_key_mask
        return self.decoder(tgt, memory, cross_key_mask=cross_key_mask, **masks)
