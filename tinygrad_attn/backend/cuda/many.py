"""Many tensors in one launch: a table of where each lies, which the kernels of many.cuh read.

The hundred and more parameters of a model are small next to what one launch can do, and each launch
costs the host some microseconds. So what is done to all of them alike is asked for once.
"""

from functools import lru_cache

import numpy as np

from .launch import BLOCK, BYTES, KEPT, kernel, scalars

__all__ = ["launch_over", "table_of"]

STRETCH = BLOCK * KEPT  # elements of a block, as in many.cuh


def table_of(firsts, seconds, starts):
    """(the rows of a table, how many stretches they have); contiguous arrays, none of them empty.

    A row: the address of an array, of its second or 0, the start, the size, and how many stretches
    were before.
    """
    rows, blocks = [], 0
    for first, second, start in zip(firsts, seconds, starts):
        address = 0 if second is None else second.data.ptr
        rows.append((first.data.ptr, address, start, first.size, blocks))
        blocks += -(-first.size // STRETCH)
    return tuple(rows), blocks


def launch_over(file, name, dtype, xp, rows, blocks, arrays, numbers=(), most=None):
    """Launch ``name(table, count, blocks, *arrays, *numbers)`` over the stretches of a table.

    In packs of 16 bytes where all addresses, starts and sizes allow that; ``most`` bounds how many
    blocks there are, which then take several stretches each.
    """
    addresses = [address for row in rows for address in row[:2]]
    addresses += [array.data.ptr for array in arrays]
    counts = [count * dtype.itemsize for row in rows for count in row[2:4]]
    is_single = any(n % BYTES for n in (*addresses, *counts))
    table = _sent(xp, xp.cuda.runtime.getDevice(), rows)
    run = kernel(xp, file, name, dtype, is_single)
    sizes = scalars(dtype, (len(rows), blocks))
    grid = min(blocks, most or blocks)
    run((grid,), (BLOCK,), (table, *sizes, *arrays, *scalars(dtype, numbers)))


@lru_cache(maxsize=4)  # of a step: those of the norm, the scaling and the optimizer
def _sent(xp, device, rows):
    """The table on the device. It is sent without waiting, and again only when anything moved."""
    return xp.array(np.array(rows, np.int64))
