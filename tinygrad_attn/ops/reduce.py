"""Reductions: many elements to one, along any axes.

Each primitive is written for one normalised form of ``axis``, a tuple ``axes`` of non-negative
numbers; the public function above it takes what NumPy takes: None for all, one axis, several,
negative ones. Where a rule needs a result beside its argument it is brought to the *kept* shape, in
which the reduced axes stand as 1. 16-bit floats are ``wide`` while they add up, float32, and
``narrow`` again in the end.
"""

import math

from ..backend import dtypes, namespace, quiet
from ..core import primitive
from ..errors import DTypeError
from .check import (
    as_float,
    as_tensor,
    count_along,
    kept_shape,
    left_shape,
    narrow,
    normalize_axes,
    number,
    sum_dtype,
    wide,
)
from .extremes import axes_with_elements, max, min

__all__ = [
    "logsumexp",
    "mean",
    "nanmean",
    "nansum",
    "norm",
    "prod",
    "std",
    "sum",
    "var",
]


# ---- sums ----------------------------------------------------------------------------------------


@primitive
def _sum(x, axes, keepdims):
    return narrow(x.sum(axis=axes, keepdims=keepdims, dtype=sum_dtype(x)), x)


def _spread(g, shape, axes):
    """``g``, whose ``axes`` were reduced away, broadcast back over ``shape``."""
    return namespace(g).broadcast_to(g.reshape(kept_shape(shape, axes)), shape)


_sum.derivatives(x=lambda g, x_shape, axes: _spread(g, x_shape, axes))


def sum(x, axis=None, keepdims=False):
    """Sum  y = Σ x over ``axis``.   ∂L/∂x = g, broadcast back.

    16-bit floats accumulate in float32; integers and booleans add up to int64.
    Shapes: the reduced axes vanish, or stay as 1 with ``keepdims``; the same in all reductions.
    Raises: ShapeError for an axis that x does not have, or names twice.

    Example:
        >>> import tinygrad_attn as ta
        >>> ta.sum(ta.tensor([[1.0, 2.0], [3.0, 4.0]]), axis=-1)
        tensor([3., 7.])
    """
    x = as_tensor(x, where="sum")
    return _sum(x, normalize_axes("sum", x, axis), keepdims)


@primitive
@quiet
def _mean(x, axes, keepdims):
    total = x.sum(axis=axes, keepdims=keepdims, dtype=sum_dtype(x))
    return narrow(total / count_along(x.shape, axes), x)


_mean.derivatives(x=lambda g, x_shape, axes: _spread(g / count_along(x_shape, axes), x_shape, axes))


def mean(x, axis=None, keepdims=False):
    """Mean  y = Σ x / n over ``axis``.   ∂L/∂x = g/n, broadcast back.  Of nothing it is NaN.

    Divided before it is rounded, so that a float16 mean is right where its sum would overflow.
    """
    x = as_tensor(x, where="mean")
    return _mean(x, normalize_axes("mean", x, axis), keepdims)


def nansum(x, axis=None, keepdims=False):
    """Sum of the elements that are not NaN.   ∂L/∂x = g where x is a number, 0 where it is not."""
    x = as_tensor(x, where="nansum")
    xp = namespace(x)
    return sum(xp.where(xp.isnan(x), 0, x), normalize_axes("nansum", x, axis), keepdims)


def nanmean(x, axis=None, keepdims=False):
    """Mean of the n elements that are not NaN.   ∂L/∂x = g/n there, else 0. Of none it is NaN."""
    x = as_float(x, where="nanmean")
    axes = normalize_axes("nanmean", x, axis)
    total = nansum(wide(x), axes, keepdims)
    count = sum(~namespace(x).isnan(x), axes, keepdims)
    return narrow(total / count, x)


# ---- spread --------------------------------------------------------------------------------------


