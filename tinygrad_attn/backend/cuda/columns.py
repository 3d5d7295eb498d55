"""Sums over the rows of a matrix: gradients of biases and of the weights of norms."""

from .. import namespace
from .launch import BLOCK, kernel, real, scalars

__all__ = ["column_sums"]

COLUMNS = 32  # of a block, as in columns.cu
ROWS, BLOCKS = 256, 1024  # a slab has at least so many rows, and there are about so many blocks


def column_sums(x, dtype=None):
    """Σ over the rows of a contiguous matrix x (rows, n), in ``dtype``, that of x by default.

    Tall matrices are cut into slabs of rows, summed side by side and then together. The order of
    the additions depends on the shape alone.
    """
    xp, (rows, n), dtype = namespace(x), x.shape, dtype or x.dtype
    sums = xp.empty(n, dtype=dtype)
    if not n:
        return sums
    if not rows:
        return xp.zeros(n, dtype=dtype)
    across = -(-n // COLUMNS)
    slabs = min(-(-rows // ROWS), max(1, BLOCKS // across))
    slab = -(-rows // slabs)
    slabs = -(-rows // slab)
    if x.dtype != dtype:
        _run("sum_parts", x, sums, across, 1, rows)
    elif slabs == 1:
        _run("sum_rows", x, sums, across, 1, rows)
    else:
        parts = xp.empty((slabs, n), dtype=real(dtype))
        _run("sum_slabs", x, parts, across, slabs, slab)
        _run("sum_parts", parts, sums, across, 1, slabs)
    return sums


def _run(name, x, sums, across, slabs, slab):
    stored = x.dtype if name == "sum_slabs" else sums.dtype
    run = kernel(namespace(x), "columns.cu", name, stored)
    numbers = scalars(stored, (*x.shape, slab))
    run((across, slabs), (COLUMNS, BLOCK // COLUMNS), (x, sums, *numbers))
