"""Planted faults of calculation: the rule gives another number."""

import numpy as np

from tests.checking.planting import plant, xp, zeros
from tests.checking.rightops import (
    along,
    centred,
    cut,
    deviation,
    flipped_cumsum,
    mm,
    over,
    root,
    scattered,
    spread,
    t,
    won,
)

__all__ = ["FAULTS"]

SIGN = [
    plant("exp", "sign", "negated", x=lambda g, y: -g * y),
    plant("cos", "sign", "+sin", x=lambda g, x: g * xp(g).sin(x)),
    plant("log", "sign", "negated", x=lambda g, x: -g / x),
    plant("negative", "sign", "forgotten", x=lambda g: g),
    plant("reciprocal", "sign", "forgotten", x=lambda g, y: g * y * y),
    plant("subtract", "sign", "b as in add", b=lambda g: g),
    plant("divide", "sign", "b", b=lambda g, y, b: g * (y / b)),
    plant("absolute", "sign", "turned", x=lambda g, x: -g * xp(g).sign(x)),
    plant("tanh", "sign", "1 + y²", x=lambda g, y: g * (1 + y * y)),
    plant("softmax", "sign", "of the second term", x=lambda g, y: y * (g + along(g * y))),
    plant("log_softmax", "sign", "of the second term", x=lambda g, y: g + xp(g).exp(y) * along(g)),
    plant("matmul", "sign", "a", a=lambda g, b: -mm(g, t(b))),
    plant("arctan2", "sign", "b", b=lambda g, a, b: g * a / (a * a + b * b)),
    plant("total", "sign", "negated", x=lambda g, axis, x_shape: -over(g, axis, x_shape)),
    plant("roll", "sign", "of the shift", x=lambda g, shift: xp(g).roll(g, shift, axis=-1)),
]

FACTOR = [
    plant("square", "factor", "2 forgotten", x=lambda g, x: g * x),
    plant("sqrt", "factor", "2 forgotten", x=lambda g, y: g / y),
    plant("sqrt", "factor", "twice too much", x=lambda g, y: g / (4 * y)),
    plant("exp", "factor", "doubled", x=lambda g, y: 2 * g * y),
    plant("exp", "factor", "y² for y", x=lambda g, y: g * y * y),
    plant("exp", "factor", "y forgotten", x=lambda g: g * 1),
    plant("erf", "factor", "2/√π forgotten", x=lambda g, x: g * xp(g).exp(-x * x)),
    plant("mean", "factor", "1/n forgotten", x=lambda g, axis, x_shape: over(g, axis, x_shape)),
    plant("total", "factor", "mean for sum", x=lambda g, axis, x_shape: over(g, axis, x_shape) / 4),
    plant("variance", "factor", "n − 1 for n", x=lambda g, x: g * (x - x.mean()) * (2 / 3)),
    plant("variance", "factor", "2 forgotten", x=lambda g, x: g * (x - x.mean()) / x.size),
    plant("length", "factor", "1/y forgotten", x=lambda g, x: g * x),
    plant("product", "factor", "1/x forgotten", x=lambda g, x, y: g * y + 0 * x),
    plant("power", "factor", "p forgotten", x=lambda g, x, p: g * xp(g).power(x, p - 1)),
    plant("power", "factor", "ln x forgotten", p=lambda g, y: g * y),
    plant("log1p", "factor", "1/x for 1/(1 + x)", x=lambda g, x: g / x),
    plant("rsqrt", "factor", "½ forgotten", x=lambda g, y: -g * y * y * y),
    plant("sigmoid", "factor", "1 − y forgotten", x=lambda g, y: g * y),
    plant("matmul", "factor", "b by ½", b=lambda g, a: 0.5 * mm(t(a), g)),
    plant("softmax", "factor", "y forgotten", x=lambda g, y: g - along(g * y)),
    plant(
        "layer_norm",
        "factor",
        "1/σ forgotten",
        x=lambda g, y: centred(g) - y * (g * y).mean(axis=-1, keepdims=True),
    ),
    plant(
        "rms_norm",
        "factor",
        "w forgotten",
        x=lambda g, x: (g - x * (g * x).mean(axis=-1, keepdims=True) / root(x) ** 2) / root(x),
    ),
    plant("hypot", "factor", "y squared", a=lambda g, a, y: g * a / (y * y)),
    plant("tanh", "factor", "1.0001 times", x=lambda g, y: g * (1 - y * y) * 1.0001),
    plant("sin", "factor", "1 + 1e-7 times", x=lambda g, x: g * xp(g).cos(x) * (1 + 1e-7)),
    plant("multiply", "factor", "b squared", a=lambda g, b: g * b * b),
]

