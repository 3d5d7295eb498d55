"""Right ops, written out once more, for ``mutations.py`` to plant faults in.

The elementwise ones are the package's own. The others are small forms of what the package has,
kept here so that a fault can be planted in a rule of one line.
"""

from dataclasses import dataclass

import numpy as np

import tinygrad_attn as ta
from tinygrad_attn.backend import namespace
from tinygrad_attn.core import Primitive, Tensor, primitive

__all__ = ["RIGHT", "Right"]


@dataclass(frozen=True)
class Right:
    """A right op and where to check it: (shape, low, high) of each tensor, then other arguments."""

    op: Primitive
    inputs: tuple
    rest: tuple = ()
    options: tuple = ()

    def tensors(self):
        """The inputs, always the same."""
        rng = np.random.default_rng(1)
        return [
            Tensor(np.asarray(rng.uniform(low, high, shape))) for shape, low, high in self.inputs
        ]

    def call(self, op=None):
        """A function of the tensors alone."""
        op = self.op if op is None else op
        return lambda *xs: op(*xs, *self.rest, **dict(self.options))


# ---- reductions, and what spreads again ----------------------------------------------------------


@primitive
def total(x, axis):
    return x.sum(axis=axis)


@primitive
def mean(x, axis):
    return x.mean(axis=axis)


@primitive
def largest(x, axis):
    return x.max(axis=axis)


@primitive
def product(x):
    return x.prod()


@primitive
def length(x):
    return namespace(x).sqrt((x * x).sum())


@primitive
def variance(x):
    return ((x - x.mean()) ** 2).mean()


@primitive
def logsumexp(x):
    xp = namespace(x)
    return xp.log(xp.exp(x).sum(axis=-1))


@primitive
def cumsum(x, axis):
    return namespace(x).cumsum(x, axis=axis)


def over(g, axis, x_shape):
    """``g`` spread again over the axis that was reduced away."""
    xp = namespace(g)
    return xp.broadcast_to(xp.expand_dims(g, axis), x_shape)


def won(x, y, axis):
    """1 where x is the largest along the axis."""
    return (x == namespace(y).expand_dims(y, axis)).astype(x.dtype)


total.derivatives(x=lambda g, axis, x_shape: over(g, axis, x_shape))
mean.derivatives(x=lambda g, axis, x_shape: over(g, axis, x_shape) / x_shape[axis])
largest.derivatives(x=lambda g, x, y, axis, x_shape: over(g, axis, x_shape) * won(x, y, axis))
product.derivatives(x=lambda g, x, y: g * y / x)
length.derivatives(x=lambda g, x, y: g * x / y)
variance.derivatives(x=lambda g, x: g * (x - x.mean()) * (2 / max(1, x.size)))
logsumexp.derivatives(x=lambda g, x, y: spread(g) * namespace(g).exp(x - spread(y)))
cumsum.derivatives(x=lambda g, axis: flipped_cumsum(g, axis))


def spread(y):
    return namespace(y).expand_dims(y, -1)


def flipped_cumsum(g, axis):
    xp = namespace(g)
    return xp.flip(xp.cumsum(xp.flip(g, axis), axis=axis), axis)


# ---- shape and index -----------------------------------------------------------------------------


@primitive
def reshape(x, shape):
    return x.reshape(shape)


@primitive
def transpose(x, axes):
    return namespace(x).transpose(x, axes)


@primitive
def broadcast(x, shape):
    return namespace(x).broadcast_to(x, shape)


@primitive
def flip(x, axis):
    return namespace(x).flip(x, axis)


@primitive
def roll(x, shift):
    return namespace(x).roll(x, shift, axis=-1)


@primitive
def tril(x):
    return namespace(x).tril(x)


@primitive
def rows(x, index):
    return x[index]


@primitive
def join(*xs, axis):
    return namespace(xs[0]).concatenate(xs, axis=axis)


def inverse(axes):
    return tuple(axes.index(k) for k in range(len(axes)))


def scattered(g, index, shape):
    """Rows of ``g`` added up where ``index`` took them from, by a product with a matrix of ones."""
    xp = namespace(g)
    picked = np.eye(shape[0], dtype=g.dtype)[index]
    return xp.matmul(Tensor(picked.T) if isinstance(g, Tensor) else picked.T, g)


def cut(g, xs_shape, i, axis):
    start = sum(shape[axis] for shape in xs_shape[:i])
    return g[(slice(None),) * axis + (slice(start, start + xs_shape[i][axis]),)]


reshape.derivatives(x=lambda g, x_shape: g.reshape(x_shape))
transpose.derivatives(x=lambda g, axes: namespace(g).transpose(g, inverse(axes)))
broadcast.derivatives(x=lambda g: g)
flip.derivatives(x=lambda g, axis: namespace(g).flip(g, axis))
roll.derivatives(x=lambda g, shift: namespace(g).roll(g, -shift, axis=-1))
tril.derivatives(x=lambda g: namespace(g).tril(g))
rows.derivatives(x=lambda g, index, x_shape: scattered(g, index, x_shape))
join.derivatives(xs=lambda g, i, xs_shape, axis: cut(g, xs_shape, i, axis))


# ---- products ------------------------------------------------------------------------------------


