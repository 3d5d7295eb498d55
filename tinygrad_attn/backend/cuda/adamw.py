"""AdamW over one flat array, and the sum of squares by which gradients are clipped."""

import math

from .. import dtypes, namespace
from .launch import BLOCK, KEPT, over_flat, real

__all__ = ["adamw", "sum_squares"]

BLOCKS = 1024  # at most so many partial sums of squares


def adamw(p, g, m, v, lr, beta1, beta2, eps, decay, correction1, correction2, factor=None):
    """One step of AdamW in place, on contiguous float32 or float64 arrays of one size.

    p ← p·(1 − lr·decay) − lr·m̂/(√v̂ + eps),  m̂ = m/correction1,  v̂ = v/correction2, where
    ``correction1`` is 1 − β₁ᵗ and ``correction2`` is 1 − β₂ᵗ. ``factor``, a 0-d array on the
    device, multiplies the gradient: a clip that needs no pass of its own, and no synchronisation.

    Raises: TypeError for arrays that are not contiguous, or of which one has another dtype.
    """
    arrays = (p, g, m, v)
    if {a.dtype for a in arrays} != {real(p.dtype)} or not all(
        a.flags.c_contiguous for a in arrays
    ):
        raise TypeError("adamw: p, g, m and v must be contiguous, all float32 or all float64")
    rate, root = lr / correction1, 1 / math.sqrt(correction2)
    numbers = (1 - lr * decay, rate, root, eps, beta1, 1 - beta1, beta2, 1 - beta2)
    over_flat("adamw.cu", "adamw", (*arrays, factor), p.size, *map(float, numbers))


def sum_squares(x):
    """Σ x² of a contiguous array, as a 0-d array of float32 at least; it is summed in float64."""
    xp, dtype = namespace(x), real(x.dtype)
    total = xp.zeros((), dtype=dtype)
    if x.size:
        blocks = min(-(-x.size // (BLOCK * KEPT)), BLOCKS)
        parts = xp.empty(blocks, dtype=dtypes.float64)
        over_flat("adamw.cu", "sum_squares", (x, parts), x.size, most=BLOCKS)
        over_flat("adamw.cu", "join_squares", (parts, total), blocks, dtype=dtype)
    return total
