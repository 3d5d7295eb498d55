"""How many threads BLAS uses: one inside the context, and what it was afterwards."""

import ctypes
import multiprocessing
import os
import platform
import subprocess
import sys
import threading

import pytest

from tinygrad_attn.backend.cpu import blas
from tinygrad_attn.backend.cpu.blas import blas_kernels, blas_threads, single_threaded_blas


@pytest.fixture
def two_threads():
    """Set OpenBLAS to two threads for a test."""
    if blas_threads() is None:
        pytest.skip("NumPy is not linked to OpenBLAS here")
    get, put = blas._controls()
    before = get()
    put(2)
    yield
    put(before)


def test_one_thread_inside_and_as_before_outside(two_threads):
    with single_threaded_blas():
        assert blas_threads() == 1
    assert blas_threads() == 2


def test_an_error_inside_restores_it_too(two_threads):
    with pytest.raises(ZeroDivisionError), single_threaded_blas():
        raise ZeroDivisionError
    assert blas_threads() == 2


def test_an_interrupt_on_the_way_in_restores_it_too(monkeypatch):
    set_to = []

    def put(count):
        set_to.append(count)
        if count == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(blas, "_controls", lambda: (lambda: 2, put))
    monkeypatch.setattr(blas, "_inside", [])  # what it is afterwards even if this fails
    with pytest.raises(KeyboardInterrupt), single_threaded_blas():
        pass
    assert set_to == [1, 2]
    assert blas._inside == []


def test_contexts_can_be_nested(two_threads):
    with single_threaded_blas():
        with single_threaded_blas():
            pass
        assert blas_threads() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_is_inside_where_its_thread_was(two_threads):
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with single_threaded_blas():
            inside.set()
            leave.wait(60)

    other = threading.Thread(target=stay)
    other.start()
    assert inside.wait(60)
    assert _threads_in_a_fork() == [2, 1, 2]
    with single_threaded_blas():
        assert _threads_in_a_fork() == [1, 1, 1]
    leave.set()
    other.join()
    assert blas_threads() == 2


def _threads_in_a_fork():
    """There, in a context there, and after it."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_tell, args=(theirs,))
    process.start()
    assert ours.poll(60)
    process.join()
    return ours.recv()


def _tell(link):
    found = [blas_threads()]
    with single_threaded_blas():
        found.append(blas_threads())
    link.send([*found, blas_threads()])


@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="kernels for x86 are asked for"
)
def test_the_kernels_are_those_that_the_variable_names():
    if (ask := blas._function("get_config")) is None:
        pytest.skip("NumPy is not linked to OpenBLAS here")
    ask.restype = ctypes.c_char_p
    if b"DYNAMIC_ARCH" not in ask():
        pytest.skip("this OpenBLAS is built for one processor")
    program = "from tinygrad_attn.backend.cpu.blas import blas_kernels; print(blas_kernels())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OPENBLAS_CORETYPE": "Nehalem"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "Nehalem"


def test_another_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(blas, "_NAMES", ["no_such_{}_function"])
    monkeypatch.setattr(blas, "_function", blas._function.__wrapped__)
    assert blas_threads() is blas_kernels() is None
    with single_threaded_blas():
        assert blas_threads() is None
