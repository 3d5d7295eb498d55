"""The fused ops: values as NumPy's, and, by the second order, the kernels as their specs."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.ops.cases import Case, one_shape

ANY = (-2.0, 2.0)


def np_softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True)) if x.size else x
    return e / e.sum(axis, keepdims=True)


def np_layer_norm(x, weight, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def np_rms_norm(x, weight):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * weight


def np_gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


@st.composite
def rows_and_weights(draw, count):
    """(..., D) and ``count`` times (D,)."""
    (shape,) = draw(one_shape(min_dims=1, min_size=0))
    width = draw(st.integers(2, 4))  # of one element the norm is a constant
    return ((*shape[:-1], width), *((width,),) * count)


@st.composite
def linear_shapes(draw):
    """x (..., in), weight (out, in), bias (out,)."""
    (shape,) = draw(one_shape(min_dims=1))
    out = draw(st.integers(0, 3))
    return shape, (out, shape[-1]), (out,)


@st.composite
def packed_linear_shapes(draw):
    """x (..., in), three weights (out, in), three biases (out,)."""
    (shape,) = draw(one_shape(min_dims=1))
    outs = [draw(st.integers(0, 3)) for _ in range(3)]
    return (shape, *((out, shape[-1]) for out in outs), *((out,) for out in outs))


@st.composite
def packed_shapes(draw):
    """qkv (B, T, (4 + 2·2)·E), a bias (H, T, T) and sinks (H,), with H = 4 and Hk = 2."""
    batch, length, width = (draw(st.integers(*ends)) for ends in ((0, 2), (0, 3), (1, 2)))
    return (batch, length, 8 * width), (4, length, length), (4,)


@st.composite
def attention_shapes(draw):
    """q (B, H, T, E), k (B, Hk, S, E), v (B, Hk, S, Ev)."""
    batch, groups, heads = draw(st.integers(0, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    queries, keys = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    width, value_width = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    k = (batch, heads, keys, width)
    return (batch, heads * groups, queries, width), k, (*k[:-1], value_width)


@st.composite
def biased_shapes(draw):
    """q, k and v as above, a bias (H, T, S) and sinks (H,)."""
    q, k, v = draw(attention_shapes())
    return q, k, v, (*q[1:3], k[2]), (q[1],)


def attend(path, **options):
    return lambda q, k, v: ta.scaled_dot_product_attention(q, k, v, path=path, **options)


def attend_biased(path):
    def attend(q, k, v, bias, sinks):
        options = {"bias": bias, "sinks": sinks, "softcap": 2.0}
        return ta.scaled_dot_product_attention(q, k, v, path=path, **options)

    return attend


def attend_packed(path):
    def attend(qkv, bias, sinks):
        options = {"bias": bias, "sinks": sinks, "causal": True}
        return ta.packed_attention(qkv, 4, 2, path=path, **options)

    return attend


def packed_linear(x, wq, wk, wv, bq, bk, bv):
    return ta.packed_linear(x, [wq, wk, wv], [bq, bk, bv])


def np_packed_linear(x, *parts):
    return np.concatenate([x @ w.T + b for w, b in zip(parts[:3], parts[3:])], axis=-1)


def linear_and_more(x, weight, bias):
    """With what can come after the product; the residual is in ``fused/test_linear.py``."""
    options = {"activation": "gelu", "dropout": 0.4, "generator": ta.Generator(3)}
    return ta.linear(x, weight, bias, **options)


def dropped(x):
    """The same elements at every call."""
    return ta.dropout(x, 0.4, generator=ta.Generator(3))


def looked_up(weight):
    return ta.embedding(ta.tensor([[0, 1], [1, 0], [0, 0]]).to(weight.device), weight)


def surprise(logits, smoothing=0.0, **options):
    target = (ta.arange(logits.shape[0]) % logits.shape[1]).to(logits.device)
    return ta.cross_entropy(logits, target, label_smoothing=smoothing, **options)


TWO_ROWS_OR_MORE = st.tuples(st.tuples(st.integers(2, 4), st.integers(1, 3)))
LOGITS = st.tuples(st.tuples(st.integers(1, 4), st.integers(1, 4)))
EQUAL = st.tuples(st.integers(0, 3), st.integers(1, 4)).map(lambda shape: (shape, shape))
MATRIX = one_shape(min_dims=1, min_size=1)

ORDER_2 = [
    Case("gelu", ta.gelu, (ANY,)),
    Case("gelu by tanh", lambda x: ta.gelu(x, "tanh"), (ANY,), np_gelu_tanh),
    Case("silu", ta.silu, (ANY,), lambda x: x / (1 + np.exp(-x))),
    Case("swiglu", ta.swiglu, (ANY, ANY), lambda x, y: x / (1 + np.exp(-x)) * y, shapes=EQUAL),
    Case("softmax", ta.softmax, (ANY,), np_softmax, shapes=MATRIX),
    Case(
        "softmax over the first axis",
        lambda x: ta.softmax(x, 0),
        (ANY,),
        lambda x: np_softmax(x, 0),
        shapes=MATRIX,
    ),
    Case("log_softmax", ta.log_softmax, (ANY,), lambda x: np.log(np_softmax(x)), shapes=MATRIX),
    Case("layer_norm", ta.layer_norm, (ANY, ANY, ANY), np_layer_norm, shapes=rows_and_weights(2)),
    Case(
        "layer_norm without weights",
        ta.layer_norm,
        (ANY,),
        lambda x: np_layer_norm(x, 1, 0),
        shapes=rows_and_weights(0),
    ),
    Case("rms_norm", ta.rms_norm, (ANY, ANY), np_rms_norm, shapes=rows_and_weights(1)),
    Case("linear", ta.linear, (ANY, ANY, ANY), lambda x, w, b: x @ w.T + b, shapes=linear_shapes()),
    Case(
        "linear without bias",
        lambda x, w, b: ta.linear(x, w),
        (ANY, ANY, ANY),
        lambda x, w, b: x @ w.T,
        shapes=linear_shapes(),
    ),
    Case("linear and more", linear_and_more, (ANY,) * 3, shapes=linear_shapes()),
    Case(
        "linear, packed",
        packed_linear,
        (ANY,) * 7,
        np_packed_linear,
        shapes=packed_linear_shapes(),
    ),
    Case(
        "linear, silu",
        lambda x, w, b: ta.linear(x, w, b, activation="silu"),
        (ANY, ANY, ANY),
        lambda x, w, b: (x @ w.T + b) / (1 + np.exp(-(x @ w.T + b))),
        shapes=linear_shapes(),
    ),
    Case(
        "embedding",
        looked_up,
        (ANY,),
        lambda w: w[[[0, 1], [1, 0], [0, 0]]],
        shapes=TWO_ROWS_OR_MORE,
    ),
    Case("dropout", dropped, (ANY,)),
    Case("cross_entropy", surprise, (ANY,), shapes=LOGITS),
    Case("cross_entropy, smoothed", lambda x: surprise(x, 0.1), (ANY,), shapes=LOGITS),
    Case("cross_entropy, each", lambda x: surprise(x, reduction="none"), (ANY,), shapes=LOGITS),
    Case("attention, dense", attend("dense"), (ANY,) * 3, shapes=attention_shapes()),
    Case(
        "attention, dense, causal",
        attend("dense", causal=True),
        (ANY,) * 3,
        shapes=attention_shapes(),
    ),
    Case("attention, packed", attend_packed(None), (ANY,) * 3, shapes=packed_shapes()),
    Case("attention, packed, tiled", attend_packed("tiled"), (ANY,) * 3, shapes=packed_shapes()),
    Case("attention, tiled", attend("tiled"), (ANY,) * 3, shapes=attention_shapes()),
    Case("attention, dense, biased", attend_biased("dense"), (ANY,) * 5, shapes=biased_shapes()),
    Case("attention, tiled, biased", attend_biased("tiled"), (ANY,) * 5, shapes=biased_shapes()),
    Case(
        "attention, tiled, window",
        attend("tiled", causal=True, window=2),
        (ANY,) * 3,
        shapes=attention_shapes(),
    ),
]

CASES = [replace(case, order=3) for case in ORDER_2]  # one beyond what the kernels and specs are
