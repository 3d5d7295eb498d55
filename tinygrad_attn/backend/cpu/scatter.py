"""Adding to the same place many times: the gradient of a look-up, such as an embedding's.

``np.add.at`` goes element by element. Where whole rows are added, as for tokens in a table, it is
several times faster to sort the rows by where they go, sum those that go to the same place, and add
every sum once.
"""

import numpy as np

from .blas import single_threaded_blas

__all__ = ["add_at"]

_WORTH_A_PRODUCT = (
    1024  # elements that go to one place, on average: then a matrix product sums them
)


def add_at(target, index, values):
    """``target[index] += values`` in place, where repeated indices add up."""
    ids = _rows(target, index)
    if ids is None or np.ndim(values) == 0:
        np.add.at(target, index, values)
        return
    values = np.broadcast_to(values, (*ids.shape, *target.shape[1:]))
    ids = ids.reshape(-1)
    if len(target) <= 2**16:  # NumPy sorts 16 bits by their digits, 3 to 8 times faster
        ids = ids.astype(np.uint16)
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    values = values.reshape(ids.size, -1).take(order, axis=0)
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    sums = _sums(values, starts)
    target[ids[starts]] += sums.reshape(len(starts), *target.shape[1:])


def _rows(target, index):
    """The rows that an index names, none of them negative; or None where it is another index."""
    index = index[0] if isinstance(index, tuple) and len(index) == 1 else index
    whole = isinstance(index, np.ndarray) and index.dtype.kind in "iu" and index.size
    if not whole or target.ndim < 2 or target.dtype.kind != "f" or not target.size:
        return None
    count = len(target)
    if index.min() < -count or index.max() >= count:
        return None  # for NumPy to refuse
    ids = index.astype(np.intp, copy=False)  # an int8 has no room for 300 more
    return np.where(ids < 0, ids + count, ids)


def _sums(values, starts):
    """The sum of each stretch of rows that begins at one of ``starts``."""
    if values.size < _WORTH_A_PRODUCT * len(starts):
        return np.add.reduceat(values, starts, axis=0)
    sums = np.empty((len(starts), values.shape[1]), values.dtype)
    ends = [*starts[1:].tolist(), len(values)]
    with single_threaded_blas():
        for i, (start, end) in enumerate(zip(starts.tolist(), ends)):
            np.matmul(np.ones(end - start, values.dtype), values[start:end], out=sums[i])
    return sums