DROPPED = [
    plant("softmax", "dropped term", "the sum", x=lambda g, y: y * g),
    plant("log_softmax", "dropped term", "the sum", x=lambda g: g * 1),
    plant(
        "layer_norm",
        "dropped term",
        "centring",
        x=lambda g, x, y: (g - y * (g * y).mean(axis=-1, keepdims=True)) / deviation(x),
    ),
    plant(
        "layer_norm", "dropped term", "of the variance", x=lambda g, x: centred(g) / deviation(x)
    ),
    plant("rms_norm", "dropped term", "of the root", x=lambda g, x, w: g * w / root(x)),
    plant("variance", "dropped term", "the mean", x=lambda g, x: g * x * (2 / x.size)),
    plant("tanh", "dropped term", "1", x=lambda g, y: -g * y * y),
    plant("multiply", "dropped term", "no gradient for b", b=lambda g: zeros(g)),
    plant("multiply", "dropped term", "None for b", b=lambda g: None),
    plant("affine", "dropped term", "no gradient for the bias", b=lambda g: zeros(g).sum(axis=0)),
    plant("affine", "dropped term", "bias from the first row", b=lambda g: g[0]),
    plant(
        "join",
        "dropped term",
        "second argument",
        xs=lambda g, i, xs_shape, axis: cut(g, xs_shape, i, axis) * (1 - i),
    ),
    plant("sigmoid", "dropped term", "y", x=lambda g, y: -g * y * y),
    plant("hypot", "dropped term", "None for b", b=lambda g: None),
    plant(
        "rows",
        "dropped term",
        "repeated rows count once",
        x=lambda g, index, x_shape: scattered(
            g * np.array([[1.0], [1.0], [0.0], [1.0]]), index, x_shape
        ),
    ),
    plant("logsumexp", "dropped term", "y", x=lambda g, x: spread(g) * xp(g).exp(x)),
]

TRANSPOSED = [
    plant("matmul", "transpose", "a by b", a=lambda g, b: mm(g, b)),
    plant("matmul", "transpose", "b by a", b=lambda g, a: mm(a, g)),
    plant("matmul", "transpose", "result for a", a=lambda g, b: t(mm(g, t(b)))),
    plant("matmul", "transpose", "g for b", b=lambda g, a: mm(t(a), t(g))),
    plant("matmul", "transpose", "the order of the factors", b=lambda g, a: mm(g, t(a))),
    plant(
        "transpose",
        "transpose",
        "the axes, not their inverse",
        x=lambda g, axes, x_shape: xp(g).transpose(g, axes).reshape(x_shape),
    ),
    plant(
        "transpose", "transpose", "reshape for transpose", x=lambda g, x_shape: g.reshape(x_shape)
    ),
    plant(
        "transpose",
        "transpose",
        "all axes reversed",
        x=lambda g, x_shape: xp(g).transpose(g, (2, 1, 0)).reshape(x_shape),
    ),
    plant("tril", "transpose", "triu for tril", x=lambda g: xp(g).triu(g)),
    plant(
        "reshape", "transpose", "read by columns", x=lambda g, x_shape: t(g.reshape(x_shape[::-1]))
    ),
    plant("outer", "transpose", "a and b swapped sums", a=lambda g, b: mm(g, b)[::-1]),
    plant("affine", "transpose", "w", w=lambda g, x: mm(t(x), g).reshape((2, 4))),
]

