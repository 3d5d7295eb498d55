"""Adding to the same place many times: the gradient of a look-up, such as an embedding's.

``np.add.at`` goes element by element. Where whole rows are added, as for tokens in a table, they
are sorted by where they go, and summed in rounds: the first of each place, then the second of each
that has two, and so on, always many at once. A few tokens may be far more frequent than the others,
and would keep the rounds going for little; the rows of such a one are summed by a matrix product.
"""

import numpy as np

from .blas import single_threaded_blas

__all__ = ["add_at"]


def add_at(target, index, values):
    """``target[index] += values`` in place, where repeated indices add up."""
    ids = _rows(target, index)
    if ids is None or np.ndim(values) == 0:
        np.add.at(target, index, values)
        return
    values = np.broadcast_to(values, (*ids.shape, *target.shape[1:]))
    places, sums = _summed(ids.reshape(-1), values.reshape(ids.size, -1), len(target))
    target[places] += sums.reshape(len(places), *target.shape[1:])


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


def _summed(ids, values, bound):
    """(the different ids, all below ``bound``, most frequent first; of each the sum of rows)."""
    if bound <= 2**16:  # NumPy sorts 16 bits by their digits, 3 to 8 times faster
        ids = ids.astype(np.uint16)
    order = np.argsort(ids, kind="stable")  # the rows of an id, side by side
    ids = ids[order]
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    counts = np.diff(starts, append=len(ids))
    frequent = np.argsort(-counts, kind="stable")
    starts, counts = starts[frequent], counts[frequent]
    sums = np.zeros((len(starts), values.shape[1]), values.dtype)
    products, rounds = _shares(counts)
    with single_threaded_blas():
        for i, (start, count) in enumerate(zip(starts[:products], counts[:products])):
            rows = values.take(order[start : start + count], axis=0)
            np.matmul(np.ones(count, values.dtype), rows, out=sums[i])
    ends = len(counts) - np.searchsorted(counts[::-1], np.arange(rounds), side="right")
    for number, end in enumerate(ends):  # the ids before ``end`` have a row of this number
        part, rows = sums[products:end], order[starts[products:end] + number]
        part += values.take(rows, axis=0)
    return ids[starts], sums


def _shares(counts):
    """(for how many ids, the first, a product sums the rows; in how many rounds those of the rest).

    A round costs about as much as a product, and of the rest the first has the most rows. So these
    are the two with the least sum.
    """
    rounds = np.append(counts, 0)
    products = int(np.argmin(np.arange(len(rounds)) + rounds))
    return products, rounds[products]
