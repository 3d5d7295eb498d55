"""Cache-sized blocks: how the kernels of this backend walk over their arrays.

An expression such as ``x * x + 1`` goes through memory once for each operation. On arrays that do
not fit in the cache nearly all of its time is spent waiting. Run on one piece of the arrays after
the other, with every operation writing into a small buffer that stays in the cache, the same
operations take a third of it. ``erf`` and ``adam``, which hold more buffers at once, have smaller
blocks of their own, and attention, which holds fewer, larger ones.
"""

from functools import lru_cache

import numpy as np

from .threads import share, thread_count

__all__ = [
    "BLOCK",
    "for_blocks",
    "for_row_blocks",
    "mean_of_rows",
    "product",
    "row_blocks",
    "stretched",
    "sum_all_columns",
    "sum_columns",
    "sum_rows",
]

BLOCK = 65536
"""Elements of a block: a quarter of a megabyte of float32, of which a kernel holds four or five.

Twice that where several threads share the blocks: between two calls of NumPy they wait for one
another, so it should have more to do in each.
"""

_WORTH_SHARING = 2**23  # multiplications of a product that a thread of its own pays for

_PANEL = 16  # rows or columns that OpenBLAS takes together

_LONG = 2048  # from this length on a row is summed by halves: a running sum would round too often


def for_blocks(compute, size):
    """[compute(part)] for each slice of a flat array of ``size`` elements."""
    return share(compute, _slices(size, _block()))


def for_row_blocks(compute, rows, width):
    """[compute(part)] for slices of ``rows`` that hold about a block of elements each."""
    return share(compute, row_blocks(rows, width))


def row_blocks(rows, width):
    """The slices that cut ``rows`` rows of ``width`` elements into blocks."""
    return _slices(rows, max(_block() // max(width, 1), 1))


def _block():
    return BLOCK if thread_count() == 1 else 2 * BLOCK


def _slices(size, step):
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def product(a, b):
    """a·b of two matrices, or of two stacks of them, each thread computing some rows, or columns.

    OpenBLAS would share it too, but its threads spin when they are done, for a tenth of a second,
    on the cores that the threads of the next kernel need.
    """
    threads = thread_count()
    if threads == 1:
        return np.matmul(a, b)
    if a.ndim > 2 and len(a) == 1:
        return product(a[0], b[0])[None]
    y = np.empty((*a.shape[:-1], b.shape[-1]), np.result_type(a, b))
    count = min(threads, max(y.size * a.shape[-1] // _WORTH_SHARING, 1))
    if a.ndim > 2:
        share(lambda i: np.matmul(a[i], b[i], out=y[i]), _slices(len(a), _share_of(len(a), count)))
    elif len(a) < _PANEL * count:
        columns = _slices(b.shape[1], _share_of(b.shape[1], count, _PANEL))
        share(lambda part: np.matmul(a, b[:, part], out=y[:, part]), columns)
    else:
        rows = _slices(len(a), _share_of(len(a), count, _PANEL))
        share(lambda part: np.matmul(a[part], b, out=y[part]), rows)
    return y


def _share_of(size, count, unit=1):
    """How much of ``size`` each of ``count`` threads takes, in whole units."""
    return max(-(-size // (count * unit)), 1) * unit


def stretched(row, blocks, width):
    """A row repeated for a whole block: equal shapes multiply twice as fast as broadcast ones."""
    if row is None or len(blocks) < 2:  # of a single block nothing would be saved
        return row if row is None else row.reshape(1, width)
    block = np.empty((blocks[0].stop, width), row.dtype)
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


def sum_all_columns(x):
    """The sum of each column, block by block."""
    parts = for_row_blocks(lambda part: sum_columns(x[part]), *x.shape)
    return sum(parts, np.zeros(x.shape[1], x.dtype))


def sum_columns(x):
    """The sum of each column of a block's rows, so few that nothing rounds away."""
    return _ones(len(x), x.dtype)[:, 0] @ x


@lru_cache(maxsize=64)
def _ones(length, dtype):
    """A column of ones to multiply with; nobody writes into it."""
    return np.ones((length, 1), dtype)
