"""dropout: what stays is worked out where it is needed, and no mask is kept."""

import math

import numpy as np

from .. import namespace
from ..random import start_of
from .launch import BLOCK, contiguous, kernel, of_floats, over_flat

__all__ = ["dropout", "dropped", "keep_mask"]


@of_floats
def dropout(x, *, drop):
    """x·upscale where ``drop`` keeps it, else x·0."""
    x = contiguous(x)
    numbers = (float(drop.upscale), *dropped(drop.rate, drop.key))

    def apply(a):
        y = namespace(a).empty(a.shape, dtype=x.dtype)
        over_flat("dropout.cu", "dropout", (a, y), a.size, *numbers)
        return y

    return apply(x), lambda g: (apply(contiguous(g, x.dtype)),)


def keep_mask(xp, shape, p, key):
    """The mask of ``backend/random.py``, bit for bit, on the device in use."""
    size = math.prod(shape)
    keep = xp.empty(shape, dtype=bool)
    if size:
        run = kernel(xp, "dropout.cu", "keep_mask", np.dtype("float32"))
        run((-(-size // (4 * BLOCK)),), (BLOCK,), (keep, np.int64(size), *dropped(p, key)))
    return keep


def dropped(p, key):
    """What the kernels are told: where the hash starts, and below which of its values one drops."""
    return np.uint64(start_of(key)), np.uint32(round(p * 2**16))
