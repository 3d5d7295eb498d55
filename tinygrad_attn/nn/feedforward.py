"""SwiGLU: the feed-forward network of most language models since 2020."""

from ..core import Tensor
from ..ops import swiglu
from .activation import Dropout
from .check import check_sizes
from .linear import Linear
from .module import Module

__all__ = ["SwiGLU"]


class SwiGLU(Module):
    """Gated feed-forward  y = W₂·(silu(W₁·x) ∘ W₃·x),  silu(z) = z·σ(z).

    Two maps widen each token: W₁ decides, through its activation, how much passes of what W₃ says,
    and W₂ narrows it again. A product of two things that were learned can express what one
    activation cannot. Three matrices of width 8/3·D have as many weights as two of 4·D.

    Args:
        d_model: the width of the tokens, D.
        dim_feedforward: the inner width, 8/3·D unless given, rounded up.
        bias: whether the three maps have biases.
        dropout: the probability with which inner elements are dropped in training.
        generator: where the random numbers come from; the thread's own unless given.

    Parameters: ``w1.weight`` (inner, D), the gate; ``w2.weight`` (D, inner), the way back;
    ``w3.weight`` (inner, D), what is gated; ``w1.bias``, ``w2.bias``, ``w3.bias`` if there are any.
    Llama's checkpoints call them so too; in the paper they are W, W₂ and V.
    Shapes: x (..., D) → the same.
    Raises: ShapeError for a size below 1, or an input of another width.
    Reference: Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202.

    Example:
        >>> import tinygrad_attn as ta
        >>> ta.nn.SwiGLU(48)
        SwiGLU(
          (w1): Linear(in_features=48, out_features=128, bias=False)
          (w2): Linear(in_features=128, out_features=48, bias=False)
          (w3): Linear(in_features=48, out_features=128, bias=False)
          (dropout): Dropout(p=0.0)
        )
    """

    def __init__(
        self,
        d_model: int,
        dim_feedforward: int | None = None,
        bias: bool = False,
        dropout: float = 0.0,
        *,
        generator=None,
    ):
        check_sizes("SwiGLU", d_model=d_model)
        inner = -(-8 * d_model // 3) if dim_feedforward is None else dim_feedforward
        check_sizes("SwiGLU", dim_feedforward=inner)
        self.w1 = Linear(d_model, inner, bias, generator=generator)
        self.w2 = Linear(inner, d_model, bias, generator=generator)
        self.w3 = Linear(d_model, inner, bias, generator=generator)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(self.dropout(swiglu(self.w1(x), self.w3(x))))
