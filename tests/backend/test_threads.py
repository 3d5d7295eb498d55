"""Blocks shared among threads: all of them, in order, whatever becomes of one; BLAS meanwhile."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import tinygrad_attn as ta
from tests.backend.on_threads import on_threads
from tinygrad_attn.backend import quiet
from tinygrad_attn.backend.cpu import blocks, scores, threads
from tinygrad_attn.backend.cpu.blas import blas_threads
from tinygrad_attn.backend.cpu.threads import share, thread_count

ROOT = Path(__file__).parents[2]


@pytest.fixture
def three():
    """Three threads, as if NumPy had them."""
    with on_threads(3):
        yield


def test_results_come_in_order_and_from_several_threads(three):
    meeting = threading.Barrier(3)  # which one thread alone would not leave

    def compute(part):
        if part < 3:
            meeting.wait(timeout=60)
        return part * part, threading.get_ident()

    results = share(compute, range(100))
    assert [square for square, _ in results] == [i * i for i in range(100)]
    assert len({thread for _, thread in results[:3]}) == 3


def test_blas_has_one_thread_meanwhile(three):
    assert thread_count() == 3
    assert share(lambda part: blas_threads(), range(5)) == [1] * 5
    assert share(lambda part: blas_threads(), [0]) == [1]
    with threads._turn:  # another one shares, or forks: OpenBLAS's threads would not survive that
        assert share(lambda part: blas_threads(), range(5)) == [1] * 5
    assert thread_count() == 3


def test_no_parts(three):
    assert share(None, []) == []


def test_blocks_that_share_again_do_not_wait_for_themselves(three):
    nested = share(lambda part: share(lambda inner: (part, inner), range(3)), range(4))
    assert nested == [[(part, inner) for inner in range(3)] for part in range(4)]


@pytest.mark.parametrize("bad", [0, 1, 7])
def test_an_error_in_any_block_is_raised_when_all_have_stopped(three, bad):
    running = []

    def compute(part):
        running.append(part)
        time.sleep(0.01)
        running.remove(part)
        if part == bad:
            raise KeyError(part)

    with pytest.raises(KeyError, match=str(bad)):
        share(compute, range(8))
    assert running == []
    assert thread_count() == 3
    assert share(abs, [-1, -2, -3]) == [1, 2, 3]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads here")
def test_an_interrupt_is_raised_when_all_have_stopped(three):
    meeting, stopped = threading.Barrier(2), []

    def compute(part):
        meeting.wait(timeout=60)
        if threading.current_thread() is not threading.main_thread():  # which has nothing left
            time.sleep(0.05)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.1)
            stopped.append(part)

    with pytest.raises(KeyboardInterrupt):
        share(compute, range(2))
    assert len(stopped) == 1
    assert thread_count() == 3


def test_few_parts_take_of_the_same_threads(three):
    before = set(threading.enumerate())
    with on_threads(6):
        for count in range(2, 10):
            share(time.sleep, [0.01] * count)
    assert len(set(threading.enumerate()) - before) <= 5


def test_two_callers_at_once(three):
    found = {}

    def call(name):
        found[name] = [share(lambda part: (name, part), range(20)) for _ in range(50)]

    callers = [threading.Thread(target=call, args=(name,)) for name in "ab"]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for name in "ab":
        assert found[name] == [[(name, part) for part in range(20)]] * 50
    assert thread_count() == 3


def test_numpy_is_as_quiet_as_the_caller(three):
    huge, meeting = np.full(1000, 1e38, "float32"), threading.Barrier(3)

    def overflow(part):
        meeting.wait(timeout=60)
        return (huge * huge).max()

    assert quiet(share)(overflow, range(3)) == [np.inf] * 3
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        share(overflow, range(3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own(three):
    share(abs, range(10))
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_share_and_tell, args=(theirs,))
    process.start()
    assert ours.poll(60)
    assert ours.recv() == list(range(10))
    process.join()
    assert process.exitcode == 0
    assert share(abs, range(10)) == list(range(10))


def _share_and_tell(link):
    with on_threads(2):
        link.send(share(abs, range(10)))


def test_at_the_end_of_a_program_work_is_done_alone():
    program = """
        import atexit
        from tests.backend.on_threads import on_threads
        from tinygrad_attn.backend.cpu.threads import share

        def work():
            with on_threads(3):
                print(share(abs, range(4)))

        work()
        atexit.register(work)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[0, 1, 2, 3]\n" * 2
    assert done.stderr == ""


def test_most_threads(monkeypatch):
    monkeypatch.setattr(threads, "blas_threads", lambda: 100)
    assert thread_count() == threads.MOST
    monkeypatch.setattr(threads, "blas_threads", lambda: None)
    assert thread_count() == 1


# ---- kernels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("there, back", [(3, 1), (1, 3), (3, 2)])
def test_the_way_back_may_have_other_threads_than_the_way_there(there, back, monkeypatch):
    """Blocks are of other sizes then; no kernel may think that they are those of the way there."""
    monkeypatch.setattr(blocks, "BLOCK", 64)
    monkeypatch.setattr(scores, "LEAST", 16)
    found = []
    for counts in (1, 1), (there, back):
        ta.manual_seed(0)
        x = ta.randn(3, 40, 16, requires_grad=True)
        shift = np.zeros((3, 40, 1), "float32")
        shift[:, ::7] = 100  # these rows go another way through a norm
        qkv = ta.randn(3, 40, 48, requires_grad=True)
        weight, bias = ta.randn(16, 16, requires_grad=True), ta.randn(16, requires_grad=True)
        with on_threads(counts[0]):
            y = ta.layer_norm(x + ta.tensor(shift), weight=bias)
            y = ta.linear(y, weight, bias, activation="gelu", dropout=0.3)
            y = y + ta.packed_attention(qkv, 4, causal=True, dropout=0.2)
            loss = (y * y).sum()
        with on_threads(counts[1]):
            loss.backward()
        found.append([y.numpy(), *(each.grad.numpy() for each in (x, qkv, weight, bias))])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


# ---- products of matrices ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (2,), (7,), (2, 3)])
@pytest.mark.parametrize("rows", [0, 1, 2, 15, 16, 17, 33, 47, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_product_is_numpys(three, monkeypatch, shape, rows, dtype):
    monkeypatch.setattr(blocks, "_WORTH_SHARING", 1)
    rng = np.random.default_rng(rows)
    a, b = rng.standard_normal((*shape, rows, 5)), rng.standard_normal((*shape, 6, 5))
    a, b = a.astype(dtype), b.astype(dtype).swapaxes(-1, -2)
    y = blocks.product(a, b)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, a @ b, rtol=1e-5, atol=1e-6)
    turned = blocks.product(a.swapaxes(-1, -2), a)
    np.testing.assert_allclose(turned, a.swapaxes(-1, -2) @ a, rtol=1e-5, atol=1e-5)


def test_matmul_shares_what_is_large(three, monkeypatch):
    rng = np.random.default_rng(0)
    shared = []
    monkeypatch.setattr(
        blocks, "share", lambda f, parts: shared.append(len(parts)) or share(f, parts)
    )
    monkeypatch.setattr(blocks, "_WORTH_SHARING", 2**16)
    a, b = (ta.tensor(rng.standard_normal(s), requires_grad=True) for s in [(96, 64), (64, 80)])
    y = a @ b
    y.sum().backward()
    assert max(shared) == 3
    np.testing.assert_allclose(y.numpy(), a.numpy() @ b.numpy())
    np.testing.assert_allclose(a.grad.numpy(), np.tile(b.numpy().sum(1), (96, 1)))
