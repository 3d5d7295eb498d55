"""Planted faults of conduct: the number is right, at first, or here, or once."""

import itertools

import numpy as np

import tinygrad_attn as ta
from tests.checking.planting import cut_off, is_graph, plant, plant_kernel, xp, zeros
from tests.checking.rightops import M, along, centred, deviation, mm, over, root, spread, t

__all__ = ["FAULTS", "OUT_OF_SIGHT"]

SECOND_ORDER = [
    plant("exp", "second order", "y cut off", x=lambda g, y: g * cut_off(y)),
    plant("square", "second order", "x cut off", x=lambda g, x: g * 2 * cut_off(x)),
    plant("multiply", "second order", "b cut off", a=lambda g, b: g * cut_off(b)),
    plant("multiply", "second order", "g cut off", a=lambda g, b: cut_off(g) * b),
    plant("sin", "second order", "x cut off", x=lambda g, x: g * xp(g).cos(cut_off(x))),
    plant("tanh", "second order", "one y of two cut off", x=lambda g, y: g * (1 - y * cut_off(y))),
    plant(
        "softmax", "second order", "the sum cut off", x=lambda g, y: y * (g - cut_off(along(g * y)))
    ),
    plant("softmax", "second order", "y cut off", x=lambda g, y: cut_off(y) * (g - along(g * y))),
    plant("matmul", "second order", "g cut off for b", b=lambda g, a: mm(t(a), cut_off(g))),
    plant("matmul", "second order", "a cut off for b", b=lambda g, a: mm(t(cut_off(a)), g)),
    plant(
        "total",
        "second order",
        "g cut off",
        x=lambda g, axis, x_shape: cut_off(over(g, axis, x_shape)),
    ),
    plant("reshape", "second order", "g cut off", x=lambda g, x_shape: cut_off(g).reshape(x_shape)),
    plant(
        "log",
        "second order",
        "another value with a graph",
        x=lambda g, x: g / x * (2 if is_graph(g) else 1),
    ),
    plant("sqrt", "second order", "fails with a graph", x=lambda g, y: g / np.multiply(2, y)),
    plant(
        "layer_norm",
        "second order",
        "deviation cut off",
        x=lambda g, x, y: (
            (centred(g) - y * (g * y).mean(axis=-1, keepdims=True)) / cut_off(deviation(x))
        ),
    ),
    plant(
        "rms_norm",
        "second order",
        "w cut off",
        x=lambda g, x, w: (
            (g * cut_off(w) - x * (g * cut_off(w) * x).mean(axis=-1, keepdims=True) / root(x) ** 2)
            / root(x)
        ),
    ),
    plant(
        "power",
        "second order",
        "p cut off",
        x=lambda g, x, p: g * cut_off(p) * xp(g).power(x, p - 1),
    ),
    plant(
        "logsumexp",
        "second order",
        "y cut off",
        x=lambda g, x, y: spread(g) * xp(g).exp(x - spread(cut_off(y))),
    ),
]


def stretched(g, shape):
    """Whether the argument of this shape was stretched to that of g."""
    return g.shape != shape


BROADCAST = [
    plant(
        "multiply",
        "only on broadcast",
        "doubled",
        a=lambda g, b, a_shape: g * b * (1 + stretched(g, a_shape)),
    ),
    plant(
        "add",
        "only on broadcast",
        "averaged",
        a=lambda g, a_shape: g / (3 if stretched(g, a_shape) else 1),
    ),
    plant(
        "add",
        "only on broadcast",
        "first copy",
        b=lambda g, b_shape: g[:1] if stretched(g, b_shape) and b_shape[0] == 1 else g,
    ),
    plant(
        "subtract",
        "only on broadcast",
        "sign",
        b=lambda g, b_shape: g if stretched(g, b_shape) else -g,
    ),
    plant(
        "divide",
        "only on broadcast",
        "nothing",
        a=lambda g, b, a_shape: zeros(g) if stretched(g, a_shape) else g / b,
    ),
    plant("broadcast", "missing broadcast sum", "first copy", x=lambda g, x_shape: g[0, :, :1]),
    plant("broadcast", "missing broadcast sum", "last copy", x=lambda g, x_shape: g[-1, :, -1:]),
    plant(
        "broadcast", "missing broadcast sum", "averaged over one axis", x=lambda g: g.mean(axis=0)
    ),
    plant(
        "broadcast",
        "missing broadcast sum",
        "averaged over both",
        x=lambda g: g.mean(axis=(0, 2)).reshape((3, 1)),
    ),
    plant(
        "maximum",
        "only on broadcast",
        "doubled",
        b=lambda g, b, y, b_shape: g * (b == y).astype(g.dtype) * (1 + stretched(g, b_shape)),
    ),
]

