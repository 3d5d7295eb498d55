"""Activations: what stands between the linear maps of a network. GELU is among the fused ops.

Each is right for arguments of ±10⁴ too, and so are its derivatives: no exponential of a large
positive number is ever divided by another.
"""

from ..backend import namespace, quiet
from ..core import fused, primitive
from ..errors import ShapeError
from .check import as_tensor, as_tensors, normalize_axis, number
from .choice import clip, keep
from .elementwise import absolute
from .functions import tanh
from .join import split

__all__ = [
    "elu",
    "glu",
    "leaky_relu",
    "log_sigmoid",
    "logit",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softsign",
    "swiglu",
]


# ---- smooth steps --------------------------------------------------------------------------------


@primitive
@quiet
def sigmoid(x):
    """Logistic step from 0 to 1,  y = 1 / (1 + e⁻ˣ).   ∂L/∂x = g·y·(1 − y).

    For large −x the exponential becomes ∞ and y, rightly, 0.
    """
    y = namespace(x).exp(-x)
    y += 1
    return 1 / y


sigmoid.derivatives(x=lambda g, y: g * (y * (1 - y)))


@primitive
@quiet
def log_sigmoid(x):
    """Logarithm of the sigmoid,  y = −ln(1 + e⁻ˣ).   ∂L/∂x = g·(1 − eʸ), for eʸ is the sigmoid."""
    return namespace(x).minimum(x, 0) - _near_zero(x)


def _near_zero(x):
    """ln(1 + e⁻ˡˣˡ), by which smooth and hard rectifier differ; its exponential cannot overflow."""
    xp = namespace(x)
    return xp.log1p(xp.exp(-xp.absolute(x)))


log_sigmoid.derivatives(x=lambda g, y: -g * namespace(g).expm1(y))


@primitive
@quiet
def _logit(x):
    return namespace(x).log(x / (1 - x))


_logit.derivatives(x=lambda g, x: g / (x * (1 - x)))


def logit(x, eps=None):
    """Log-odds  y = ln(x / (1 − x)), the inverse of sigmoid.   ∂L/∂x = g / (x·(1 − x)).

    At 0 and 1 it is ∓∞, outside NaN; with ``eps``, x is first clipped to [eps, 1 − eps].
    """
    if eps is not None:
        if not 0 <= number("logit", "eps", eps) <= 0.5:
            raise ShapeError(f"logit: eps is {eps}; it must be in 0..0.5")
        x = clip(x, eps, 1 - eps)
    return _logit(x)


def softsign(x):
    """Algebraic step from −1 to 1,  y = x / (1 + |x|), which saturates slower than tanh."""
    return x / (1 + absolute(x))


# ---- rectifiers ----------------------------------------------------------------------------------


@primitive
def relu(x):
    """Rectifier  y = max(x, 0).   ∂L/∂x = g where x > 0, else 0."""
    return namespace(x).maximum(x, 0)


relu.derivatives(x=lambda g, y: keep(g, y != 0))


@primitive
def relu6(x):
    """Rectifier that saturates,  y = min(max(x, 0), 6).   ∂L/∂x = g where 0 < x < 6, else 0."""
    return namespace(x).minimum(namespace(x).maximum(x, 0), 6)


relu6.derivatives(x=lambda g, y: keep(g, (y != 0) & (y != 6)))


@primitive
def leaky_relu(x, negative_slope=0.01):
    """Rectifier that lets a little through,  y = x where x > 0, else s·x.   ∂L/∂x = g or g·s.

    The slope s may be a tensor, to be learned:  ∂L/∂s = g·x where x ≤ 0, else 0.
    """
    return namespace(x).maximum(x, 0) + namespace(x).minimum(x, 0) * negative_slope


leaky_relu.derivatives(
    x=lambda g, x, negative_slope: keep(g, x > 0) + keep(g * negative_slope, ~(x > 0)),
    negative_slope=lambda g, x: keep(g * x, x <= 0),
)


