"""The CPU's kernels against their specs, in blocks of a few elements, and Adam likewise.

They run as users run them, through the engine, so that what a kernel declines the portable one
takes. ``test_cpu_attention.py`` does the same for attention.
"""

import itertools
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.backend.kernel_cases import CASES, Draw, by_spec, close, is_float, settings_of_a_case
from tests.backend.on_threads import on_threads
from tinygrad_attn.backend import dtypes, get_backend
from tinygrad_attn.backend.cpu import CpuBackend, blocks
from tinygrad_attn.ops.activations import _swiglu
from tinygrad_attn.ops.fused.cross_entropy import _surprise
from tinygrad_attn.ops.fused.embedding import _embedding
from tinygrad_attn.ops.fused.gelu import _gelu, _gelu_tanh
from tinygrad_attn.ops.fused.linear import _linear
from tinygrad_attn.ops.fused.norm import _layer_norm, _rms_norm
from tinygrad_attn.ops.fused.softmax import _log_softmax, _softmax
from tinygrad_attn.optim.adam import adam_step

FUSED = _softmax, _log_softmax, _layer_norm, _rms_norm, _gelu, _gelu_tanh, ta.silu, _swiglu
OPS = {op.name: op for op in (*FUSED, _linear, _surprise, _embedding)}
ADAM, CROSS_ENTROPY, ERF = (  # the package has functions under some of these names
    sys.modules[f"tinygrad_attn.backend.cpu.{name}"] for name in ("adam", "cross_entropy", "erf")
)
DTYPES = dtypes.float64, dtypes.float32


@pytest.fixture(params=[(7, 1), (7, 3), (64, 1), (blocks.BLOCK, 1)], scope="module", ids=str)
def block(request):
    """How many elements are a block; where they are few, long rows are short as well.

    And how many threads share the blocks. Where those are smallest, cross entropy keeps less too.
    """
    size, threads = request.param
    with pytest.MonkeyPatch.context() as patch, on_threads(threads):
        if size < blocks.BLOCK:
            patch.setattr(blocks, "_LONG", 300)
            patch.setattr(blocks, "_WORTH_SHARING", 1)
            patch.setattr(ERF, "_BLOCK", size)
        if size == 7:
            patch.setattr(CROSS_ENTROPY, "KEPT", 30)  # elements: some cases keep them, some do not
        for place in (blocks, ADAM):
            patch.setattr(place, "BLOCK", size)
        yield size


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", [case for case, (name, _) in CASES.items() if name in OPS])
@settings(max_examples=4)
@given(drawn=settings_of_a_case())
def test_a_kernel_is_its_spec(block, case, dtype, drawn):
    seed, kind, layout, rows, n = drawn
    name, make = CASES[case]
    n = n or int(case.startswith(("cross", "softmax", "log")))  # a row of nothing has no maximum
    draw = Draw(seed, dtype, kind, layout)
    spec, arguments, options, sizes = make(draw, rows, n)
    y, gradients, g = by_spec(spec, arguments, options, draw)
    inputs = [a if a is None else draw.send(a, get_backend("cpu")) for a in arguments]
    before = [a if a is None else a.tobytes() for a in inputs]
    g = draw.send(g, get_backend("cpu")) if g.ndim else g
    found = run(OPS[name], inputs, options, g)
    gradients = [part for part in gradients if part is not None]
    for part, expected, size in zip(found, (y, *gradients), fitting(sizes(g), inputs)):
        close(part, expected, dtype, size)
    assert before == [a if a is None else a.tobytes() for a in inputs]


def run(op, arrays, options, g):
    """[value, *gradients]; they are the same when asked again, and share no memory."""
    tensors = [a if a is None else ta.tensor(a) for a in arrays]
    wanted = [x for x in tensors if is_float(x)][: 1 if op is _surprise else None]
    for x in wanted:
        x.requires_grad_()
    y = op(*tensors, **options)
    once, again = (ta.grad(y, wanted, ta.tensor(g), retain_graph=True) for _ in range(2))
    for one, other in zip(once, again):
        assert one.numpy().tobytes() == other.numpy().tobytes()
    everything = [x.numpy() for x in (y, *once, *again, *wanted)]
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(everything, 2))
    return [x.numpy() for x in (y, *once)]


