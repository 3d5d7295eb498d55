"""What is known of whole numbers on a GPU without asking it.

Ids must be checked before they index a table, because CuPy wraps a wrong one round. To read them
back would hold the program up until the GPU has done everything that came before. But nearly all
ids come from the host, and there it costs nothing to see between which numbers they lie. That is
noted when they are sent, found again from any view of them, and forgotten when the engine writes
into them or they are freed. Whoever writes through ``x.data`` does so behind its back.
"""

import weakref

__all__ = ["Spans", "spans_of"]


def spans_of(host):
    """[(least, greatest)] of the negative numbers in a NumPy array, and of the others.

    Apart, because one number below zero is often no id but a sign: of a target to be ignored.
    """
    parts = (host[host < 0], host[host >= 0]) if host.size else ()
    return [(int(part.min()), int(part.max())) for part in parts if part.size]


class Spans:
    """Spans of arrays, by the array that owns the memory."""

    def __init__(self):
        self._known = {}  # id of an owner -> (weak reference to it, spans)

    def note(self, array, spans):
        """Remember that all elements of the memory behind ``array`` lie in one of the spans."""
        owner = _owner(array)
        key = id(owner)
        gone = weakref.ref(owner, lambda _: self._known.pop(key, None))
        self._known[key] = gone, spans

    def forget(self, array):
        """Something is being written into ``array``."""
        self._known.pop(id(_owner(array)), None)

    def of(self, array):
        """The spans in which all elements of ``array`` lie, or None where that is unknown."""
        owner = _owner(array)
        reference, spans = self._known.get(id(owner), (None, None))
        return spans if reference is not None and reference() is owner else None


def _owner(array):
    while type(base := array.base) is type(array):
        array = base
    return array
