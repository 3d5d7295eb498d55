"""gelu, silu and swiglu: one kernel forward, and one backward that finds the slope again."""

from .. import namespace
from .launch import contiguous, of_floats, over_flat

__all__ = ["gelu", "gelu_tanh", "silu", "swiglu"]


@of_floats
def gelu(x, *, needs=None):
    """x·Φ(x)."""
    return _activation("gelu", x)


@of_floats
def gelu_tanh(x, *, needs=None):
    """x·(1 + tanh(√(2/π)(x + 0.044715x³)))/2."""
    return _activation("gelu_tanh", x)


@of_floats
def silu(x, *, needs=None):
    """x·σ(x)."""
    return _activation("silu", x)


def _activation(name, x):
    x = contiguous(x)
    y = _like(x)
    over_flat("pointwise.cu", name, (x, y), x.size)

    def backward(g):
        gx = _like(x)
        over_flat("pointwise.cu", f"{name}_backward", (x, contiguous(g, x.dtype), gx), x.size)
        return (gx,)

    return y, backward


@of_floats
def swiglu(gate, up, *, needs):
    """silu(gate)·up, of arrays of one shape."""
    gate, up = contiguous(gate), contiguous(up)
    y = _like(gate)
    over_flat("pointwise.cu", "swiglu", (gate, up, y), gate.size)

    def backward(g):
        found = [_like(gate) if wanted else None for wanted in needs]
        arrays = (gate, up, contiguous(g, gate.dtype), *found)
        over_flat("pointwise.cu", "swiglu_backward", arrays, gate.size)
        return found

    return y, backward


def _like(x):
    return namespace(x).empty(x.shape, dtype=x.dtype)
