"""The tape: what fed what, and what was written over since. It knows no derivative.

Every recorded op leaves one Node behind. A Node points to the nodes of the op's inputs, its
*parents*, and never forwards, so the graph is held together from its results alone: drop the loss,
and everything behind it is freed by reference counting, with no cycle for a garbage collector to
find.

Time is a single counter. Nodes take a number from it when they are recorded, and so does every
write into an array. Two questions that need bookkeeping elsewhere become comparisons of numbers:

    in which order to go back?     newest first: a consumer is younger than what it consumed
    is a saved array still true?   yes, unless it was written after its node was recorded
"""

import itertools
import traceback
from contextlib import ContextDecorator, suppress
from contextvars import ContextVar
from functools import wraps
from inspect import isgeneratorfunction
from pathlib import Path
from typing import NamedTuple

__all__ = ["Mode", "Node", "enable_grad", "is_grad_enabled", "mark_written", "no_grad"]

_clock = itertools.count(1)
_last_write = 0  # the latest write anywhere: most graphs are younger, and need look no further
_written = {}  # id of a buffer's owner -> when it was last written

FREED = object()  # stands in for the saved arrays of a node that has let them go
_PACKAGE = str(Path(__file__).parents[1])


# ---- modes: what happens besides computing -------------------------------------------------------


class Mode(NamedTuple):
    """What the current thread does around each op."""

    record: bool = True
    """Whether ops leave nodes behind."""

    watchers: tuple = ()
    """Callables that each op is run through, to search for anomalies, replay or count.

    ``watcher(op, phase, run, operands, node)`` returns what ``run()`` does: ``op`` computing from
    ``operands``, in the phase "forward" or "backward". On the way forward ``node`` is None."""

    recorders: tuple = ()
    """Callables that are shown each new node: ``recorder(node, operands)``."""

    scopes: tuple = ()
    """Callables that the call of each layer is run through, and each step of an optimizer."""

    casting: object = None
    """In which dtypes ops compute, where ``autocast`` has a say in that."""


PLAIN = Mode()  # recording and nothing else: ops look for this very object to take the short way
mode = ContextVar("tinygrad_attn.mode", default=PLAIN)  # one per thread, and per asyncio task


class changed_mode(ContextDecorator):  # lower case, as it is used like a function
    """Inside this context the Mode has ``changes``; afterwards it is what it was.

    Above a generator it holds while the generator runs, and not for whoever asks it for items.
    """

    def __init__(self, **changes):
        self.changes, self.tokens = changes, []

    def __enter__(self):
        self.tokens.append(mode.set(mode.get()._replace(**self.changes)))

    def __exit__(self, *error):
        with suppress(ValueError):  # a generator closed by another thread changed nothing there
            mode.reset(self.tokens.pop())

    def _recreate_cm(self):  # what ContextDecorator enters at each call
        return changed_mode(**self.changes)

    def __call__(self, function):
        if not isgeneratorfunction(function):
            return super().__call__(function)

        @wraps(function)
        def stepwise(*args, **options):
            items, answer = function(*args, **options), None
            while True:
                with self._recreate_cm():
                    try:
                        item = items.send(answer)
                    except StopIteration as end:
                        return end.value
                answer = yield item

        return stepwise


def no_grad():
    """Compute without recording: ``with ta.no_grad():`` or, above a function, ``@ta.no_grad()``."""
    return changed_mode(record=False)


def enable_grad():
    """Record again, inside ``no_grad``."""
    return changed_mode(record=True)


def is_grad_enabled():
    """Whether ops called now, in this thread, leave nodes behind."""
    return mode.get().record


# ---- nodes ---------------------------------------------------------------------------------------


class Node:
    """One recorded op, or, where ``op`` is None, a *leaf*: a tensor whose gradient somebody wants.

    A node keeps the shape and dtype of its result, to which gradients must fit, and the raw arrays
    that the derivatives asked for. It never keeps a Tensor, and never its result unless a
    derivative needs it.
    """

    __slots__ = ("op", "parents", "saved", "shape", "dtype", "time", "grad", "hooks", "site")

    def __init__(self, op, parents, saved, shape, dtype):
        self.op = op  # what knows the way back: it has a ``name`` and ``pull_back``
        self.parents = parents  # one entry per operand; None where no gradient is wanted
        self.saved = saved  # what ``op.pull_back`` will need
        self.shape = shape
        self.dtype = dtype
        self.time = next(_clock)
        self.grad = None  # a Tensor: of leaves, and of results on which retain_grad() was called
        self.hooks = None  # functions (node, gradient) -> gradient, run once the gradient is whole
        self.site = None  # "file.py:12, in forward", under detect_anomaly

    def __repr__(self):
        return f"<{self.op.name if self.op else 'leaf'} node, shape {self.shape}, {self.dtype}>"

    def release(self):
        """Let go of saved arrays and parents; from now on a walk through this node is an error."""
        self.saved = FREED
        self.parents = ()


def leaf(shape, dtype):
    """A node with nothing behind it, where gradients end."""
    return Node(None, (), None, shape, dtype)


def call_site():
    """Where the program outside this package is: "file.py:12, in train: loss = model(x)"."""
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(_PACKAGE):
            return f"{frame.filename}:{frame.lineno}, in {frame.name}: {frame.line}"
    return "an unknown place"


# ---- writes --------------------------------------------------------------------------------------


def owner(array):
    """The array that owns the memory of ``array``, through any chain of views."""
    while type(base := array.base) is type(array):
        array = base
    return array


def mark_written(array):
    """Note that the buffer of ``array`` has just been changed in place, through whatever view.

    An owner's id may be reused after its death, but only by an array that is younger than this
    write, so an old entry can never accuse a new array.
    """
    global _last_write
    _last_write = _written[id(owner(array))] = next(_clock)


def changed_since(time, arrays):
    """The first of ``arrays`` that was written after ``time``, or None."""
    for array in arrays:
        if _written.get(id(owner(array)), 0) > time:
            return array
    return None


def is_older_than_last_write(node):
    """Whether anything was written since ``node`` was recorded; mostly not, and all is well."""
    return node.time < _last_write
