"""embedding: a row of a table for every token."""

from ...backend import backend_of, dtypes, namespace
from ...core import fused
from ...errors import DTypeError, ShapeError
from ..check import as_tensor
from .ids import check_ids

__all__ = ["embedding"]


def embedding_spec(ids, weight):
    """weight[ids]."""
    return weight[ids]


@fused(spec=embedding_spec, constants=("ids",))
def _embedding(ids, weight):
    def backward(g):
        gw = namespace(weight).zeros_like(weight)
        backend_of(weight).index_add(gw, ids.reshape(-1), g.reshape(ids.size, weight.shape[1]))
        return (gw,)

    return weight[ids], backward


def embedding(ids, weight):
    """Look-up  y = weight[ids].   ∂L/∂weight[i] = Σ g over the places where token i stood.

    Shapes: ids (...) of whole numbers in 0..V−1, weight (V, D) → (..., D).
    Raises: DTypeError for ids that are no integers, IndexRangeError for an id outside 0..V−1.
    """
    ids, weight = as_tensor(ids, weight, where="embedding"), as_tensor(weight, where="embedding")
    if ids.dtype.kind not in "iu":
        raise DTypeError(
            f'embedding: ids are {ids.dtype}; they must be integers: ids.astype("int64")'
        )
    if weight.ndim != 2 or not dtypes.is_float(weight.dtype):
        raise ShapeError(
            f"embedding: weight is {tuple(weight.shape)} {weight.dtype}; "
            "it must be a (V, D) table of floats"
        )
    check_ids("embedding", "id", ids, weight.shape[0], f"the table has {weight.shape[0]} rows")
    return _embedding(ids, weight)
