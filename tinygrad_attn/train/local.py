"""Ranks that are processes of this machine, with their arrays in shared memory.

Rank 0 is the process that asks for the others. It holds one socket to each: a byte says "I am
here", the answer "go on". A barrier is nothing else, and it cannot wait for the dead: when a
process ends, however it ends, the system closes its socket, and whoever listens at the other end is
told at once. The kernel also sees to it that what was written before a byte was sent is seen by
whoever received it, on every kind of processor; a counter in shared memory promises no such thing.

The shared memory has no name that could be left behind: its file is deleted as soon as it is open.
"""

import multiprocessing
import pickle
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait

import numpy as np

from ..errors import DataError, ShapeError, WorkerError
from .communicator import Communicator

__all__ = ["Local"]

_HERE, _FAILED = b".", b"!"  # what a byte says; the traceback follows a failure

_SPIN = 1e-3  # seconds to look again and again, before the wait that costs no time but wakes late

_BLOCK = 32768  # elements that are summed at a time, so that they stay in the cache


class Local(Communicator):
    """Ranks on this machine; in rank 0 a context manager, which leaves no process behind.

    Ask for all arrays with ``zeros``, then ``start`` the others. They are forked, so that they may
    run any function; where that is not safe (macOS) or not possible (Windows) they are spawned, and
    what they are given must be picklable.

    Args:
        size: how many ranks, this one included.
        start_method: "fork", "spawn" or "forkserver", instead of what suits the system.
    Raises: DataError for a start method that this system does not have.
    """

    def __init__(self, size: int, start_method: str | None = None):
        methods = multiprocessing.get_all_start_methods()
        if start_method is None:  # macOS can fork, but its own libraries do not survive it
            forks = "fork" in methods and sys.platform != "darwin"
            start_method = "fork" if forks else "spawn"
        if start_method not in methods:
            raise DataError(
                f"Local: start_method is {start_method!r}; this system has {', '.join(methods)}"
            )
        self.start_method = start_method
        self.rank, self.size = 0, size
        self._processes = {}  # rank -> its process
        self._join({}, [])

    def _join(self, links, blocks):
        """Take the place of this rank: with ``links`` to the others, over these shared blocks."""
        self._links = links  # rank -> socket
        self._blocks = blocks  # in the order in which zeros() hands them out
        self._lent = {}  # address of an array -> the same array of all ranks, a row each

    # ---- memory ----------------------------------------------------------------------------------

    def zeros(self, count, dtype, common=False):
        """Shared memory: a row of it for every rank, or the same row for all."""
        rows, dtype = (1 if common else self.size), np.dtype(dtype)
        if self.rank == 0:
            if self._processes:
                raise ShapeError("Local.zeros: the other ranks have started; ask before start()")
            nbytes = rows * count * dtype.itemsize
            self._blocks.append(multiprocessing.RawArray("b", max(nbytes, 1)))
        block = self._blocks[len(self._lent)]
        everyone = np.frombuffer(block, dtype, rows * count).reshape(rows, count)
        array = everyone[0 if common else self.rank]
        self._lent[_address(array)] = everyone
        return array

    def _everyone(self, where, array):
        """The rows of all ranks, of which ``array`` is this rank's."""
        rows = self._lent.get(_address(array))
        if rows is None or rows.shape[1:] != array.shape or rows.dtype != array.dtype:
            raise ShapeError(
                f"{where}: an array of shape {array.shape}, {array.dtype}, is none that zeros() "
                "gave; ranks can exchange only those"
            )
        return rows

    # ---- meeting ---------------------------------------------------------------------------------

    def broadcast(self, array):
        """Copies what is not common to all."""
        everyone = self._everyone("broadcast", array)
        self.barrier()
        if len(everyone) > 1:
            if self.rank:
                array[...] = everyone[0]
            self.barrier()

    def all_reduce_mean(self, array):
        """Every rank sums its own part of the array, and writes it into all."""
        everyone = self._everyone("all_reduce_mean", array)
        if len(everyone) != self.size:
            raise ShapeError("all_reduce_mean: the array is common to all ranks; broadcast it")
        first, end = (len(array) * rank // self.size for rank in (self.rank, self.rank + 1))
        self.barrier()
        for start in range(first, end, _BLOCK):
            part = everyone[:, start : min(start + _BLOCK, end)]
            total = part[0].copy()
            for row in part[1:]:
                total += row
            total /= self.size
            part[...] = total
        self.barrier()

    def barrier(self):
        """Everyone tells rank 0, and rank 0 tells everyone."""
        if self.rank:
            self._tell()
            self._listen()
        else:
            self._listen()
            self._tell()

    def _tell(self):
        for link in self._links.values():
            with suppress(ConnectionError):  # whoever is gone is found by who listens
                link.send(_HERE)

    def _listen(self):
        """Wait for a word from every link, whoever speaks first."""
        silent, spun = dict(self._links), time.perf_counter() + _SPIN
        while silent:
            for rank, link in list(silent.items()):
                word = _word(link)
                if word is None:
                    continue
                if word != _HERE:
                    self._fail(rank, word)
                del silent[rank]
            if silent and time.perf_counter() > spun:
                wait(list(silent.values()))

    def _fail(self, rank, word):
        """End this rank because ``rank`` failed; a worker without rank 0 has nobody to tell."""
        if self.rank:
            raise SystemExit(1)
        link, process = self._links[rank], self._processes[rank]
        if word == _FAILED:
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

        Raises: DataError where they are spawned and an argument cannot be pickled; it says which.
        """
        context = multiprocessing.get_context(self.start_method)
        forks = self.start_method == "fork"
        task = (function, arguments) if forks else _pickled(function, arguments)
        with _ctrl_c_held_back():
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
            self._join({}, [])

    def _see_off(self):
        """Wait for the end of every rank, which must be a good one."""
        for rank, process in self._processes.items():
            self._links[rank].setblocking(True)
            word = _word(self._links[rank])
            process.join()
            if word == _FAILED or process.exitcode:
                self._fail(rank, word)


def _live(rank, size, link, inherited, blocks, task):
    """The life of a process that is not rank 0."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for rank 0, which ends the others
    for copy in inherited:
        copy.close()
    link.setblocking(False)
    communicator = Local.__new__(Local)
    communicator.rank, communicator.size = rank, size
    communicator._join({0: link}, blocks)
    try:
        function, arguments = pickle.loads(task) if isinstance(task, bytes) else task
        function(communicator, **arguments)
    except Exception:
        link.setblocking(True)
        with suppress(ConnectionError):
            link.sendall(_FAILED + traceback.format_exc().encode())
        raise SystemExit(1) from None
    finally:
        link.close()


def _word(link):
    """The next byte from ``link``: b"" if the other end is gone, None if it has nothing to say."""
    try:
        return link.recv(1)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""


def _rest(link):
    """All that still comes from ``link``, as text."""
    link.setblocking(True)
    return b"".join(iter(lambda: link.recv(65536), b"")).decode()


def _address(array):
    return array.__array_interface__["data"][0]


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
def _ctrl_c_held_back():
    """Children start with Ctrl-C blocked; here it is only late. Windows knows no such mask."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
