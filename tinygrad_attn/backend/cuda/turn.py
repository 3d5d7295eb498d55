"""Rotary positions in one launch, of arrays as they lie."""

from functools import lru_cache

import numpy as np

from .. import dtypes, namespace
from .launch import contiguous, is_ours, laid_out_as, over_rows

__all__ = ["turn"]


def turn(x, positions, theta, stretch, interleaved, dims):
    """Plane i turns by p·θ^(−2i/dims)/stretch; see ``ops.rope``."""
    if not is_ours(x.dtype) or x.ndim > 4:
        return NotImplemented
    xp, whole = namespace(x), x[(None,) * (4 - x.ndim)]  # (B, H, T, E)
    whole = whole if whole.strides[-1] == x.itemsize else contiguous(whole)
    y = laid_out_as(whole, whole.shape[3])
    places = xp.broadcast_to(positions.astype(dtypes.int64, copy=False), whole.shape[:3])
    if x.size:
        speeds = _speeds(xp, xp.cuda.runtime.getDevice(), theta, stretch, dims)
        strides = [s // a.itemsize for a in (whole, y) for s in a.strides[:3]]
        strides += [s // places.itemsize for s in places.strides]
        rows, n = whole.size // whole.shape[3], whole.shape[3]
        numbers = (*whole.shape[1:3], *strides, dims // 2, int(interleaved))
        over_rows("turn.cu", "turn", (whole, y, places, speeds), rows, n, *numbers)
    return y.reshape(x.shape)


@lru_cache(maxsize=16)
def _speeds(xp, device, theta, stretch, dims):
    """Radians a token, of each plane; they are sent once."""
    return xp.array(theta ** (np.arange(0, dims, 2) / -dims) / stretch)
