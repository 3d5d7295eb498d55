"""Cumulative sums and products: for each element along one axis, a reduction of all up to it.

The derivative of any of them runs the other way: an element has a part in every result from its own
on. Sums run back by a cumulative sum. The others lead to a linear recurrence,

    rᵢ = bᵢ + aᵢ·rᵢ₊₁,

which ``_suffix_scan`` solves in log₂ n steps of plain array arithmetic, without a division. So
zeros need no special case, and the same lines, run on Tensors, give every higher order.
"""

import math

from ..backend import namespace, quiet
from ..core import primitive
from .check import as_tensor, narrow, normalize_axis, sum_dtype, wide
from .reduce import products_before

__all__ = ["cumprod", "cumsum", "logcumsumexp"]


def _line_up(where, x, axis):
    """x, and the axis to run along as a non-negative number; without one, all of x as one line."""
    x = as_tensor(x, where=where)
    if axis is None:
        return x.reshape(-1), 0
    return x, normalize_axis(where, axis, x)


def _suffix_scan(a, b):
    """r with rᵢ = bᵢ + aᵢ·rᵢ₊₁ along the last axis, nothing after its end; a is one shorter than b.

    By doubling: if every b already holds the sum over a window of s elements and every a the factor
    across it, then b + a·(b of the next window) holds that over 2s.
    Reference: Blelloch, "Prefix Sums and Their Applications", CMU-CS-90-190.
    """
    concatenate = namespace(b).concatenate
    step, n = 1, b.shape[-1]
    while step < n:
        b = concatenate([b[..., :-step] + a * b[..., step:], b[..., -step:]], axis=-1)
        a = a[..., : n - 2 * step] * a[..., step:] if 2 * step < n else a
        step *= 2
    return b


# ---- sums ----------------------------------------------------------------------------------------


@primitive
def _cumsum(x, axis):
    return narrow(x.cumsum(axis=axis, dtype=sum_dtype(x)), x)


def _cumsum_x(g, axis):
    """gᵢ + gᵢ₊₁ + …: each element is in every sum from its own on."""
    xp = namespace(g)
    return xp.flip(xp.cumsum(xp.flip(wide(g), axis=axis), axis=axis), axis=axis)


_cumsum.derivatives(x=_cumsum_x)


def cumsum(x, axis=None):
    """Cumulative sum  yₖ = Σᵢ≤ₖ xᵢ along ``axis``, or of x flattened.   ∂L/∂xᵢ = Σₖ≥ᵢ gₖ.

    16-bit floats accumulate in float32; integers and booleans add up to int64.
    """
    return _cumsum(*_line_up("cumsum", x, axis))


# ---- products ------------------------------------------------------------------------------------


@primitive
@quiet
def _cumprod(x, axis):
    return narrow(x.cumprod(axis=axis, dtype=sum_dtype(x)), x)


def _cumprod_x(g, x, axis):
    """Πⱼ<ᵢ xⱼ · rᵢ, where rᵢ = gᵢ + xᵢ₊₁·rᵢ₊₁ gathers gₖ·Πᵢ<ⱼ≤ₖ xⱼ over all k ≥ i."""
    rows, g = x.swapaxes(axis, -1), g.swapaxes(axis, -1)
    return (products_before(rows) * _suffix_scan(rows[..., 1:], g)).swapaxes(axis, -1)


_cumprod.derivatives(x=_cumprod_x)


def cumprod(x, axis=None):
    """Cumulative product  yₖ = Πᵢ≤ₖ xᵢ along ``axis``.   ∂L/∂xᵢ = Σₖ≥ᵢ gₖ·Πⱼ≤ₖ,ⱼ≠ᵢ xⱼ.

    Without an axis, of x flattened. Right to every order where x has zeros.
    """
    return _cumprod(*_line_up("cumprod", x, axis))


# ---- logarithms of sums --------------------------------------------------------------------------


@primitive
@quiet
def _logcumsumexp(x, axis):
    xp = namespace(x)
    y = wide(x).swapaxes(axis, -1)
    step = 1
    while step < y.shape[-1]:  # doubling again: each y holds a window of 1, 2, 4 … elements
        longer = xp.logaddexp(y[..., step:], y[..., :-step])
        y = xp.concatenate([y[..., :step], longer], axis=-1)
        step *= 2
    return narrow(y.swapaxes(axis, -1), x)


def _logcumsumexp_x(g, x, y, axis):
    """exp(xᵢ − yᵢ)·sᵢ, where sᵢ = gᵢ + exp(yᵢ − yᵢ₊₁)·sᵢ₊₁. As y never falls, no exp overflows."""
    xp = namespace(g)
    x, y, g = (z.swapaxes(axis, -1) for z in (x, y, g))
    base = xp.where(y == -math.inf, 0, y)  # nothing has no share in nothing: not −∞ − (−∞)
    s = _suffix_scan(xp.exp(y[..., :-1] - base[..., 1:]), g)
    return (xp.exp(x - base) * s).swapaxes(axis, -1)


_logcumsumexp.derivatives(x=_logcumsumexp_x)


def logcumsumexp(x, axis=None):
    """Cumulative log-sum-exp  yₖ = ln Σᵢ≤ₖ exp(xᵢ) along ``axis``.   ∂L/∂xᵢ = Σₖ≥ᵢ gₖ·exp(xᵢ − yₖ).

    Without an axis, of x flattened. Overflows for no x; a beginning of −∞ alone stays −∞, with
    gradient 0.
    """
    return _logcumsumexp(*_line_up("logcumsumexp", x, axis))
