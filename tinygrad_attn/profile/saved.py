"""How many bytes are saved for the way back, at any moment, and which op asked for them.

Between forward and backward a graph keeps what its derivatives will ask for. That, more than the
weights, is what a training step needs memory for. Here it is counted, and nothing is kept alive by
counting it:

- What counts is the *buffer*, the whole of it, even where a node saved a view of a part.
- A buffer counts once, however many nodes keep it, and for the op that was the first to do so.
- What a kernel keeps inside its ``backward`` counts like what a rule has asked for by name.
- A leaf does not count: whoever wants its gradient holds it anyway.
"""

import gc
from collections import Counter
from time import perf_counter_ns
from types import FunctionType, ModuleType
from weakref import ref

from ..backend import Backend, is_array
from ..core import Op, Tensor
from ..core.graph import Node, owner

__all__ = ["Ledger", "arrays_in"]


class Ledger:
    """Every buffer that a node of this profile keeps, with the number of nodes that do."""

    def __init__(self):
        self.alive = 0  # bytes that are kept now
        self.peak = 0  # the most that were kept at once
        self.bytes = Counter()  # (name of an op, its modules) -> bytes that it was first to keep
        self.levels = []  # (when, bytes kept from then on), while the profile is open
        self.is_open = True
        self._keepers = {}  # id of a buffer -> [how many nodes keep it, its bytes]
        self._leaves = {}  # id of a leaf's buffer -> weak reference to it

    @property
    def total(self):
        """All bytes that were kept at some time."""
        return sum(self.bytes.values())

    def enter(self, node, operands, home):
        """Count what a new node keeps, for its op and the modules of ``home``."""
        for parent, array in zip(node.parents, operands):
            if parent is not None and parent.op is None:
                self._leaves[id(owner(array))] = ref(owner(array))
        buffers = {id(buffer): buffer for buffer in map(owner, arrays_in(node.saved))}
        keys = [key for key, buffer in buffers.items() if not self._is_leaf(buffer)]
        new = 0
        for key in keys:
            keepers = self._keepers.setdefault(key, [0, buffers[key].nbytes])
            new += 0 if keepers[0] else keepers[1]
            keepers[0] += 1
        if new:
            self.bytes[node.op.name, home] += new
            self._change(new)
        if not isinstance(node.saved, _Kept):  # an outer profile may have been here already
            node.saved = _Kept(node.saved)
        node.saved.entries[self] = (home, keys)

    def give_back(self, keys):
        """A node has let go of the buffers with these ids."""
        freed = 0
        for key in keys:
            keepers = self._keepers[key]
            keepers[0] -= 1
            if not keepers[0]:
                freed += keepers[1]
                del self._keepers[key]  # the id may soon be another's
        if freed:
            self._change(-freed)

    def home_of(self, node):
        """The modules for which the node was recorded, or None where it was before the profile."""
        entries = node.saved.entries if isinstance(node.saved, _Kept) else {}
        return entries[self][0] if self in entries else None

    def _is_leaf(self, buffer):
        known = self._leaves.get(id(buffer))
        return known is not None and known() is buffer

    def _change(self, size):
        self.alive += size
        self.peak = max(self.peak, self.alive)
        if self.is_open:
            self.levels.append((perf_counter_ns(), self.alive))


class _Kept(tuple):
    """What a node saved, in the place of the plain tuple, to notice when the node lets it go.

    That is when its walk is over, or when nobody can walk there any more; no list of nodes is
    needed, and none has to be asked.
    """

    def __init__(self, saved):
        self.entries = {}  # ledger -> (the modules of the node, the ids of its buffers)

    def __del__(self):
        for ledger, (_, keys) in self.entries.items():
            ledger.give_back(keys)


def arrays_in(saved):
    """Every array that is held by the values in ``saved``, however deep inside."""
    left, seen = list(saved), set()
    while left:
        value = left.pop()
        if is_array(value):
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            left.extend(_held_by(value))


def _held_by(value):
    """What an object holds of its own; not what it only knows, as a function does its globals."""
    if isinstance(value, Tensor):
        return [value.data]
    if isinstance(value, FunctionType):
        return [value.__closure__, value.__defaults__, value.__kwdefaults__]
    if isinstance(value, (type, ModuleType, Backend, Op, Node)):
        return []
    return gc.get_referents(value)
