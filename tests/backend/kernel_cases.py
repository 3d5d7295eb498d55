"""The CUDA kernels' cases: what each is called with, and the check that holds it to its spec.

The check runs on a device by name: the stand-in, whose launches the emulator executes, or a GPU.
"""

import inspect

import numpy as np
from hypothesis import strategies as st

import tinygrad_attn as ta
from tinygrad_attn.backend import dtypes, get_backend
from tinygrad_attn.ops.fused.cross_entropy import surprise_spec
from tinygrad_attn.ops.fused.dropout import Drop, dropout_spec
from tinygrad_attn.ops.fused.embedding import embedding_spec
from tinygrad_attn.ops.fused.gelu import gelu_spec, gelu_tanh_spec
from tinygrad_attn.ops.fused.linear import linear_spec
from tinygrad_attn.ops.fused.linear_packed import packed_linear_spec
from tinygrad_attn.ops.fused.norm import layer_norm_spec, rms_norm_spec
from tinygrad_attn.ops.fused.softmax import log_softmax_spec, softmax_spec

DTYPES = [
    dtype
    for dtype in (dtypes.float64, dtypes.float32, dtypes.float16, dtypes.bfloat16)
    if dtype is not None  # without ml_dtypes there is no bfloat16
]
TOLERANCE = {  # float32 by the sixth digit; of 16 bits the result is the nearest, or its neighbour
    dtypes.float64: 1e-13,
    dtypes.float32: 1e-6,
    dtypes.float16: 2.0**-10,
    dtypes.bfloat16: 2.0**-7,
}
SMALLEST = {  # what is lost on a GPU where a denormal float32 counts as 0, after a steep norm too
    dtypes.float64: 1e-300,
    dtypes.float32: 1e-34,
    dtypes.float16: 2.0**-24,
    dtypes.bfloat16: 1e-34,
}

# Around the width of a warp, what its threads hold, what a block holds, and more than that.
ROWS, LENGTHS = (1, 2, 7, 8, 9, 17), (1, 2, 3, 8, 31, 32, 33, 255, 256, 257, 1023, 2048, 2052, 4100)


class Draw:
    """The numbers of one case, from a seed: floats of ``dtype`` of a ``kind``, laid out anyhow."""

    KINDS = ("normal", "large", "denormal", "equal")
    LAYOUTS = ("plain", "strided", "transposed", "shifted")

    def __init__(self, seed, dtype, kind="normal", layout="plain"):
        self.rng = np.random.default_rng(seed)
        self.dtype, self.kind, self.layout = dtype, kind, layout

    def floats(self, *shape):
        x = self.rng.standard_normal(shape)
        largest = 1e4 if self.dtype != dtypes.float16 else 1e2  # with products that fit
        x = {
            "normal": x,
            "large": largest * np.sign(x) * (self.rng.random(shape) < 0.8) + x,
            "denormal": 1e-39 * x if self.dtype != dtypes.float16 else 1e-6 * x,
            "equal": np.ones(shape),
        }[self.kind]
        return x.astype(self.dtype)

    def weights(self, *shape):
        return self.rng.uniform(0.5, 1.5, shape).astype(self.dtype)

    def integers(self, low, high, *shape):
        return self.rng.integers(low, high, shape)

    def send(self, host, backend):
        """The array on the device, in this layout there."""
        there = backend.from_host(np.ascontiguousarray(host), backend.name)
        xp = backend.xp
        if self.layout == "strided" and host.ndim:
            room = xp.zeros((*host.shape, 2), dtype=host.dtype)
            room[..., 0] = there
            return room[..., 0]
        if self.layout == "transposed" and host.ndim > 1:
            return xp.ascontiguousarray(there.swapaxes(0, 1)).swapaxes(0, 1)
        if self.layout == "shifted":  # by one element, so that no pack of 16 bytes is aligned
            room = xp.zeros(host.size + 1, dtype=host.dtype)
            room[1:] = there.reshape(-1)
            return room[1:].reshape(host.shape)
        return there


# A case makes (spec, arguments, options, sizes): what the value and each gradient is summed from,
# by which their error is measured. A gradient that is nearly 0 because two halves of it cancel
# can be no more exact than these.


def axis_case(name, spec):
    def case(draw, rows, n):
        axis = int(draw.integers(0, 2))
        x = draw.floats(*((rows, n) if axis else (n, rows)))
        largest = 1.0 if name == "softmax" else 10 + top(x)

        def sizes(g):
            return largest, top(g) if name == "softmax" else top(np.abs(g).sum(axis, keepdims=True))

        return spec, (x,), {"axis": axis}, sizes

    return name, case


