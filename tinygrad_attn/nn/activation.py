"""Activations and dropout: functions without parameters, as layers."""

from ..core import Tensor
from ..errors import DTypeError, ShapeError
from ..ops import (
    dropout,
    elu,
    gelu,
    glu,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softsign,
    tanh,
)
from ..ops.check import number
from .check import check_probability
from .module import Module

__all__ = [
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Dropout",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
]


# ---- rectifiers ----------------------------------------------------------------------------------


class ReLU(Module):
    """Rectifier  y = max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return relu(x)


class ReLU6(Module):
    """Rectifier that saturates  y = min(max(x, 0), 6)."""

    def forward(self, x: Tensor) -> Tensor:
        return relu6(x)


class LeakyReLU(Module):
    """Rectifier that lets a little through  y = x where x > 0, else ``negative_slope``·x."""

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """Exponential rectifier  y = x where x > 0, else ``alpha``·(eˣ − 1)."""

    def __init__(self, alpha: float = 1.0):
        self.alpha = number("ELU", "alpha", alpha)

    def forward(self, x: Tensor) -> Tensor:
        return elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class SELU(Module):
    """Self-normalising ELU: a standard normal input keeps mean 0 and variance 1."""

    def forward(self, x: Tensor) -> Tensor:
        return selu(x)


class Softplus(Module):
    """Smooth rectifier  y = ln(1 + e^(βx))/β, β = ``beta``."""

    def __init__(self, beta: float = 1.0):
        self.beta = number("Softplus", "beta", beta)
        if not self.beta > 0:
            raise ShapeError(f"Softplus: beta is {beta}; it must be greater than 0")

    def forward(self, x: Tensor) -> Tensor:
        return softplus(x * self.beta) / self.beta

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


# ---- gates ---------------------------------------------------------------------------------------


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


class Mish(Module):
    """Smooth unit  y = x·tanh(ln(1 + eˣ))."""

    def forward(self, x: Tensor) -> Tensor:
        return mish(x)


class GLU(Module):
    """Gated linear unit  y = a·σ(b), where a and b are the halves of x along the axis ``dim``."""

    def __init__(self, dim: int = -1):
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return glu(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


# ---- steps and probabilities ---------------------------------------------------------------------


class Tanh(Module):
    """Hyperbolic tangent  y = tanh x."""

    def forward(self, x: Tensor) -> Tensor:
        return tanh(x)


class Sigmoid(Module):
    """Logistic function  y = 1/(1 + e⁻ˣ)."""

    def forward(self, x: Tensor) -> Tensor:
        return sigmoid(x)


class LogSigmoid(Module):
    """Logarithm of the logistic function  y = −ln(1 + e⁻ˣ)."""

    def forward(self, x: Tensor) -> Tensor:
        return log_sigmoid(x)


class Softsign(Module):
    """Algebraic step from −1 to 1  y = x / (1 + |x|)."""

    def forward(self, x: Tensor) -> Tensor:
        return softsign(x)


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


# ---- dropout -------------------------------------------------------------------------------------


class Dropout(Module):
    """Dropout: in training each element becomes 0 with probability p, the others grow by 1/(1 − p).

    Under ``eval()`` it passes everything on. ``generator`` is where the random numbers come from;
    the thread's own unless given.

    Reference: Srivastava et al., "Dropout", Journal of Machine Learning Research 15 (2014).
    """

    def __init__(self, p: float = 0.5, *, generator=None):
        check_probability("Dropout", p)
        self.p, self.generator = p, generator

    @property
    def rate(self) -> float:
        """The probability in effect: p in training, else 0."""
        return self.p if self.training else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.rate, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"
