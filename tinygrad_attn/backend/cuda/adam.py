"""Adam's step of all parameters at once."""

import math
from itertools import accumulate

from .. import namespace
from .launch import contiguous, real
from .many import launch_over, table_of

__all__ = ["adam"]


def adam(ps, gs, m, v, *, step, lr, beta1, beta2, eps, decay, is_decoupled):
    """One step of Adam in place: one launch for the parameters of each dtype.

    ``m`` and ``v`` hold the means of all ``ps`` end to end, as float32 or float64; parameters of 16
    bits are rounded once, when they are stored.
    """
    xp, starts = namespace(m), [0, *accumulate(p.size for p in ps)]
    runs = {}
    for p, g, start in zip(ps, gs, starts):
        if p.size:
            run = runs.setdefault(p.dtype, [])
            run.append((p, contiguous(p), contiguous(g, real(p.dtype)), start))
    keep, pull = (1 - lr * decay, 0.0) if is_decoupled else (1.0, decay)
    rate, root = lr / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    numbers = (keep, pull, rate, root, eps, beta1, 1 - beta1, beta2, 1 - beta2)
    for dtype, run in runs.items():
        given, flat, slopes, places = zip(*run)
        rows = table_of(flat, slopes, places)
        launch_over("adam.cu", "adam", dtype, xp, *rows, (m, v), tuple(map(float, numbers)))
        for p, changed in zip(given, flat):
            if changed is not p:
                p[...] = changed
