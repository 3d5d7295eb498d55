"""Activations and dropout: functions without parameters, as layers."""

from ..core import Tensor
from ..errors import DTypeError
from ..ops import dropout, gelu, log_softmax, relu, sigmoid, silu, softmax, tanh
from .check import check_probability
from .module import Module

__all__ = ["GELU", "Dropout", "LogSoftmax", "ReLU", "SiLU", "Sigmoid", "Softmax", "Tanh"]


class ReLU(Module):
    """Rectifier  y = max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return relu(x)


class GELU(Module):
    """Gaussian error linear unit  y = x·Φ(x), or with ``approximate="tanh"`` its older relative."""

    def __init__(self, approximate: str = "none"):
        if approximate not in ("none", "tanh"):
            raise DTypeError(f'GELU: approximate is {approximate!r}; it must be "none" or "tanh"')
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """Sigmoid linear unit  y = x·σ(x), also called swish."""

    def forward(self, x: Tensor) -> Tensor:
        return silu(x)


class Tanh(Module):
    """Hyperbolic tangent  y = tanh x."""

    def forward(self, x: Tensor) -> Tensor:
        return tanh(x)


class Sigmoid(Module):
    """Logistic function  y = 1/(1 + e⁻ˣ)."""

    def forward(self, x: Tensor) -> Tensor:
        return sigmoid(x)


class Softmax(Module):
    """Softmax  y = eˣ / Σ eˣ along the axis ``dim``."""

    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return softmax(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """Logarithm of the softmax  y = x − ln Σ eˣ along the axis ``dim``."""

    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return log_softmax(x, axis=self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Dropout(Module):
    """Dropout: in training each element becomes 0 with probability p, the others grow by 1/(1 − p).

    Under ``eval()`` it passes everything on. ``generator`` is where the random numbers come from;
    the thread's own unless given.

    Reference: Srivastava et al., "Dropout", Journal of Machine Learning Research 15 (2014).
    """

    def __init__(self, p: float = 0.5, *, generator=None):
        check_probability("Dropout", p)
        self.p, self.generator = p, generator

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, training=self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"
