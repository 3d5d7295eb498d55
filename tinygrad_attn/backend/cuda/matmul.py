"""Matrix products on a GPU: NumPy's rules of shapes, put into the words of cuBLAS.

cuBLAS thinks in columns. A row-major matrix is, to it, the transpose of that matrix; so it is asked
for  yᵀ = bᵀ·aᵀ  and what it writes by columns are the rows of y. Where the rows of an operand do
not lie side by side but its columns do, as in a transposed view, it is told so and reads them in
place. It walks a batch in equal steps, and a step of 0 is a matrix that all products share. What
cannot be said in these words is copied first.

``plan_matmul`` does the thinking, on shapes and strides alone. ``Matmul`` carries a plan out.

Reference: NVIDIA, "cuBLAS Library", on cublasGemmEx and cublasGemmStridedBatchedEx.
"""

import math
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from .. import dtypes
from ..precision import matmul_precision

__all__ = ["Matmul", "Operand", "Plan", "plan_matmul"]


_WIDE_PARTIAL_SUMS = 16
"""CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION, for which CuPy has no name."""


class Operand(NamedTuple):
    """How cuBLAS is to read a matrix of the batch, counted in elements."""

    transposed: int
    """0: its rows are contiguous, what cuBLAS takes for columns. 1: its columns are."""

    leading: int
    """From the start of one contiguous row, or column, to the next."""

    step: int
    """From one matrix of the batch to the next; 0 where all products share one."""


class Plan(NamedTuple):
    """A product (…, m, k) @ (…, k, n), said in calls of cuBLAS."""

    shape: tuple
    """Of the result, which is contiguous."""

    copied: tuple
    """Whether a, and whether b, is to be made contiguous first."""

    sizes: tuple
    """(m, n, k) of one product."""

    a: Operand
    b: Operand

    count: int
    """Products in a call."""

    starts: tuple
    """For each call where in a, in b and in the result it begins."""


@lru_cache(maxsize=4096)
def plan_matmul(a_shape, a_strides, b_shape, b_strides) -> Plan:
    """The Plan for two operands of at least two axes; strides are counted in elements.

    Raises: ValueError where inner sizes differ or stacks do not broadcast.
    """
    m, k, n = a_shape[-2], a_shape[-1], b_shape[-1]
    if k != b_shape[-2]:
        raise ValueError(f"matmul: inner sizes differ: {a_shape} and {b_shape}")
    batch = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
    copied = not _readable(a_shape, a_strides), not _readable(b_shape, b_strides)
    a_strides = _contiguous(a_shape) if copied[0] else a_strides
    b_strides = _contiguous(b_shape) if copied[1] else b_strides
    steps = [
        _stretched(a_shape, a_strides, batch),
        _stretched(b_shape, b_strides, batch),
        _contiguous((*batch, m, n))[:-2],
    ]
    axes = _merged([axis for axis in zip(batch, *steps) if axis[0] != 1])
    axes.sort(key=lambda axis: axis[0])
    count, a_step, b_step, _ = axes.pop() if axes else (1, 0, 0, 0)
    down, right = a_strides[-2:]
    tall = a_step if m == 1 else down
    if not (axes or b_step) and a_step == m * tall and _layout(count * m, k, tall, right):
        m, count, a_step, down = count * m, 1, 0, tall  # all rows below each other: one product
    starts = product(*([(i * a, i * b, i * c) for i in range(size)] for size, a, b, c in axes))
    return Plan(
        (*batch, a_shape[-2], n),
        copied,
        (m, n, k),
        Operand(*_layout(m, k, down, right), a_step),
        Operand(*_layout(k, n, *b_strides[-2:]), b_step),
        count,
        tuple(tuple(map(sum, zip((0, 0, 0), *start))) for start in starts),
    )


def _readable(shape, strides):
    """Whether cuBLAS can read a stack of matrices where it lies, in equal steps."""
    axes = [axis for axis in zip(shape[:-2], strides[:-2]) if axis[0] != 1 and axis[1] != 0]
    steady = len(_merged(axes)) < 2 and all(step > 0 for _, step in axes)
    return steady and _layout(*shape[-2:], *strides[-2:]) is not None


def _layout(rows, columns, down, right):
    """(transposed, leading) for a matrix with these strides; None for what cuBLAS cannot read."""
    if (right == 1 or columns == 1) and (rows == 1 or down >= columns):
        return 0, max(columns, 1) if rows == 1 else down
    if (down == 1 or rows == 1) and (columns == 1 or right >= rows):
        return 1, max(rows, 1) if columns == 1 else right
    return None