@primitive
def matmul(a, b):
    return namespace(a).matmul(a, b)


@primitive
def outer(a, b):
    return a[:, None] * b[None, :]


@primitive
def dot(a, b):
    return (a * b).sum()


@primitive
def affine(x, w, b):
    return namespace(x).matmul(x, w.swapaxes(0, 1)) + b


def mm(a, b):
    return namespace(a).matmul(a, b)


def t(a):
    return a.swapaxes(0, 1)


matmul.derivatives(a=lambda g, b: mm(g, t(b)), b=lambda g, a: mm(t(a), g))
outer.derivatives(a=lambda g, b: mm(g, b), b=lambda g, a: mm(a, g))
dot.derivatives(a=lambda g, b: g * b, b=lambda g, a: g * a)
affine.derivatives(x=lambda g, w: mm(g, w), w=lambda g, x: mm(t(g), x), b=lambda g: g.sum(axis=0))


# ---- what attention is made of -------------------------------------------------------------------


@primitive
def softmax(x):
    e = namespace(x).exp(x)
    return e / e.sum(axis=-1, keepdims=True)


@primitive
def log_softmax(x):
    xp = namespace(x)
    return x - xp.log(xp.exp(x).sum(axis=-1, keepdims=True))


@primitive
def layer_norm(x):
    z = x - x.mean(axis=-1, keepdims=True)
    return z / namespace(x).sqrt((z * z).mean(axis=-1, keepdims=True) + 1e-5)


@primitive
def rms_norm(x, w):
    return w * x / root(x)


def root(x):
    return namespace(x).sqrt((x * x).mean(axis=-1, keepdims=True))


def along(x):
    return x.sum(axis=-1, keepdims=True)


def centred(g):
    return g - g.mean(axis=-1, keepdims=True)


def deviation(x):
    return namespace(x).sqrt((centred(x) * centred(x)).mean(axis=-1, keepdims=True) + 1e-5)


softmax.derivatives(x=lambda g, y: y * (g - along(g * y)))
log_softmax.derivatives(x=lambda g, y: g - namespace(g).exp(y) * along(g))
layer_norm.derivatives(
    x=lambda g, x, y: (centred(g) - y * (g * y).mean(axis=-1, keepdims=True)) / deviation(x)
)
rms_norm.derivatives(
    x=lambda g, x, w: (
        (g * w - x * (g * w * x).mean(axis=-1, keepdims=True) / root(x) ** 2) / root(x)
    ),
    w=lambda g, x: g * x / root(x),
)

M, V = (3, 4), (4,)
ANY, POSITIVE, INSIDE = (-1.5, 1.5), (0.4, 2.0), (-0.8, 0.8)

RIGHT = {
    **{
        name: Right(getattr(ta, name), ((M, *ANY),))
        for name in """exp expm1 tanh sigmoid sin cos arctan erf
                       square negative absolute relu softplus""".split()
    },
    **{
        name: Right(getattr(ta, name), ((M, *POSITIVE),))
        for name in "log sqrt rsqrt reciprocal log1p".split()
    },
    "arcsin": Right(ta.arcsin, ((M, *INSIDE),)),
    **{
        name: Right(getattr(ta, name), ((M, *POSITIVE), (M, *POSITIVE)))
        for name in """add subtract multiply divide power
                       maximum minimum hypot logaddexp arctan2""".split()
    },
    "total": Right(total, ((M, *ANY),), (1,)),
    "mean": Right(mean, ((M, *ANY),), (1,)),
    "largest": Right(largest, ((M, *ANY),), (1,)),
    "product": Right(product, ((V, *POSITIVE),)),
    "length": Right(length, ((V, *ANY),)),
    "variance": Right(variance, ((V, *ANY),)),
    "logsumexp": Right(logsumexp, ((M, *ANY),)),
    "cumsum": Right(cumsum, ((M, *ANY),), (1,)),
    "reshape": Right(reshape, ((M, *ANY),), ((2, 6),)),
    "transpose": Right(transpose, (((2, 3, 4), *ANY),), ((1, 2, 0),)),
    "broadcast": Right(broadcast, (((3, 1), *ANY),), ((2, 3, 4),)),
    "flip": Right(flip, ((M, *ANY),), (1,)),
    "roll": Right(roll, ((M, *ANY),), (1,)),
    "tril": Right(tril, (((3, 3), *ANY),)),
    "rows": Right(rows, ((M, *ANY),), ([0, 2, 2, 1],)),
    "join": Right(join, ((M, *ANY), ((3, 2), *ANY)), options=(("axis", 1),)),
    "matmul": Right(matmul, (((3, 3), *ANY), ((3, 3), *ANY))),
    "outer": Right(outer, (((3,), *ANY), (V, *ANY))),
    "dot": Right(dot, ((V, *ANY), (V, *ANY))),
    "affine": Right(affine, ((M, *ANY), ((2, 4), *ANY), ((2,), *ANY))),
    "softmax": Right(softmax, ((M, *ANY),)),
    "log_softmax": Right(log_softmax, ((M, *ANY),)),
    "layer_norm": Right(layer_norm, ((M, *ANY),)),
    "rms_norm": Right(rms_norm, ((M, *ANY), (V, *ANY))),
}
