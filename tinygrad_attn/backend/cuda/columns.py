"""What kernels need that sum over rows in one launch, as columns.cuh describes."""

from .. import namespace

__all__ = ["BLOCKS", "counters", "sums_like"]

GROUP = 16  # as in columns.cuh
BLOCKS = GROUP * GROUP  # that may share a column, at most

_kept = {}  # (library, device, stream) -> its counters, all 0 whenever no kernel runs


def counters(xp, columns=1):
    """Counters for blocks that share so many columns; each kernel leaves them at 0.

    Kernels of one stream run one after the other, so they can all have the same.
    """
    here = xp, xp.cuda.runtime.getDevice(), xp.cuda.get_current_stream().ptr
    count, kept = columns * (GROUP + 1), _kept.get(here)
    if kept is None or kept.size < count:
        kept = _kept[here] = xp.zeros(max(count, 1024), dtype=xp.uint32)
    return kept


def sums_like(x, wanted, blocks, wide):
    """[parts, sums]: room for one row of ``wide`` floats from each block, and for their sum.

    ``x`` has the shape and dtype of the sum, which is 0 if there are no rows and so no blocks. Both
    are None where it is not wanted.
    """
    if not wanted:
        return [None, None]
    xp = namespace(x)
    sums = xp.empty if blocks else xp.zeros
    return [xp.empty((blocks, x.size), dtype=wide), sums(x.shape, dtype=x.dtype)]
