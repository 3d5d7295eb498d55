"""layer_norm and rms_norm on the CPU: rows in blocks, and sums as matrix products.

With x̂ the normalised row and h = g·weight, every sum that the way back needs is a product of
matrices, which takes a quarter of the time of a reduction:

    Σ h = g·w        Σ h∘x̂ = (g∘x̂)·w        ∂L/∂w = 1ᵀ·(g∘x̂)        ∂L/∂bias = 1ᵀ·g

Besides x only the mean and the scale of each row are kept; x̂ is worked out again.
"""

import math

import numpy as np

from .blocks import for_row_blocks, mean_of_rows, stretched, sum_columns

__all__ = ["layer_norm", "rms_norm"]


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
    inverse = np.empty((len(rows), 1), rows.dtype)
    mean = np.empty_like(inverse) if is_centred else None
    weights, biases = (stretched(p, len(rows), width) for p in (weight, bias))

    def forward(part):
        x, to, scale = rows[part], y[part], inverse[part]
        if is_centred:
            mean[part] = mean_of_rows(x)
            x = np.subtract(x, mean[part])
        np.add(mean_of_rows(np.multiply(x, x, out=to)), eps, out=scale)
        np.divide(1, np.sqrt(scale, out=scale), out=scale)
        np.multiply(x, scale, out=to)
        if weight is not None:
            to *= weights[: len(to)]
        if bias is not None:
            to += biases[: len(to)]

    for_row_blocks(forward, len(rows), width)

    def backward(g):
        g = np.ascontiguousarray(g).reshape(rows.shape)
        gx, gw, gb = _backward(g, rows, mean, inverse, weight, weights, needs)
        return (
            gx.reshape(x.shape) if needs[0] else None,
            gw.reshape(weight.shape) if needs[1] else None,
            gb.reshape(bias.shape) if needs[2] else None,
        )

    return y.reshape(x.shape), backward


def _backward(g, rows, mean, inverse, weight, weights, needs):
    """The gradients of the rows, the weight and the bias."""
    width = g.shape[1]
    gx = np.empty_like(g) if needs[0] else None
    gw, gb = np.zeros((2, width), g.dtype)
    w = np.full((width, 1), 1 / max(width, 1), g.dtype)  # of the means
    if weight is not None:
        w *= weight.reshape(-1, 1)

    def compute(part):
        h, x, scale = g[part], rows[part], inverse[part]
        unit = x * scale if mean is None else np.subtract(x, mean[part])
        if mean is not None:
            unit *= scale
        product = h * unit
        if needs[1]:
            np.add(gw, sum_columns(product), out=gw)
        if needs[2]:
            np.add(gb, sum_columns(h), out=gb)
        if needs[0]:
            along = (product @ w) * scale
            to = np.multiply(h, scale, out=gx[part])
            if weight is not None:
                to *= weights[: len(h)]
            to -= np.multiply(unit, along, out=product)
            if mean is not None:
                to -= (h @ w) * scale

    for_row_blocks(compute, len(g), width)
    return gx, gw, gb
