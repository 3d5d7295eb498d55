"""Flash attention on CUDA against the spec, on the CPU: executed by the emulator, or on a GPU.

Every test runs on the stand-in, where the emulator of ``on_host`` computes what the kernels say,
thread by thread in random order; and by ``pytest -m gpu`` on a real card.
"""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.standin import fake_cupy, on_host
from tinygrad_attn.backend import dtypes, get_backend, precision
from tinygrad_attn.backend.cuda import attention as flash

pytestmark = pytest.mark.skipif(
    on_host.COMPILER is None, reason="the emulator of CUDA needs g++, on Linux"
)

ARITHMETICS = {  # the dtype, the precision of matrix products, and how far results may be off
    "float32": (dtypes.float32, "highest", 3e-6),
    "TF32": (dtypes.float32, "high", 4e-3),
    "float16": (dtypes.float16, "highest", 4e-3),
    "bfloat16": (dtypes.bfloat16, "highest", 3e-2),
}
NAMES = [name for name, (dtype, *_) in ARITHMETICS.items() if dtype is not None]
attend = ta.scaled_dot_product_attention


GPU = pytest.param("cuda", marks=pytest.mark.gpu)


@pytest.fixture(scope="module", params=["standin", GPU])
def device(request):
    """A device whose attention is that of the kernels."""
    try:
        backend = get_backend(request.param)
    except ta.DeviceError as error:
        pytest.skip(str(error))
    own = dict.fromkeys(("dense_attention", "tiled_attention"), flash.attention)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "kernels", {**backend.kernels, **own})
        yield request.param


def on(*devices):
    return pytest.mark.parametrize("device", devices, indirect=True)


@pytest.fixture(scope="module")
def arithmetic(request):
    """(dtype, tolerance) of a name in ARITHMETICS, with that precision set."""
    dtype, level, tolerance = ARITHMETICS[getattr(request, "param", "float32")]
    before = precision.set_matmul_precision(level)
    yield dtype, tolerance
    precision.set_matmul_precision(before)


@pytest.fixture(autouse=True)
def exact(request):
    """Whoever does not ask for ``arithmetic`` gets the default, whichever others ran before."""
    if "arithmetic" in request.fixturenames:
        yield
        return
    before = precision.set_matmul_precision("highest")
    yield
    precision.set_matmul_precision(before)


def each(*names):
    return pytest.mark.parametrize("arithmetic", names, indirect=True)


# ---- settings drawn at random --------------------------------------------------------------------