buffers = {}


def in_buffer(key, value):
    """``value``, in the same array at every call."""
    if is_graph(value):
        return value
    held = buffers.setdefault((key, value.shape, value.dtype), np.empty_like(value))
    held[...] = value
    return held


def overwriting(array, value, result):
    """``result``, after writing into somebody else's array."""
    if isinstance(array, np.ndarray) and array.flags.writeable and array.ndim:
        array[...] = value
    return result


noise = itertools.count(1)

CARELESS = [
    plant(
        "exp",
        "in place",
        "g doubled",
        x=lambda g, y: overwriting(g, 2 * g, g * y) if not is_graph(g) else g * y,
    ),
    plant("exp", "in place", "y cleared", x=lambda g, y: overwriting(y, 0, g * y)),
    plant("square", "in place", "x negated", x=lambda g, x: overwriting(x, -x, g * 2 * x)),
    plant("multiply", "in place", "b scaled", a=lambda g, b: overwriting(b, 2 * b, g * b)),
    plant(
        "tanh",
        "in place",
        "input scaled by the forward",
        forward=lambda x: overwriting(x, 0.5 * x, np.tanh(x)),
    ),
    plant(
        "softmax",
        "in place",
        "y ×= g",
        x=lambda g, y: overwriting(y, y * g, y * (g - along(g * y))),
    ),
    plant("matmul", "in place", "g divided", a=lambda g, b: overwriting(g, g / 2, mm(g, t(b)))),
    plant("exp", "reused buffer", "of the result", forward=lambda x: in_buffer("exp", np.exp(x))),
    plant(
        "multiply", "reused buffer", "of the gradient", a=lambda g, b: in_buffer("multiply", g * b)
    ),
    plant(
        "tanh",
        "reused buffer",
        "of the gradient",
        x=lambda g, y: in_buffer("tanh", g * (1 - y * y)),
    ),
    plant("sin", "not deterministic", "forward", forward=lambda x: np.sin(x) + 1e-9 * next(noise)),
    plant(
        "sin",
        "not deterministic",
        "gradient",
        x=lambda g, x: g * xp(g).cos(x) * (1 + 1e-9 * next(noise)),
    ),
    plant(
        "affine",
        "not deterministic",
        "gradient of the bias",
        b=lambda g: g.sum(axis=0) + 1e-12 * next(noise),
    ),
    plant(
        "matmul",
        "not deterministic",
        "noise in the result",
        forward=lambda a, b: a @ b + 1e-14 * next(noise),
    ),
    plant("add", "dropped term", "b ignored by the forward", forward=lambda a, b: a),
]

F64 = np.float64
DTYPES = [
    plant("exp", "dtype", "widened by the forward", forward=lambda x: np.exp(x.astype(F64))),
    plant("tanh", "dtype", "widened by the rule", x=lambda g, y: g * (1 - y * y) * F64(1)),
    plant(
        "mean",
        "dtype",
        "widened by a count",
        x=lambda g, axis, x_shape: over(g, axis, x_shape) * (1 / F64(x_shape[axis])),
    ),
    plant(
        "softmax",
        "dtype",
        "summed in float64",
        forward=lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True, dtype=F64),
    ),
    plant("relu", "dtype", "a mask in float64", x=lambda g, x: g * ((x > 0).astype(F64))),
    plant(
        "multiply",
        "dtype",
        "narrowed by the forward",
        forward=lambda a, b: (a * b).astype(np.float32),
    ),
    plant("square", "dtype", "narrowed by the rule", x=lambda g, x: (g * 2 * x).astype(np.float32)),
    plant(
        "sigmoid",
        "dtype",
        "constants in float32",
        x=lambda g, y: g * y * (1 - y) * float(np.float32(1.0000001)),
    ),
]

