"""Cache-sized blocks: how the kernels of this backend walk over their arrays.

An expression such as ``x * x + 1`` goes through memory once for each operation. On arrays that do
not fit in the cache nearly all of its time is spent waiting. Run on one piece of the arrays after
the other, with every operation writing into a small buffer that stays in the cache, the same
operations take a third of it. ``erf`` and ``adam``, which hold more buffers at once, have smaller
blocks of their own, and attention, which holds fewer, larger ones.
"""

from functools import lru_cache

import numpy as np

__all__ = [
    "BLOCK",
    "for_blocks",
    "for_row_blocks",
    "mean_of_rows",
    "rows_of_block",
    "stretched",
    "sum_columns",
    "sum_rows",
]

BLOCK = 65536
"""Elements of a block: a quarter of a megabyte of float32, of which a kernel holds four or five."""

_LONG = 2048  # from this length on a row is summed by halves: a running sum would round too often


def for_blocks(compute, size):
    """Call ``compute(part)`` for each slice of a flat array of ``size`` elements."""
    for start in range(0, size, BLOCK):
        compute(slice(start, min(start + BLOCK, size)))


def for_row_blocks(compute, rows, width):
    """Call ``compute(part)`` for slices of ``rows`` that hold about a block of elements each."""
    step = rows_of_block(rows, width)
    for start in range(0, rows, step):
        compute(slice(start, min(start + step, rows)))


def rows_of_block(rows, width):
    """How many of ``rows`` rows of ``width`` elements make a block."""
    return max(min(BLOCK // max(width, 1), rows), 1)


def stretched(row, rows, width):
    """A row repeated for a whole block: equal shapes multiply twice as fast as broadcast ones."""
    size = rows_of_block(rows, width)
    if row is None or size == rows:  # of a single block nothing would be saved
        return row if row is None else row.reshape(1, width)
    block = np.empty((size, width), row.dtype)
    block[...] = row.reshape(-1)
    return block


def sum_rows(x):
    """The sum of each row, along the last axis, kept as an axis of 1; fastest as a product."""
    if x.shape[-1] >= _LONG:
        return x.sum(axis=-1, keepdims=True)
    return x @ _ones(x.shape[-1], x.dtype)


def mean_of_rows(x):
    """The mean of each row, as a column; of rows without elements it is 0."""
    return sum_rows(x) / max(x.shape[1], 1)


def sum_columns(x):
    """The sum of each column of a block's rows, so few that nothing rounds away."""
    return _ones(len(x), x.dtype)[:, 0] @ x


@lru_cache(maxsize=64)
def _ones(length, dtype):
    """A column of ones to multiply with; nobody writes into it."""
    return np.ones((length, 1), dtype)