AXIS = [
    plant("cumsum", "wrong axis", "0 for 1", x=lambda g: flipped_cumsum(g, 0)),
    plant("cumsum", "wrong axis", "not reversed", x=lambda g, axis: xp(g).cumsum(g, axis=axis)),
    plant(
        "cumsum",
        "wrong axis",
        "flipped once",
        x=lambda g, axis: xp(g).flip(xp(g).cumsum(g, axis=axis), axis),
    ),
    plant("flip", "wrong axis", "0 for 1", x=lambda g: xp(g).flip(g, 0)),
    plant("flip", "wrong axis", "not flipped", x=lambda g: g),
    plant("roll", "wrong axis", "0 for −1", x=lambda g, shift: xp(g).roll(g, -shift, axis=0)),
    plant(
        "roll", "wrong axis", "by one more", x=lambda g, shift: xp(g).roll(g, -shift - 1, axis=-1)
    ),
    plant(
        "softmax",
        "wrong axis",
        "sum over 0",
        x=lambda g, y: y * (g - (g * y).sum(axis=0, keepdims=True)),
    ),
    plant("softmax", "wrong axis", "sum over all", x=lambda g, y: y * (g - (g * y).sum())),
    plant(
        "log_softmax",
        "wrong axis",
        "sum over 0",
        x=lambda g, y: g - xp(g).exp(y) * g.sum(axis=0, keepdims=True),
    ),
    plant(
        "layer_norm",
        "wrong axis",
        "mean over 0",
        x=lambda g, x, y: (
            (g - g.mean(axis=0, keepdims=True) - y * (g * y).mean(axis=-1, keepdims=True))
            / deviation(x)
        ),
    ),
    plant(
        "join",
        "wrong axis",
        "pieces swapped in place",
        xs=lambda g, i, xs_shape, axis: xp(g).flip(cut(g, xs_shape, i, axis), 1),
    ),
    plant(
        "join",
        "wrong axis",
        "from the start",
        xs=lambda g, i, xs_shape, axis: g[:, : xs_shape[i][axis]],
    ),
    plant(
        "largest",
        "wrong axis",
        "spread by the first element",
        x=lambda g, x, y, axis, x_shape: over(g * 0 + g[:1], axis, x_shape) * won(x, y, axis),
    ),
    plant(
        "rows",
        "wrong axis",
        "rows in order",
        x=lambda g, x_shape: scattered(g, [0, 1, 2, 0], x_shape),
    ),
]

BRANCH = [
    plant("relu", "one side", "leaks below 0", x=lambda g, x: g * xp(g).where(x > 0, 1.0, 0.01)),
    plant("relu", "one side", "1 everywhere", x=lambda g: g),
    plant("absolute", "one side", "1 everywhere", x=lambda g: g),
    plant("maximum", "one side", "a takes all", a=lambda g: g, b=lambda g: zeros(g)),
    plant(
        "maximum",
        "one side",
        "a and b swapped",
        a=lambda g, a, b: g * (a < b).astype(g.dtype),
        b=lambda g, a, b: g * (a > b).astype(g.dtype),
    ),
    plant("minimum", "one side", "as in maximum", a=lambda g, a, b: g * (a > b).astype(g.dtype)),
    plant(
        "largest", "one side", "to all elements", x=lambda g, axis, x_shape: over(g, axis, x_shape)
    ),
    plant("largest", "one side", "nothing", x=lambda g, x: zeros(x)),
    plant(
        "arctan",
        "one side",
        "wrong below −1",
        x=lambda g, x: g * xp(g).where(x < -1, 1.0, 1 / (1 + x * x)),
    ),
    plant("softplus", "one side", "of relu", x=lambda g, x: g * (x > 0).astype(g.dtype)),
    plant("expm1", "one side", "y below 0", x=lambda g, x, y: g * xp(g).where(x < 0, y, y + 1)),
    plant(
        "arcsin",
        "one side",
        "wrong in one element",
        x=lambda g, x: g / xp(g).sqrt(1 - x * x) * xp(g).where(x == x.max(), 2.0, 1.0),
    ),
]

FAULTS = [*SIGN, *FACTOR, *DROPPED, *TRANSPOSED, *AXIS, *BRANCH]
