"""packed_linear: the queries, keys and values of self-attention, from one product."""

from collections.abc import Iterable
from itertools import accumulate, pairwise

from ...backend import namespace
from ...core import fused
from ...errors import DTypeError, ShapeError
from ..check import as_tensor
from .linear import _linear, linear_spec

__all__ = ["packed_linear"]


def packed_linear_spec(x, wq, wk, wv, bq=None, bk=None, bv=None):
    """The three maps of x, one after the other, side by side."""
    pairs = (wq, bq), (wk, bk), (wv, bv)
    return namespace(x).concatenate([linear_spec(x, *pair) for pair in pairs], axis=-1)


@fused(spec=packed_linear_spec, gives_pieces=True)
def _packed_linear(x, wq, wk, wv, bq=None, bk=None, bv=None, *, needs):
    weights, biases = (wq, wk, wv), () if bq is None else (bq, bk, bv)
    ends = [0, *accumulate(map(len, weights))]
    parts = [part.reshape(part.size) for part in (*weights, *biases)]
    joined = namespace(x).concatenate(parts)  # all in one go
    size = ends[-1] * wq.shape[1]
    weight, bias = joined[:size].reshape(ends[-1], wq.shape[1]), joined[size:] if biases else None
    wanted = needs[0], any(needs[1:4]), any(needs[4:]), False
    y, go_back = _linear.compute(x, weight, bias, None, activation=None, drop=None, needs=wanted)

    def backward(g):
        gx, gw, gb, _ = go_back(g)
        places = [(whole, slice(*pair)) for whole in (gw, gb) for pair in pairwise(ends)]
        return gx, *(
            whole[place] if need else None for (whole, place), need in zip(places, needs[1:])
        )

    return y, backward


_packed_linear.forward.takes_halves = True  # the kernel inside sees to them


def packed_linear(x, weights, biases=None):
    """Three affine maps of one x, side by side:  y = [x·W₁ᵀ + b₁, x·W₂ᵀ + b₂, x·W₃ᵀ + b₃].

    With g cut as y is:  ∂L/∂x = Σᵢ gᵢ·Wᵢ,  ∂L/∂Wᵢ = gᵢᵀ·x,  ∂L/∂bᵢ = Σ gᵢ over the rows.

    One large product is faster than three, and on the way back two than six; it costs a copy of the
    weights, which are laid one under another. ``packed_attention`` takes such a y.

    Args:
        weights, biases: three of each, those of queries, of keys and of values; or no biases, None
            or three times None.

    Shapes: x (..., in), weights (out, in), biases (out,) → (..., sum of the outs).
    Raises: ShapeError where these sizes do not fit; DTypeError for what is no sequence.
    """
    where = "packed_linear"
    x = as_tensor(x, where=where)
    weights = _several("weights", weights, x)
    biases = [] if biases is None else _several("biases", biases, x)
    shapes = f"{where}: x is {x.shape}, weights are {[w.shape for w in weights]}"
    if len(weights) != 3 or len(biases) not in (0, 3):
        raise ShapeError(
            f"{shapes}, biases are {[b.shape for b in biases]}; there must be three weights, and "
            "three biases or none"
        )
    if not x.ndim or any(w.ndim != 2 or w.shape[1] != x.shape[-1] for w in weights):
        raise ShapeError(f"{shapes}; each weight must be (out, in) with in = x.shape[-1]")
    if any(b.shape != w.shape[:1] for w, b in zip(weights, biases)):
        raise ShapeError(
            f"{shapes}, biases are {[b.shape for b in biases]}; each must be (weight.shape[0],)"
        )
    return _packed_linear(x, *weights, *(biases or [None] * 3))


def _several(name, given, x):
    """The tensors in ``given``, None left out. Raises: DTypeError for what holds none."""
    if not isinstance(given, Iterable):
        raise DTypeError(f"packed_linear: {name} are {given!r:.60}; give three tensors")
    return [as_tensor(each, x, where="packed_linear") for each in given if each is not None]
