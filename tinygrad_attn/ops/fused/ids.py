"""The check that ids are inside their table: an array library may wrap a wrong one round."""

from ...backend import backend_of, on_device_of
from ...errors import IndexRangeError

__all__ = ["check_ids"]


def check_ids(where, what, ids, count, table, ignore=None):
    """Raise IndexRangeError naming the first of ``ids`` outside 0..count−1, unless ``ignore``.

    A GPU is not asked for ids that it was sent, nor for parts of them: see ``lies_within``.
    """
    data = ids.data
    if not ids.size or backend_of(data).lies_within(data, 0, count, ignore):
        return
    with on_device_of(data):
        wrong = (data < 0) | (data >= count)
        if ignore is not None:
            wrong &= data != ignore
    to_host = backend_of(data).to_host
    wrong = to_host(wrong)
    if wrong.any():
        place = tuple(int(axis[0]) for axis in wrong.nonzero()) if ids.ndim else ()
        raise IndexRangeError(
            f"{where}: {what} {int(to_host(data)[place])} at index {place} "
            f"is outside 0..{count - 1} ({table})"
        )
