"""A stand-in for ``cupy_backends.cuda.libs.cublas``: its gemm, by the letter of the manual.

Matrices are given as addresses, and read by columns. Whoever gives an address, a leading dimension
or a step that leads out of an array is told so, where a GPU would read or write what lies there.
"""

import ctypes

import numpy as np

from tinygrad_attn.backend import dtypes

from . import fake_cupy

CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_GEMM_DEFAULT = -1
CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F, CUBLAS_COMPUTE_32F_FAST_TF32 = 68, 70, 77

DTYPES = {0: "float32", 1: "float64", 2: "float16", 14: dtypes.bfloat16}  # by CUDA's numbers
calls = []
"""The last calls, as (name, compute type, how many products)."""


def setMathMode(handle, mode):
    assert (handle, mode) == (1, 16)  # CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION


def gemmEx(
    handle, transa, transb, m, n, k, alpha, A, Atype, lda, B, Btype, ldb, beta, C, Ctype, ldc,
    computeType, algo,
):  # fmt: skip
    """C ← alpha·op(A)·op(B) + beta·C, op(A) of m rows and k columns, op(B) of k and n."""
    _gemm(
        handle, transa, transb, m, n, k, alpha, A, Atype, lda, 0, B, Btype, ldb, 0, beta, C, Ctype,
        ldc, 0, 1, computeType, algo,
    )  # fmt: skip
    _count("gemmEx", computeType, 1)


def gemmStridedBatchedEx(
    handle, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb, strideB, beta, C,
    Ctype, ldc, strideC, batchCount, computeType, algo,
):  # fmt: skip
    """``batchCount`` such products, their matrices ``stride`` elements apart."""
    _gemm(
        handle, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb, strideB,
        beta, C, Ctype, ldc, strideC, batchCount, computeType, algo,
    )  # fmt: skip
    _count("gemmStridedBatchedEx", computeType, batchCount)


def _count(name, compute_type, count):
    fake_cupy.count_launch(name)
    calls.append((name, compute_type, count))
    del calls[:-100]


def _gemm(
    handle, transa, transb, m, n, k, alpha, A, Atype, lda, strideA, B, Btype, ldb, strideB, beta, C,
    Ctype, ldc, strideC, count, compute_type, algo,
):  # fmt: skip
    assert handle == 1 and algo == CUBLAS_GEMM_DEFAULT and min(m, n, k, count) > 0
    wide = np.dtype("float64" if compute_type == CUBLAS_COMPUTE_64F else "float32")
    alpha, beta = (np.frombuffer(ctypes.string_at(x, wide.itemsize), wide) for x in (alpha, beta))
    a = _at(A, DTYPES[Atype], *_stored(transa, m, k), lda, count, strideA)
    b = _at(B, DTYPES[Btype], *_stored(transb, k, n), ldb, count, strideB)
    c = _at(C, DTYPES[Ctype], m, n, ldc, count, strideC)
    a, b = (x.swapaxes(1, 2) if t else x for x, t in ((a, transa), (b, transb)))
    with np.errstate(all="ignore"):
        y = alpha * (a.astype(wide) @ b.astype(wide))
        c[...] = y if not beta.any() else y + beta * c.astype(wide)


def _stored(transposed, rows, columns):
    assert transposed in (CUBLAS_OP_N, CUBLAS_OP_T)
    return (columns, rows) if transposed else (rows, columns)


def _at(address, dtype, rows, columns, leading, count, step):
    """The matrices (count, rows, columns) that lie by columns at ``address``."""
    assert leading >= rows and step >= 0, f"leading dimension {leading} below {rows} rows"
    dtype = np.dtype(dtype)
    end = (count - 1) * step + (columns - 1) * leading + rows
    memory = fake_cupy.memory_at(address, end * dtype.itemsize).view(dtype)
    strides = (step * dtype.itemsize, dtype.itemsize, leading * dtype.itemsize)
    return np.lib.stride_tricks.as_strided(memory, (count, rows, columns), strides)