def pointwise_case(name, spec, count=1):
    def case(draw, rows, n):
        xs = [draw.floats(rows, n) for _ in range(count)]
        others = [1.0] if count == 1 else [1.2 * top(xs[1]), top(xs[0])]
        return spec, xs, {}, lambda g: (top(xs[0]), *(top(g) * size for size in others))

    return name, case


def norm_case(name, spec, *affine, axes=1):
    """``affine`` says which of weight and bias there are; ``axes`` how many are normalised."""

    def case(draw, rows, n):
        shape = (rows, n) if axes == 1 else (rows, 2, n)
        x, inside = draw.floats(*shape), shape[-axes:]
        parts = [draw.weights(*inside) if given else None for given in affine]
        over = tuple(range(len(shape) - axes, len(shape)))
        steep = _steepest(x, over, name == "layer_norm")
        unit = top(x) * steep

        def sizes(g):
            summed = top(np.abs(g).astype("float64").sum(0)) if g.size else 0
            return 2 * unit + 2, 2 * top(g) * steep * (1 + unit), summed * unit, summed

        return spec, (x, *parts), {"eps": 1e-5, "axes": over}, sizes

    return name, case


def _steepest(x, over, is_centred):
    """The largest 1/√(variance + eps) of a row."""
    if not x.size:
        return 0.0
    x = x.astype("float64")
    return top(1 / np.sqrt((x.var(over) if is_centred else (x**2).mean(over)) + 1e-5))


def surprise_case(reduction, smoothing=0.0, is_weighted=True):
    def case(draw, rows, n):
        x, share = draw.floats(rows, n), draw.weights(n) if is_weighted else None
        target = draw.integers(-1, n, rows)
        options = {"smoothing": smoothing, "ignore_index": -1, "reduction": reduction}
        return surprise_spec, (x, target, share), options, lambda g: (10 + 3 * top(x), 3 * top(g))

    return "surprise", case


def dropout_case(draw, rows, n):
    x, drop = draw.floats(rows, n), Drop(0.3, (int(draw.integers(0, 2**62)), 7))
    return dropout_spec, (x,), {"drop": drop}, lambda g: (top(x), top(g))


def embedding_case(draw, rows, n):
    """Few rows asked for often: runs that begin, end and go on in any chunk of 64."""
    table = draw.floats(int(draw.integers(1, 6)), min(n, 300))
    ids = draw.integers(0, len(table), rows, 20)
    return embedding_spec, (ids, table), {}, lambda g: (top(table), 20 * rows * top(g))


def linear_case(activation=None, has_residual=False, rate=0.0):
    def case(draw, rows, n):
        out = min(n, 300)
        x, weight, bias = draw.floats(rows, 5), draw.weights(out, 5), draw.weights(out)
        if activation == "relu":  # nothing near the kink, where rounding would decide
            sign = np.where(draw.rng.random(out) < 0.5, -1, 1).astype(x.dtype)
            x, weight, bias = abs(x), weight * sign[:, None], bias * sign
        residual = draw.floats(rows, out) if has_residual else None
        drop = Drop(rate, (int(draw.integers(0, 2**62)), 7)) if rate else None
        options = {"activation": activation, "drop": drop} if activation or drop else {}
        inner, rest = 9 * top(x) + 2, 0 if residual is None else top(residual)
        steep = 1.2 if activation in (None, "relu") else 1.2 + inner  # slopes of what is rounded
        upscale = 1 / (1 - rate)

        def sizes(g):
            at = steep * upscale * top(g)
            return 1.2 * upscale * inner + rest, 2 * out * at, rows * at * top(x), rows * at, top(g)

        return linear_spec, (x, weight, bias, residual), options, sizes

    return "linear", case


def packed_linear_case(has_bias):
    def case(draw, rows, n):
        outs = n % 300, 8, 3 * (n % 2)  # in packs of 16 bytes or not, and one of nothing
        x, weights = draw.floats(rows, 5), [draw.weights(out, 5) for out in outs]
        biases = [draw.weights(out) if has_bias else None for out in outs]

        def sizes(g):
            return 9 * top(x) + 2, 2 * sum(outs) * top(g), *[rows * top(g) * top(x)] * 6

        return packed_linear_spec, (x, *weights, *biases), {}, sizes

    return "packed_linear", case


def silu_spec(x):
    return x * ta.sigmoid(x)


def top(x):
    """The largest magnitude in an array."""
    return float(np.abs(x).astype("float64").max()) if x.size else 0.0


