"""softmax and log_softmax: scores into probabilities."""

from ...backend import namespace
from ...core import fused
from ..check import as_float, normalize_axis

__all__ = ["log_softmax", "softmax"]


def _below_zero(x, axis):
    """x minus its maximum, which changes no ratio of exponentials and lets none overflow.

    The maximum is held constant: a shift has no influence on the result, so none on the gradient.
    """
    return x - namespace(x).max(x.detach(), axis=axis, keepdims=True)


def softmax_spec(x, *, axis):
    """eˣ / Σ eˣ."""
    e = namespace(x).exp(_below_zero(x, axis))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax_spec(x, *, axis):
    """x − ln Σ eˣ."""
    z = _below_zero(x, axis)
    xp = namespace(x)
    return z - xp.log(xp.exp(z).sum(axis=axis, keepdims=True))


@fused(spec=softmax_spec, reads_result=True)
def _softmax(x, *, axis):
    xp = namespace(x)
    y = x - xp.max(x, axis=axis, keepdims=True) if x.size else x.copy()
    xp.exp(y, out=y)
    y /= xp.sum(y, axis=axis, keepdims=True)

    def backward(g):
        gx = g * y
        gx -= y * xp.sum(gx, axis=axis, keepdims=True)
        return (gx,)

    return y, backward


@fused(spec=log_softmax_spec, reads_result=True)
def _log_softmax(x, *, axis):
    xp = namespace(x)
    y = x - xp.max(x, axis=axis, keepdims=True) if x.size else x.copy()
    y -= xp.log(xp.sum(xp.exp(y), axis=axis, keepdims=True))

    def backward(g):
        gx = xp.exp(y)
        gx *= -xp.sum(g, axis=axis, keepdims=True)
        gx += g
        return (gx,)

    return y, backward


def softmax(x, axis=-1):
    """Softmax  yᵢ = exp(xᵢ) / Σⱼ exp(xⱼ) along ``axis``.   ∂L/∂x = y·(g − Σⱼ gⱼyⱼ).

    Shapes: y as x; each line along ``axis`` sums to 1. A line of −∞ alone has no softmax: it is NaN
    (attention has its own rule for rows that may attend nothing).
    Raises: ShapeError for an axis that x does not have.
    Reference: Bridle, "Probabilistic interpretation of feedforward classification network outputs",
    1990.

    Example:
        >>> import tinygrad_attn as ta
        >>> ta.softmax(ta.tensor([0.0, 0.0]))
        tensor([0.5, 0.5])
    """
    x = as_float(x, where="softmax")
    return _softmax(x, axis=normalize_axis("softmax", axis, x))


def log_softmax(x, axis=-1):
    """Logarithm of softmax  yᵢ = xᵢ − ln Σⱼ exp(xⱼ).   ∂L/∂x = g − exp(y)·Σⱼ gⱼ.

    Never the logarithm of a rounded probability: exact where softmax underflows to 0.
    Raises: ShapeError for an axis that x does not have.
    """
    x = as_float(x, where="log_softmax")
    return _log_softmax(x, axis=normalize_axis("log_softmax", axis, x))
