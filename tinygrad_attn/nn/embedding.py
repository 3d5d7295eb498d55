"""Embedding: a learned vector for every token."""

from ..core import Tensor
from ..errors import ShapeError
from ..ops import embedding, expand_dims, where, zeros
from ..ops.check import as_tensor, whole_number
from . import init
from .check import check_sizes
from .module import Module
from .parameter import Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """Look-up  y = W[ids], drawn from the standard normal distribution.

    Args:
        num_embeddings: how many tokens there are, V.
        embedding_dim: the width of their vectors, D.
        padding_idx: a token that stands for nothing: its vector starts as zeros and is never
            trained. Negative ones count from the end.
        generator: where the random numbers come from; the thread's own unless given.

    Parameters: ``weight`` (V, D).
    Shapes: ids (...) of whole numbers in 0..V−1 → (..., D).
    Raises: ShapeError for sizes below 1 or a padding_idx that is no token; IndexRangeError for an
    id outside 0..V−1.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        generator=None,
    ):
        check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None:
            whole_number("Embedding", "padding_idx", padding_idx)
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ShapeError(
                    f"Embedding: padding_idx is {padding_idx}; it must be in "
                    f"{-num_embeddings}..{num_embeddings - 1} (num_embeddings is {num_embeddings})"
                )
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        self.weight = Parameter(zeros((num_embeddings, embedding_dim)))
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw the vectors anew."""
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            row = self.weight.detach()
            row[self.padding_idx] = 0.0

    def forward(self, ids: Tensor) -> Tensor:
        """W[ids]; where padding stands, the vector passes no gradient back."""
        y = embedding(ids, self.weight)
        if self.padding_idx is None:
            return y
        is_padding = expand_dims(as_tensor(ids) == self.padding_idx, -1)
        return where(is_padding, y.detach(), y)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
