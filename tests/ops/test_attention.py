"""One contract on every path: the dense and the tiled kernel against the spec, and the spec by
hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tinygrad_attn.backend.cpu import CpuBackend
from tinygrad_attn.ops.fused import attention_tiled

PATHS = ("spec", "dense", "tiled")
attend = ta.scaled_dot_product_attention


@pytest.fixture(autouse=True, scope="module", params=["portable", "of the CPU"])
def kernels(request):
    """Both kinds of kernels: the CPU's own serves dense and tiled alike, where it does not decline.

    Tiles have a few scores, so that small tests cross many of their edges.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_tiled, "ROWS", 4)
        patch.setattr(attention_tiled, "COLUMNS", 5)
        if request.param == "portable":
            patch.setattr(CpuBackend, "kernels", {})
        yield


# ---- settings drawn at random --------------------------------------------------------------------


@st.composite
def problems(draw, longest=13):
    """(q, k, v, options): everything that the contract lets vary."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from(["float32", "float64"]))
    batch = draw(st.sampled_from([(), (2,), (2, 1), (0,)]))
    groups, heads = draw(st.sampled_from([(1, 1), (2, 2), (2, 4), (1, 3)]))
    queries, keys = draw(st.integers(0, longest)), draw(st.integers(0, longest))

    def floats(*shape):
        return ta.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)

    def part_of(shape):
        """A shape that broadcasts to ``shape``, of any rank."""
        cut = shape[draw(st.integers(0, len(shape))) :]
        return tuple(size if draw(st.booleans()) else 1 for size in cut)

    full = (*batch, heads, queries, keys)
    options = {"causal": draw(st.booleans()), "scale": draw(st.sampled_from([None, 0.3]))}
    options["window"] = draw(st.none() | st.integers(1, longest))
    options["softcap"] = draw(st.sampled_from([None, 2.0]))
    options["dropout"] = draw(st.sampled_from([0.0, 0.4]))
    if draw(st.booleans()):
        options["mask"] = ta.tensor(rng.random(part_of(full)) < 0.6)
    if draw(st.booleans()):
        options["bias"] = floats(*part_of(full))
    if draw(st.booleans()):
        options["sinks"] = floats(heads)
    if draw(st.booleans()):
        rows = draw(st.sampled_from([(), batch]))
        options["q_positions"] = ta.tensor(np.sort(rng.integers(0, 15, (*rows, queries))))
        options["k_positions"] = ta.tensor(np.sort(rng.integers(0, 15, (*rows, keys))))
    q, k, v = (
        floats(*batch, heads, queries, 3),
        floats(*batch, groups, keys, 3),
        floats(*batch, groups, keys, 2),
    )
    return q, k, v, options


def outcome(path, q, k, v, options):
    """The result of a path, and its gradients with respect to everything differentiable."""
    y = attend(q, k, v, path=path, generator=ta.Generator(5), **options)
    inputs = [q, k, v] + [options[name] for name in ("bias", "sinks") if name in options]
    g = ta.tensor(np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype))
    return [y, *ta.grad(y, inputs, g)]


@settings(max_examples=500)
@given(problem=problems())
def test_paths_agree(problem):
    spec = outcome("spec", *problem)
    tolerance = 1e-6 if problem[0].dtype == "float32" else 1e-13
    scores = math.prod(problem[0].shape[:-1]) * problem[1].shape[-2]
    for path in ("dense", "tiled"):
        for ours, theirs in zip(outcome(path, *problem), spec, strict=True):
            assert ours.dtype == theirs.dtype
            assert np.isfinite(ours.numpy()).all()
            summed = scores / max(ours.size, 1)  # a bias for all pairs has the gradients of all
            size = max(np.abs(theirs.numpy()).max(initial=0), min(summed**0.5, 4), 1)
            np.testing.assert_allclose(
                ours.numpy(), theirs.numpy(), rtol=tolerance, atol=tolerance * size
            )


@pytest.mark.parametrize("path", ["dense", "tiled"])
def test_each_sequence_may_have_its_own_key_positions(path):
    rng = np.random.default_rng(0)
    q, k = ta.tensor(rng.standard_normal((2, 3, 2, 4, 5))), ta.randn(2, 3, 2, 7, 5, dtype="float64")
    options = {"causal": True, "q_positions": ta.tensor([1, 3, 5, 7])}
    options["k_positions"] = ta.tensor(np.sort(rng.integers(0, 9, (2, 3, 7))))
    spec = attend(q, k, k, path="spec", **options)
    np.testing.assert_allclose(attend(q, k, k, path=path, **options).numpy(), spec.numpy(), 1e-12)


@settings(max_examples=10)
@given(problem=problems(longest=5))
def test_second_order(problem):
    q, k, v, options = problem
    inputs = [x.detach().astype("float64").requires_grad_() for x in (q, k, v)]
    for name in ("bias", "sinks"):
        if name in options:
            options[name] = options[name].detach().astype("float64")
    for path in ("dense", "tiled"):

        def run(q, k, v, path=path):
            return attend(q, k, v, path=path, generator=ta.Generator(5), **options)

        assert ta.gradcheck(run, inputs, order=2, mode="random")


# ---- by hand -------------------------------------------------------------------------------------


def by_hand(q, k, v, allowed):
    """The definition in plain NumPy, one query at a time."""
    y = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        open_keys = np.flatnonzero(allowed[i])
        if open_keys.size:
            e = np.exp(k[open_keys] @ q[i] / math.sqrt(q.shape[1]))
            y[i] = e / e.sum() @ v[open_keys]
    return y


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("queries, keys", [(5, 5), (2, 6), (6, 2), (1, 7)])
@pytest.mark.parametrize("causal, window", [(True, None), (True, 3), (False, 2), (True, 1)])
def test_who_attends_whom_by_position(path, queries, keys, causal, window):
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((n, 4)) for n in (queries, keys, keys))
    at, of = np.arange(keys - queries, keys)[:, None], np.arange(keys)
    allowed = of <= at if causal else np.ones((queries, keys), bool)
    if window is not None:
        allowed = allowed & (abs(at - of) < window)
    y = attend(*(ta.tensor(x[None]) for x in (q, k, v)), causal=causal, window=window, path=path)
    np.testing.assert_allclose(y.numpy()[0], by_hand(q, k, v, allowed), atol=1e-12)


@pytest.mark.parametrize("path", PATHS)
def test_a_window_is_any_whole_number(path):
    q, k, v = (ta.tensor(np.random.default_rng(i).standard_normal((1, 6, 2))) for i in range(3))
    found, expected = (attend(q, k, v, window=w, path=path) for w in (np.int64(2), 2))
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize("path", PATHS)
def test_a_sink_takes_its_share_nowhere(path):
    x = ta.zeros(1, 1, 3)
    v = ta.ones(1, 1, 2)
    y = attend(x, x, v, sinks=ta.tensor([math.log(3.0)]), path=path)
    np.testing.assert_allclose(y.numpy(), 0.25, rtol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_order_is_scale_softcap_bias_mask(path):
    q, k, v = (
        ta.tensor([[[4.0]]]),
        ta.tensor([[[1.0], [-1.0], [9.0]]]),
        ta.tensor([[[1.0], [0.0], [5.0]]]),
    )
    bias, mask = ta.tensor([0.5, 0.0, 0.0]), ta.tensor([True, True, False])
    y = attend(q, k, v, bias=bias, mask=mask, scale=0.5, softcap=1.0, path=path)
    first, second = math.exp(math.tanh(2.0) + 0.5), math.exp(math.tanh(-2.0))
    assert y.item() == pytest.approx(first / (first + second), rel=1e-6)


# ---- rows that may attend nothing, and what closed pairs hide ------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("closed_by", ["mask", "bias", "window", "no keys"])
def test_a_row_that_may_attend_nothing_is_zero(path, closed_by):
    rng = np.random.default_rng(1)
    q, k, v = (ta.tensor(rng.standard_normal((1, 3, 2)), requires_grad=True) for _ in range(3))
    options = {}
    if closed_by == "mask":
        options["mask"] = ta.tensor([[True] * 3, [False] * 3, [True] * 3])
    elif closed_by == "bias":
        options["bias"] = ta.tensor([[0.0] * 3, [-math.inf] * 3, [0.0] * 3])
    elif closed_by == "window":
        options = {
            "window": 1,
            "q_positions": ta.tensor([0, 7, 9]),
            "k_positions": ta.tensor([0, 1, 9]),
        }
    else:
        k, v = k[:, :0], v[:, :0]
    y = attend(q, k, v, path=path, **options)
    assert (y.numpy()[0, 1] == 0).all()
    first = ta.grad(y.sum(), (q, k, v), create_graph=True)
    assert (first[0].numpy()[0, 1] == 0).all()
    second = ta.grad(sum((g * g).sum() for g in first), (q, k, v), allow_unused=True)
    for gradient in (*first, *(g for g in second if g is not None)):
        assert np.isfinite(gradient.numpy()).all()
    assert (second[0].numpy()[0, 1] == 0).all()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("closed_by", ["mask", "causality"])
def test_what_a_closed_pair_hides_changes_nothing(path, poison, closed_by):
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal((2, 6, 3)) for _ in range(3)]
    options = (
        {"mask": ta.tensor([True] * 4 + [False] * 2)} if closed_by == "mask" else {"causal": True}
    )

    def run(q, k, v):
        q, k, v = (ta.tensor(x, requires_grad=True) for x in (q, k, v))
        y = attend(q, k, v, path=path, **options)
        if (
            closed_by == "causality"
        ):  # the last queries do attend the poison, so only values are compared
            return [y]
        return [y, *ta.grad(y.sum(), (q, k, v))]

    clean = run(*arrays)
    for x in arrays[1:]:
        x[:, 4:] = poison
    for before, after in zip(clean, run(*arrays), strict=True):
        np.testing.assert_array_equal(before.numpy()[:, :4], after.numpy()[:, :4])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("poisoned", ["query", "key"])
def test_nan_where_nothing_is_open_changes_no_gradient_of_any_order(path, softcap, poisoned):
    rng = np.random.default_rng(3)
    q, k, v = (rng.standard_normal((2, 4, 3)) for _ in range(3))
    mask = np.ones((4, 4), bool)
    mask[1] = mask[:, 2] = False

    def run():
        inputs = [ta.tensor(x, requires_grad=True) for x in (q, k, v)]
        y = attend(*inputs, mask=ta.tensor(mask), softcap=softcap, path=path)
        plain = ta.grad((y * y).sum(), inputs, retain_graph=True)
        first = ta.grad((y * y).sum(), inputs, create_graph=True)
        return [y, *plain, *first, *ta.grad(sum((g * g).sum() for g in first), inputs)]

    clean = run()
    if poisoned == "query":
        q[:, 1] = math.nan
    else:
        k[:, 2] = math.nan
    for before, after in zip(clean, run(), strict=True):
        np.testing.assert_allclose(before.numpy(), after.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("place", ["query", "key", "value"])
@np.errstate(over="ignore")  # products warn
def test_what_overflows_where_nothing_is_open_changes_no_gradient_of_any_order(
    path, softcap, place
):
    """The products of 3e38 are infinite, and a weight of 0 times that would be NaN."""
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal((2, 4, 3)).astype("float32") for _ in range(3)]
    mask = np.ones((4, 4), bool)
    mask[1] = mask[:, 2] = False

    def run():
        inputs = [ta.tensor(x, requires_grad=True) for x in arrays]
        y = attend(*inputs, mask=ta.tensor(mask), softcap=softcap, path=path)
        plain = ta.grad((y * y).sum(), inputs, retain_graph=True)
        first = ta.grad((y * y).sum(), inputs, create_graph=True)
        return [y, *plain, *first, *ta.grad(sum((g * g).sum() for g in first), inputs)]

    clean = run()
    at = {"query": (0, 1), "key": (1, 2), "value": (2, 2)}[place]
    arrays[at[0]][:, at[1]] = 3e38
    for before, after in zip(clean, run(), strict=True):
        np.testing.assert_allclose(after.numpy(), before.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_values_without_width_can_be_walked_back(path):
    q, k, v = (ta.ones(1, 2, 3, n, requires_grad=True) for n in (4, 4, 0))
    y = attend(q, k, v, path=path)
    assert y.shape == (1, 2, 3, 0)
    assert [g.tolist() for g in ta.grad(y.sum(), (q, v))] == [ta.zeros_like(q).tolist(), v.tolist()]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("place", range(3))
def test_the_result_has_the_widest_dtype_of_queries_keys_and_values(path, place):
    tensors = [ta.ones(1, 2, 3, dtype=ta.float16) for _ in range(3)]
    tensors[place] = tensors[place].astype(ta.float32).requires_grad_()
    bias = ta.zeros(2, 2, dtype=ta.float64)
    y, weights = attend(*tensors, bias=bias, path=path, return_weights=True)
    assert y.dtype == weights.dtype == ta.float32
    assert ta.grad(y.sum(), tensors[place]).dtype == ta.float32


@pytest.mark.parametrize("path", PATHS)
def test_returned_weights_have_the_dtype_of_the_queries(path):
    q = ta.ones(1, 2, 3, dtype=ta.float16)
    y, weights = attend(q, q, q, path=path, return_weights=True)
    assert y.dtype == weights.dtype == ta.float16


@pytest.mark.parametrize("path", PATHS)
def test_nan_in_an_open_place_passes_through(path):
    q = ta.ones(1, 2, 2)
    v = ta.tensor([[[1.0, 1.0], [math.nan, 1.0]]])
    y = attend(q, q, v, causal=True, path=path).numpy()
    np.testing.assert_array_equal(np.isnan(y[0]), [[False, False], [True, False]])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("place", ["key", "value"])
@pytest.mark.parametrize("batch", [(1,), (2, 1)])  # over several batch axes a mask is rare
def test_nan_in_an_open_place_changes_no_gradient_of_what_nobody_may_attend(path, place, batch):
    rng = np.random.default_rng(3)
    arrays = {name: rng.standard_normal((*batch, 2, 5, 2)) for name in ("query", "key", "value")}
    arrays[place][..., 1, 0] = math.nan
    q, *others = (ta.tensor(x.astype("float32"), requires_grad=True) for x in arrays.values())
    y = attend(q, *others, mask=np.arange(5) != 3, causal=True, path=path)
    assert np.isfinite(y.numpy()[..., 0, :]).all()
    for grad in ta.grad(y.sum(), others):
        np.testing.assert_array_equal(grad.numpy()[..., 3, :], 0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("allowed", [True, False])
def test_a_mask_may_be_a_single_boolean(path, allowed):
    q = ta.tensor(np.full((1, 3, 2), math.nan, "float32"))
    y = attend(q, ta.ones(1, 3, 2), ta.ones(1, 3, 2), mask=np.array(allowed), path=path)
    np.testing.assert_array_equal(y.numpy(), math.nan if allowed else 0)


@pytest.mark.parametrize("path", PATHS)
def test_a_cached_step_is_the_last_row(path):
    """Queries are numbered from the end of the keys, so one step of a cache needs no positions."""
    rng = np.random.default_rng(3)
    q, k, v = (ta.tensor(rng.standard_normal((2, 9, 4))) for _ in range(3))
    whole = attend(q, k, v, causal=True, window=4, path=path).numpy()
    for end in range(1, 10):
        chunk = attend(
            q[:, max(end - 2, 0) : end], k[:, :end], v[:, :end], causal=True, window=4, path=path
        )
        np.testing.assert_allclose(chunk.numpy(), whole[:, max(end - 2, 0) : end], atol=1e-12)


@pytest.mark.parametrize("path", PATHS)
def test_half_precision_sums_in_float32(path):
    rng = np.random.default_rng(4)
    q, k, v = (rng.standard_normal((1, 300, 8)).astype("float16") for _ in range(3))
    y = attend(*map(ta.tensor, (q, k, v)), path=path)
    exact = attend(*(ta.tensor(x.astype("float64")) for x in (q, k, v)), path=path)
    assert y.dtype == ta.float16
    np.testing.assert_allclose(y.numpy(), exact.numpy(), atol=5e-4)


def test_weights_are_returned():
    rng = np.random.default_rng(5)
    q, k, v = (ta.tensor(rng.standard_normal((2, 2, 4, 3))) for _ in range(3))
    y, weights = attend(q, k, v, causal=True, return_weights=True)
    np.testing.assert_allclose(weights.sum(axis=-1).numpy(), 1)
    np.testing.assert_allclose((weights @ v).numpy(), y.numpy(), atol=1e-12)
    assert (np.triu(weights.numpy(), 1) == 0).all()


def test_dropout_draws_from_the_generator():
    q = ta.randn(1, 8, 4, generator=ta.Generator(0))
    first, again, other = (
        attend(q, q, q, dropout=0.5, generator=ta.Generator(seed)).numpy() for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# ---- what is refused -----------------------------------------------------------------------------

Q = ta.ones(2, 4, 3, 8)
K = ta.ones(2, 2, 5, 8)
REFUSED = [
    (lambda: attend(Q, K, K, mask=ta.ones(3, 5)), ta.DTypeError, "a mask is boolean"),
    (lambda: attend(Q, K, K, bias=ta.ones(3, 5) > 0), ta.DTypeError, "bias is bool"),
    (lambda: attend(Q, K, K, attn_mask=None), TypeError, "'attn_mask'; write mask= (boolean"),
    (lambda: attend(Q, K, K, is_causal=True), TypeError, "'is_causal'; write causal="),
    (lambda: attend(Q, K, K, masks=None), TypeError, "unknown argument 'masks'"),
    (lambda: attend(Q, K, K, window=0), ta.ShapeError, "window is 0"),
    (lambda: attend(Q, K, K, window=1.5), ta.ShapeError, "window is 1.5"),
    (lambda: attend(Q, K, K, window=True), ta.ShapeError, "window is True"),
    (lambda: attend(Q, K, K, softcap=0.0), ta.ShapeError, "softcap is 0.0"),
    (lambda: attend(Q, K, K, dropout=1.0), ta.ShapeError, "dropout is 1.0"),
    (lambda: attend(Q, K, K, path="fast"), ta.ShapeError, "path is 'fast'"),
    (lambda: attend(Q, K[..., :7], K), ta.ShapeError, "k is (2, 2, 5, 7)"),
    (lambda: attend(Q, K, K[:, :, :4]), ta.ShapeError, "agree in heads and length"),
    (
        lambda: attend(Q[:, :3], K, K),
        ta.ShapeError,
        "the 3 query heads must be a multiple of the 2",
    ),
    (lambda: attend(Q[:1], K, K), ta.ShapeError, "batch sizes"),
    (lambda: attend(Q[0, 0], K, K), ta.ShapeError, "(..., heads, length, width)"),
    (lambda: attend(Q, K, K, mask=ta.ones(4, 5) > 0), ta.ShapeError, "mask is (4, 5)"),
    (
        lambda: attend(Q, K, K, bias=ta.ones(1, 1, 1, 1, 5)),
        ta.ShapeError,
        "bias is (1, 1, 1, 1, 5)",
    ),
    (lambda: attend(Q, K, K, sinks=ta.ones(2)), ta.ShapeError, "each of the 4 query heads"),
    (
        lambda: attend(Q, K, K, causal=True, q_positions=ta.arange(4)),
        ta.ShapeError,
        "q_positions is (4,)",
    ),
    (
        lambda: attend(Q, K, K, causal=True, k_positions=ta.tensor([0, 2, 1, 3, 4])),
        ta.ShapeError,
        "k_positions go backwards",
    ),
    (
        lambda: attend(Q, K, K, causal=True, k_positions=ta.ones(5)),
        ta.DTypeError,
        "whole numbers",
    ),
]


@pytest.mark.parametrize("call, error, words", REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_is_refused(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
    assert str(caught.value).startswith("scaled_dot_product_attention: ")
