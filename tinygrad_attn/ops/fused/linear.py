"""linear: the affine map that every layer is made of, and what most layers do right after it."""

import math

from ...backend import backend_of, dtypes, namespace
from ...core import fused
from ...core.graph import mode
from ...errors import DTypeError, ShapeError
from ..activations import relu, silu
from ..check import as_tensor, probability
from ..elementwise import add
from .dropout import Drop, _dropout, dropout_spec
from .gelu import _gelu, _gelu_tanh, gelu_spec, gelu_tanh_spec

__all__ = ["linear"]

_SPECS = {"relu": relu, "gelu": gelu_spec, "gelu_tanh": gelu_tanh_spec, "silu": silu}
_FUSED = {"gelu": _gelu, "gelu_tanh": _gelu_tanh, "silu": silu}  # relu is no more than a maximum


def linear_spec(x, weight, bias=None, residual=None, *, activation=None, drop=None):
    """residual + drop(activation(x @ weightᵀ + bias)); what is None there is left out."""
    y = namespace(x).matmul(x, weight.swapaxes(0, 1))
    y = y if bias is None else y + bias
    y = y if activation is None else _SPECS[activation](y)
    y = y if drop is None else dropout_spec(y, drop=drop)
    return y if residual is None else y + residual


@fused(spec=linear_spec, gives_pieces=True)
def _linear(x, weight, bias=None, residual=None, *, activation=None, drop=None, needs):
    matmul = backend_of(x).matmul
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = matmul(rows, weight.T)
    if bias is not None:
        y += bias
    y, ways_back = _finish(y, activation, drop, any(needs[:3]))
    y_shape = y.shape
    y = y.reshape(*x.shape[:-1], weight.shape[0])
    if residual is not None:
        y = y + namespace(y).broadcast_to(residual, y.shape)

    def backward(given):
        xp, g = namespace(given), given.reshape(y_shape)
        for go_back in ways_back if any(needs[:3]) else ():
            (g,) = go_back(g)
        gx = matmul(g, weight).reshape(x.shape) if needs[0] else None
        gw = matmul(g.T, rows) if needs[1] else None
        gb = matmul(xp.ones(len(g), dtype=g.dtype), g) if needs[2] else None  # sums faster than sum
        return gx, gw, gb, given if needs[3] else None

    return y, backward


def _finish(y, activation, drop, is_needed):
    """drop(activation(y)), and the ways back through them, the last first."""
    ways_back = []
    if activation == "relu":
        y = namespace(y).maximum(y, 0)
        is_open = y != 0
        ways_back.append(lambda g: (backend_of(g).keep(g, is_open),))
    elif activation is not None:
        y, go_back = _FUSED[activation].compute(y, needs=(is_needed,))
        ways_back.append(go_back)
    if drop is not None:
        y, go_back = _dropout.compute(y, drop=drop)
        ways_back.append(go_back)
    return y, ways_back[::-1]


def linear(x, weight, bias=None, *, activation=None, residual=None, dropout=0.0, generator=None):
    """Affine map  y = x·weightᵀ + bias.   ∂L/∂x = g·weight,  ∂L/∂weight = gᵀ·x,  ∂L/∂bias = Σ g.

    The weight is stored (out, in), so that each row is what one output looks for.

    What most layers do next can be done on the way, while the numbers are at hand:
    residual + drop(activation(x·weightᵀ + bias)). The residual gets g as it is; the rest gets g
    where dropout let something through, times the slope of the activation.

    Args:
        activation: None, "relu", "gelu", "gelu_tanh" or "silu".
        residual: what the result is added to, of the shape of the result.
        dropout: the probability of dropping an element; the others are scaled by 1/(1 − dropout).
        generator: where the key of the dropout comes from.

    Shapes: x (..., in), weight (out, in), bias (out,) or None → (..., out).
    Raises: ShapeError where these sizes do not fit, or for a probability outside 0..1; DTypeError
    for another name of an activation.
    """
    x, weight = as_tensor(x, where="linear"), as_tensor(weight, where="linear")
    bias = None if bias is None else as_tensor(bias, weight, where="linear")
    if weight.ndim != 2 or not x.ndim or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: {_shapes(x, weight)}; weight must be (out, in) with in = x.shape[-1]"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(
            f"linear: {_shapes(x, weight)}, bias is {bias.shape}; bias must be (weight.shape[0],)"
        )
    if activation is residual is None and dtypes.is_scalar(dropout) and dropout == 0:
        return _linear(x, weight, bias, None, activation=None, drop=None)
    return _with_epilogue(x, weight, bias, activation, residual, dropout, generator)


def _with_epilogue(x, weight, bias, activation, residual, dropout, generator):
    """``linear`` and what comes after the product, checked; of whole numbers in float32."""
    if activation is not None and not (isinstance(activation, str) and activation in _SPECS):
        raise DTypeError(
            f"linear: activation is {activation!r:.60}; it must be None or one of "
            f"{', '.join(_SPECS)}"
        )
    probability("linear", "dropout", dropout)
    if not dtypes.is_float(x.dtype):
        x = x.astype(dtypes.float32)
    if residual is not None:
        residual, shape = as_tensor(residual, x, where="linear"), (*x.shape[:-1], len(weight))
        if residual.shape != shape:
            raise ShapeError(
                f"linear: {_shapes(x, weight)}, residual is {residual.shape}; the residual must "
                f"have the shape of the result, {shape}"
            )
    drop = Drop.draw("linear", dropout, generator) if dropout else None
    if residual is not None and mode.get().casting is not None:  # it may have more than 16 bits
        return add(_linear(x, weight, bias, None, activation=activation, drop=drop), residual)
    return _linear(x, weight, bias, residual, activation=activation, drop=drop)


def _shapes(x, weight):
    return f"x is {x.shape}, weight is {weight.shape}"
