"""The CUDA kernels' cases: what each is called with, and the check that holds it to its spec.

The check runs on a device by name: the stand-in, whose launches the emulator executes, or a GPU.
"""

import inspect

import numpy as np
from hypothesis import strategies as st

import tinygrad_attn as ta
from tinygrad_attn.backend import dtypes, get_backend
from tinygrad_attn.core import Tensor
from tinygrad_attn.ops.fused.cross_entropy import surprise_spec
from tinygrad_attn.ops.fused.dropout import dropout_spec
from tinygrad_attn.ops.fused.embedding import embedding_spec
from tinygrad_attn.ops.fused.gelu import gelu_spec, gelu_tanh_spec
from tinygrad_attn.ops.fused.linear import linear_spec
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
SMALLEST = 1.2e-38  # CuPy compiles with -ftz=true: what is smaller than this becomes 0

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
        largest = 1e4 if self.dtype != dtypes.float16 else 1e3  # with squares that fit
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
            return xp.repeat(there, 2, axis=-1)[..., ::2]
        if self.layout == "transposed" and host.ndim > 1:
            return xp.ascontiguousarray(there.swapaxes(0, 1)).swapaxes(0, 1)
        if self.layout == "shifted":  # by one element, so that no pack of 16 bytes is aligned
            room = xp.zeros(host.size + 1, dtype=host.dtype)
            room[1:] = there.reshape(-1)
            return room[1:].reshape(host.shape)
        return there


def axis_case(name, spec):
    def case(draw, rows, n):
        axis = int(draw.integers(0, 2))
        return spec, (draw.floats(*((rows, n) if axis else (n, rows))),), {"axis": axis}

    return name, case


def pointwise_case(name, spec, count=1):
    return name, lambda draw, rows, n: (spec, [draw.floats(rows, n) for _ in range(count)], {})


def norm_case(name, spec, *affine, axes=1):
    """``affine`` says which of weight and bias there are; ``axes`` how many are normalised."""

    def case(draw, rows, n):
        shape = (rows, n) if axes == 1 else (rows, 1, n)
        inside = shape[-axes:]
        parts = [draw.weights(*inside) if given else None for given in affine]
        options = {"eps": 1e-5, "axes": tuple(range(len(shape) - axes, len(shape)))}
        return spec, (draw.floats(*shape), *parts), options

    return name, case


def surprise_case(smoothing=0.0):
    def case(draw, rows, n):
        target = draw.integers(-1, n, rows)
        return (
            surprise_spec,
            (draw.floats(rows, n), target, draw.weights(n)),
            {"smoothing": smoothing},
        )

    return "surprise", case


def dropout_case(draw, rows, n):
    keep = draw.rng.random((rows, n)) < 0.7
    return dropout_spec, (draw.floats(rows, n), keep), {"upscale": 1 / 0.7}


def embedding_case(draw, rows, n):
    """Few rows asked for often: runs that begin, end and go on in any chunk of 64."""
    table = draw.floats(int(draw.integers(1, 6)), min(n, 300))
    return embedding_spec, (draw.integers(0, len(table), rows, 20), table), {}


def linear_case(draw, rows, n):
    return (
        linear_spec,
        (draw.floats(rows, 5), draw.weights(min(n, 300), 5), draw.weights(min(n, 300))),
        {},
    )


def silu_spec(x):
    return x * ta.sigmoid(x)


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
    "cross_entropy": surprise_case(),
    "cross_entropy, smoothed": surprise_case(0.1),
    "dropout": ("dropout", dropout_case),
    "embedding": ("embedding", embedding_case),
    "linear": ("linear", linear_case),
}


@st.composite
def settings_of_a_case(draw):
    """(seed, kind, layout, rows, n): large arrays are drawn, but not large both ways."""
    n = draw(st.sampled_from((0, *LENGTHS)))
    rows = draw(st.sampled_from((0, *ROWS) if n <= 300 else (1, 3)))
    kind, layout = draw(st.sampled_from(Draw.KINDS)), draw(st.sampled_from(Draw.LAYOUTS))
    return draw(st.integers(0, 2**32)), kind, layout, rows, n


def check(case, dtype, seed, kind, layout, rows, n, device):
    """A kernel's value and gradients are those of its spec in float64, the same in every run."""
    name, make = CASES[case]
    n = n or int(case.startswith(("cross", "softmax", "log")))  # a row of nothing has no maximum
    draw = Draw(seed, dtype, kind, layout)
    spec, arguments, options = make(draw, rows, n)
    y, gradients, g = by_spec(spec, arguments, options, draw)
    backend = get_backend(device)
    sent = [None if a is None else draw.send(a, backend) for a in arguments]
    runs = [run(backend.kernels[name], sent, options, draw.send(g, backend)) for _ in range(3)]
    found = [[part if part is None else backend.to_host(part) for part in parts] for parts in runs]
    for part, expected in zip(found[0], (y, *gradients), strict=True):
        close(part, expected, dtype)
    for again in found[1:]:
        for one, other in zip(found[0], again):
            assert one is None or one.tobytes() == other.tobytes()


def by_spec(spec, arguments, options, draw):
    """(value, gradients, the g that they belong to), in float64; no gradient is None."""
    inputs = [
        a if a is None else ta.tensor(a.astype("float64") if is_float(a) else a) for a in arguments
    ]
    wanted = [x.requires_grad_() for x, a in zip(inputs, arguments) if is_float(a)]
    if spec is surprise_spec:
        wanted = wanted[:1]
    y = spec(*inputs, **options)
    kind, draw.kind = draw.kind, "normal"
    g = draw.floats(*y.shape)
    draw.kind = kind
    found = ta.grad(y, wanted, ta.tensor(g.astype("float64")), allow_unused=True)
    found = dict(zip(map(id, wanted), found))
    differentiable = [x for x, a in zip(inputs, arguments) if a is None or id(x) in found]
    gradients = [None if x is None else found[id(x)].numpy() for x in differentiable]
    return y.numpy(), gradients, g


def is_float(a):
    return a is not None and dtypes.is_float(a.dtype)


def run(kernel, arguments, options, g):
    """(value, *gradients) of a kernel, called as the engine calls it."""
    if "needs" in inspect.signature(kernel).parameters:
        options = {**options, "needs": tuple(is_float(a) for a in arguments)}
    y, backward = kernel(*arguments, **options)
    return y, *backward(g)


def close(found, expected, dtype):
    """Equal to TOLERANCE of the largest number in the array; what is infinite or NaN is so too."""
    if expected is None or found is None:
        assert found is expected
        return
    assert found.dtype == dtype and found.shape == expected.shape
    sizes = np.abs(expected[np.isfinite(expected)])
    room = TOLERANCE[dtype] * (sizes.max() if sizes.size else 0) + SMALLEST
    np.testing.assert_allclose(found.astype("float64"), expected, rtol=0, atol=room)


def tensor_on(device, array):
    return Tensor(get_backend(device).from_host(array, device))
