"""dropout: the mask by its hash, and the product with it, each in one kernel."""

import math

import numpy as np

from .. import namespace
from ..random import start_of
from .launch import BLOCK, contiguous, kernel, of_floats, over_flat

__all__ = ["dropout", "keep_mask"]


@of_floats
def dropout(x, keep, *, upscale):
    """x·upscale where kept, else x·0; the mask has the shape of x."""
    x, keep = contiguous(x), contiguous(keep)

    def apply(a):
        y = namespace(a).empty(a.shape, dtype=x.dtype)
        over_flat("dropout.cu", "dropout", (a, keep, y), a.size, float(upscale))
        return y

    return apply(x), lambda g: (apply(contiguous(g, x.dtype)),)


def keep_mask(xp, shape, p, key):
    """The mask of ``backend/random.py``, bit for bit, on the device in use."""
    size, dropped = math.prod(shape), round(p * 2**16)
    keep = xp.empty(shape, dtype=bool)
    if size:
        run = kernel(xp, "dropout.cu", "keep_mask", np.dtype("float32"))
        numbers = (np.int64(size), np.uint64(start_of(key)), np.uint32(dropped))
        run((-(-size // (4 * BLOCK)),), (BLOCK,), (keep, *numbers))
    return keep
