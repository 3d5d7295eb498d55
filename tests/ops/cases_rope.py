"""Rotary positions, against rotation matrices written out."""

import numpy as np
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.ops.cases import Case

SHAPES = st.tuples(
    st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(0, 3), st.sampled_from([4, 6]))
)


def turned(x, positions, speeds, planes):
    """x with each plane (i, j) turned by p·ω: every pair of numbers times its own 2×2 matrix."""
    y = x.copy()
    for t, p in enumerate(positions):
        for (i, j), speed in zip(planes, speeds):
            c, s = np.cos(p * speed), np.sin(p * speed)
            y[..., t, [i, j]] = x[..., t, [i, j]] @ np.array([[c, s], [-s, c]])
    return y


def halves(dims):
    return [(i, i + dims // 2) for i in range(dims // 2)]


def neighbours(dims):
    return [(i, i + 1) for i in range(0, dims, 2)]


def rotation(label, planes_of, speeds_of, dims=None, **options):
    """A case of rope at positions 3, 8, 13 …"""

    def positions(x):
        return np.arange(x.shape[-2]) * 5 + 3

    def reference(x):
        count = dims or x.shape[-1]
        return turned(x, positions(x), speeds_of(count), planes_of(count))

    return Case(
        f"rope {label}".strip(),
        lambda x: ta.rope(x, ta.tensor(positions(x), device=x.device), dims=dims, **options),
        ((-2, 2),),
        reference,
        shapes=SHAPES,
    )


def speeds(theta):
    return lambda dims: [theta ** (-2 * i / dims) for i in range(dims // 2)]


CASES = [
    rotation("", halves, speeds(10000)),
    rotation("interleaved", neighbours, speeds(10000), interleaved=True),
    rotation("of two dimensions", halves, speeds(50), dims=2, theta=50.0),
    rotation(
        "scaled linearly",
        halves,
        lambda dims: [w / 4 for w in speeds(10000)(dims)],
        scaling=("linear", 4),
    ),
    rotation(
        "scaled by theta",
        neighbours,
        lambda dims: speeds(10000 * 4 ** (dims / (dims - 2)))(dims),
        interleaved=True,
        scaling=("ntk", 4.0),
    ),
]
