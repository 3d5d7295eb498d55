"""The CUDA kernels, executed on the CPU by the emulator, against their specs.

Blocks and threads run in another order at every launch, arrays end at a page that may not be
touched, and memory that nobody wrote is NaN. ``test_cuda_gpu.py`` does the same on a GPU.
"""

import inspect
import re
import shutil

import numpy as np
import pytest
from hypothesis import given, settings

import tinygrad_attn as ta
from tests.backend.kernel_cases import (
    CASES,
    DTYPES,
    TOLERANCE,
    Draw,
    check,
    close,
    settings_of_a_case,
    top,
)
from tests.standin import fake_cupy as cp
from tests.standin import on_host
from tinygrad_attn.backend import dtypes, get_backend
from tinygrad_attn.backend.cuda import attention, columns, launch, many, scatter
from tinygrad_attn.backend.random import keep_mask
from tinygrad_attn.ops.fused.cross_entropy import _surprise
from tinygrad_attn.ops.fused.dropout import Drop
from tinygrad_attn.ops.fused.gelu import _gelu, _gelu_tanh
from tinygrad_attn.ops.fused.softmax import _log_softmax, _softmax
from tinygrad_attn.ops.rope import turn
from tinygrad_attn.optim.adam import adam_step
from tinygrad_attn.optim.clip import norm2, scale_all

BACKEND = get_backend("standin")
USUAL = DTYPES[:3]  # bfloat16 differs in how it is read and written, which one case shows
FEW = [(case, dtype) for case in CASES for dtype in DTYPES if dtype in USUAL or case == "dropout"]


@pytest.mark.parametrize(("case", "dtype"), FEW, ids=str)
@settings(max_examples=4)
@given(drawn=settings_of_a_case())
def test_a_kernel_is_its_spec(case, dtype, drawn):
    check(case, dtype, drawn, "standin")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=60)
@given(drawn=settings_of_a_case())
def test_a_kernel_is_its_spec_in_many_cases(case, dtype, drawn):
    check(case, dtype, drawn, "standin")


# ---- what is infinite, and what is nothing -------------------------------------------------------


def kernel(name, *arrays, **options):
    """What a kernel returns, from NumPy arrays or None."""
    sent = [None if a is None else cp.array(a) for a in arrays]
    return BACKEND.kernels[name](*sent, **options)


INFINITE = np.array(
    [
        [-np.inf, 1.0, 2.0],
        [-np.inf, -np.inf, 0.0],
        [-np.inf, -np.inf, -np.inf],
        [np.inf, 1.0, 0.0],
        [np.nan, 1.0, 0.0],
        [1e4, -1e4, 0.0],
    ],
    "float32",
)


@pytest.mark.parametrize("width", [3, 600])  # a warp for a row, and several
@pytest.mark.parametrize("op", [_softmax, _log_softmax])
def test_softmax_of_infinities(op, width):
    x = np.full((len(INFINITE), width), -np.inf, "float32")
    x[:, -3:] = INFINITE
    as_the_cpu(op, x, axis=1)


EACH = {"ignore_index": -1, "reduction": "none"}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("target", [-1, 0, 2])
def test_cross_entropy_of_infinities(target, smoothing):
    targets = np.full(len(INFINITE), target)
    as_the_cpu(_surprise, INFINITE, targets, smoothing=smoothing, **EACH)


@pytest.mark.parametrize("op", [_gelu, _gelu_tanh, ta.silu])
def test_gates_of_extreme_numbers(op):
    as_the_cpu(op, np.array([1e4, -1e4, 1e-30, -100, 100, 1e30, np.nan, 0.0], "float32"))


def as_the_cpu(op, *arrays, **options):
    """A kernel's value and first gradient are those of the CPU, in float64 there."""
    tensors = [ta.tensor(a.astype("float64") if a.dtype.kind == "f" else a) for a in arrays]
    tensors[0].requires_grad_()
    expected = op(*tensors, **options)
    (slope,) = ta.grad(expected, tensors[:1], ta.ones_like(expected))
    y, backward = kernel(op.name, *arrays, **options)
    (gx,) = backward(cp.ones(y.shape, dtype="float32"))
    for found, wanted in ((y, expected), (gx, slope)):
        np.testing.assert_allclose(found.get(), wanted.numpy(), rtol=1e-6, atol=1e-6)