def _freedom(shape, axes, correction):
    """The degrees of freedom n − correction, not below 0: what the squares are divided by."""
    left = count_along(shape, axes) - correction
    return left if left > 0 else 0


def _centred(x, axes):
    """x − mean."""
    x = wide(x)
    return x - x.sum(axis=axes, keepdims=True) / count_along(x.shape, axes)


@primitive
@quiet
def _var(x, axes, keepdims, correction):
    c = _centred(x, axes)
    return narrow(
        (c * c).sum(axis=axes, keepdims=keepdims) / _freedom(x.shape, axes, correction), x
    )


def _var_x(g, x, axes, correction):
    """2·g·(x − mean) / (n − correction)."""
    slope = g.reshape(kept_shape(x.shape, axes)) / _freedom(x.shape, axes, correction)
    return 2 * slope * _centred(x, axes)


_var.derivatives(x=_var_x)


def var(x, axis=None, keepdims=False, *, correction=0):
    """Variance  y = Σ(x − mean)² / (n − c) over ``axis``.   ∂L/∂x = 2g(x − mean)/(n − c).

    ``correction`` c is 0 as in NumPy; PyTorch's is 1. Where n ≤ c there is no variance: it is NaN
    (or, with anything to spread, infinite), and so is the gradient.
    """
    x, correction = as_tensor(x, where="var"), number("var", "correction", correction)
    return _var(x, normalize_axes("var", x, axis), keepdims, correction)


@primitive
@quiet
def _std(x, axes, keepdims, correction):
    return narrow(namespace(x).sqrt(_var.forward(wide(x), axes, keepdims, correction)), x)


def _std_x(g, x, y, axes, correction):
    """g·(x − mean) / (y·(n − correction)), taken as 0 where nothing is spread."""
    xp = namespace(g)
    slope = xp.where(y == 0, 0, g / xp.where(y == 0, 1, y)).reshape(kept_shape(x.shape, axes))
    return slope * _centred(x, axes) / _freedom(x.shape, axes, correction)


_std.derivatives(x=_std_x)


def std(x, axis=None, keepdims=False, *, correction=0):
    """Standard deviation  y = √var.   ∂L/∂x = g(x − mean)/(y(n − c)), 0 where y is.

    ``correction`` is 0 as in NumPy; PyTorch's is 1, of which one element gives NaN, gradient
    included.
    """
    x, correction = as_tensor(x, where="std"), number("std", "correction", correction)
    return _std(x, normalize_axes("std", x, axis), keepdims, correction)


# ---- products ------------------------------------------------------------------------------------


@primitive
@quiet
def _prod(x, axes, keepdims):
    return narrow(x.prod(axis=axes, keepdims=keepdims, dtype=sum_dtype(x)), x)


def _prod_x(g, x, axes):
    """g·Πⱼ≠ᵢ xⱼ: what stands before i times what stands after, so nothing is divided by x."""
    shape, n = x.shape, count_along(x.shape, axes)
    order = (*(i for i in range(x.ndim) if i not in axes), *axes)
    rows = x.transpose(order).reshape((*left_shape(shape, axes, False), n))
    others = products_before(rows) * _reversed(products_before(_reversed(rows)))
    back = sorted(range(x.ndim), key=order.__getitem__)
    others = others.reshape(tuple(shape[i] for i in order)).transpose(back)
    return g.reshape(kept_shape(shape, axes)) * others


def products_before(rows):
    """1, x₀, x₀x₁, x₀x₁x₂ …: for each element of the last axis the product of those before it."""
    xp = namespace(rows)
    return xp.concatenate(
        [xp.ones_like(rows[..., :1]), xp.cumprod(rows[..., :-1], axis=-1)], axis=-1
    )


def _reversed(rows):
    return namespace(rows).flip(rows, axis=-1)


_prod.derivatives(x=_prod_x)


