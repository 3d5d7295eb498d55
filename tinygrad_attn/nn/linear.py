"""Linear: the affine map that every network is made of."""

import math

from ..core import Tensor
from ..ops import linear, zeros
from . import init
from .check import check_sizes
from .module import Module
from .parameter import Parameter

__all__ = ["Linear"]


class Linear(Module):
    """Affine map  y = x·Wᵀ + b.

    W and b are drawn from U(−1/√in, 1/√in), so the size of what comes out does not depend on how
    wide the input is.

    Args:
        in_features, out_features: the last size of the input and of the output.
        bias: whether there is a b.
        generator: where the random numbers come from; the thread's own unless given.

    Parameters: ``weight`` (out, in), ``bias`` (out,).
    Shapes: x (..., in) → (..., out).
    Raises: ShapeError for a size below 1, or an input of another width.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, generator=None):
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(zeros((out_features, in_features)))
        self.bias = Parameter(zeros(out_features)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator=None):
        """Draw the weights anew."""
        bound = 1 / math.sqrt(self.in_features)
        init.uniform_(self.weight, -bound, bound, generator)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator)

    @property
    def is_plain(self) -> bool:
        """Whether to call this layer is to apply W and b and nothing else: what may be inlined."""
        is_watched = self._forward_hooks or self._forward_pre_hooks or "forward" in vars(self)
        return type(self) is Linear and not is_watched

    def forward(
        self,
        x: Tensor,
        *,
        activation: str | None = None,
        residual: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:
        """residual + drop(activation(x·Wᵀ + b)), all in one op: see ``ta.linear``."""
        return linear(
            x, self.weight, self.bias, activation=activation, residual=residual, dropout=dropout
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


def is_plain(layer: Module) -> bool:
    """Whether nobody sees, or stands for, a Linear, so that others may do more than it does."""
    return getattr(layer, "is_plain", False)


def are_alike(layers) -> bool:
    """Whether one product can stand for several layers: plain ones, with biases or without."""
    return all(map(is_plain, layers)) and len({layer.bias is None for layer in layers}) == 1
