"""layer_norm and rms_norm on the CPU: rows in blocks, and sums and spreads as matrix products.

With x̂ the normalised row and h = g·weight, the sums that the way back needs are products of
matrices, which take a quarter of the time of a reduction. So is a number for each row times a
number for each column, written out: half the time of what NumPy takes to stretch them both while
it multiplies. With s = 1/σ, the mean m, and n elements in a row

    y = x∘(s·wᵀ) − (s∘m)·wᵀ + 1·bᵀ
    ∂L/∂w = sᵀ·(g∘x) − (s∘m)ᵀ·g          ∂L/∂b = 1ᵀ·g
    ∂L/∂x = g∘(s·wᵀ) − x∘(s²∘c) − (s∘a − s²∘c∘m)
            with  a = mean of h = g·w/n,   c = mean of h∘x̂ = s∘((g∘x)·w/n − m∘a)

so that nothing is centred. That costs the digits which a large mean takes up, and where s is far
from 1, g∘x may leave the range of float32 while g∘x̂ does not: rows with a mean beyond their σ, an
s out of bounds, or in which something overflows, are odd, and go the long way by way of x̂.

Besides x only the mean and the scale of each row are kept.
"""

import math

import numpy as np

from .blocks import for_row_blocks, mean_of_rows, sum_columns

__all__ = ["layer_norm", "rms_norm"]

SCALES = 1e-8, 1e4  # an s within these bounds takes no digits from a product of g and x


def layer_norm(x, weight=None, bias=None, *, eps, axes, needs):
    """y = x̂·weight + bias,  x̂ = (x − mean) / √(variance + eps)."""
    return _norm(x, weight, bias, eps, axes, needs, is_centred=True)


def rms_norm(x, weight=None, *, eps, axes, needs):
    """y = x̂·weight,  x̂ = x / √(mean of squares + eps)."""
    y, backward = _norm(x, weight, None, eps, axes, (*needs, False), is_centred=False)
    return y, lambda g: backward(g)[:2]


def _norm(x, weight, bias, eps, axes, needs, is_centred):
    width = math.prod(x.shape[axes[0] :])
    rows = np.ascontiguousarray(x).reshape(math.prod(x.shape[: axes[0]]), width)
    y = np.empty_like(rows)
    scales, odd = np.empty((len(rows), 1), rows.dtype), np.zeros(len(rows), bool)
    means = (
        np.empty_like(scales) if is_centred else np.broadcast_to(rows.dtype.type(0), scales.shape)
    )
    affine = _rows_of(weight, bias, width, rows.dtype)
    spread = _rows_of(weight, None, width, rows.dtype)

    def forward(part):
        x, mean, scale = rows[part], means[part], scales[part]
        variance = np.vecdot(x, x)[:, None] / max(width, 1)
        if is_centred:
            mean[...] = mean_of_rows(x)
            variance -= mean * mean
        is_usual = mean * mean <= variance
        _inverse_root(variance, eps, scale)
        is_usual &= (scale >= SCALES[0]) & (scale <= SCALES[1])
        to = _outer(scale, 0, spread, out=y[part])
        to *= x
        if is_centred:
            to += _outer(-scale * mean, 1, affine)
        if not is_usual.all():
            these = odd[part] = ~is_usual[:, 0]
            for place, found in zip((to, scale), _forward_centred(x, mean, affine, eps)):
                place[these] = found[these]

    for_row_blocks(forward, len(rows), width)
    odd = odd if odd.any() else None  # which is most often so, and then nothing is kept

    def backward(g):
        g, given = np.ascontiguousarray(g).reshape(rows.shape), (rows, means, scales)
        spread = _rows_of(weight, None, width, rows.dtype)
        found = _go_back(g, given, spread, odd, is_centred, needs[0])
        shaped = zip(found, (x, weight, bias), needs)
        return tuple([grad.reshape(like.shape) if need else None for grad, like, need in shaped])

    return y.reshape(x.shape), backward


