"""layer_norm and rms_norm: every row brought to the same scale."""

import math

from ...backend import namespace
from ...core import fused
from ...errors import ShapeError
from ..check import as_tensor, number

__all__ = ["layer_norm", "rms_norm"]


def layer_norm_spec(x, weight, bias, *, eps, axes):
    """(x − mean) / √(variance + eps) · weight + bias."""
    xp = namespace(x)
    centred = x - xp.mean(x, axis=axes, keepdims=True)
    y = centred / xp.sqrt(xp.mean(centred * centred, axis=axes, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm_spec(x, weight, *, eps, axes):
    """x / √(mean of squares + eps) · weight."""
    xp = namespace(x)
    y = x / xp.sqrt(xp.mean(x * x, axis=axes, keepdims=True) + eps)
    return y if weight is None else y * weight


def _rows(x, axes):
    """x as a matrix, one row for each vector to normalise."""
    first = axes[0]
    return x.reshape(math.prod(x.shape[:first]), math.prod(x.shape[first:]))


def _mean(rows):
    """The mean of each row, as a column; of rows without elements it is 0."""
    return rows.sum(axis=1, keepdims=True) / max(rows.shape[1], 1)


@fused(spec=layer_norm_spec, gives_pieces=True)
def _layer_norm(x, weight=None, bias=None, *, eps, axes, needs):
    xp = namespace(x)
    rows = _rows(x, axes)
    unit = rows - _mean(rows)
    inverse = 1 / xp.sqrt(_mean(unit * unit) + x.dtype.type(eps))
    unit *= inverse
    y = unit.copy() if weight is None else unit * weight.reshape(-1)
    if bias is not None:
        y += bias.reshape(-1)

    def backward(g):
        g = g.reshape(rows.shape)
        gw = xp.sum(g * unit, axis=0).reshape(weight.shape) if needs[1] else None
        gb = xp.sum(g, axis=0).reshape(bias.shape) if needs[2] else None
        if not needs[0]:
            return None, gw, gb
        gx = g.copy() if weight is None else g * weight.reshape(-1)
        along = _mean(gx * unit)
        gx -= _mean(gx)
        gx -= unit * along
        gx *= inverse
        return gx.reshape(x.shape), gw, gb

    return y.reshape(x.shape), backward


@fused(spec=rms_norm_spec, gives_pieces=True)
def _rms_norm(x, weight=None, *, eps, axes, needs):
    xp = namespace(x)
    rows = _rows(x, axes)
    inverse = 1 / xp.sqrt(_mean(rows * rows) + x.dtype.type(eps))
    unit = rows * inverse
    y = unit.copy() if weight is None else unit * weight.reshape(-1)

    def backward(g):
        g = g.reshape(rows.shape)
        gw = xp.sum(g * unit, axis=0).reshape(weight.shape) if needs[1] else None
        if not needs[0]:
            return None, gw
        gx = g.copy() if weight is None else g * weight.reshape(-1)
        gx -= unit * _mean(gx * unit)
        gx *= inverse
        return gx.reshape(x.shape), gw

    return y.reshape(x.shape), backward


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    """Layer normalisation  y = x̂·weight + bias,  x̂ = (x − mean x) / √(var x + eps).

    ∂L/∂x = (h − mean h − x̂·mean(h·x̂)) / √(var x + eps) with h = g·weight: the gradient, less the
    parts that would only shift or stretch the row, which the normalisation takes out again.

    Shapes: ``weight`` and ``bias`` have the trailing sizes of x over which to normalise, usually
    (D,); without them it is the last axis. The variance divides by the count, not by one less.
    Raises: ShapeError where weight or bias are not the trailing sizes of x.
    Reference: Ba, Kiros, Hinton, "Layer Normalization", arXiv:1607.06450.
    """
    x = as_tensor(x, where="layer_norm")
    weight, bias = _affine("layer_norm", x, weight), _affine("layer_norm", x, bias)
    axes, eps = _trailing_axes("layer_norm", x, weight=weight, bias=bias), _eps("layer_norm", eps)
    return _layer_norm(x, weight, bias, eps=eps, axes=axes)


def rms_norm(x, weight=None, eps=1e-6):
    """Root-mean-square normalisation  y = x̂·weight,  x̂ = x / √(mean x² + eps).

    ∂L/∂x = (h − x̂·mean(h·x̂)) / √(mean x² + eps) with h = g·weight. A layer norm that leaves the
    mean alone, and does as well with one pass less.

    Shapes: as ``layer_norm``.
    Raises: ShapeError where weight is not the trailing sizes of x.
    Reference: Zhang, Sennrich, "Root Mean Square Layer Normalization", arXiv:1910.07467.
    """
    x = as_tensor(x, where="rms_norm")
    weight = _affine("rms_norm", x, weight)
    axes, eps = _trailing_axes("rms_norm", x, weight=weight), _eps("rms_norm", eps)
    return _rms_norm(x, weight, eps=eps, axes=axes)


def _affine(where, x, given):
    return None if given is None else as_tensor(given, x, where=where)


def _eps(where, eps):
    if number(where, "eps", eps) >= 0:
        return float(eps)
    raise ShapeError(f"{where}: eps is {eps}; it must not be negative")


def _trailing_axes(where, x, **affine):
    """The axes over which to normalise: those that weight and bias span, else the last."""
    if not x.ndim:
        raise ShapeError(f"{where}: x is (); it must have an axis to normalise over")
    given = {name: tensor.shape for name, tensor in affine.items() if tensor is not None}
    rule, count = None, max(map(len, given.values()), default=1)
    for name, shape in given.items():
        if not shape or shape != x.shape[-len(shape) :]:
            rule = rule or f"{name} must have the trailing sizes of x"
    if rule is None and len(set(given.values())) > 1:
        rule = "weight and bias must have the same shape"
    if rule is not None:
        operands = ", ".join(
            f"{name} is {shape}" for name, shape in {**given, "x": x.shape}.items()
        )
        raise ShapeError(f"{where}: {operands}; {rule}")
    return tuple(range(x.ndim - count, x.ndim))
