"""Communicators: what every rank has after it met the others, and that nothing is left behind.

The programs below run on every rank alike; what a worker asserts in vain is raised in rank 0.
"""

import multiprocessing
import os
import random
import time
from functools import reduce
from operator import add

import numpy as np
import pytest

from tinygrad_attn.errors import DataError, ShapeError, WorkerError
from tinygrad_attn.train import Alone, Local

METHODS = [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]
COUNT = 100_003  # more than a block, and no multiple of a number of ranks


# ---- programs: what each rank does, and the arrays that it wants for it --------------------------


def reduces(communicator, flat, short):
    flat[:] = numbers(communicator.rank)
    short[:] = communicator.rank + 1
    communicator.all_reduce_mean(flat)
    communicator.all_reduce_mean(short)
    in_order = reduce(add, map(numbers, range(communicator.size))) / communicator.size
    assert flat.tobytes() == in_order.tobytes()
    assert short[0] == (communicator.size + 1) / 2


def numbers(rank):
    """Numbers of all sizes: the order in which they are summed shows in the sum."""
    rng = np.random.default_rng(rank)
    return (rng.standard_normal(COUNT) * 10.0 ** rng.integers(-6, 7, COUNT)).astype(np.float32)


def broadcasts(communicator, own, common):
    for turn in range(3):
        own[:] = 10 * turn + communicator.rank
        if communicator.rank == 0:
            common[:] = turn
        communicator.broadcast(own)
        communicator.broadcast(common)
        assert (own == 10 * turn).all()
        assert (common == turn).all()
        communicator.barrier()


def meets(communicator, arrived):
    for turn in range(1, 20):
        time.sleep(random.random() * 2e-3)
        arrived[communicator.rank] = turn
        communicator.barrier()
        assert (arrived >= turn).all()
        assert (arrived <= turn + 1).all()


def nothing(communicator):
    pass


def sleeps(communicator):
    time.sleep(600)


def exits(communicator):
    if communicator.rank == communicator.size - 1:
        os._exit(3)
    communicator.barrier()


ARRAYS = {
    reduces: lambda size: [(COUNT, "float32"), (1, "float64")],
    broadcasts: lambda size: [(5, "int64"), (7, "uint8", True)],
    meets: lambda size: [(size, "int64", True)],
}


def follow(communicator, program):
    wanted = ARRAYS.get(program, lambda size: [])(communicator.size)
    program(communicator, *(communicator.zeros(*array) for array in wanted))


def run(program, size, start_method=None):
    """The program on every rank, rank 0 in this process."""
    with Local(size, start_method) as communicator:
        wanted = ARRAYS.get(program, lambda size: [])(size)
        arrays = [communicator.zeros(*array) for array in wanted]
        communicator.start(follow, program=program)
        program(communicator, *arrays)


# ---- what they find ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("program", ARRAYS)
def test_ranks_exchange(program, size):
    run(program, size, METHODS[0])
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("method", METHODS[1:])
def test_spawned_ranks_exchange(method):
    run(reduces, 2, method)
    assert not multiprocessing.active_children()


def test_alone_everything_is_the_mean_already():
    communicator = Alone()
    assert (communicator.rank, communicator.size) == (0, 1)
    array = communicator.zeros(4, "float32")
    assert array.tolist() == [0, 0, 0, 0]
    array[:] = [1, 2, 3, 4]
    communicator.broadcast(array)
    communicator.all_reduce_mean(array)
    communicator.barrier()
    assert array.tolist() == [1, 2, 3, 4]


def test_shared_memory_begins_with_zeros_and_has_no_name():
    with Local(2) as communicator:
        array, short = communicator.zeros(1_000_000, "float64"), communicator.zeros(3, "uint8")
        assert (array.dtype, array.shape, short.shape) == (np.float64, (1_000_000,), (3,))
        assert array.ctypes.data % 64 == short.ctypes.data % 64 == 0
        assert not array.any()
        if os.path.isdir("/dev/shm"):
            assert not [name for name in os.listdir("/dev/shm") if f"-{os.getpid()}-" in name]


def test_shared_memory_and_files_go_back():
    def open_files():
        return len(os.listdir("/proc/self/fd"))

    def mapped():
        with open("/proc/self/maps", encoding="utf-8") as file:
            return sum(shared_bytes(line) for line in file)

    def shared_bytes(line):
        start, end = line.split()[0].split("-")
        return int(end, 16) - int(start, 16) if "pym-" in line else 0

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system has no /proc to look into")
    run(reduces, 2)  # what Python's own heap of shared memory takes once, it keeps
    before = open_files(), mapped()
    for _ in range(3):
        with Local(2) as communicator:
            communicator.zeros(4_000_000, "float32")
            run(reduces, 2)
    assert (open_files(), mapped()) == before


# ---- mistakes and failures -----------------------------------------------------------------------


def test_only_arrays_of_its_own_can_be_exchanged():
    with Local(2) as communicator:
        array, common = communicator.zeros(4, "float32"), communicator.zeros(4, "float32", True)
        for wrong in np.zeros(4, np.float32), array[:2], array[1:], array.view(np.int32):
            with pytest.raises(ShapeError, match="is none that zeros"):
                communicator.all_reduce_mean(wrong)
            with pytest.raises(ShapeError, match="is none that zeros"):
                communicator.broadcast(wrong)
        with pytest.raises(ShapeError, match="common to all ranks; broadcast it"):
            communicator.all_reduce_mean(common)


def test_memory_is_asked_for_before_the_others_start():
    with Local(2) as communicator:
        communicator.start(follow, program=nothing)
        with pytest.raises(ShapeError, match="ask before start"):
            communicator.zeros(4, "float32")


def test_an_unknown_start_method():
    with pytest.raises(DataError, match="start_method is 'thread'; this system has"):
        Local(2, "thread")


def test_what_cannot_be_pickled_is_named():
    message = "workers are spawned here, but program cannot be pickled"
    with Local(2, "spawn") as communicator, pytest.raises(DataError, match=message):
        communicator.start(follow, program=lambda communicator: None)
    assert not multiprocessing.active_children()


def test_a_rank_that_ends_early_ends_the_others():
    with pytest.raises(WorkerError, match="rank 2 of 3 ended with exit code 3, before its work"):
        run(exits, 3)
    assert not multiprocessing.active_children()


def raises_at_last(communicator):
    communicator.barrier()
    if communicator.rank:
        raise LookupError("after the last barrier")


def test_a_failure_after_the_last_barrier_is_found_too():
    with pytest.raises(WorkerError, match="LookupError: after the last barrier"):
        run(raises_at_last, 2)


def test_an_error_in_rank_0_is_its_own():
    with pytest.raises(ZeroDivisionError), Local(3) as communicator:
        communicator.start(follow, program=sleeps)
        raise ZeroDivisionError
    assert not multiprocessing.active_children()
