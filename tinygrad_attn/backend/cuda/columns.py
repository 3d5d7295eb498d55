"""Sums over the rows of a matrix: gradients of biases and of the weights of norms."""

import numpy as np

from .. import namespace
from .launch import BLOCK, kernel, real, scalars

__all__ = ["column_sums", "joined"]

COLUMNS = 32  # of a block, as in columns.cu
NOTHING = np.uintp(0)  # a null pointer
ROWS, BLOCKS = 256, 1024  # a slab has at least so many rows, and there are about so many blocks


def column_sums(x):
    """Σ over the rows of a contiguous matrix x (rows, n).

    Tall matrices are cut into slabs of rows, summed side by side and then together. The order of
    the additions depends on the shape alone.
    """
    xp, (rows, n), dtype = namespace(x), x.shape, x.dtype
    sums = xp.empty(n, dtype=dtype)
    if not n:
        return sums
    if not rows:
        return xp.zeros(n, dtype=dtype)
    across = -(-n // COLUMNS)
    slabs = min(-(-rows // ROWS), max(1, BLOCKS // across))
    slab = -(-rows // slabs)
    slabs = -(-rows // slab)
    if slabs == 1:
        _run("sum_rows", dtype, (across,), (x, sums), (rows, n, rows))
    else:
        parts = xp.empty((slabs, n), dtype=real(dtype))
        _run("sum_slabs", dtype, (across, slabs), (x, parts), (rows, n, slab))
        _run("sum_parts", dtype, (across,), (parts, sums, NOTHING, NOTHING), (slabs, n))
    return sums


def joined(parts, shape, dtype):
    """Σ over the rows of each of one or two matrices of one size, as arrays of ``shape``; a launch.

    A matrix may be None, as is its sum then.
    """
    sums = [None if part is None else namespace(part).empty(shape, dtype=dtype) for part in parts]
    arrays = [array for pair in zip(parts, sums) if pair[0] is not None for array in pair]
    if arrays and not len(arrays[0]):
        return [None if part is None else namespace(part).zeros(shape, dtype) for part in parts]
    if arrays and arrays[1].size:
        grid = (-(-arrays[1].size // COLUMNS), 1, len(arrays) // 2)
        filled = (*arrays, NOTHING, NOTHING)[:4]
        _run("sum_parts", dtype, grid, filled, (len(arrays[0]), arrays[1].size))
    return sums


def _run(name, dtype, grid, arrays, numbers):
    run = kernel(namespace(arrays[0]), "columns.cu", name, dtype)
    run(grid, (COLUMNS, BLOCK // COLUMNS), (*arrays, *scalars(dtype, numbers)))
