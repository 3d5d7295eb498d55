"""What clipping asks of all gradients at once, on the CPU: their norm, and to be scaled.

Squares are summed in rows of 256, and the sums of the rows in float64, since one running sum over
10⁸ float32s would lose the third digit of the norm. What comes of each gradient is added in numbers
of Python's, which are float64. Small gradients are gathered first, for of a hundred biases the
calls are all that costs.

A square overflows from 1.8·10¹⁹ on and vanishes below 10⁻²³. Where that could have happened, all is
summed again with 2ᵉ taken out of every element, where 2ᵉ is as large as the largest.
"""

import math

import numpy as np

from .. import dtypes
from .blocks import BLOCK

__all__ = ["norm2", "scale_all"]

_ROW = 256  # elements that one running sum may take
_SMALL = 8192  # from this size on a gradient is worth calls of its own
_SURE = 1e-17  # what vanished in a larger sum of squares, 10⁻³⁸ an element, is below its last digit


def norm2(gradients):
    """√Σ g² over all gradients as a 0-d array, in float32 at least."""
    is_wide = any(g.dtype == dtypes.float64 for g in gradients)
    total = sum(map(_squares, _runs(gradients)))
    norm = math.sqrt(total) if _SURE < total < math.inf else _without_exponent(gradients, total)
    return np.array(norm, dtypes.float64 if is_wide else dtypes.float32)


def scale_all(gradients, factor):
    """g · factor of each in new arrays, or the gradients as they are where the factor is 1."""
    if factor == 1:
        return gradients
    return [_scaled(g, factor) for g in gradients]


def _scaled(g, factor):
    """g · factor; of 16 bits by way of float32, since in float16 a small factor loses digits."""
    if dtypes.is_half(g.dtype):
        return (g.astype(dtypes.float32) * factor.astype(dtypes.float32)).astype(g.dtype)
    return g * factor.astype(g.dtype)


def _without_exponent(gradients, total):
    """The norm where squares overflow, or vanish; ``total`` is NaN where a gradient is."""
    if math.isnan(total):
        return total
    top = max(
        max(float(run.max(initial=0)), -float(run.min(initial=0))) for run in _runs(gradients)
    )
    if not 0 < top < math.inf:
        return top
    _, exponent = math.frexp(top)
    total = 0.0
    for run in _runs(gradients):
        for start in range(0, run.size, BLOCK):
            total += _squares(np.ldexp(run[start : start + BLOCK], -exponent))
    return float(np.ldexp(math.sqrt(total), exponent))


def _runs(gradients):
    """Vectors that hold all elements: of large gradients one each, of small ones as few as can be.

    16-bit floats become float32, in which their squares have room.
    """
    small, size = [], 0
    for g in gradients:
        g = g.astype(dtypes.float32) if dtypes.is_half(g.dtype) else g
        if g.size >= _SMALL:
            yield g.ravel(order="K")
            continue
        if size + g.size > BLOCK:
            yield np.concatenate(small, axis=None)
            small, size = [], 0
        small.append(g)
        size += g.size
    if small:
        yield np.concatenate(small, axis=None)


def _squares(run):
    """Σ g² of a vector, as a number."""
    rows = run.size // _ROW
    whole, rest = run[: rows * _ROW].reshape(rows, _ROW), run[rows * _ROW :]
    return float(np.vecdot(whole, whole).sum(dtype=np.float64)) + float(np.vecdot(rest, rest))