CASES = {
    "softmax": axis_case("softmax", softmax_spec),
    "log_softmax": axis_case("log_softmax", log_softmax_spec),
    "layer_norm": norm_case("layer_norm", layer_norm_spec, True, True),
    "layer_norm, two axes": norm_case("layer_norm", layer_norm_spec, True, True, axes=2),
    "layer_norm, weight alone": norm_case("layer_norm", layer_norm_spec, True, False),
    "layer_norm, plain": norm_case("layer_norm", layer_norm_spec, False, False),
    "rms_norm": norm_case("rms_norm", rms_norm_spec, True),
    "rms_norm, plain": norm_case("rms_norm", rms_norm_spec, False),
    "gelu": pointwise_case("gelu", gelu_spec),
    "gelu, tanh": pointwise_case("gelu_tanh", gelu_tanh_spec),
    "silu": pointwise_case("silu", silu_spec),
    "swiglu": pointwise_case("swiglu", lambda gate, up: silu_spec(gate) * up, 2),
    "cross_entropy": surprise_case("none"),
    "cross_entropy, smoothed": surprise_case("none", 0.1),
    "cross_entropy, its mean": surprise_case("mean", 0.1, is_weighted=False),
    "cross_entropy, its sum": surprise_case("sum", is_weighted=False),
    "dropout": ("dropout", dropout_case),
    "embedding": ("embedding", embedding_case),
    "linear": linear_case(),
    "linear, residual": linear_case(None, True),
    "linear, dropped": linear_case(None, True, 0.3),
    "linear, relu": linear_case("relu", False, 0.3),
    "linear, gelu": linear_case("gelu", True, 0.3),
    "linear, gelu_tanh": linear_case("gelu_tanh"),
    "linear, silu": linear_case("silu", True),
    "packed_linear": packed_linear_case(True),
    "packed_linear, plain": packed_linear_case(False),
}


@st.composite
def settings_of_a_case(draw):
    """(seed, kind, layout, rows, n): large arrays are drawn, but not large both ways."""
    n = draw(st.sampled_from((0, *LENGTHS)))
    rows = draw(st.sampled_from((0, *ROWS) if n <= 300 else (1, 3)))
    kind, layout = draw(st.sampled_from(Draw.KINDS)), draw(st.sampled_from(Draw.LAYOUTS))
    return draw(st.integers(0, 2**32)), kind, layout, rows, n


def check(case, dtype, drawn, device):
    """A kernel's value and gradients are those of its spec in float64, the same in every run."""
    seed, kind, layout, rows, n = drawn
    name, make = CASES[case]
    n = n or int(case.startswith(("cross", "softmax", "log")))  # a row of nothing has no maximum
    draw = Draw(seed, dtype, kind, layout)
    spec, arguments, options, sizes = make(draw, rows, n)
    y, gradients, g = by_spec(spec, arguments, options, draw)
    backend = get_backend(device)
    sent = [None if a is None else draw.send(a, backend) for a in arguments]
    found = [run(backend, name, sent, options, draw.send(g, backend)) for _ in range(2)]
    for part, expected, size in zip(found[0], (y, *gradients), sizes(g)):
        close(part, expected, dtype, size)
    for one, other in zip(*found, strict=True):
        assert one is None or one.tobytes() == other.tobytes()


def by_spec(spec, arguments, options, draw):
    """(value, gradients, the g that they belong to), in float64; no gradient is None."""
    inputs = [
        a if a is None else ta.tensor(a.astype("float64") if is_float(a) else a) for a in arguments
    ]
    wanted = [x for x, a in zip(inputs, arguments) if is_float(a)]
    if spec is surprise_spec:
        wanted = wanted[:1]  # its other float, the weights of classes, has none
    for x in wanted:
        x.requires_grad_()
    y = spec(*inputs, **options)
    draw.kind = "normal"
    g = draw.floats(*y.shape)
    found = iter(ta.grad(y, wanted, ta.tensor(g.astype("float64"))))
    among = {id(x) for x in wanted}
    places = [x for x in inputs if x is None or id(x) in among]
    return y.numpy(), [None if x is None else next(found).numpy() for x in places], g


def is_float(a):
    return a is not None and dtypes.is_float(a.dtype)


def run(backend, name, arguments, options, g):
    """[value, *gradients] of a kernel on the host; it is called as the engine calls it."""
    kernel = backend.kernels[name]
    if "needs" in inspect.signature(kernel).parameters:
        options = {**options, "needs": tuple(is_float(a) for a in arguments)}
    y, backward = kernel(*arguments, **options)
    return [part if part is None else backend.to_host(part) for part in (y, *backward(g))]


def close(found, expected, dtype, size):
    """Equal to a part of ``size``; what is infinite or NaN is so too."""
    if expected is None or found is None:
        assert found is expected
        return
    assert found.dtype == dtype and found.shape == expected.shape
    room = TOLERANCE[dtype] * max(size, top(expected[np.isfinite(expected)])) + SMALLEST[dtype]
    np.testing.assert_allclose(found.astype("float64"), expected, rtol=0, atol=room)
