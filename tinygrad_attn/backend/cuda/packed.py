"""packed_linear: weights and biases laid one behind the other in one launch, then one product."""

import math
from itertools import accumulate, pairwise

from .. import namespace
from .launch import BLOCK, KEPT, contiguous, of_floats, over_grid
from .linear import linear

__all__ = ["packed_linear"]

MOST = 6  # arrays that the kernel joins


@of_floats
def packed_linear(x, wq, wk, wv, bq=None, bk=None, bv=None, *, needs):
    """[x @ wqᵀ + bq, x @ wkᵀ + bk, x @ wvᵀ + bv]; gradients of weights are views of one array."""
    weights, biases = (wq, wk, wv), () if bq is None else (bq, bk, bv)
    ends, width = [0, *accumulate(map(len, weights))], x.shape[-1]
    joined, size = _joined([*weights, *biases]), ends[-1] * width
    weight, bias = joined[:size].reshape(ends[-1], width), joined[size:] if biases else None
    wanted = needs[0], any(needs[1:4]), any(needs[4:]), False
    y, go_back = linear(x, weight, bias, needs=wanted)

    def backward(g):
        gx, *wholes, _ = go_back(g)
        places = [(whole, slice(*pair)) for whole in wholes for pair in pairwise(ends)]
        return gx, *(
            whole[place] if need else None for (whole, place), need in zip(places, needs[1:])
        )

    return y, backward


def _joined(arrays):
    """The elements of all arrays, one behind the other."""
    arrays = [contiguous(array) for array in arrays]
    sizes = [array.size for array in arrays]
    whole = namespace(arrays[0]).empty(sum(sizes), dtype=arrays[0].dtype)
    if whole.size:
        rest = MOST - len(arrays)
        grid = (-(-max(sizes) // (BLOCK * KEPT)), len(arrays))
        given, numbers = (whole, *arrays, *[None] * rest), (*sizes, *[0] * rest)
        over_grid("join.cu", "join", whole.dtype, grid, (BLOCK,), given, math.gcd(*sizes), numbers)
    return whole