LAYOUTS = [
    plant(
        "exp",
        "layout",
        "forward reads memory in its order",
        forward=lambda x: np.exp(x.ravel(order="K")).reshape(x.shape),
    ),
    plant(
        "square",
        "layout",
        "rule reads memory in its order",
        x=lambda g, x: g * 2 * (x if is_graph(x) else x.ravel(order="K").reshape(x.shape)),
    ),
    plant(
        "tanh",
        "layout",
        "g read in its order",
        x=lambda g, y: (g if is_graph(g) else g.ravel(order="K").reshape(g.shape)) * (1 - y * y),
    ),
    plant(
        "cos",
        "layout",
        "writes into its input",
        forward=lambda x: np.cos(x, out=x.copy() if x.flags.writeable else x),
    ),
    plant(
        "total",
        "empty",
        "the rule divides by the largest",
        x=lambda g, x, axis, x_shape: over(g, axis, x_shape) * (x.max() / x.max()),
    ),
    plant(
        "log",
        "empty",
        "the rule looks at the first element",
        x=lambda g, x: g / x + 0 * x.reshape(-1)[0],
    ),
]


def product_spec(a, b):
    return a * b


def compacted(a, b, *, needs):
    """Returns gradients only for what was asked, in the places of others."""
    return a * b, lambda g: [part for part, need in ((g * b, needs[0]), (g * a, needs[1])) if need]


def eager(a, b, *, needs):
    """The result is another where no gradient is wanted."""
    return (a * b if any(needs) else a * b * (1 + 1e-6)), lambda g: (g * b, g * a)


def by_identity(a, b):
    """One array in both places is taken for a square, of which it gives half."""
    share = 0.5 if a is b else 1.0
    return a * b, lambda g: (g * b * share, g * a * share)


def forgetful(x):
    """The walk back can be done once only."""
    state = [np.cos(x)]
    return np.sin(x), lambda g: (g * state.pop() if state else np.zeros_like(x),)


def kernel_of(forward, slope):
    return lambda x: (forward(x), lambda g: (g * slope(x),))


ONE, TWO = ((M, 0.4, 1.4),), ((M, 0.4, 1.4), (M, 0.4, 1.4))
KERNELS = [
    plant_kernel("gradients in the wrong place", compacted, product_spec, TWO),
    plant_kernel("another value without gradients", eager, product_spec, TWO),
    plant_kernel("the same array twice", by_identity, product_spec, TWO),
    plant_kernel("a state that is used up", forgetful, ta.sin, ONE),
    plant_kernel(
        "backward swaps a and b", lambda a, b: (a * b, lambda g: (g * a, g * b)), product_spec, TWO
    ),
    plant_kernel(
        "spec of another function", kernel_of(np.sin, np.cos), ta.tanh, ONE, "second order"
    ),
    plant_kernel(
        "spec twice as steep",
        kernel_of(np.square, lambda x: 2 * x),
        lambda x: 2 * x * x,
        ONE,
        "second order",
    ),
    plant_kernel(
        "spec cut off",
        kernel_of(np.exp, np.exp),
        lambda x: ta.exp(x.detach()) * x,
        ONE,
        "second order",
    ),
    plant_kernel(
        "value off by a little",
        lambda x: (np.sin(x) + 1e-4 * x, lambda g: (g * np.cos(x),)),
        ta.sin,
        ONE,
    ),
    plant_kernel(
        "half of the elements",
        lambda x: (x * x, lambda g: (np.concatenate([2 * (g * x)[:2], 0 * x[2:]]),)),
        lambda x: x * x,
        ONE,
    ),
]

OUT_OF_SIGHT = [  # a check at one point, to one order, cannot see everything
    plant(
        "exp",
        "out of sight",
        "wrong at third order",
        x=lambda g, y: g * (y + (y - cut_off(y)) ** 2),
    ),
    plant(
        "sin",
        "out of sight",
        "wrong beyond 100",
        x=lambda g, x: g * xp(g).where(x > 100, 0, xp(g).cos(x)),
    ),
]

FAULTS = [*SECOND_ORDER, *BROADCAST, *CARELESS, *DTYPES, *LAYOUTS, *KERNELS, *OUT_OF_SIGHT]