def prod(x, axis=None, keepdims=False):
    """Product  y = Π x over ``axis``.   ∂L/∂xᵢ = g·Πⱼ≠ᵢ xⱼ, right where x has zeros."""
    x = as_tensor(x, where="prod")
    return _prod(x, normalize_axes("prod", x, axis), keepdims)


# ---- norms and logarithms ------------------------------------------------------------------------


@primitive
@quiet
def _norm(x, ord, axes, keepdims):
    xp = namespace(x)
    w = wide(x)
    if ord == 2:
        return narrow(xp.sqrt((w * w).sum(axis=axes, keepdims=keepdims)), x)
    return narrow((xp.absolute(w) ** ord).sum(axis=axes, keepdims=keepdims) ** (1 / ord), x)


def _norm_x(g, x, y, ord, axes):
    """g·sign(x)·(|x|/y)ᵖ⁻¹, taken as 0 where x is: the norm has a kink there, or a pole."""
    xp = namespace(g)
    kept = kept_shape(x.shape, axes)
    g, y = g.reshape(kept), y.reshape(kept)
    g, y = xp.where(y == 0, 0, g), xp.where(y == 0, 1, y)
    if ord == 2:
        return x * (g / y)
    ratio = xp.absolute(xp.where(x == 0, 1, x)) / y
    return xp.where(x == 0, 0, g * xp.sign(x) * ratio ** (ord - 1))


_norm.derivatives(x=_norm_x)


def norm(x, ord=2, axis=None, keepdims=False):
    """Vector norm  y = (Σ|x|ᵖ)^(1/p), p = ``ord``.   ∂L/∂x = g·sign(x)(|x|/y)ᵖ⁻¹, 0 at 0.

    ``ord`` is any number: ∞ and −∞ are the largest and the smallest |x|, 0 counts what is not 0
    (with gradient 0). Over several axes it is still the norm of one long vector, never that of a
    matrix.
    Raises: DTypeError for an ord that is no number; ShapeError for the largest of nothing.
    """
    x = as_float(x, where="norm")
    if isinstance(ord, bool) or not dtypes.is_scalar(ord) or ord != ord:
        raise DTypeError(f'norm: ord is {ord!r}; it must be a number, such as 1, 2 or float("inf")')
    size = namespace(x).absolute(x)
    if ord in (math.inf, -math.inf):
        axes = axes_with_elements("norm", x, axis)
        return max(size, axes, keepdims) if ord > 0 else min(size, axes, keepdims)
    if ord in (0, 1):
        return sum(namespace(x).sign(size) if ord == 0 else size, axis, keepdims)
    return _norm(x, ord, normalize_axes("norm", x, axis), keepdims)


@primitive
@quiet
def _logsumexp(x, axes, keepdims):
    xp = namespace(x)
    if not x.size:
        return xp.full(left_shape(x.shape, axes, keepdims), -math.inf, x.dtype)
    w = wide(x)
    top = w.max(axis=axes, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)  # an infinite one would subtract itself to NaN
    total = xp.log(xp.exp(w - top).sum(axis=axes, keepdims=True)) + top
    return narrow(total.reshape(left_shape(x.shape, axes, keepdims)), x)


def _logsumexp_x(g, x, y, axes):
    """g·exp(x − y): each element's share in the sum; where all are −∞ nobody has any."""
    kept = kept_shape(x.shape, axes)
    xp = namespace(g)
    y = xp.where(y == -math.inf, 0, y)
    return g.reshape(kept) * xp.exp(x - y.reshape(kept))


_logsumexp.derivatives(x=_logsumexp_x)


def logsumexp(x, axis=None, keepdims=False):
    """Logarithm of a sum of exponentials  y = ln Σ eˣ over ``axis``.   ∂L/∂x = g·exp(x − y).

    Overflows for no x. Of nothing, and of −∞ alone, it is −∞, with gradient 0.
    """
    x = as_tensor(x, where="logsumexp")
    return _logsumexp(x, normalize_axes("logsumexp", x, axis), keepdims)
