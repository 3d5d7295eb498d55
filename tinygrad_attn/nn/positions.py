"""Positions: attention sees a set of tokens, and has to be told in which order they stand.

    added to the tokens      SinusoidalPositions, LearnedPositions
    added to the scores      RelativePositionBias; ``ta.alibi_bias``, which learns nothing
    turning q and k          ``ta.rope``

The first say where a token stands, the others how far apart two of them are. And a causal model
can do without: that each token sees one more than the last already tells them apart.
"""

import math

from ..backend import dtypes
from ..core import Tensor
from ..errors import ShapeError
from ..ops import (
    absolute,
    arange,
    broadcast_to,
    embedding,
    floor,
    log,
    maximum,
    minimum,
    moveaxis,
    rope,
    where,
    zeros,
)
from ..ops.alibi import ahead
from ..ops.check import as_float
from ..ops.fused.ids import check_ids
from ..ops.rope import fit_positions
from . import init
from .check import check_sizes
from .module import Module
from .parameter import Parameter

__all__ = ["LearnedPositions", "RelativePositionBias", "SinusoidalPositions"]


class _AddedPositions(Module):
    """What the two have in common: tokens x (B, T, D)."""

    def _tokens(self, x):
        """x as floats, checked."""
        where = type(self).__name__
        x = as_float(x, where=where)
        if x.ndim < 2 or x.shape[-1] != self.d_model:
            raise ShapeError(f"{where}: x is {x.shape}; it must be (batch, length, {self.d_model})")
        return x


class SinusoidalPositions(_AddedPositions):
    """Waves  y = x + PE(p):  PE(p)₂ᵢ = sin(p·ωᵢ),  PE(p)₂ᵢ₊₁ = cos(p·ωᵢ),  ωᵢ = base^(−2i/D).

    Slow and fast waves tell positions apart as the digits of a number do, and PE(p) is PE(0)
    turned as ``ta.rope`` turns, so that a step of n tokens is one rotation wherever it begins.
    Nothing is learned, and no length is the last.

    Args:
        d_model: the width of the tokens, D, an even number.
        base: the longest wavelength is about 2π·base tokens.

    Shapes: x (B, T, D) → the same; positions (T,) or (B, T), 0 … T−1 unless given.
    Raises: ShapeError for an odd width, or for x or positions that do not fit; DTypeError for
    positions that are no whole numbers.
    Reference: Vaswani et al., "Attention Is All You Need", arXiv:1706.03762, §3.5.
    """

    def __init__(self, d_model: int, base: float = 10000.0):
        check_sizes("SinusoidalPositions", d_model=d_model)
        if d_model % 2:
            raise ShapeError(
                f"SinusoidalPositions: d_model is {d_model}; sines and cosines come in pairs: it "
                "must be even"
            )
        if not 0 < base < math.inf:
            raise ShapeError(f"SinusoidalPositions: base is {base}; it must be a positive number")
        self.d_model, self.base = d_model, base

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        x = self._tokens(x)
        positions = arange(x.shape[-2], device=x.device) if positions is None else positions
        positions = fit_positions(type(self).__name__, positions, x)
        start = (arange(self.d_model, device=x.device) % 2).astype(x.dtype)  # PE(0) = 0, 1, 0, 1 …
        start = broadcast_to(start, (*positions.shape, self.d_model))
        return x + rope(start, -positions, theta=self.base, interleaved=True)

    def extra_repr(self) -> str:
        return f"{self.d_model}" + ("" if self.base == 10000.0 else f", base={self.base}")


