"""A context in which NumPy's products, and so our kernels, have so many threads."""

from contextlib import contextmanager

import pytest

from tinygrad_attn.backend.cpu import blas

__all__ = ["on_threads"]


@contextmanager
def on_threads(count):
    """Where NumPy is not linked to OpenBLAS nobody can set them, and the test is skipped."""
    if blas.blas_threads() is None:
        pytest.skip("NumPy is not linked to OpenBLAS here")
    get, put = blas._controls()
    before = get()
    put(count)
    try:
        yield
    finally:
        put(before)
