"""Ranks that are processes of this machine, and how they come and go.

Rank 0 is the process that asks for the others. However a run ends, with its last step, an error in
any rank, Ctrl-C or a kill, nothing is left behind: rank 0 ends the others, and they end when they
find that it is gone. The shared memory has no name that could remain: its file is deleted as soon
as it is open.
"""

import multiprocessing
import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker

from ..errors import DataError, ShapeError, WorkerError
from .shared import FAILED, SharedMemoryRank, block_size, hear

__all__ = ["Local"]


class Local(SharedMemoryRank):
    """Ranks on this machine, seen from rank 0: a context that leaves no process behind.

    Ask for all arrays with ``zeros``, then ``start`` the others. They are forked, so that they may
    run any function; where that is not safe (macOS) or not possible (Windows) they are spawned, and
    what they are given must be picklable.

    Args:
        size: how many ranks, this one included.
        start_method: "fork", "spawn" or "forkserver", instead of what suits the system.
    Raises: DataError for a start method that this system does not have.
    """

    def __init__(self, size: int, start_method: str | None = None):
        super().__init__(0, size, {}, [])
        methods = multiprocessing.get_all_start_methods()
        if start_method is None:  # macOS can fork, but its own libraries do not survive it
            forks = "fork" in methods and sys.platform != "darwin"
            start_method = "fork" if forks else "spawn"
        if start_method not in methods:
            raise DataError(
                f"Local: start_method is {start_method!r}; this system has {', '.join(methods)}"
            )
        self.start_method = start_method
        self._processes = {}  # rank -> its process

    def zeros(self, count, dtype, common=False):
        """A block for all ranks; the others find it when they ask for theirs."""
        if self._processes:
            raise ShapeError("Local.zeros: the other ranks have started; ask before start()")
        nbytes = block_size(1 if common else self.size, count, dtype)
        self._blocks.append(multiprocessing.RawArray("b", nbytes))
        return super().zeros(count, dtype, common)

    def _lose(self, rank, word):
        """Raise WorkerError: say how ``rank`` has ended."""
        link, process = self._links[rank], self._processes[rank]
        if word == FAILED:
            raise WorkerError(f"train: rank {rank} of {self.size} raised\n\n{_rest(link)}")
        process.join()
        code = process.exitcode
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        raise WorkerError(
            f"train: rank {rank} of {self.size} ended {how}, before its work was done; what it "
            "printed may say why"
        )

    # ---- the other processes ---------------------------------------------------------------------

    def start(self, function: Callable, **arguments) -> None:
        """Start the other ranks, each to call ``function(communicator, **arguments)``.

        Raises: DataError where they are spawned and an argument cannot be pickled; it says which;
        and in a process that is a worker itself, since those may start none.
        """
        if multiprocessing.current_process().daemon:
            raise DataError(
                "train: this process is itself a worker, and may start none; use workers=1 here"
            )
        context = multiprocessing.get_context(self.start_method)
        forks = self.start_method == "fork"
        task = (function, arguments) if forks else _pickled(function, arguments)
        with _ctrl_c_held_back(forks):
            for rank in range(1, self.size):
                ours, theirs = socket.socketpair()
                ours.setblocking(False)
                self._links[rank] = ours
                # a forked process has copies of our ends: as long as it holds them open, nobody
                # at their other ends is told that we are gone
                inherited = list(self._links.values()) if forks else []
                process = context.Process(
                    target=_live,
                    args=(rank, self.size, theirs, inherited, self._blocks, task),
                    daemon=True,
                )
                with theirs:
                    process.start()
                self._processes[rank] = process
        _begin_apart(0)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self._see_off()
        finally:
            for process in self._processes.values():
                process.kill()
            for process in self._processes.values():
                process.join()
                process.close()
            for link in self._links.values():
                link.close()
            for held in self._processes, self._links, self._blocks, self._lent:
                held.clear()

    def _see_off(self):
        """Wait for the end of every rank, which must be a good one."""
        for rank, process in self._processes.items():
            self._links[rank].setblocking(True)
            word = hear(self._links[rank])
            if word != FAILED:
                process.join()
            if word == FAILED or process.exitcode:
                self._lose(rank, word)


def _live(rank, size, link, inherited, blocks, task):
    """The life of a process that is not rank 0."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for rank 0, which ends the others
    _begin_apart(rank)
    for copy in inherited:
        copy.close()
    link.setblocking(False)
    try:
        function, arguments = pickle.loads(task) if isinstance(task, bytes) else task
        function(SharedMemoryRank(rank, size, {0: link}, blocks), **arguments)
    except Exception:
        link.setblocking(True)
        with suppress(ConnectionError):
            link.sendall(FAILED + traceback.format_exc().encode(errors="replace"))
        raise SystemExit(1) from None
    finally:
        link.close()


def _begin_apart(rank):
    """Put this rank on a core of its own, from which the system may move it as it likes.

    Ranks that begin on one core may stay there for long, though another is idle: each sleeps while
    the other computes, and is woken on the core of who wakes it.
    """
    if not hasattr(os, "sched_setaffinity"):  # macOS and Windows
        return
    allowed = os.sched_getaffinity(0)
    with suppress(OSError):  # a container may forbid it
        try:
            os.sched_setaffinity(0, {sorted(allowed)[rank % len(allowed)]})
        finally:
            os.sched_setaffinity(0, allowed)


def _rest(link):
    """All that still comes from ``link``, as text."""
    link.setblocking(True)
    return b"".join(iter(lambda: link.recv(65536), b"")).decode()


def _pickled(function, arguments):
    """Both in one pickle, so that what two arguments share they go on sharing."""
    try:
        return pickle.dumps((function, arguments))
    except Exception:
        for name, value in arguments.items():
            try:
                pickle.dumps(value)
            except Exception as error:
                raise DataError(
                    f"train: workers are spawned here, but {name} cannot be pickled: {error}; move "
                    "it to the top level of a module, with what it needs in functools.partial"
                ) from error
        raise


@contextmanager
def _ctrl_c_held_back(forks):
    """Children start with Ctrl-C blocked; here it is only late. Windows knows no such mask."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if not forks:
        resource_tracker.ensure_running()  # it would start now, and unblock Ctrl-C when it has
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