def fitting(sizes, arrays):
    """The sizes of the value and of those gradients that there are."""
    first, *rest = sizes
    floats = [a is not None for a in arrays if a is None or is_float(a)]
    return [first, *(size for size, there in zip(rest, floats) if there)]


# ---- what is infinite ----------------------------------------------------------------------------

INFINITE = np.array(
    [
        [-np.inf, 1.0, 2.0],
        [-np.inf, -np.inf, 0.0],
        [-np.inf, -np.inf, -np.inf],
        [np.inf, 1.0, 0.0],
        [np.nan, 1.0, 0.0],
        [1e4, -1e4, 0.0],
        [1e-40, -1e-40, 0.0],
        [1e30, -1e30, 1e20],
    ],
    "float32",
)


@pytest.mark.parametrize("op", FUSED, ids=lambda op: op.name)
def test_no_nan_that_the_portable_kernel_would_not_give(block, op, monkeypatch):
    options = {"axis": 1} if op in (_softmax, _log_softmax) else {}
    options |= {"eps": 1e-5, "axes": (1,)} if op in (_layer_norm, _rms_norm) else {}
    as_the_portable(op, [INFINITE, np.ones_like(INFINITE)][: op.arity], options, monkeypatch)


@pytest.mark.parametrize("op", [_layer_norm, _rms_norm], ids=lambda op: op.name)
@pytest.mark.parametrize("shift", [0, 0.9, 1.1, 30, 1e3, 1e30])
@pytest.mark.parametrize("slope", [1, 1e30])
@pytest.mark.parametrize("width", [1, 2, 5, 33])
def test_norms_of_rows_far_from_zero(block, op, shift, slope, width, monkeypatch):
    """No less exact than the spec in float32, on either side of where the kernel changes its way.

    It does so where a mean has the size of σ, and where a square or a product overflows.
    """
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((9, width)) for _ in range(2))
    x[::2] += shift
    g[::3] *= slope
    w, b = rng.uniform(0.5, 1.5, (2, width))
    arrays = [a.astype("float32") for a in (x, w, b)[: op.arity]]
    g, options = g.astype("float32"), {"eps": 1e-5, "axes": (1,)}
    exact = run(op, [a.astype("float64") for a in arrays], options, g.astype("float64"))
    found = run(op, arrays, options, g)
    monkeypatch.setattr(CpuBackend, "kernels", {})
    for part, plain, right in zip(found, run(op, arrays, options, g), exact, strict=True):
        size = np.abs(right).max()
        allowed = 3 * np.abs(plain - right).max() + 2e-6 * size
        np.testing.assert_array_equal(np.isfinite(part), np.isfinite(plain))
        np.testing.assert_allclose(part, right, rtol=0, atol=allowed)


@pytest.mark.parametrize(
    ("op", "size", "slope", "eps"),
    [
        (_layer_norm, 1e18, 1, 1e-5),
        *itertools.product([_layer_norm, _rms_norm], [1e-38], [1e-10], [1e-30]),
        *itertools.product([_layer_norm, _rms_norm], [1e-20], [1e-25], [1e-12]),
    ],
)
def test_norms_of_rows_far_larger_or_smaller_than_1(block, op, size, slope, eps):
    """A sum of squares overflows, though none of centred ones; g·x vanishes, though no g·x̂."""
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, 6, 300))
    w, b = rng.uniform(0.5, 1.5, (2, 300))
    arrays = [a.astype("float32") for a in (size * (x + 0.5), w, b)[: op.arity]]
    g, options = (slope * g).astype("float32"), {"eps": eps, "axes": (1,)}
    exact = run(op, [a.astype("float64") for a in arrays], options, g.astype("float64"))
    found = run(op, arrays, options, g)
    for part, right in zip(found, exact, strict=True):
        np.testing.assert_allclose(part, right, rtol=0, atol=2e-6 * np.abs(right).max())


