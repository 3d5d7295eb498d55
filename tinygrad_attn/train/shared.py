"""How ranks of one machine meet: over arrays in shared memory, by bytes through sockets.

A byte from a rank to rank 0 says "I am here", the answer "go on". A barrier is nothing else, and it
cannot wait for the dead: when a process ends, however it ends, the system closes its socket, and
whoever listens at the other end is told at once. The kernel also sees to it that what was written
before a byte was sent is seen by whoever received it, on every kind of processor; a counter in
shared memory promises no such thing.
"""

import time
from contextlib import suppress
from multiprocessing.connection import wait

import numpy as np

from ..backend import quiet
from ..errors import ShapeError
from .communicator import Communicator

__all__ = ["FAILED", "HERE", "SharedMemoryRank", "block_size", "hear"]

HERE, FAILED = b".", b"!"  # what a byte says; the traceback follows a failure

_SPIN = 1e-3  # seconds to look again and again, before the wait that costs no time but wakes late

_BLOCK = 32768  # elements that are summed at a time, so that they stay in the cache

_LINE = 64  # bytes of a line of the cache, which two processors should not write at once


class SharedMemoryRank(Communicator):
    """What a rank needs to meet the others, whichever it is.

    Args:
        links: rank → the socket to it; rank 0 has one to each, the others have one to rank 0.
        blocks: the shared memory, in the order in which ``zeros`` hands it out.
    """

    def __init__(self, rank, size, links, blocks):
        self.rank, self.size = rank, size
        self._links, self._blocks = links, blocks
        self._lent = {}  # address of an array -> the same array of all ranks, a row each

    def zeros(self, count, dtype, common=False):
        """The next block: a row of it for every rank, or one for all."""
        rows, width = (1 if common else self.size), _width(count, dtype)
        block = np.frombuffer(self._blocks[len(self._lent)], np.uint8)
        lines = block[-_address(block) % _LINE :][: rows * width].reshape(rows, width)
        everyone = lines[:, : count * np.dtype(dtype).itemsize].view(dtype)
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

    @quiet
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
                link.send(HERE)

    def _listen(self):
        """Wait for a word from every link, whoever speaks first."""
        silent, spun = dict(self._links), time.perf_counter() + _SPIN
        while silent:
            for rank, link in list(silent.items()):
                word = hear(link)
                if word is None:
                    continue
                if word != HERE:
                    self._lose(rank, word)
                del silent[rank]
            if silent and time.perf_counter() > spun:
                wait(list(silent.values()))

    def _lose(self, rank, word):
        """End this rank, as ``rank`` has ended: without rank 0 there is nobody to tell."""
        raise SystemExit(1)


def hear(link):
    """The next byte from ``link``: b"" if the other end is gone, None if it has nothing to say."""
    try:
        return link.recv(1)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""


def block_size(rows, count, dtype):
    """The bytes of a block with so many rows of ``count`` numbers, wherever it begins."""
    return rows * _width(count, dtype) + _LINE


def _width(count, dtype):
    """The bytes from one row to the next, whole lines of the cache."""
    return -(-count * np.dtype(dtype).itemsize // _LINE) * _LINE


def _address(array):
    return array.__array_interface__["data"][0]