def takes(kernel):
    """Whether a kernel is that of an op, and not of a step of training."""
    return getattr(kernel, "takes_halves", False)


def test_large_logits_lose_no_digits():
    """ln Σ exp as one float32 would round to 10⁻³, and its exponential with it."""
    x = np.array([[10000.0, 10000.25, 9999.5]], "float32")
    as_the_cpu(_surprise, x, np.array([1]), smoothing=0.0, **EACH)


def test_nothing_is_launched_over_nothing():
    empty, weight = np.zeros((0, 4), "float32"), np.ones(4, "float32")
    options = {"eps": 1e-5, "axes": (1,), "needs": (True, True, True)}
    before = on_host.launches
    for run in (
        kernel("softmax", empty, axis=1),
        kernel("gelu", empty),
        kernel("layer_norm", empty, weight, weight, **options),
        kernel("dropout", empty, drop=Drop(0.5, (1, 2))),
        kernel("embedding", np.zeros((0, 4), "int64"), np.ones((3, 4), "float32")),
    ):
        y, backward = run
        gradients = [part.get() for part in backward(y)]
        assert not y.size and not np.concatenate([part.ravel() for part in gradients]).any()
    assert on_host.launches == before


def test_unwanted_gradients_are_not_computed():
    x, weight = np.ones((2, 4), "float32"), np.ones(4, "float32")
    for needs in ((True, False, False), (False, True, False), (False, False, True)):
        options = {"eps": 1e-5, "axes": (1,), "needs": needs}
        _, backward = kernel("layer_norm", x, weight, weight, **options)
        assert tuple(part is not None for part in backward(cp.array(x))) == needs
    for needs in ((True, False), (False, True)):
        _, backward = kernel("swiglu", x, x, needs=needs)
        assert tuple(part is not None for part in backward(cp.array(x))) == needs


def test_a_kernel_computes_16_bits_itself():
    """The engine hands them over as they are: no copy in float32 is ever made."""
    x = ta.tensor(np.ones((2, 4), "float16")).to("standin").requires_grad_()
    before = on_host.launches
    y = ta.softmax(x)
    y.backward(ta.ones_like(y))
    assert y.dtype == x.grad.dtype == dtypes.float16 and on_host.launches == before + 2


@pytest.mark.parametrize("name", [name for name, made in BACKEND.kernels.items() if takes(made)])
def test_kernels_decline_complex_numbers(name):
    """The gradient checker sends some; the portable kernels compute with them."""
    x = np.ones((2, 2), "complex128")
    given = {"surprise": (x, x, x), "embedding": (np.ones(2, int), x), "swiglu": (x, x)}
    given |= {"linear": (x, x), "packed_linear": (x,) * 4}
    given |= dict.fromkeys(("dense_attention", "tiled_attention"), (x[None],) * 3 + (None,) * 5)
    options = inspect.signature(BACKEND.kernels[name]).parameters
    options = {
        key: None
        for key in (
            *EACH,
            *"axis eps axes smoothing drop needs".split(),
        )
        if key in options
    }
    if name.endswith("attention"):
        options = {"causal": False, "window": None, "scale": 1.0, "softcap": None, "drop": None}
        options["needs"] = (False,) * 5
    assert kernel(name, *given.get(name, (x,)), **options) is NotImplemented


# ---- sums of columns, scattered rows, masks ------------------------------------------------------


