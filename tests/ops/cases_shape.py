"""Every op that arranges, copies, joins or splits, against NumPy's function of the same name."""

import numpy as np
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.ops.cases import Case, one_shape, same_shapes
from tinygrad_attn.ops.create import move

WIDE = (-2, 2)
LINES = one_shape(min_dims=1)
MATRICES = one_shape(min_dims=2)
CUBES = one_shape(min_dims=3)


def same(name, call, shapes, **options):
    """``call`` with our function and with NumPy's of that name."""
    return Case(
        name,
        lambda x: call(x, getattr(ta, name.split()[0])),
        (WIDE,),
        lambda x: call(x, getattr(np, name.split()[0])),
        shapes=shapes,
        integer=True,
        **options,
    )


@st.composite
def joinable(draw):
    """Three shapes that differ on the last axis alone."""
    ((*first, _),) = draw(same_shapes(1, min_dims=1))
    return tuple((*first, draw(st.integers(0, 3))) for _ in range(3))


def continued(mode):
    """Padding that reads x again."""
    width = ((0, 1), (2, 1))
    return Case(
        f"pad, {mode}",
        lambda x: ta.pad(x, width, mode),
        (WIDE,),
        lambda x: np.pad(x, width, mode),
        shapes=one_shape(min_dims=2, max_dims=2, min_size=1),
    )


ONE = [
    same("copy", lambda x, f: f(x), one_shape()),
    Case("astype", lambda x: ta.astype(x, x.dtype), (WIDE,), np.copy),
    same("reshape", lambda x, f: f(x, (-1, 1, *x.shape[1:])), one_shape(min_dims=1, min_size=1)),
    same("ravel", lambda x, f: f(x), one_shape()),
    same("transpose", lambda x, f: f(x), one_shape()),
    same("transpose by axes", lambda x, f: f(x, (1, -1, 0)), CUBES),
    same("swapaxes", lambda x, f: f(x, 0, -1), LINES),
    same("moveaxis", lambda x, f: f(x, (0, 1), (-1, 0)), MATRICES),
    same("expand_dims", lambda x, f: f(x, (0, -1)), one_shape()),
    same("squeeze", lambda x, f: f(x), one_shape()),
    same("squeeze of one axis", lambda x, f: f(x[..., None], -1), one_shape()),
    same("flip", lambda x, f: f(x), one_shape()),
    same("flip of one axis", lambda x, f: f(x, -1), LINES),
    same("roll", lambda x, f: f(x, 2), one_shape()),
    same("roll of two axes", lambda x, f: f(x, (1, -2), (0, -1)), MATRICES),
    same("tril", lambda x, f: f(x, 1), MATRICES),
    same("triu", lambda x, f: f(x), MATRICES),
    same("trace", lambda x, f: f(x), MATRICES),
    same("diagonal", lambda x, f: f(x, 1, -1, 0), MATRICES),
    same("diag of a line", lambda x, f: f(x, -1), one_shape(min_dims=1, max_dims=1)),
    same("diag of a matrix", lambda x, f: f(x, 1), one_shape(min_dims=2, max_dims=2)),
    Case(
        "flatten",
        lambda x: ta.flatten(x, 1),
        (WIDE,),
        lambda x: x.reshape(len(x), -1),
        shapes=one_shape(min_dims=2, min_size=1),
    ),
    Case(
        "unflatten",
        lambda x: ta.unflatten(ta.concatenate([x, x]), 0, (2, -1)),
        (WIDE,),
        lambda x: np.stack([x, x]),
        shapes=LINES,
    ),
    Case("mT", lambda x: x.mT, (WIDE,), lambda x: x.mT, shapes=MATRICES),
    Case("to", lambda x: move(x, x.device, x.device), (WIDE,), lambda x: x),
]

COPIES = [
    same("broadcast_to", lambda x, f: f(x, (3, 2, *x.shape)), one_shape(max_dims=2)),
    same("tile", lambda x, f: f(x, (2, 3)), one_shape(max_dims=2)),
    same("repeat", lambda x, f: f(x, 2), one_shape()),
    same("repeat along an axis", lambda x, f: f(x, 3, 0), LINES),
    same("repeat by counts", lambda x, f: f(x, [i % 3 for i in range(len(x))], 0), LINES),
    same("pad", lambda x, f: f(x, 2), one_shape(max_dims=2)),
    Case(
        "pad, constant",
        lambda x: ta.pad(x, ((1, 0), (0, 2)), constant_values=3),
        (WIDE,),
        lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=3),
        shapes=one_shape(min_dims=2, max_dims=2),
    ),
    *map(continued, ("edge", "symmetric", "wrap", "reflect")),
    Case("broadcast_arrays", ta.broadcast_arrays, (WIDE, WIDE), np.broadcast_arrays),
    Case(
        "meshgrid",
        ta.meshgrid,
        (WIDE, WIDE),
        np.meshgrid,
        shapes=st.tuples(*[one_shape(1, 1).map(lambda shapes: shapes[0])] * 2),
    ),
]

MANY = [
    Case(
        "concatenate",
        lambda *xs: ta.concatenate(xs, -1),
        (WIDE,) * 3,
        lambda *xs: np.concatenate(xs, -1),
        shapes=joinable(),
        integer=True,
    ),
    Case(
        "concatenate, flattened",
        lambda *xs: ta.concatenate(xs, None),
        (WIDE,) * 2,
        lambda *xs: np.concatenate(xs, None),
        integer=True,
    ),
    Case(
        "stack",
        lambda *xs: ta.stack(xs, -1),
        (WIDE,) * 3,
        lambda *xs: np.stack(xs, -1),
        broadcast=False,
        integer=True,
    ),
    Case(
        "split",
        lambda x: ta.split(ta.concatenate([x, x]), 2),
        (WIDE,),
        lambda x: [x, x],
        shapes=LINES,
    ),
    Case(
        "split at places",
        lambda x: ta.split(x, [1, 2], -1),
        (WIDE,),
        lambda x: np.split(x, [1, 2], -1),
        shapes=LINES,
    ),
    Case("unstack", lambda x: ta.unstack(ta.stack([x, 2 * x])), (WIDE,), lambda x: [x, 2 * x]),
]

CASES = ONE + COPIES + MANY