@st.composite
def problems(draw, longest=75, most_heads=2):
    """(q, k, v, options) in float64 NumPy: everything that the contract lets vary."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    batch = draw(st.sampled_from([(), (2,), (1, 2)]))
    heads = draw(st.integers(1, most_heads))
    groups = draw(st.sampled_from([n for n in (1, heads) if heads % n == 0]))
    queries, keys = draw(st.integers(0, longest)), draw(st.integers(0, longest))
    width, width_v = draw(st.sampled_from([(8, 8), (32, 16), (3, 5), (16, 31)]))
    full = (*batch, heads, queries, keys)

    def part_of(shape):
        """A shape that broadcasts to ``shape``, of any rank."""
        cut = shape[draw(st.integers(0, len(shape))) :]
        return tuple(size if draw(st.booleans()) else 1 for size in cut)

    options = {"causal": draw(st.booleans()), "scale": draw(st.sampled_from([None, 0.3]))}
    options["window"] = draw(st.none() | st.integers(1, longest))
    if draw(st.booleans()):  # else the plain kernels, which know nothing of these
        options["softcap"] = draw(st.sampled_from([None, 2.0]))
        options["dropout"] = draw(st.sampled_from([0.0, 0.4]))
        if draw(st.booleans()):
            options["mask"] = rng.random(part_of(full)) < 0.6
        if draw(st.booleans()):
            options["bias"] = rng.standard_normal(part_of(full))
    if draw(st.booleans()):
        options["sinks"] = rng.standard_normal(heads)
    if draw(st.booleans()):
        rows = draw(st.sampled_from([(), batch]))
        options["q_positions"] = np.sort(rng.integers(0, 90, (*rows, queries)))
        options["k_positions"] = np.sort(rng.integers(0, 90, (*rows, keys)))
    q, k, v = (
        rng.standard_normal((*batch, *shape))
        for shape in ((heads, queries, width), (groups, keys, width), (groups, keys, width_v))
    )
    return q, k, v, options


def outcome(device, dtype, q, k, v, options, path="tiled"):
    """The result, and the gradients of all that is differentiable, as NumPy arrays.

    On the CPU in float64, from the same numbers, rounded to ``dtype``.
    """
    exact = device == "cpu"

    def tensor(x, dtype):
        x = np.asarray(x, dtype if np.asarray(x).dtype.kind == "f" else None)
        x = x.astype("float64") if exact and x.dtype.kind not in "biu" else x
        return ta.tensor(x).to(device)

    inputs = [tensor(x, dtype).requires_grad_() for x in (q, k, v)]
    arrays = {
        name: tensor(x, "float32") for name, x in options.items() if isinstance(x, np.ndarray)
    }
    inputs += [arrays[name].requires_grad_() for name in ("bias", "sinks") if name in arrays]
    y = attend(*inputs[:3], path=path, generator=ta.Generator(5), **{**options, **arrays})
    g = np.cos(np.arange(y.size)).reshape(y.shape)
    found = [y, *ta.grad(y, inputs, tensor(g, dtype))]
    assert exact or [x.dtype for x in found] == [y.dtype, *(x.dtype for x in inputs)]
    return [x.cpu().numpy().astype("float64") for x in found]


def compare(device, arithmetic, q, k, v, options):
    dtype, tolerance = arithmetic
    exact = outcome("cpu", dtype, q, k, v, options, path="spec")
    scores = math.prod(q.shape[:-1]) * k.shape[-2]
    for ours, theirs in zip(outcome(device, dtype, q, k, v, options), exact, strict=True):
        summed = scores / max(ours.size, 1)  # a bias for all pairs has the gradients of all
        size = max(np.abs(theirs).max(initial=0), min(summed**0.5, 4), 1)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * size)


@each("float32", "float16")
@settings(max_examples=25)
@given(problem=problems())
def test_kernels_agree_with_the_spec(device, arithmetic, problem):
    compare(device, arithmetic, *problem)


@pytest.mark.slow
@on("standin")
@each(*NAMES)
@settings(max_examples=150)
@given(problem=problems(longest=200, most_heads=4))
def test_kernels_agree_with_the_spec_in_many_cases(device, arithmetic, problem):
    compare(device, arithmetic, *problem)


def made(queries, keys, width, width_v, heads=1, groups=1):
    """q, k and v of one sequence."""
    rng = np.random.default_rng(queries)
    shapes = (heads, queries, width), (groups, keys, width), (groups, keys, width_v)
    return [rng.standard_normal((1, *shape)) for shape in shapes]


def causal_and_windowed(device, arithmetic, length, widths, general):
    options = {"causal": True, "window": length - 50, **({"softcap": 3.0} if general else {})}
    compare(device, arithmetic, *made(length, length + 20, *widths, heads=2), options)


@pytest.mark.slow
@on("standin")
@each(*NAMES)
@pytest.mark.parametrize("widths", [(32, 32), (64, 64), (96, 96), (128, 128), (40, 128), (128, 8)])
@pytest.mark.parametrize("general", [False, True])
def test_every_plan(device, arithmetic, widths, general):
    causal_and_windowed(device, arithmetic, 150, widths, general)


@on(GPU)
@each(*NAMES)
@pytest.mark.parametrize("widths", [(64, 64), (128, 128)])
@pytest.mark.parametrize("general", [False, True])
def test_long_sequences_on_a_gpu(device, arithmetic, widths, general):
    causal_and_windowed(device, arithmetic, 1000, widths, general)


@each("float32", "float16")
@pytest.mark.parametrize("queries, keys", [(0, 5), (5, 0), (0, 0), (1, 1), (1, 70), (65, 1)])
def test_few_queries_or_keys(device, arithmetic, queries, keys):
    compare(device, arithmetic, *made(queries, keys, 8, 8, heads=2), {"causal": True})


@pytest.mark.parametrize("queries, keys", [(1, 64), (66, 130)])
def test_a_bias_is_not_read_nor_its_gradient_written_beyond_its_end(device, queries, keys):
    bias = np.random.default_rng(0).standard_normal((queries, keys))
    compare(device, (dtypes.float32, 3e-6), *made(queries, keys, 8, 8), {"bias": bias})


@each("float32", "float16")
def test_scores_beyond_what_exp_can_hold(device, arithmetic):
    """Scores of thousands, of which float32 knows three digits behind the point."""
    q, k, v = made(70, 70, 8, 8)
    dtype, tolerance = arithmetic
    compare(device, (dtype, max(tolerance, 2e-4)), 30 * np.sign(q), 30 * np.sign(k), v, {})


def test_arrays_are_taken_as_they_lie(device):
    """Heads cut out of one projection, as a layer does, neither contiguous nor copied; and views
    that no kernel could copy 16 bytes of."""
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((2, 20, 3, 2, 9), dtype="float32")  # B, T, (q, k, v), H, E
    for cut in (slice(0, 8), slice(1, 9), slice(0, 8, 2)):
        q, k, v = (np.swapaxes(whole[:, :, i, :, cut], 1, 2) for i in range(3))
        there = ta.tensor(whole).to(device)
        views = [there[:, :, i, :, cut].swapaxes(1, 2) for i in range(3)]
        y = attend(*views, causal=True, path="tiled")
        spec = attend(*map(ta.tensor, (q, k, v)), causal=True, path="spec")
        np.testing.assert_allclose(y.cpu().numpy(), spec.numpy(), atol=3e-6)


# ---- rows that may attend nothing, and what closed pairs hide ------------------------------------

CLOSED = {
    "mask": {"mask": np.arange(70)[:, None] % 3 > 0},
    "bias": {"bias": np.where(np.arange(70)[:, None] % 3 > 0, 0.0, -math.inf)},
    "window": {
        "window": 1,
        "q_positions": np.arange(70),
        "k_positions": np.arange(0, 210, 3)[:70] // 3 * 3,
    },
}


@each("float32", "float16")
@pytest.mark.parametrize("closed_by", CLOSED)
def test_a_row_that_may_attend_nothing_is_zero(device, arithmetic, closed_by):
    q, k, v = made(70, 70, 8, 8)
    options = CLOSED[closed_by]
    nothing = np.arange(70) % 3 != 0 if closed_by == "window" else np.arange(70) % 3 == 0
    y, gq, gk, gv, *_ = outcome(device, arithmetic[0], q, k, v, options)
    assert (y[0, 0, nothing] == 0).all() and (gq[0, 0, nothing] == 0).all()
    assert all(np.isfinite(x).all() for x in (y, gq, gk, gv))
    compare(device, arithmetic, q, k, v, options)


@each(*NAMES)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_what_a_mask_hides_changes_nothing(device, arithmetic, poison):
    """NaN in keys, values and queries of which all pairs are closed: the same bits come out."""
    q, k, v = made(70, 70, 8, 8)
    keys, queries = np.arange(70) < 60, np.arange(70) % 7 > 0
    options = {"mask": queries[:, None] & keys}
    clean = outcome(device, arithmetic[0], q, k, v, options)
    q[..., ~queries, 3] = k[..., ~keys, :] = v[..., ~keys, 2] = poison
    for before, after in zip(clean, outcome(device, arithmetic[0], q, k, v, options), strict=True):
        np.testing.assert_array_equal(before, after)


@each("float32", "float16")
@pytest.mark.parametrize("which", ["k", "v"])
def test_what_is_hidden_from_some_reaches_the_others(device, arithmetic, which):
    q, k, v = made(70, 70, 8, 8)
    options = {"causal": True, "window": 20}
    (k if which == "k" else v)[..., 30, 2] = math.nan
    y, gq, *_ = outcome(device, arithmetic[0], q, k, v, options)
    sees = (np.arange(70) >= 30) & (np.arange(70) < 50)
    np.testing.assert_array_equal(np.isnan(y[0, 0]).any(axis=-1), sees)
    np.testing.assert_array_equal(np.isnan(gq[0, 0]).any(axis=-1), sees)
    np.testing.assert_array_equal(
        np.isnan(y), np.isnan(outcome("cpu", arithmetic[0], q, k, v, options, "spec")[0])
    )


@each(*NAMES)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("rule", ["causal", "mask", None])
def test_who_may_attend_an_infinite_key_gets_nan(device, arithmetic, sign, rule):
    """Where a rule closes pairs, that is: else a score of −∞ is a score like any other."""
    q, k, v = made(70, 70, 8, 8)
    q[..., 2] = np.abs(q[..., 2])
    k[..., 30, 2] = sign * math.inf
    options = {"causal": {"causal": True}, "mask": {"mask": np.arange(70)[:, None] % 3 > 0}}
    options = options.get(rule, {})
    y, gq, *_ = outcome(device, arithmetic[0], q, k, v, options)
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        exact = outcome("cpu", arithmetic[0], q, k, v, options, "spec")
    np.testing.assert_array_equal(np.isnan(y), np.isnan(exact[0]))
    np.testing.assert_array_equal(np.isnan(gq).any(-1), np.isnan(exact[1]).any(-1))
    if rule is not None:
        sees = {"causal": np.arange(70) >= 30, "mask": np.arange(70) % 3 > 0}[rule]
        np.testing.assert_array_equal(np.isnan(y[0, 0]).all(-1), sees)


@each("float32", "float16")
def test_a_gradient_that_is_no_number_reaches_what_its_query_attends(device, arithmetic):
    q, k, v = (ta.tensor(x.astype(arithmetic[0])).to(device) for x in made(70, 70, 8, 8))
    v.requires_grad_()
    g = np.ones((1, 1, 70, 8), arithmetic[0])
    g[..., 40, 3] = math.nan
    y = attend(q, k, v, causal=True, window=20, path="tiled")
    (gv,) = ta.grad(y, [v], ta.tensor(g).to(device))
    is_nan = np.isnan(gv.cpu().numpy().astype("float32"))[0, 0]
    np.testing.assert_array_equal(is_nan[:, 3], (np.arange(70) > 20) & (np.arange(70) <= 40))
    assert not is_nan[:, 4:].any()


# ---- conduct -------------------------------------------------------------------------------------


@each("float32", "float16")
def test_the_same_bits_every_time(device, arithmetic):
    q, k, v = made(150, 150, 8, 8, heads=4, groups=2)
    options = {"causal": True, "dropout": 0.2}
    runs = [outcome(device, arithmetic[0], q, k, v, options) for _ in range(4)]
    assert len({b"".join(x.tobytes() for x in run) for run in runs}) == 1


def test_memory_grows_with_the_length(device, monkeypatch):
    """What is allocated forward and backward, in numbers for each query."""
    xp, made_sizes = get_backend(device).xp, []

    def noting(make):
        def run(shape, *args, **options):
            made_sizes.append(math.prod(shape))
            return make(shape, *args, **options)

        return run

    for name in ("empty", "zeros"):
        monkeypatch.setattr(xp, name, noting(getattr(xp, name)))
    needed = []
    for length in (64, 256):
        made_sizes.clear()
        outcome(device, "float32", *made(length, length, 8, 8), {"causal": True})
        needed.append(sum(made_sizes) / length)
    assert needed[0] == needed[1] > 0


def test_one_launch_forward_two_back_and_no_wait():
    backend = get_backend("standin")
    q, k, v, g = (
        backend.from_host(x.astype("f4"), "standin")
        for x in [*made(9, 9, 8, 8), *made(9, 9, 8, 8)[:1]]
    )
    options = {"causal": True, "window": None, "scale": 1.0, "softcap": None, "drop": None}
    waits, launches = fake_cupy.synchronizations, on_host.launches
    _, backward = flash.attention(q, k, v, *[None] * 5, needs=(True,) * 3 + (False,) * 5, **options)
    assert on_host.launches == launches + 1
    assert [x.shape for x in backward(g)[:3]] == [(1, 1, 9, 8)] * 3
    assert on_host.launches == launches + 3 and fake_cupy.synchronizations == waits


@pytest.mark.parametrize("wanted", ["q", "k", "v", "kv", "qv"])
def test_a_gradient_is_the_same_whichever_others_are_wanted(device, wanted):
    def gradients(names):
        inputs = {
            name: ta.tensor(x.astype("f4"), device=device)
            for name, x in zip("qkv", made(70, 70, 8, 8))
        }
        y = attend(*[x.requires_grad_(name in names) for name, x in inputs.items()], causal=True)
        found = ta.grad(y, [inputs[name] for name in names], ta.cos(y.detach()))
        return dict(zip(names, (x.cpu().numpy() for x in found)))

    every = gradients("qkv")
    for name, x in gradients(wanted).items():
        np.testing.assert_array_equal(x, every[name])


def test_heads_side_by_side_are_not_copied_nor_are_their_gradients():
    backend = get_backend("standin")
    qkv = ta.tensor(np.ones((2, 9, 4 * 8), "f4"), device="standin", requires_grad=True)
    g = ta.tensor(np.ones((2, 9, 2 * 8), "f4"), device="standin")
    before = fake_cupy.launches.copy()
    with pytest.MonkeyPatch.context() as patch:
        own = {"dense_attention": flash.attention}
        patch.setattr(backend, "kernels", {**backend.kernels, **own})
        y = ta.packed_attention(qkv, 2, 1, causal=True)
        ta.grad(y, [qkv], g)
    ours = "attention_forward", "attention_backward_queries", "attention_backward_keys"
    assert fake_cupy.launches - before == Counter(ours)


# ---- what is left to the portable kernels --------------------------------------------------------


@pytest.mark.parametrize(
    ("widths", "dtype", "options"),
    [
        ((8, 8), "float64", {}),
        ((129, 8), "float32", {}),
        ((8, 129), "float32", {}),
        ((8, 0), "float32", {}),
        ((8, 8), "float32", {"scale": 0.0}),
        ((8, 8), "float32", {"scale": -1.0}),
        ((8, 8), "float32", {"bias": np.zeros((1, 9))}),
    ],
)
def test_other_calls_are_declined_and_computed_all_the_same(monkeypatch, widths, dtype, options):
    answers = []

    def asked(*args, **options):
        answers.append(flash.attention(*args, **options))
        return answers[-1]

    backend = get_backend("standin")
    monkeypatch.setattr(backend, "kernels", {"tiled_attention": asked})
    found = outcome("standin", dtype, *made(9, 9, *widths), options)
    exact = outcome("cpu", dtype, *made(9, 9, *widths), options, "spec")
    assert answers == [NotImplemented]
    for ours, theirs in zip(found, exact, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    "lacks", [{"compute_capability": "75"}, {"attributes": {"MaxSharedMemoryPerBlockOptin": 1000}}]
)
def test_a_gpu_that_lacks_what_the_kernels_need_gets_none(monkeypatch, lacks):
    flash._shared_limit.cache_clear()
    for name, value in lacks.items():
        monkeypatch.setattr(fake_cupy._Device, name, value)
    q = fake_cupy.zeros((1, 1, 4, 8), dtype="float32")
    options = {"causal": True, "window": None, "scale": 1.0, "softcap": None, "drop": None}
    assert flash.attention(q, q, q, *[None] * 5, needs=(False,) * 8, **options) is NotImplemented
    flash._shared_limit.cache_clear()
