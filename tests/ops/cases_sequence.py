"""Convolution, pooling and what they are made of; directions."""

import numpy as np
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.ops.cases import Case, one_shape
from tinygrad_attn.ops.sequence import _overlap_add, _windows

WIDE = (-2, 2)
LINES = st.tuples(st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(5, 7)))


def windows_of(x, size, stride, dilation):
    """(..., L) → (..., count, size), by NumPy's own sliding window."""
    whole = np.lib.stride_tricks.sliding_window_view(x, dilation * (size - 1) + 1, axis=-1)
    return whole[..., ::stride, ::dilation]


def convolution(label, size, width, groups, stride=1, padding=(0, 0), dilation=1, given=None):
    """A case of conv1d with 2 · groups channels out."""
    given = padding[0] if given is None else given

    def reference(x, weight, bias):
        x = np.pad(x, ((0, 0), (0, 0), padding))
        seen = windows_of(x.reshape(len(x), groups, width, x.shape[2]), size, stride, dilation)
        taps = weight.reshape(groups, 2, width, size)
        y = np.einsum("ngcik,gock->ngoi", seen, taps)
        return y.reshape(len(x), 2 * groups, seen.shape[3]) + bias[:, None]

    shapes = st.tuples(st.integers(0, 2), st.integers(5, 7)).map(
        lambda drawn: (
            (drawn[0], width * groups, drawn[1]),
            (2 * groups, width, size),
            (2 * groups,),
        )
    )
    return Case(
        f"conv1d {label}",
        lambda x, w, b: ta.conv1d(x, w, b, stride, given, dilation, groups),
        (WIDE,) * 3,
        reference,
        shapes=shapes,
    )


def pooling(name, size, stride, padding, reference, label="", **options):
    """A case of max_pool1d or avg_pool1d, with ``reference`` on the windows of the padded x."""
    border = -np.inf if name == "max_pool1d" else 0

    def of_windows(x):
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding)), constant_values=border)
        return reference(windows_of(x, size, stride or size, options.get("dilation", 1)))

    return Case(
        f"{name} {label}".strip(),
        lambda x: getattr(ta, name)(x, size, stride, padding, **options),
        (WIDE,),
        of_windows,
        shapes=LINES,
    )


def normalize(x, p, axis):
    return x / np.linalg.norm(x, p, axis, keepdims=True)


def cosine_similarity(a, b, axis):
    a, b = np.broadcast_arrays(a, b)
    return (normalize(a, 2, axis) * normalize(b, 2, axis)).sum(axis)


def mean(x):
    return x.mean(axis=-1)


def largest(x):
    return x.max(axis=-1)


CASES = [
    convolution("plain", 3, 2, 1),
    convolution("stride and padding", 3, 1, 1, stride=2, padding=(1, 1)),
    convolution("dilated in groups", 2, 2, 2, padding=(2, 2), dilation=3),
    convolution("depthwise, same length", 4, 1, 2, padding=(1, 2), given="same"),
    pooling("max_pool1d", 2, None, 0, largest),
    pooling("max_pool1d", 3, 1, 1, largest, label="dilated", dilation=2),
    pooling("avg_pool1d", 2, None, 0, mean),
    pooling("avg_pool1d", 3, 2, 1, mean, label="padded"),
    Case(
        "avg_pool1d without its padding",
        lambda x: ta.avg_pool1d(x, 3, 1, 1, count_include_pad=False),
        (WIDE,),
        lambda x: np.nanmean(
            windows_of(np.pad(x, ((0, 0), (0, 0), (1, 1)), constant_values=np.nan), 3, 1, 1), -1
        ),
        shapes=LINES,
    ),
    Case(
        "windows",
        lambda x: _windows(x, 2, 2, 3),
        (WIDE,),
        lambda x: np.moveaxis(windows_of(x, 2, 2, 3), -1, 1),
        shapes=LINES,
    ),
    Case(
        "overlap_add",
        lambda windows: _overlap_add(windows, 7, 2, 1),
        (WIDE,),
        shapes=st.just(((2, 3, 2, 3),)),
    ),
    Case(
        "normalize",
        lambda x: ta.normalize(x, axis=-1),
        ((0.5, 2),),
        lambda x: normalize(x, 2, -1),
        shapes=one_shape(min_dims=1, min_size=2),
    ),
    Case(
        "normalize p=1",
        lambda x: ta.normalize(x, p=1),
        ((0.5, 2),),
        lambda x: normalize(x, 1, 1),
        shapes=one_shape(min_dims=2, max_dims=2, min_size=2),
    ),
    Case(  # times the dot product: alone, its slope along a and b is 0, but for rounding
        "cosine_similarity · dot product",
        lambda a, b: ta.cosine_similarity(a, b, axis=-1) * (a * b).sum(axis=-1),
        ((0.5, 2), (-2, -0.5)),
        lambda a, b: cosine_similarity(a, b, -1) * (a * b).sum(-1),
        shapes=st.sampled_from([((3,), (3,)), ((2, 3), (3,)), ((2, 1, 2), (3, 2))]),
    ),
]
