"""How many threads BLAS uses: one inside the context, and what it was afterwards."""

import pytest

from tinygrad_attn.backend.cpu import blas
from tinygrad_attn.backend.cpu.blas import blas_threads, single_threaded_blas


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


def test_contexts_can_be_nested(two_threads):
    with single_threaded_blas():
        with single_threaded_blas():
            pass
        assert blas_threads() == 1


def test_another_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(blas, "_NAMES", ["no_such_{}_function"])
    monkeypatch.setattr(blas, "_controls", blas._controls.__wrapped__)
    assert blas_threads() is None
    with single_threaded_blas():
        assert blas_threads() is None