@pytest.mark.parametrize("op", [_layer_norm, _rms_norm], ids=lambda op: op.name)
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e30, 100.0])
@pytest.mark.parametrize("where", ["x", "g"])
def test_a_row_of_a_norm_knows_nothing_of_its_neighbours(block, op, poison, where):
    """Padding beside a token, whatever is in it, does not even change how the token is rounded."""
    rng, results = np.random.default_rng(0), []
    w, b = rng.uniform(0.5, 1.5, (2, 6)).astype("float32")
    x, g = rng.standard_normal((2, 5, 6)).astype("float32")
    for hidden in (0, poison):
        rows = {"x": x.copy(), "g": g.copy()}
        rows[where][2:4] += np.float32(hidden)
        options = {"eps": 1e-5, "axes": (1,)}
        results.append(run(op, [rows["x"], w, b][: op.arity], options, rows["g"])[:2])
    for alone, beside_poison in zip(*results):
        np.testing.assert_array_equal(alone[[0, 1, 4]], beside_poison[[0, 1, 4]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("target", [-1, 0, 2])
def test_cross_entropy_of_infinities(block, smoothing, target, monkeypatch):
    options = {"smoothing": smoothing, "ignore_index": -1, "reduction": "none"}
    as_the_portable(_surprise, [INFINITE, np.full(len(INFINITE), target)], options, monkeypatch)


def as_the_portable(op, arrays, options, monkeypatch):
    if op in (_layer_norm, _rms_norm):
        arrays = arrays[:1]
    g = np.ones(len(INFINITE) if op is _surprise else INFINITE.shape, "float32")
    found = run(op, arrays, options, g)
    monkeypatch.setattr(CpuBackend, "kernels", {})
    for part, expected in zip(found, run(op, arrays, options, g), strict=True):
        np.testing.assert_allclose(part, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, np.linspace(0.5, 2, 5000, dtype="float32")])
def test_cross_entropy_makes_no_matrix_but_the_gradient(smoothing, weight):
    """Beside it, and forward at all, a few blocks."""
    logits = np.random.default_rng(0).standard_normal((2000, 5000), np.float32)
    target = np.arange(2000)
    options = {"smoothing": smoothing, "ignore_index": -1, "reduction": "mean"}
    surprise, room = get_backend("cpu").kernels["surprise"], 4 * blocks.BLOCK * logits.itemsize
    tracemalloc.start()
    try:
        _, backward = surprise(logits, target, weight, **options)
        assert tracemalloc.get_traced_memory()[1] < room
        (gx,) = backward(np.float32(1.0))
        assert tracemalloc.get_traced_memory()[1] < gx.nbytes + room
    finally:
        tracemalloc.stop()


# ---- Adam ----------------------------------------------------------------------------------------

SHAPES = (), (1,), (5,), (0,), (3, 4), (2, 0), (4, 3, 2), (20,)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("is_decoupled", [False, True])
@settings(max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_adam_over_parameters_end_to_end(block, dtype, is_decoupled, seed):
    rng = np.random.default_rng(seed)
    shapes = [SHAPES[i] for i in rng.integers(0, len(SHAPES), rng.integers(1, 7))]
    ps = [strided(rng, rng.standard_normal(shape).astype(dtype)) for shape in shapes]
    others = [p.astype(dtype) for p in ps]
    wide = np.result_type(dtype, "float32")
    means = [np.zeros((2, sum(p.size for p in ps)), wide) for _ in range(2)]
    options = {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "is_decoupled": is_decoupled}
    for step in range(1, 6):
        gs = [strided(rng, rng.standard_normal(shape).astype(wide)) for shape in shapes]
        before = [g.tobytes() for g in gs]
        for advance, those, (m, v) in ((ADAM.adam, ps, means[0]), (adam_step, others, means[1])):
            advance(those, gs, m, v, step=step, decay=float(step % 2), **options)
        assert before == [g.tobytes() for g in gs]
    rounding = 50 * float(np.finfo(dtype).eps)
    for p, other in zip([*ps, means[0]], [*others, means[1]]):
        np.testing.assert_allclose(p, other, rtol=0, atol=rounding)


def strided(rng, x):
    """The same numbers, some of them in another order of memory, or with gaps."""
    kind = rng.integers(0, 3)
    room = np.zeros((*x.shape, 2), x.dtype)
    room[..., 0] = x
    return (x, np.array(x, order="F"), room[..., 0])[kind]
