"""What NumPy's matrix products run on: how many threads, and whose kernels.

Where several processes share the cores, each of them must keep to one: threads of two processes on
the same core cost both of them more than they gain. OpenBLAS, which comes with NumPy's wheels, can
be told so while it runs; with another library there is nothing that we know how to do.

Reference: "Runtime variables" and <cblas.h> in OpenBLAS's manual.
"""

import ctypes
import os
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock, get_ident

import numpy as np

__all__ = ["blas_kernels", "blas_threads", "single_threaded_blas"]

_NAMES = [  # OpenBLAS as built for NumPy's wheels, then as others build it
    "scipy_openblas_{}64_",
    "scipy_openblas_{}",
    "openblas_{}64_",
    "openblas_{}",
]

_lock = Lock()
_inside, _before = [], None  # the threads of all open contexts, and the number before the first


def blas_threads():
    """The number of threads that a matrix product may use, or None where nobody can tell."""
    controls = _controls()
    return controls[0]() if controls else None


def blas_kernels():
    """The processor whose kernels OpenBLAS has picked, by its name, or None where nobody can tell.

    It goes by the processor that it finds, or by the environment variable OPENBLAS_CORETYPE.
    """
    ask = _function("get_corename")
    if ask is None:
        return None
    ask.restype = ctypes.c_char_p
    return ask().decode()


@contextmanager
def single_threaded_blas():
    """Inside this context a matrix product uses the thread that asks for it and no other.

    Several threads may be inside at once: the first one in remembers, the last one out restores.
    """
    global _before
    controls, thread = _controls(), get_ident()
    if controls is None:
        yield
        return
    get, put = controls
    with _lock:
        if not _inside:
            _before = get()
        _inside.append(thread)
    try:
        put(1)  # where Ctrl-C may come too
        yield
    finally:
        with _lock:
            _inside.remove(thread)
            if not _inside:
                put(_before)


def _controls():
    """OpenBLAS's functions to get and to set the number, or None if it is not there."""
    controls = _function("get_num_threads"), _function("set_num_threads")
    return None if None in controls else controls


@cache
def _function(name):
    """OpenBLAS's function ``openblas_name``, whatever this build of it calls it, or None."""
    for path in _libraries():
        try:
            library = ctypes.PyDLL(str(path))  # a CDLL's would let another thread go on meanwhile
        except OSError:
            continue
        for form in _NAMES:
            try:
                return library[form.format(name)]
            except AttributeError:
                continue
    return None


def _libraries():
    """Where to look: in NumPy's own extension, through which the system sees what it is linked to.

    Windows does not look through it, so there the library is sought where the wheels have it.
    """
    extension = sys.modules.get("numpy._core._multiarray_umath")
    found = [extension.__file__] if extension is not None else []
    return [*found, *Path(np.__file__).parents[1].glob("numpy.libs/*openblas*")]


def _leave_the_others():
    """Of a process that was copied only the thread that did it goes on."""
    others = [thread for thread in _inside if thread != get_ident()]
    for thread in others:
        _inside.remove(thread)
    if others and not _inside:
        _controls()[1](_before)
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_leave_the_others
    )
