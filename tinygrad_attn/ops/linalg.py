"""Linear algebra: products of vectors, matrices and stacks of matrices.

All of them end in the matrix product of the backend. Its derivative is two more matrix products, so
one rule, in its few forms, carries nearly every gradient that a Transformer has.
"""

import math

from ..backend import backend_of, dtypes, namespace
from ..core import primitive
from ..errors import DTypeError, ShapeError
from .check import apply, as_tensors, normalize_axes, number
from .einsum import contract
from .elementwise import multiply
from .join import common_shape
from .reduce import norm

__all__ = ["cdist", "dot", "inner", "kron", "matmul", "outer", "tensordot", "vdot"]


# ---- the matrix product --------------------------------------------------------------------------


@primitive
def matmul(a, b):
    """Matrix product  y = a·b.   ∂L/∂a = g·bᵀ,  ∂L/∂b = aᵀ·g.   16-bit floats add up in float32.

    Leading axes are stacks of matrices and broadcast. A vector is a row on the left and a column on
    the right, and its axis is gone from the result.

    Shapes: (..., m, k) @ (..., k, n) → (..., m, n); (k,) @ (..., k, n) → (..., n);
    (..., m, k) @ (k,) → (..., m).
    Raises: ShapeError where inner sizes differ, stacks do not broadcast, or an operand is a number.
    """
    product = backend_of(a).matmul
    try:
        if a.ndim > 2 and b.ndim == 2:  # a stack times one matrix is one tall product
            return product(_tall(a), b).reshape(*a.shape[:-1], b.shape[1])
        return product(a, b)
    except (ValueError, TypeError, AttributeError):
        _explain(a, b)
        raise


def _matmul_a(g, a_shape, b):
    """g·bᵀ. Where b is a stack and a is not, every matrix of the stack adds to it."""
    xp = namespace(g)
    if b.ndim == 1:
        return xp.expand_dims(g, -1) * b
    if len(a_shape) == 1:
        g = xp.expand_dims(g, -2)
    if b.ndim > 2 >= len(a_shape):
        ga = apply(matmul, _transposed(_tall(_transposed(g))), _tall(_transposed(b)))
    else:
        ga = apply(matmul, g, _transposed(b))
    return ga.reshape(a_shape) if len(a_shape) == 1 else ga


def _matmul_b(g, a, b_shape):
    """aᵀ·g. Where a is a stack and b one matrix, tokens and a weight, this is one product too."""
    xp = namespace(g)
    if a.ndim == 1:
        return a * g if len(b_shape) == 1 else xp.expand_dims(a, -1) * xp.expand_dims(g, -2)
    if len(b_shape) == 1:
        g = xp.expand_dims(g, -1)
    if a.ndim > 2 >= len(b_shape):
        gb = apply(matmul, _transposed(_tall(a)), _tall(g))
    else:
        gb = apply(matmul, _transposed(a), g)
    return gb.reshape(b_shape) if len(b_shape) == 1 else gb


matmul.derivatives(a=_matmul_a, b=_matmul_b)


