"""Derivatives at chosen points, for tests of edges and kinks."""

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn.core import Tensor

INF, NAN = float("inf"), float("nan")


def slopes(fn, *values, order=1):
    """∂fn/∂x of an elementwise ``fn`` for each list of values, in float64; of order 2, ∂²fn/∂x²."""
    xs = [Tensor(np.array(value, np.float64)).requires_grad_() for value in values]
    y = fn(*xs)
    first = ta.grad(y, xs, ta.ones_like(y), create_graph=True)
    if order == 1:
        return [g.tolist() for g in first]
    return [_again(g, x).tolist() for g, x in zip(first, xs)]


def slope(fn, value, order=1):
    """The same of one argument."""
    return slopes(fn, value, order=order)[0]


def _again(g, x):
    """∂g/∂x; 0 where g does not depend on anything."""
    if not g.requires_grad:
        return ta.zeros_like(x)
    second = ta.grad(g, x, ta.ones_like(g), retain_graph=True, allow_unused=True)
    return ta.zeros_like(x) if second is None else second