def _merged(axes):
    """Axes (size, step, …), outermost first, those joined through which every step runs on."""
    merged = []
    for size, *steps in axes:
        if merged and all(outer == size * step for outer, step in zip(merged[-1][1:], steps)):
            size *= merged.pop()[0]
        merged.append((size, *steps))
    return merged


def _contiguous(shape):
    """The strides of a contiguous array."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _stretched(shape, strides, batch):
    """The strides along the axes of ``batch``: 0 where the operand has no such axis, or size 1."""
    own = [0 if size == 1 else step for size, step in zip(shape[:-2], strides[:-2])]
    return [0] * (len(batch) - len(own)) + own


class Matmul:
    """Carries plans out, with the modules ``cupy`` and ``cublas`` that it is given."""

    def __init__(self, cupy, cublas):
        self.xp, self.cublas = cupy, cublas
        self._settled = set()  # handles whose mode is set
        runtime, wide = cupy.cuda.runtime, dtypes.float32
        self._types = {  # dtype -> (its number in CUDA, the dtype that adds up)
            dtypes.float16: (runtime.CUDA_R_16F, wide),
            dtypes.float32: (runtime.CUDA_R_32F, wide),
            dtypes.float64: (runtime.CUDA_R_64F, dtypes.float64),
        }
        if dtypes.bfloat16 is not None:
            self._types[dtypes.bfloat16] = (runtime.CUDA_R_16BF, wide)
        self._factors = {  # (1, 0), which cuBLAS reads from the host: y ← 1·a·b + 0·y
            dtype: (np.array(1, dtype), np.array(0, dtype)) for dtype in (wide, dtypes.float64)
        }

    def takes(self, a, b):
        """Whether these are operands for cuBLAS: of one float type, and no plain numbers."""
        return a.dtype == b.dtype and a.dtype in self._types and a.ndim > 0 and b.ndim > 0

    def __call__(self, a, b):
        """The product  y = a·b  by NumPy's rules, 16-bit floats accumulated in float32."""
        left = a[None] if a.ndim == 1 else a
        right = b[:, None] if b.ndim == 1 else b
        plan = plan_matmul(left.shape, _strides(left), right.shape, _strides(right))
        y = self._run(plan, left, right)
        if a.ndim == 1:
            y = y[..., 0, :]
        return y[..., 0] if b.ndim == 1 else y

    def _run(self, plan, a, b):
        xp = self.xp
        if not (math.prod(plan.shape) and a.size):  # nothing to write, or sums of nothing
            return xp.zeros(plan.shape, dtype=a.dtype)
        a = xp.ascontiguousarray(a) if plan.copied[0] else a
        b = xp.ascontiguousarray(b) if plan.copied[1] else b
        y = xp.empty(plan.shape, dtype=a.dtype)
        number, summing = self._types[a.dtype]
        one, zero = (factor.ctypes.data for factor in self._factors[summing])
        handle, (m, n, k) = self._handle(), plan.sizes
        head = (handle, plan.b.transposed, plan.a.transposed, n, m, k, one)
        tail = (self._compute_type(a.dtype), self.cublas.CUBLAS_GEMM_DEFAULT)
        for start in plan.starts:
            first, second, result = (
                (x.data.ptr + at * a.itemsize, number) for x, at in zip((b, a, y), _swapped(start))
            )
            if plan.count == 1:
                read = (*first, plan.b.leading, *second, plan.a.leading)
                self.cublas.gemmEx(*head, *read, zero, *result, n, *tail)
            else:
                read = (*first, *plan.b[1:], *second, *plan.a[1:])
                written = (*result, n, m * n, plan.count)
                self.cublas.gemmStridedBatchedEx(*head, *read, zero, *written, *tail)
        return y

    def _compute_type(self, dtype):
        if dtype == dtypes.float64:
            return self.cublas.CUBLAS_COMPUTE_64F
        if dtype == dtypes.float32 and matmul_precision() == "high":
            return self.cublas.CUBLAS_COMPUTE_32F_FAST_TF32
        return self.cublas.CUBLAS_COMPUTE_32F

    def _handle(self):
        """That of this thread and device, told to add partial sums up in float32 too."""
        handle = self.xp.cuda.device.get_cublas_handle()
        if handle not in self._settled:
            self.cublas.setMathMode(handle, _WIDE_PARTIAL_SUMS)
            self._settled.add(handle)
        return handle


def _strides(x):
    """The strides of an array, counted in elements."""
    return tuple(stride // x.itemsize for stride in x.strides)


def _swapped(start):
    """(of b, of a, of the result): the order in which cuBLAS is told."""
    a, b, result = start
    return b, a, result