def _tall(x):
    """A stack of matrices as a single one, all their rows below each other."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _transposed(x):
    return x.swapaxes(-1, -2)


def _explain(a, b):
    """Raise ShapeError for the rule that a @ b breaks; no operand at all breaks another."""
    if a is None or b is None:
        return
    left, right = getattr(a, "shape", ()), getattr(b, "shape", ())
    operands = f"a is {left}, b is {right}"
    if not (left and right):
        raise ShapeError(
            f"matmul: {operands}, and a number has no axis to sum over; "
            "use a * b, or give each an axis"
        )
    if left[-1] != right[-2 if len(right) > 1 else 0]:
        axis = "-2" if len(right) > 1 else "0"
        raise ShapeError(
            f"matmul: inner sizes differ: {operands}; a.shape[-1] must equal b.shape[{axis}]"
        )
    if any(m != n and 1 not in (m, n) for m, n in zip(left[-3::-1], right[-3::-1])):
        raise ShapeError(
            f"matmul: stacks of matrices do not broadcast: {operands}; of a.shape[:-2] and "
            "b.shape[:-2], counted from the last axis, sizes must be equal or 1"
        )


# ---- products that are made of it ----------------------------------------------------------------


def tensordot(a, b, axes=2):
    """Sum of products over pairs of axes; in the result the others of a come first, then b's.

    Args:
        axes: how many, the last of a with the first of b; or (axes of a, axes of b), each a number
            or a sequence.
    Shapes: for one pair, (..., k, ...) and (..., k, ...) → the other axes of a, then those of b.
    Raises: ShapeError where paired sizes differ, an axis is named twice or does not exist.
    """
    a, b = as_tensors("tensordot", a=a, b=b)
    return _sum_over("tensordot", a, b, *_paired_axes(a, b, axes))


def dot(a, b):
    """Dot product: of vectors a number, of matrices their product, with a number a multiple.

    Of stacks it is the sum over the last axis of a and the last but one of b, for all pairs of
    matrices, where ``matmul`` takes the stacks side by side.

    Raises: ShapeError where these sizes differ.
    """
    a, b = as_tensors("dot", a=a, b=b)
    if not (a.ndim and b.ndim):
        return multiply(a, b)
    return _sum_over("dot", a, b, (a.ndim - 1,), (max(b.ndim - 2, 0),))


def inner(a, b):
    """Sum of products over the last axes:  (..., k), (..., k) → leading axes of a, then of b.

    Raises: ShapeError where the last sizes differ.
    """
    a, b = as_tensors("inner", a=a, b=b)
    if not (a.ndim and b.ndim):
        return multiply(a, b)
    return _sum_over("inner", a, b, (a.ndim - 1,), (b.ndim - 1,))


def vdot(a, b):
    """Dot product  Σ aᵢbᵢ  of all elements, in whatever shapes they stand.

    Raises: ShapeError where the numbers of elements differ.
    """
    a, b = as_tensors("vdot", a=a, b=b)
    if a.size != b.size:
        raise ShapeError(f"vdot: a is {a.shape}, b is {b.shape}; they must have as many elements")
    return matmul(a.reshape(a.size), b.reshape(b.size))


def outer(a, b):
    """Outer product  y[i, j] = aᵢ·bⱼ  of all elements:  shapes (m,), (n,) → (m, n)."""
    a, b = as_tensors("outer", a=a, b=b)
    return multiply(a.reshape(a.size, 1), b.reshape(b.size))


def kron(a, b):
    """Kronecker product: b scaled by each element of a, in a's arrangement.

    Shapes: (m, n, ...), (p, q, ...) → (m·p, n·q, ...); the one with fewer axes gets more in front.
    """
    a, b = as_tensors("kron", a=a, b=b)
    ndim = max(a.ndim, b.ndim)
    a_sizes = (1,) * (ndim - a.ndim) + a.shape
    b_sizes = (1,) * (ndim - b.ndim) + b.shape
    between = [size for m in a_sizes for size in (m, 1)]  # (m, 1, n, 1, ...)
    within = [size for p in b_sizes for size in (1, p)]  # (1, p, 1, q, ...)
    return multiply(a.reshape(between), b.reshape(within)).reshape(
        [m * p for m, p in zip(a_sizes, b_sizes)]
    )


def cdist(a, b, p=2.0):
    """Distances  y[i, j] = ‖aᵢ − bⱼ‖ₚ  between rows of a and of b; at distance 0 the slope is 0.

    Differences are taken before they are squared: exact for near points, where the quicker
    |a|² − 2ab + |b|² cancels.

    Shapes: (..., m, d), (..., n, d) → (..., m, n).
    Raises: ShapeError where the widths differ, stacks do not broadcast, or p is negative.
    """
    a, b = as_tensors("cdist", a=a, b=b)
    operands = f"a is {a.shape}, b is {b.shape}"
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise ShapeError(f"cdist: {operands}; both must be rows of one width, (..., rows, width)")
    if not number("cdist", "p", p) >= 0:
        raise ShapeError(f"cdist: p is {p}; it must be 0 or more ({operands})")
    common_shape(f"cdist: {operands}, stacks", a.shape[:-2], b.shape[:-2])
    xp = namespace(a)
    return norm(xp.expand_dims(a, -2) - xp.expand_dims(b, -3), ord=p, axis=-1)


def _paired_axes(a, b, axes):
    """The axes of a and those of b that ``tensordot`` sums over, as two tuples of one length."""
    if isinstance(axes, (tuple, list)):
        if len(axes) != 2:
            raise ShapeError(
                f"tensordot: axes is {axes}, a is {a.shape}, b is {b.shape}; give a number, or "
                "(axes of a, axes of b)"
            )
        pair = normalize_axes("tensordot", a, axes[0]), normalize_axes("tensordot", b, axes[1])
    else:
        if isinstance(axes, bool) or not dtypes.is_scalar(axes) or not hasattr(axes, "__index__"):
            raise DTypeError(
                f"tensordot: axes is {axes!r}; give a number, or (axes of a, axes of b)"
            )
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise ShapeError(
                f"tensordot: cannot sum over {axes} axes: a is {a.shape}, b is {b.shape}; "
                f"axes must be in 0..{min(a.ndim, b.ndim)}"
            )
        pair = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    if len(pair[0]) != len(pair[1]):
        raise ShapeError(
            f"tensordot: axes pairs {axes[0]} with {axes[1]}, a is {a.shape}, b is {b.shape}; give "
            "as many of a as of b"
        )
    return pair


def _sum_over(where, a, b, a_axes, b_axes):
    """Σ over the paired axes of a·b, for every combination of the others."""
    for i, j in zip(a_axes, b_axes):
        if a.shape[i] != b.shape[j]:
            raise ShapeError(
                f"{where}: sizes to sum over differ: a is {a.shape}, b is {b.shape}; "
                f"a.shape[{i}] must equal b.shape[{j}]"
            )
    of_a, of_b = list(range(a.ndim)), list(range(a.ndim, a.ndim + b.ndim))
    of_y = [i for i in of_a if i not in a_axes] + [j for j in of_b if j - a.ndim not in b_axes]
    for i, j in zip(a_axes, b_axes):
        of_b[j] = of_a[i]
    return contract(a, b, of_a, of_b, of_y)