@pytest.mark.parametrize("dtype", USUAL, ids=str)
@pytest.mark.parametrize(
    "shape", [(1, 1), (256, 33), (257, 3), (70000, 2), (3, 1000), (0, 4), (5, 0), (2100, 258)]
)
def test_the_gradient_of_a_bias_is_one_launch(shape, dtype):
    g = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    (rows, n), wide = shape, g.astype("float64")
    parts = (np.zeros(size, dtype) for size in ((rows, 1), (n, 1), (n,)))
    _, backward = kernel("linear", *parts, needs=(False, False, True, False))
    before, there = on_host.launches, cp.array(g)
    found = backward(there)[2].get()
    assert on_host.launches - before == (1 if g.size else 0)
    close(found, wide.sum(0), dtype, float(np.abs(wide).sum(0).max()) if shape[1] else 0)


@pytest.mark.parametrize("dtype", USUAL, ids=str)
@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 300])
@pytest.mark.parametrize("rows", [1, 2, 50])
def test_add_rows(rows, count, dtype):
    rng = np.random.default_rng(count)
    table, values = (rng.standard_normal((n, 3)).astype(dtype) for n in (rows, count))
    index = rng.integers(0, rows, count)
    expected = table.astype("float64")
    np.add.at(expected, index, values.astype("float64"))
    there = cp.array(table)
    scatter.add_rows(there, cp.array(index), cp.array(values))
    close(there.get(), expected, dtype, 3 * count)


@pytest.mark.parametrize("p", [0.0, 0.3, 1 - 2**-16, 1.0])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (4, 5), (1029,), (0, 3)])
def test_the_mask_of_dropout_is_the_cpus(shape, p):
    for key in ((2**63 - 25, 7), (0, 0), (1, 2**40)):
        mask = keep_mask(np, shape, p, key)
        np.testing.assert_array_equal(BACKEND.keep_mask(shape, p, key).get(), mask)


# ---- rotary positions ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(
    ("shape", "dims", "each"),  # ``each``: the shape of the positions
    [
        ((2, 3, 5, 8), 8, (5,)),
        ((2, 3, 5, 8), 4, (2, 1, 5)),
        ((2, 5, 300), 298, (2, 5)),
        ((40, 6), 6, (40,)),
        ((2, 0, 5, 8), 8, (5,)),
        ((2, 1, 3, 2, 4), 4, (2,)),
    ],
)
def test_rotary_positions(shape, dims, each, interleaved, dtype):
    rng = np.random.default_rng(0)
    x, positions = rng.standard_normal(shape).astype(dtype), rng.integers(-(10**6), 10**6, each)
    rule = 10000.0, 1.5, interleaved, dims
    wide = turn(x.astype("float64"), positions, *rule)
    tokens_first = np.ascontiguousarray(np.moveaxis(x, -2, 0))
    for there in (cp.array(x), cp.moveaxis(cp.array(tokens_first), 0, -2)):
        before = on_host.launches
        y = BACKEND.kernels["rope"](there, cp.array(positions), *rule)
        if y is NotImplemented:  # of so many axes the portable one is to compute
            y = turn(there, cp.array(positions), *rule)
        assert on_host.launches - before == (x.size > 0 and len(shape) < 5)
        close(y.get(), wide, dtype, 2 * top(x))


# ---- many tensors at once ------------------------------------------------------------------------

SHAPES = {  # in packs of 16 bytes, and where these do not fit; of several stretches, and of none
    "whole packs": [(8,), (2048,), (3, 16), (2056,), (80, 72), (1, 8)],
    "any sizes": [(1,), (2047,), (2049,), (0, 3), (7,), (1, 1), (50, 101), (3,)],
    "one": [(2048,)],
    "a hundred": [(1 + i % 5,) for i in range(100)],
}


def tensors(shapes, dtype, seed, layout="plain"):
    """Arrays on the device, and the same numbers in float64 on the host."""
    draw = Draw(seed, dtype, layout=layout)
    hosts = [draw.floats(*shape) for shape in shapes]
    return [draw.send(host, BACKEND) for host in hosts], [host.astype("float64") for host in hosts]