@primitive
@quiet
def elu(x, alpha=1.0):
    """Exponential rectifier  y = x where x > 0, else α·(eˣ − 1).   ∂L/∂x = g, or g·(y + α).

    ∂L/∂α = g·(eˣ − 1) where x ≤ 0, else 0.
    """
    xp = namespace(x)
    return xp.maximum(x, 0) + xp.expm1(xp.minimum(x, 0)) * alpha


elu.derivatives(
    x=lambda g, x, y, alpha: keep(g, x > 0) + keep(g * (y + alpha), ~(x > 0)),
    alpha=lambda g, x: g * namespace(g).expm1(keep(x, x <= 0)),
)


def selu(x):
    """Self-normalising ELU  y = s·elu(x, α).   ∂L/∂x = g·s where x > 0, else g·(y + s·α).

    s and α are such that a standard normal input keeps mean 0 and variance 1, layer after layer.
    Reference: Klambauer et al., "Self-Normalizing Neural Networks", arXiv:1706.02515.
    """
    return elu(x, 1.6732632423543772) * 1.0507009873554805


@primitive
@quiet
def softplus(x):
    """Smooth rectifier  y = ln(1 + eˣ).   ∂L/∂x = g·(1 − e⁻ʸ), which is the sigmoid of x."""
    return namespace(x).maximum(x, 0) + _near_zero(x)


softplus.derivatives(x=lambda g, y: -g * namespace(g).expm1(-y))


# ---- gates ---------------------------------------------------------------------------------------


def _silu_spec(x):
    return x * sigmoid(x)


@fused(spec=_silu_spec)
def silu(x, *, needs):
    """Sigmoid-weighted unit, also called swish,  y = x·σ(x).   ∂L/∂x = g·(σ + y·(1 − σ)).

    Reference: Elfwing et al., "Sigmoid-Weighted Linear Units for Neural Network Function
    Approximation in Reinforcement Learning", arXiv:1702.03118; Ramachandran et al., "Searching for
    Activation Functions", arXiv:1710.05941.
    """
    y, slope = _silu_with_slope(x)
    return y, lambda g: (g * slope,)


def _silu_with_slope(x):
    s = sigmoid.forward(x)
    y = x * s
    slope = 1 - s
    slope *= y
    slope += s
    return y, slope


def _swiglu_spec(gate, up):
    return silu(gate) * up


@fused(spec=_swiglu_spec)
def _swiglu(gate, up, *, needs):
    opened, slope = _silu_with_slope(gate)
    return opened * up, lambda g: (g * up * slope, g * opened)


def swiglu(gate, up):
    """Gated unit  y = silu(gate)·up.   ∂L/∂gate = g·up·silu′(gate),  ∂L/∂up = g·silu(gate).

    Raises: ShapeError where the shapes differ.
    Reference: Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202.
    """
    gate, up = as_tensors("swiglu", gate=gate, up=up)
    if gate.shape != up.shape:
        raise ShapeError(
            f"swiglu: the shapes differ: gate is {gate.shape}, up is {up.shape}; make them equal"
        )
    return _swiglu(gate, up)


def mish(x):
    """Smooth unit  y = x·tanh(softplus(x)).

    Reference: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function",
    arXiv:1908.08681.
    """
    return x * tanh(softplus(x))


def glu(x, axis=-1):
    """Gated linear unit  y = a·σ(b), where a and b are the halves of x along ``axis``.

    Raises: ShapeError where the axis has an odd size.
    Reference: Dauphin et al., "Language Modeling with Gated Convolutional Networks",
    arXiv:1612.08083.
    """
    x = as_tensor(x, where="glu")
    if x.shape[normalize_axis("glu", axis, x)] % 2:
        raise ShapeError(
            f"glu: axis {axis} of x {x.shape} has an odd size; it must fall in two halves"
        )
    a, b = split(x, 2, axis)
    return a * sigmoid(b)