def _go_back(g, given, spread, odd, is_centred, is_wanted):
    """The gradients of the rows, if that is wanted, of the weight and of the bias."""
    gx = np.empty_like(g) if is_wanted else None

    def compute(part):
        parts = [g[part], *(array[part] for array in given)]
        to = None if gx is None else gx[part]
        these = None if odd is None or not odd[part].any() else odd[part]
        sums, these = _backward(*parts, spread, is_centred, these, to)
        if these is not None:
            parts[0] = np.where(these[:, None], parts[0], 0)
            found, more = _backward_centred(*parts, spread[0], is_centred)
            sums += more
            if to is not None:
                to[these] = found[these]
        return sums

    sums = sum(for_row_blocks(compute, *g.shape), np.zeros((2, g.shape[1]), g.dtype))
    return gx, *(row.copy() for row in sums)  # who writes into the one does not touch the other


def _backward(g, x, mean, scale, spread, is_centred, odd, to):
    """A block's part of the gradients: of weight and bias; what is x's it writes ``to``.

    Returns with them which rows are odd, or None for none. No row is to know of its neighbours, not
    even by its rounding, which depends on where it is: odd ones stay in their places here, as
    zeros, and the others when those are done.
    """
    if odd is not None:
        g, x = (np.where(odd[:, None], 0, array) for array in (g, x))
        mean, scale = (np.where(odd[:, None], 0, array) for array in (mean, scale))
    w = spread[0][:, None] / max(x.shape[1], 1)  # of the means
    product = g * x
    a = g @ w
    c = scale * (product @ w - mean * a)
    if not math.isfinite(c.sum()):  # something overflows, or is NaN
        more = ~np.isfinite(c[:, 0]) if odd is None else odd | ~np.isfinite(c[:, 0])
        if odd is None or more.sum() > odd.sum():
            return _backward(g, x, mean, scale, spread, is_centred, more, to)
    by_mean = (scale * mean)[:, 0] @ g
    sums = np.array([scale[:, 0] @ product - by_mean, sum_columns(g)])
    if to is not None:
        np.multiply(g, _outer(scale, 0, spread, out=to), out=to)
        c *= scale * scale
        to -= np.multiply(x, c, out=product)
        if is_centred:
            product[...] = scale * a - c * mean
            to -= product
    return sums, odd


def _forward_centred(x, mean, affine, eps):
    """The long way: (x̂·weight + bias, 1/σ), from the centred rows."""
    to = x - mean
    scale = _inverse_root(mean_of_rows(to * to), eps, np.empty_like(mean))
    to *= scale
    to *= affine[0]
    to += affine[1]
    return to, scale


def _backward_centred(g, x, mean, scale, weight, is_centred):
    """The long way back: with x̂ itself; returns the gradients of x, and of weight and bias."""
    unit = (x - mean) * scale
    product = g * unit
    sums = np.array([sum_columns(product), sum_columns(g)])
    h = g * weight
    along = mean_of_rows(h * unit)
    if is_centred:
        h -= mean_of_rows(h)
    h -= unit * along
    h *= scale
    return h, sums


def _rows_of(weight, bias, width, dtype):
    """The weight and the bias as two rows; without them, ones and zeros."""
    both = np.zeros((2, width), dtype)
    both[0] = 1 if weight is None else weight.reshape(-1)
    if bias is not None:
        both[1] = bias.reshape(-1)
    return both


def _inverse_root(variance, eps, out):
    """1/√(variance + eps)."""
    np.add(variance, eps, out=out)
    np.sqrt(out, out=out)
    return np.divide(1, out, out=out)


def _outer(first, second, rows, out=None):
    """first·rows₀ + second·rows₁: (n, width), of a column and a column or number, and two rows."""
    both = np.empty((len(first), 2), first.dtype)
    both[:, :1], both[:, 1:] = first, second
    return np.matmul(both, rows, out=out)
