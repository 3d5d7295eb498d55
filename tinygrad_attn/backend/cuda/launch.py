"""Kernels of our own: a ``.cu`` file, compiled for the dtype of its arrays and launched over rows.

A kernel is compiled when it is first launched, and CuPy keeps the result on disk. It is handed
plain pointers and checks nothing, so what stands here sees to it that arrays are contiguous,
numbers have the type that the kernel declares, and nothing is launched over nothing.

Arithmetic is not the compiler's fast kind: divisions and roots are rounded as they should be, and
exponentials are good to the last digit or two; only where results have 16 bits is a faster one as
good (rows.cuh). CuPy itself adds ``-ftz=true``: a float32 below 1.2·10⁻³⁸ counts as 0.
"""

import math
from functools import cache, wraps
from pathlib import Path

import numpy as np

from .. import dtypes, namespace

__all__ = [
    "contiguous",
    "is_ours",
    "kernel",
    "laid_out_as",
    "of_floats",
    "over_flat",
    "over_grid",
    "over_rows",
    "real",
    "row_block",
    "row_count",
    "scalars",
    "source",
]

FOLDER = Path(__file__).parent
BLOCK, KEPT, BYTES = 256, 8, 16  # as in rows.cuh: threads, numbers each, bytes moved at a time
MOST = 2**31 - 1  # blocks of a grid
_MACROS = {
    dtypes.float64: "-DFLOAT64",
    dtypes.float32: "-DFLOAT32",
    dtypes.float16: "-DFLOAT16",
    dtypes.bfloat16: "-DBFLOAT16",
}


def of_floats(kernel):
    """Decorator of what computes a fused op: it takes every float as it is, and declines the rest.

    16-bit floats are widened where they are read. Whole numbers, of which the engine asks what
    becomes, and the complex ones of the gradient checker are left to the portable kernels.
    """

    @wraps(kernel)
    def call(*arrays, **options):
        found = {array.dtype for array in arrays if array is not None}
        if found.isdisjoint(_MACROS) or any(dtype.kind == "c" for dtype in found):
            return NotImplemented
        return kernel(*arrays, **options)

    call.takes_halves = True
    return call


@cache
def source(file):
    """The text of a ``.cu`` file with what it includes written in, each header once.

    CuPy finds a compiled kernel again by this text, and would not notice that a header changed.
    """
    return "\n".join(_lines(file, {file}))


def _lines(file, seen):
    for line in (FOLDER / file).read_text(encoding="utf-8").splitlines():
        if not line.startswith(('#include "', "#pragma once")):
            yield line
        elif line.startswith("#include") and (header := line.split('"')[1]) not in seen:
            seen.add(header)
            yield from _lines(header, seen)


@cache
def _module(xp, file, options):
    return xp.RawModule(code=source(file), options=options)


@cache
def kernel(xp, file, name, dtype, is_single=False, macros=()):
    """A kernel of ``file`` for arrays of ``dtype``; ``is_single``: not to be read in packs."""
    options = ("-std=c++17", _MACROS[dtype], *(["-DSINGLE"] if is_single else []), *macros)
    return _module(xp, file, options).get_function(name)


def real(dtype):
    """The dtype in which kernels compute with numbers of ``dtype``: 16 bits are only stored."""
    return dtypes.float64 if dtype == dtypes.float64 else dtypes.float32


def contiguous(array, dtype=None):
    """The array itself if its elements lie side by side and are of ``dtype``, else a copy."""
    if array is None:
        return None
    if dtype is not None and array.dtype != dtype:
        array = array.astype(dtype)
    return array if array.flags.c_contiguous else namespace(array).ascontiguousarray(array)


def is_ours(dtype):
    """Whether kernels compute with numbers of ``dtype``."""
    return dtype in _MACROS


def laid_out_as(x, width):
    """An empty array (B, heads, length, width), laid out as x is: a token's heads side by side, or
    the tokens of a head."""
    xp, (batch, heads, length, _) = namespace(x), x.shape
    if x.strides[1] >= x.strides[2]:
        return xp.empty((batch, heads, length, width), dtype=x.dtype)
    return xp.empty((batch, length, heads, width), dtype=x.dtype).swapaxes(1, 2)


def row_block(n):
    """(threads for a row of n, rows for a block): one long row, or several short ones."""
    threads = 32
    while threads < BLOCK and threads * KEPT < n:
        threads *= 2
    return threads, BLOCK // threads


def over_rows(file, name, arrays, rows, n, *numbers, most=MOST):
    """Launch ``name(*arrays, rows, n, *numbers)`` on rows of n; ``most`` bounds the blocks."""
    if rows and n:
        block = row_block(n)
        blocks = min(-(-rows // block[1]), most)
        over_grid(file, name, arrays[0].dtype, (blocks,), block, arrays, n, (rows, n, *numbers))


def over_flat(file, name, arrays, n, *numbers, most=MOST, dtype=None):
    """Launch ``name(*arrays, n, *numbers)`` on arrays of n elements, KEPT for each thread."""
    if n:
        blocks = min(-(-n // (BLOCK * KEPT)), most)
        dtype = dtype or arrays[0].dtype
        over_grid(file, name, dtype, (blocks,), (BLOCK,), arrays, n, (n, *numbers))


def over_grid(file, name, dtype, grid, block, arrays, n, numbers, macros=()):
    """Launch ``name(*arrays, *numbers)`` on rows of n, in packs of 16 bytes where all allow that.

    An array that is None is a null pointer.
    """
    is_single = n * dtype.itemsize % BYTES or any(
        array.data.ptr % BYTES for array in arrays if array is not None
    )
    some = next(array for array in arrays if array is not None)
    run = kernel(namespace(some), file, name, dtype, bool(is_single), macros)
    pointers = [np.uintp(0) if array is None else array for array in arrays]
    run(grid, block, (*pointers, *scalars(dtype, numbers)))


def scalars(dtype, numbers):
    """Numbers as kernels declare them: whole ones Index, others Real; NumPy's stay as they are."""
    types = {int: np.int64, float: real(dtype).type}
    return [
        number if isinstance(number, np.generic) else types[type(number)](number)
        for number in numbers
    ]


def row_count(shape):
    """(rows, n) of an array whose last axis is a row."""
    return math.prod(shape[:-1]), shape[-1]
