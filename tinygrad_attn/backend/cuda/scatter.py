"""Rows of a table: read by index, and added to by index in an order that is always the same."""

from .. import dtypes, namespace
from .launch import BLOCK, contiguous, kernel, of_floats, over_rows, real, scalars

__all__ = ["add_rows", "embedding"]

CHUNK = 64  # places that one block sums, as in scatter.cu


@of_floats
def embedding(ids, weight):
    """weight[ids]."""
    xp = namespace(weight)
    ids, weight = contiguous(ids, dtypes.int64), contiguous(weight)
    n = weight.shape[1]
    y = xp.empty((*ids.shape, n), dtype=weight.dtype)
    over_rows("scatter.cu", "take_rows", (weight, ids, y), ids.size, n)

    def backward(g):
        of_weight = xp.zeros(weight.shape, dtype=weight.dtype)
        add_rows(of_weight, ids.reshape(-1), g.reshape(ids.size, n))
        return (of_weight,)

    return y, backward


def add_rows(table, rows, values):
    """``table[rows[i]] += values[i]`` for each i, into a contiguous (count, n) table of floats.

    Rows are sorted first, so that those which name one place lie side by side: then the order of
    the additions depends on ``rows`` alone, and nothing races.
    """
    xp, n = namespace(table), table.shape[1]
    if not rows.size or not n:
        return
    values = contiguous(values, table.dtype)
    order = xp.argsort(rows, kind="stable")
    rows = rows[order]
    chunks = -(-rows.size // CHUNK)
    heads, tails = (xp.empty((chunks, n), dtype=real(table.dtype)) for _ in range(2))
    threads = min(BLOCK, -(-n // 32) * 32)
    grid, numbers = (chunks, -(-n // threads)), scalars(table.dtype, (rows.size, n))
    add, join = (
        kernel(xp, "scatter.cu", name, table.dtype, True) for name in ("add_runs", "join_runs")
    )
    add(grid, (threads,), (rows, order, values, table, heads, tails, *numbers))
    if chunks > 1:
        join(grid, (threads,), (rows, heads, tails, table, *numbers))
