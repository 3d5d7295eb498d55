"""Every reduction and cumulative op: over all, over one axis, over several, kept and not."""

import numpy as np

import tinygrad_attn as ta
from tests.ops.cases import Case, one_shape

WIDE = (-2, 2)
LINES = one_shape(min_dims=1)
FULL_LINES = one_shape(min_dims=1, min_size=1)
MATRICES = one_shape(min_dims=2)
FULL_MATRICES = one_shape(min_dims=2, min_size=1)
FULL = one_shape(min_size=1)
PAIRS = one_shape(min_dims=2, min_size=2)


def over(name, reference, shapes, **options):
    """One case for each way to name the axes; ``shapes`` are for any, one and two of them."""
    op = getattr(ta, name)
    ways = [
        (f"{name} over all", {}, shapes[0]),
        (f"{name} over the last axis, kept", {"axis": -1, "keepdims": True}, shapes[1]),
        (f"{name} over two axes", {"axis": (0, -1)}, shapes[2]),
    ]
    return [
        Case(
            label,
            lambda x, way=way: op(x, **way),
            (WIDE,),
            lambda x, way=way: reference(x, **way),
            shapes=drawn,
            **options,
        )
        for label, way, drawn in ways
    ]


ANY = (one_shape(), LINES, MATRICES)
SOME = (FULL, FULL_LINES, FULL_MATRICES)
SPREAD = (one_shape(min_dims=1, min_size=2), one_shape(min_dims=1, min_size=2), PAIRS)


def logsumexp(x, axis=None, keepdims=False):
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def vector_norm(ord):
    """The norm by its definition, where NumPy's would be that of a matrix."""

    def norm(x, axis=None, keepdims=False):
        return (np.abs(x) ** ord).sum(axis=axis, keepdims=keepdims) ** (1 / ord)

    return norm


def cumulative(name, reference, **options):
    """One case along the first axis, one with x flattened."""
    op = getattr(ta, name)
    return [
        Case(
            f"{name} along the first axis",
            lambda x: op(x, axis=0),
            (WIDE,),
            lambda x: reference(x, axis=0),
            shapes=LINES,
            **options,
        ),
        Case(f"{name} of x flattened", op, (WIDE,), reference, shapes=one_shape(), **options),
    ]


def logcumsumexp(x, axis=None):
    return np.log(np.cumsum(np.exp(x), axis=axis))


def place(name):
    op, reference = getattr(ta, name), getattr(np, name)
    return Case(
        f"{name} along the last axis",
        lambda x: op(x, axis=-1),
        (WIDE,),
        lambda x: reference(x, axis=-1),
        order=0,
        shapes=FULL_LINES,
        integer=True,
    )


def norm_of_order(ord):
    return Case(
        f"norm of order {ord}",
        lambda x: ta.norm(x, ord, axis=-1),
        ((0.3, 2),),
        lambda x: np.linalg.norm(x, ord, axis=-1),
        shapes=FULL_LINES,
    )


def with_correction(name):
    op, reference = getattr(ta, name), getattr(np, name)
    return Case(
        f"{name} with correction",
        lambda x: op(x, axis=0, correction=1),
        (WIDE,),
        lambda x: reference(x, axis=0, ddof=1),
        shapes=PAIRS,
    )


CASES = [
    *over("sum", np.sum, ANY, integer=True),
    *over("mean", np.mean, SOME, integer=True),
    *over("prod", np.prod, ANY, integer=True),
    *over("max", np.max, SOME, integer=True),
    *over("min", np.min, SOME, integer=True),
    *over("var", np.var, SOME, integer=True),
    *over("std", np.std, SPREAD),
    *over("logsumexp", logsumexp, SOME, integer=True),
    *over("norm", vector_norm(2), SOME),
    *over("nansum", np.nansum, ANY, integer=True),
    *over("nanmean", np.nanmean, SOME),
    *over("all", np.all, ANY, order=0, integer=True),
    *over("any", np.any, ANY, order=0, integer=True),
    *over("count_nonzero", np.count_nonzero, ANY, order=0, integer=True),
    *map(place, ("argmax", "argmin")),
    *cumulative("cumsum", np.cumsum, integer=True),
    *cumulative("cumprod", np.cumprod, integer=True),
    *cumulative("logcumsumexp", logcumsumexp, integer=True),
    *map(norm_of_order, (1, 3, 0.5, 2.5, -1, 0, float("inf"), float("-inf"))),
    *map(with_correction, ("var", "std")),
    Case("prod to third order", lambda x: ta.prod(x, axis=-1), (WIDE,), order=3, shapes=LINES),
    Case("norm to third order", lambda x: ta.norm(x, axis=-1), ((0.5, 2),), order=3, shapes=LINES),
]