@pytest.mark.parametrize("layout", ["plain", "transposed", "shifted"])
@pytest.mark.parametrize("is_decoupled", [True, False])
@pytest.mark.parametrize("dtype", USUAL, ids=str)
@pytest.mark.parametrize("shapes", SHAPES)
def test_adam_is_the_portable_step(shapes, dtype, is_decoupled, layout):
    shapes, wide = SHAPES[shapes], launch.real(dtype)
    ps, expected = tensors(shapes, dtype, 0, layout)
    size = sum(p.size for p in expected)
    flat, means = cp.zeros((2, size), wide), np.zeros((2, size))
    options = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "decay": 0.1}
    for step in (1, 2):
        gs, slopes = tensors(shapes, wide, step, layout)
        more = {**options, "step": step, "is_decoupled": is_decoupled}
        before = on_host.launches
        BACKEND.kernels["adam"](ps, gs, *flat, **more)
        assert on_host.launches == before + 1
        adam_step(expected, slopes, *means, **more)
        for p, wanted in zip(ps, expected):
            close(p.get(), wanted, dtype, 1.0)
            wanted[...] = p.get()  # 16 bits were rounded, and the next step begins with them
        for ours, theirs in zip(flat, means):
            close(ours.get(), theirs, wide, 1.0)


def test_adam_of_several_dtypes_is_a_launch_for_each():
    kinds = [np.dtype(kind) for kind in ("float16", "float32", "float16")]
    ps = [cp.ones(5, dtype) for dtype in kinds]
    gs, flat = [cp.ones(5, "float32")] * 3, cp.zeros((2, 15), "float32")
    options = {"lr": 0.25, "beta1": 0.9, "beta2": 0.99, "eps": 0.0, "decay": 0.0}
    before = on_host.launches
    BACKEND.kernels["adam"](ps, gs, *flat, step=1, is_decoupled=True, **options)
    assert on_host.launches == before + 2
    for p, dtype in zip(ps, kinds):
        assert p.dtype == dtype
        np.testing.assert_allclose(p.get(), 0.75, rtol=1e-6)


def test_a_table_is_sent_again_only_when_something_moved():
    ps, gs, flat = [cp.ones(5, "float32")], [cp.ones(5, "float32")], cp.zeros((2, 5), "float32")
    options = {"lr": 0.25, "beta1": 0.9, "beta2": 0.99, "eps": 0.0, "decay": 0.0}

    def sent(gs):
        before = cp.launches["array"]
        BACKEND.kernels["adam"](ps, gs, *flat, step=1, is_decoupled=True, **options)
        return cp.launches["array"] - before

    assert (sent(gs), sent(gs)) == (1, 0)
    moved = cp.ones(5, "float32")
    assert (sent([moved]), sent(gs)) == (1, 0)


