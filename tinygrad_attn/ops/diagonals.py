"""Diagonals and triangles of matrices."""

from ..backend import namespace
from ..core import primitive
from ..errors import ShapeError
from .check import as_shape, as_tensor, normalize_axis, whole_number
from .index import gather, scatter
from .reduce import sum
from .shape import moveaxis

__all__ = ["diag", "diagonal", "trace", "tril", "triu"]


@primitive
def _tril(x, k):
    return namespace(x).tril(x, k)


@primitive
def _triu(x, k):
    return namespace(x).triu(x, k)


_tril.derivatives(x=lambda g, k: namespace(g).tril(g, k))
_triu.derivatives(x=lambda g, k: namespace(g).triu(g, k))


def _matrices(where, x, k):
    x = as_tensor(x, where=where)
    if x.ndim < 2:
        raise ShapeError(f"{where}: x is {tuple(x.shape)}; it must have two axes at least")
    return x, whole_number(where, "the offset", k)


def tril(x, k=0):
    """The lower triangle of each matrix, zeros above diagonal ``k``.   ∂L/∂x = the same of g."""
    return _tril(*_matrices("tril", x, k))


def triu(x, k=0):
    """The upper triangle of each matrix, zeros below diagonal ``k``.   ∂L/∂x = the same of g."""
    return _triu(*_matrices("triu", x, k))


def _diagonal_index(xp, rows, columns, k):
    """Rows and columns of the elements (i, i + k), of which there may be none."""
    k = min(max(k, -rows), columns)
    start = xp.arange(min(rows + min(k, 0), columns - max(k, 0)) if -rows < k < columns else 0)
    return start - min(k, 0), start + max(k, 0)


def diagonal(x, offset=0, axis1=0, axis2=1):
    """The elements (i, i + offset) of the matrices in two axes of x, along a new last axis.

    ∂L/∂x = g on that diagonal, 0 elsewhere.
    """
    return _diagonal("diagonal", x, offset, axis1, axis2)


def _diagonal(where, x, offset, axis1, axis2):
    x, offset = _matrices(where, x, offset)
    axes = normalize_axis(where, axis1, x), normalize_axis(where, axis2, x)
    if axes[0] == axes[1]:
        raise ShapeError(
            f"{where}: axis1 and axis2 are both {axis1}; x is {tuple(x.shape)}; they must differ"
        )
    x = moveaxis(x, axes, (-2, -1))
    i, j = _diagonal_index(namespace(x.data), *x.shape[-2:], offset)
    return gather(x, (..., i, j), True)


def diag(x, k=0):
    """The matrix with the line x on its diagonal ``k``, or the diagonal ``k`` of the matrix x.

    ∂L/∂x = the opposite of g.
    """
    x = as_tensor(x, where="diag")
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: x is {tuple(x.shape)}; it must be a line or a matrix")
    n = x.shape[0] + abs(whole_number("diag", "the offset", k))
    as_shape("diag", (n, n))
    return scatter(x, _diagonal_index(namespace(x.data), n, n, k), (n, n), True)


def trace(x, offset=0, axis1=0, axis2=1):
    """Sum of a diagonal  y = Σᵢ xᵢ,ᵢ₊ₖ,  k = ``offset``.   ∂L/∂x = g on the diagonal, else 0."""
    return sum(_diagonal("trace", x, offset, axis1, axis2), axis=-1)
