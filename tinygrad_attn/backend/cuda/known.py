"""What is known of whole numbers on a GPU without asking it.

Ids must be checked before they index a table, because CuPy wraps a wrong one round; positions must
ascend, because attention looks for them as in a sorted list. To read them back would hold the
program up until the GPU has done everything that came before. But nearly all of them come from the
host, and there it costs nothing to see between which numbers they lie, and whether each row
ascends. That is noted when they are sent, found again from a view of them, and forgotten when the
engine writes into them or they are freed. Who writes through ``x.data`` does so behind its back.
"""

import weakref
from dataclasses import dataclass, field

__all__ = ["Known", "spans_of"]


def spans_of(host):
    """[(least, greatest)] of the negative numbers in a NumPy array, and of the others.

    Apart, because one number below zero is often no id but a sign: of a target to be ignored.
    """
    parts = (host[host < 0], host[host >= 0]) if host.size else ()
    return [(int(part.min()), int(part.max())) for part in parts if part.size]


@dataclass
class _Facts:
    """What is known of all elements of an array, and of some views of it."""

    owner: weakref.ref
    spans: list | None = None
    ascending: list = field(default_factory=list)  # of views, as (row, address, shape, strides)


class Known:
    """What is known of arrays, by the array that owns the memory."""

    def __init__(self):
        self._facts = {}  # id of an owner -> its facts

    def note_spans(self, array, spans):
        """Remember that all elements of the memory behind ``array`` lie in one of the spans."""
        self._of(array, is_new=True).spans = spans

    def note_order(self, array):
        """Remember that ``array`` ascends along its last axis."""
        row = array.shape[-1] * array.itemsize if array.flags.c_contiguous else 0
        self._of(array, is_new=True).ascending.append((row, *_layout(array)))

    def forget(self, array):
        """Something is being written into ``array``."""
        self._facts.pop(id(_owner(array)), None)

    def spans(self, array):
        """The spans in which all elements of ``array`` lie, or None where that is unknown."""
        facts = self._of(array)
        return facts and facts.spans

    def ascends(self, array):
        """Whether ``array`` is known to ascend along its last axis."""
        facts = self._of(array)
        return bool(facts) and any(_is_part(_layout(array), *whole) for whole in facts.ascending)

    def _of(self, array, is_new=False):
        """The facts about the memory behind ``array``, or None; empty ones if they ``is_new``."""
        owner = _owner(array)
        key, facts = id(owner), self._facts.get(id(owner))
        if facts is not None and facts.owner() is not owner:
            facts = None  # they were of another, which had this id before
        if facts is None and is_new:
            gone = weakref.ref(owner, lambda _: self._facts.pop(key, None))
            facts = self._facts[key] = _Facts(gone)
        return facts


def _owner(array):
    while type(base := array.base) is type(array):
        array = base
    return array


def _layout(array):
    return [array.data.ptr, array.shape, array.strides]


def _is_part(part, row, *whole):
    """Whether ``part`` is the ``whole``, or its rows are read forwards in rows of the whole.

    A contiguous whole has rows of so many bytes, one behind the other; else ``row`` is 0.
    """
    address, (*_, count), (*outer, step) = part
    if part == [*whole] or not row:
        return part == [*whole]
    last = (address - whole[0]) % row + (count - 1) * step
    return step > 0 and last < row and not any(stride % row for stride in outer)