@pytest.mark.parametrize("layout", ["plain", "transposed", "shifted"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shapes", SHAPES)
def test_the_norm_of_many_and_their_scaling(shapes, dtype, layout):
    shapes = [shape for shape in SHAPES[shapes] if 0 not in shape]
    gs, expected = tensors(shapes, dtype, 0, layout)
    before = on_host.launches
    norm = BACKEND.kernels["norm2"](gs)
    assert on_host.launches == before + 2
    assert norm.dtype == launch.real(dtype) and norm.shape == ()
    np.testing.assert_allclose(norm.get(), norm2(expected), rtol=TOLERANCE[norm.dtype] / 10)
    factor = np.array(0.3, norm.dtype)
    scaled = BACKEND.kernels["scale_all"](gs, cp.array(factor))
    assert on_host.launches == before + 3
    for ours, theirs in zip(scaled, scale_all(expected, factor), strict=True):
        close(ours.get(), theirs, dtype, 0)


def test_the_norm_of_several_dtypes():
    gs = [cp.full(3, 2.0, dtype) for dtype in ("float16", "float32", "float64", "float32")]
    norm = BACKEND.kernels["norm2"](gs)
    assert norm.dtype == np.float64
    np.testing.assert_allclose(norm.get(), np.sqrt(48), rtol=1e-15)
    scaled = BACKEND.kernels["scale_all"](gs, cp.array(np.array(0.5)))
    assert [g.dtype for g in scaled] == [g.dtype for g in gs]
    assert all((g.get() == 1).all() for g in scaled)


def test_the_norm_of_what_float32_cannot_sum():
    x = np.full(3 * 2**16, 1e-4, "float32")
    x[0] = 1e2
    expected = np.sqrt(np.square(x.astype("float64")).sum())
    np.testing.assert_allclose(BACKEND.kernels["norm2"]([cp.array(x)]).get(), expected, rtol=1e-7)


# ---- the sources ---------------------------------------------------------------------------------


def constant(file, name):
    text = (launch.FOLDER / file).read_text(encoding="utf-8")
    return int(re.search(rf"constexpr int {name} = (\d+)", text)[1])


def test_the_loaders_know_the_kernels_constants():
    assert constant("rows.cuh", "BLOCK") == launch.BLOCK
    assert constant("rows.cuh", "KEPT") == launch.KEPT
    assert many.STRETCH == launch.BLOCK * launch.KEPT
    assert constant("columns.cuh", "GROUP") ** 2 == columns.BLOCKS
    assert constant("scatter.cu", "CHUNK") == scatter.CHUNK


def test_blocks_meet_in_one_place_and_between_fences():
    """That a fence is missing does not show on the emulator; so there is one place to look at."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in launch.FOLDER.glob("*.cu*")}
    assert [name for name, text in texts.items() if "atomic" in text] == ["columns.cuh"]
    fence, barrier = r"__threadfence\(\);\s+", r"__syncthreads\(\);\s+"
    meeting = rf"{fence}{barrier}[^}}]*atomicInc\([^}}]*{barrier}{fence}return"
    assert re.search(meeting, texts["columns.cuh"])


BARRIERS = [
    (path.name, place.start())
    for path in sorted(launch.FOLDER.glob("*.cu*"))
    for place in re.finditer(r"__syncthreads\(\);", path.read_text(encoding="utf-8"))
]


@pytest.fixture
def maimed(monkeypatch, tmp_path):
    """A function that puts another text into the place of a source, until the test is over."""

    def forget():
        for module in (launch, attention):
            for cached in vars(module).values():
                if hasattr(cached, "cache_clear"):
                    cached.cache_clear()

    def replace(file, text):
        folder = tmp_path / "sources"
        shutil.copytree(launch.FOLDER, folder)
        (folder / file).write_text(text, encoding="utf-8")
        monkeypatch.setattr(launch, "FOLDER", folder)
        forget()

    yield replace
    forget()


@pytest.mark.slow
@pytest.mark.parametrize(("file", "place"), BARRIERS)
def test_no_barrier_can_be_spared(file, place, maimed):
    """Without any one of them the results are wrong, or differ from run to run."""
    text = (launch.FOLDER / file).read_text(encoding="utf-8")
    maimed(file, text[:place] + text[place:].replace("__syncthreads();", "", 1))
    with pytest.raises(AssertionError):
        for seed in range(60):
            if file in OF_ATTENTION:
                attend(seed)
                continue
            for case in ("softmax", "layer_norm", "linear"):
                check(case, dtypes.float32, (seed, "normal", "plain", 9, 1023), "standin")


OF_ATTENTION = ("attention_forward.cu", "attention_backward.cu", "pairs.cuh")


def attend(seed):
    """Attention on the device is what it is on the CPU, be there a NaN in the values or not."""
    dtype, near = (("float32", 1e-5), ("float16", 1e-2))[seed // 2 % 2]
    q, k, v, g = np.random.default_rng(seed).standard_normal((4, 1, 1, 300, 8)).astype(dtype)
    v[..., [64, 126], 2] = np.nan if seed % 2 else 0
    found = []
    for device, kind in (("standin", dtype), ("cpu", "float32")):
        q, k, v, g = (x.astype(kind) for x in (q, k, v, g))
        inputs = [ta.tensor(x, device=device, requires_grad=True) for x in (q, k, v)]
        y = ta.scaled_dot_product_attention(*inputs, causal=True, window=40, path="tiled")
        found.append([y, *ta.grad(y, inputs, ta.tensor(g, device=device))])
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=near, atol=near)
