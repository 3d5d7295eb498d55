"""Threads: the blocks of a kernel, shared among the cores.

NumPy computes on the core that calls it, but while it computes it lets other threads of Python go
on. So threads that take one block after the other keep their cores busy, as long as a block is much
more work than the calls of Python around it. All wait for the last; what a kernel adds up over its
blocks, it adds in their order, so that no bit of a result depends on who came first.

There are as many threads as NumPy's matrix products may use, and these get one each meanwhile. So
whoever limits those, an OPENBLAS_NUM_THREADS=1 or a worker process with a core of its own, limits
these.
"""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from threading import Lock

from .blas import blas_threads, single_threaded_blas

__all__ = ["share", "thread_count"]

MOST = 16  # more threads would only wait for one another: Python is run by one at a time

_turn = Lock()  # held by whoever shares: a second one works alone, as do blocks that share again
_pools = {}  # number of threads beside the caller's -> those threads, which wait for work


def thread_count():
    """On how many threads a kernel may run."""
    return min(blas_threads() or 1, MOST)


def share(compute, parts):
    """[compute(part) for part in parts], on several threads where there are."""
    count = thread_count()
    if count == 1:
        return [compute(part) for part in parts]
    with single_threaded_blas():  # alone too: BLAS hangs if its threads are busy at a fork
        if len(parts) < 2 or _turn.locked():
            return [compute(part) for part in parts]
        with _turn:  # acquire() would not give it back if Ctrl-C came just then
            return _share(compute, parts, count)


def _share(compute, parts, count):
    """The same on ``count`` threads or fewer, of which this is one."""
    results, left = [None] * len(parts), deque(range(len(parts)))

    def work():
        try:
            while (i := _next(left)) is not None:
                results[i] = compute(parts[i])
        finally:
            left.clear()  # if this was an error there is no point in going on

    others = []
    try:
        with suppress(RuntimeError):  # the interpreter is about to end, and starts no more threads
            for _ in range(min(count, len(parts)) - 1):
                others.append(_pool(count - 1).submit(copy_context().run, work))
        work()
    finally:
        errors = _errors(others)
    for error in filter(None, errors):
        raise error
    return results


def _errors(others):
    """What each of them raised, or None, once all have stopped; who has not begun never will.

    Ctrl-C has to wait for that too.
    """
    try:
        return [other.exception() for other in others if not other.cancel()]
    except KeyboardInterrupt:
        _errors(others)
        raise


def _next(numbers):
    """Take the first of them, or None if there are none; no two threads take the same."""
    try:
        return numbers.popleft()
    except IndexError:
        return None


def _pool(size):
    """So many threads; they are made when they are first needed."""
    if size not in _pools:
        _pools[size] = ThreadPoolExecutor(size, "tinygrad_attn")
    return _pools[size]


def _end_threads():
    """A process is not to be copied while it has threads: the copy would have none of them."""
    _turn.acquire()
    while _pools:
        _pools.popitem()[1].shutdown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_end_threads, after_in_parent=_turn.release, after_in_child=_turn.release
    )
