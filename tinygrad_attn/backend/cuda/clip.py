"""What clipping asks of all gradients at once: their norm, and to be scaled."""

from .. import dtypes, namespace
from .launch import BLOCK, contiguous, kernel, real, scalars
from .many import launch_over, table_of

__all__ = ["norm2", "scale_all"]

BLOCKS = 1024  # at most so many partial sums of squares


def norm2(gradients):
    """√Σ g² over all gradients, none of them empty, as a 0-d array of float32 at least.

    Summed in float64, in an order that depends on nothing but their sizes.
    """
    xp, runs = namespace(gradients[0]), _by_dtype(gradients)
    tables = {dtype: table_of(run, [None] * len(run), [0] * len(run)) for dtype, run in runs}
    counts = {dtype: min(blocks, BLOCKS) for dtype, (_, blocks) in tables.items()}
    parts, begin = xp.empty(sum(counts.values()), dtype=dtypes.float64), 0
    for dtype, table in tables.items():
        mine = parts[begin : begin + counts[dtype]]
        launch_over("clip.cu", "sum_squares", dtype, xp, *table, (mine,), most=BLOCKS)
        begin += counts[dtype]
    wide = dtypes.float64 if dtypes.float64 in tables else dtypes.float32
    norm = xp.empty((), dtype=wide)
    run = kernel(xp, "clip.cu", "root_of_sum", wide)
    run((1,), (BLOCK,), (parts, norm, *scalars(wide, (parts.size,))))
    return norm


def scale_all(gradients, factor):
    """New arrays g · factor, where ``factor`` is a 0-d array: the host never learns it."""
    xp, scaled = namespace(factor), {}
    for dtype, run in _by_dtype(gradients):
        ys = [xp.empty(g.shape, dtype=dtype) for g in run]
        table = table_of(run, ys, [0] * len(run))
        launch_over("clip.cu", "scale", dtype, xp, *table, (contiguous(factor, real(dtype)),))
        scaled[dtype] = iter(ys)
    return [next(scaled[g.dtype]) for g in gradients]


def _by_dtype(gradients):
    """[(dtype, its gradients, contiguous)], in their order."""
    runs = {}
    for g in gradients:
        runs.setdefault(g.dtype, []).append(contiguous(g))
    return list(runs.items())