class LearnedPositions(_AddedPositions):
    """A vector for every place  y = x + W[p], drawn from a normal distribution of deviation 0.02.

    Args:
        max_length: how many places there are; the longest sequence there can be.
        d_model: the width of the tokens, D.
        generator: where the random numbers come from; the thread's own unless given.

    Parameters: ``weight`` (max_length, D).
    Shapes: x (B, T, D) → the same; positions (T,) or (B, T), 0 … T−1 unless given.
    Raises: ShapeError for a sequence longer than ``max_length``, or x or positions that do not fit;
    IndexRangeError for a position outside 0 … max_length−1; DTypeError for one that is no whole
    number.
    Reference: Gehring et al., "Convolutional Sequence to Sequence Learning", arXiv:1705.03122.
    """

    def __init__(self, max_length: int, d_model: int, *, generator=None):
        check_sizes("LearnedPositions", max_length=max_length, d_model=d_model)
        self.max_length, self.d_model = max_length, d_model
        self.weight = Parameter(zeros((max_length, d_model)))
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw the vectors anew."""
        init.normal_(self.weight, std=0.02, generator=generator)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        x = self._tokens(x)
        if positions is not None:
            positions = fit_positions(type(self).__name__, positions, x)
            table = f"there are {self.max_length} places"
            check_ids("LearnedPositions", "position", positions, self.max_length, table)
            return x + embedding(positions, self.weight)
        if x.shape[-2] > self.max_length:
            raise ShapeError(
                f"LearnedPositions: x is {x.shape}, {x.shape[-2]} tokens long; there are vectors "
                f"for {self.max_length} places: give no longer sequence, or make more of them"
            )
        return x + self.weight[: x.shape[-2]]

    def extra_repr(self) -> str:
        return f"{self.max_length}, {self.d_model}"


class RelativePositionBias(Module):
    """A bias for every distance  b[h, t, s] = W[bucket(kₛ − qₜ), h], for the scores of attention.

    Near distances have a bucket each, far ones share buckets that widen like a logarithm, up to
    ``max_distance``, beyond which all is equally far. With n = ``num_buckets``, halved where keys
    after the query have buckets of their own, and e = n/2:

        bucket(d) = d                                        for d < e
                    e + ⌊ln(d/e) / ln(max_distance/e)·(n − e)⌋   beyond, but at most n − 1

    Args:
        num_heads: how many heads, H, each with biases of its own.
        num_buckets: how many biases a head has.
        max_distance: from where on distances are no longer told apart.
        bidirectional: whether keys after the query have buckets of their own; in a causal model
            there are none, and False gives all buckets to those before.
        generator: where the random numbers come from; the thread's own unless given.

    Parameters: ``weight`` (num_buckets, H), drawn from a normal distribution of deviation 0.02; T5
    calls it ``relative_attention_bias.weight``. One such module serves all layers of a model.
    Shapes: q_positions (T,), k_positions (S,) → (H, T, S); or (B, T) and (B, S) → (B, H, T, S).
    Raises: ShapeError for sizes below 1, a number of buckets that cannot be halved, or a
    ``max_distance`` that is not beyond the near ones; for positions as ``ta.alibi_bias``.
    Reference: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
    Transformer", arXiv:1910.10683.

    Example:
        >>> import tinygrad_attn as ta
        >>> bias = ta.nn.RelativePositionBias(num_heads=2)
        >>> attend = ta.nn.MultiheadAttention(8, 2)
        >>> attend(ta.ones(1, 5, 8), bias=bias(ta.arange(5))).shape
        (1, 5, 8)
    """

    def __init__(
        self,
        num_heads: int,
        num_buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
        *,
        generator=None,
    ):
        where = "RelativePositionBias"
        check_sizes(where, num_heads=num_heads, num_buckets=num_buckets, max_distance=max_distance)
        sides = 2 if bidirectional else 1
        near = num_buckets // (2 * sides)
        if num_buckets % (2 * sides) or max_distance <= near:
            raise ShapeError(
                f"{where}: num_buckets is {num_buckets}, max_distance is {max_distance}; the first "
                f"must be a multiple of {2 * sides} (bidirectional={bidirectional}), the second "
                f"above num_buckets/{2 * sides}"
            )
        self.num_heads, self.num_buckets, self.max_distance = num_heads, num_buckets, max_distance
        self.bidirectional = bidirectional
        self.weight = Parameter(zeros((num_buckets, num_heads)))
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw the biases anew."""
        init.normal_(self.weight, std=0.02, generator=generator)

    def forward(self, q_positions: Tensor, k_positions: Tensor | None = None) -> Tensor:
        """The biases; the keys stand where the queries stand unless ``k_positions`` are given."""
        before = ahead("RelativePositionBias", q_positions, k_positions)  # (T, S) or (B, T, S)
        return moveaxis(self.weight[self._bucket(before)], -1, -3)

    def _bucket(self, before):
        """The bucket of each distance; ``before`` is how far the key stands before the query."""
        if self.bidirectional:
            count = self.num_buckets // 2
            start, distance = where(before < 0, count, 0), absolute(before)
        else:
            count, start, distance = self.num_buckets, 0, maximum(before, 0)
        near = count // 2
        widths = (count - near) / math.log(self.max_distance / near)
        ratio = maximum(distance, near).astype(dtypes.float32) / near
        far = floor(log(ratio) * widths).astype(dtypes.int64)
        return start + where(distance < near, distance, minimum(near + far, count - 1))

    def extra_repr(self) -> str:
        return (
            f"num_heads={self.num_heads}, num_buckets={self.num_buckets}, "
            f"max_distance={self.max_distance}, bidirectional={self.bidirectional}"
        )
