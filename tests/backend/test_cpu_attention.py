"""Attention on the CPU against its spec, in blocks so small that every case has many of them.

The settings decide which way a kernel goes: how many scores make a block, how many queries, from
which bound on a row needs its maximum, and whether exponentials are kept or computed again.
"""

import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.backend.on_threads import on_threads
from tinygrad_attn.backend.cpu import scores

attend = ta.scaled_dot_product_attention
KERNEL = sys.modules["tinygrad_attn.backend.cpu.attention"]  # the package has the function there
TOLERANCE = {"float16": 2e-3, "float32": 2e-5, "float64": 1e-12}

SWITCHES = (scores, "BLOCK"), (scores, "ROWS"), (scores, "SUMS"), (KERNEL, "KEPT")
WAYS = {  # name -> threads, then elements of a block, its queries, the usual sums, what is kept
    "a row at a time, all guarded": (1, 7, 1, (1, 1), 0),
    "ragged, some guarded": (1, 64, 3, (0.1, 10), 2),
    "ragged, all kept": (1, 300, 5, (1e-13, 1e13), 1000),
    "ragged, on three threads": (3, 64, 3, (0.1, 10), 2),
    "as it is": (1, *(getattr(place, name) for place, name in SWITCHES)),
}


@pytest.fixture(params=WAYS.values(), ids=list(WAYS), scope="module")
def way(request):
    threads, *values = request.param
    with pytest.MonkeyPatch.context() as patch, on_threads(threads):
        patch.setattr(scores, "LEAST", 16)
        for (place, name), value in zip(SWITCHES, values):
            patch.setattr(place, name, value)
        yield


def laid_out(rng, x):
    """The same numbers, in some order of memory."""
    kind = rng.integers(0, 6) if x.ndim > 2 else 5
    if kind == 0:
        return np.asfortranarray(x)
    if kind == 1:  # as heads are split off the width of a model
        return np.ascontiguousarray(x.swapaxes(-2, -3)).swapaxes(-2, -3)
    if kind == 2:
        room = np.zeros((*x.shape, 2), x.dtype)
        room[..., 0] = x
        return room[..., 0]
    if kind == 3:
        return np.ascontiguousarray(x[..., ::-1, :])[..., ::-1, :]
    return np.broadcast_to(x[:1], x.shape) if kind == 4 else x


class Problem:
    """One drawn call: its arrays in float64 or less, options, and which gradients are wanted."""

    def __init__(self, seed, dtype):
        self.rng = rng = np.random.default_rng(seed)
        self.seed, self.dtype = seed, dtype
        self.batch = tuple(rng.integers(1, 4, rng.integers(0, 3)).tolist())
        heads, group, queries, keys, width, values = rng.integers(1, (4, 4, 13, 13, 6, 6)).tolist()
        self.full = (*self.batch, heads * group, queries, keys)
        steep = rng.choice([1, 1, 3]) if dtype == "float16" else rng.choice([1, 1, 3, 30])
        self.q = self.floats((*self.full[:-1], width), steep)
        self.k = self.floats((*self.batch, heads, keys, width))
        self.v = self.floats((*self.batch, heads, keys, values))
        self.g = self.floats((*self.full[:-1], values))
        self.mask = rng.random(self.part_of_full()) < 0.6 if rng.random() < 0.4 else None
        self.bias = None
        if rng.random() < 0.4:
            self.bias = self.floats(self.part_of_full(), 3)
            self.bias = np.where(rng.random(self.bias.shape) < 0.2, -np.inf, self.bias)
        self.options = {"causal": bool(rng.random() < 0.5)}
        self.options["window"] = int(rng.integers(1, 8)) if rng.random() < 0.4 else None
        self.options["dropout"] = float(rng.choice([0, 0, 0.3]))
        if rng.random() < 0.3:
            self.options["q_positions"] = self.positions(queries)
            self.options["k_positions"] = self.positions(keys)
        self.needs = rng.random(4) < 0.75
        self.needs[rng.integers(0, 3)] = True

    def floats(self, shape, size=1):
        return laid_out(self.rng, (self.rng.standard_normal(shape) * size).astype(self.dtype))

    def part_of_full(self):
        """A shape that broadcasts to that of the scores."""
        cut = self.full[self.rng.integers(0, len(self.full) + 1) :]
        return tuple(n if self.rng.random() < 0.6 else 1 for n in cut)

    def positions(self, length):
        rows = self.batch if self.rng.random() < 0.5 else ()
        return np.sort(self.rng.integers(-5, 15, (*rows, length)), axis=-1)

    def tensors(self, dtype):
        """q, k, v and bias as tensors, those of which a gradient is wanted as leaves."""
        arrays = [x if x is None else x.astype(dtype, order="K", copy=False) for x in self.inputs]
        return [
            None if x is None else ta.tensor(x, requires_grad=bool(need))
            for x, need in zip(arrays, self.needs)
        ]

    @property
    def inputs(self):
        return self.q, self.k, self.v, self.bias

    @property
    def wanted(self):
        """The names of those of which a gradient is wanted."""
        named = zip(("q", "k", "v", "bias"), self.inputs, self.needs)
        return [name for name, x, need in named if x is not None and need]

    def noise(self):
        """What rounding may leave of a gradient of q or k that is 0, as where one key has it all.

        With p = 1 the gradient of the score is g·v − y·g, two sums whose roundings differ; that of
        q is this times k, that of k this times q, which may be large.
        """
        eps = np.finfo(np.result_type(self.dtype, np.float32)).eps
        g, v, q, k = (np.abs(x.astype(np.float64)).max() for x in (self.g, self.v, self.q, self.k))
        return 4 * eps * g * v * max(q, k) / math.sqrt(self.q.shape[-1])

    def run(self, path, dtype):
        """(y, gradients, the tensors that went in)."""
        tensors = self.tensors(dtype)
        q, k, v, bias = tensors
        random = {"generator": ta.Generator(self.seed)}
        y = attend(q, k, v, bias=bias, mask=self.mask, path=path, **self.options, **random)
        wanted = [x for x in tensors if x is not None and x.requires_grad]
        g = ta.tensor(self.g.astype(dtype))
        once = ta.grad(y, wanted, g, retain_graph=True)
        again = ta.grad(y, wanted, g)
        for one, other in zip(once, again):
            assert one.numpy().tobytes() == other.numpy().tobytes()
        return y, [*once, *again], [x for x in tensors if x is not None]


@pytest.mark.parametrize("dtype", TOLERANCE)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_the_kernel_is_its_spec(way, dtype, seed):
    problem = Problem(seed, dtype)
    expected, slopes, _ = problem.run("spec", "float64")
    before = [x if x is None else x.tobytes() for x in problem.inputs]
    y, gradients, tensors = problem.run("dense", dtype)
    names = ["y", *problem.wanted, *problem.wanted]
    pairs = zip(names, [y, *gradients], [expected, *slopes], strict=True)
    for name, found, wanted in pairs:
        assert found.dtype == dtype and found.shape == wanted.shape
        room = TOLERANCE[dtype] * max(1, np.abs(wanted.numpy()).max())
        if name in "qk":
            room = max(room, problem.noise())
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=0, atol=room)
    assert before == [x if x is None else x.tobytes() for x in problem.inputs]
    everything = [x.numpy() for x in (y, *gradients, *tensors)]
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(everything, 2))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 3e38, 1e20])
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32))
def test_what_a_closed_pair_hides_changes_no_bit(way, poison, seed):
    """Keys that nobody may attend, and queries that may attend nobody."""
    problem = Problem(seed, "float32")
    problem.needs[:] = True
    k_open = problem.rng.random((*problem.batch, 1, 1, problem.full[-1])) < 0.6
    problem.mask = k_open & (problem.rng.random((problem.full[-2], 1)) < 0.8)
    problem.q, problem.k, problem.v = (x.copy() for x in (problem.q, problem.k, problem.v))
    y, gradients, _ = problem.run("dense", "float32")
    k_dead = np.broadcast_to(~k_open[..., 0, :], problem.k.shape[:-1])
    problem.k[k_dead] = problem.v[k_dead] = poison
    problem.q[~np.broadcast_to(problem.mask, problem.full).any(axis=-1)] = poison
    other, slopes, _ = problem.run("dense", "float32")
    for one, two in zip((y, *gradients), (other, *slopes)):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


# ---- what went wrong once ------------------------------------------------------------------------


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def both(q, k, v, **options):
    """[y, gradients of q, k, v (and the bias)] of the kernel, and of the spec."""
    found = []
    for path in ("dense", "spec"):
        inputs = [ta.tensor(x, requires_grad=True) for x in (q, k, v)]
        y = attend(*inputs, path=path, **options)
        found.append([x.numpy() for x in (y, *ta.grad(y, inputs, ta.ones_like(y)))])
    return found


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))


@pytest.mark.parametrize("limits", [{"causal": True}, {"window": 1}])
def test_a_block_that_reaches_no_key_at_all(limits, monkeypatch):
    """More queries than keys, and a bias, with which every row gets its maximum subtracted."""
    monkeypatch.setattr(scores, "ROWS", 2)
    q, k, v, bias = (numbers(1, 2, *size) for size in ((9, 4), (3, 4), (3, 4), (9, 3)))
    same(*both(q, k, v, bias=bias, **limits))


@pytest.mark.parametrize(("place", "number"), [(1, 1e20), (2, 3e38)])
def test_a_hidden_number_may_overflow_wherever_it_goes(place, number):
    """The norm of a key, by which rows are guarded; g·v, which is met by a weight of 0."""
    results = []
    for hidden in (0, number):
        inputs = [200 * numbers(2, 2, 5, 4), numbers(2, 2, 6, 4), numbers(2, 2, 6, 4)]
        inputs[place][..., 5, :] = hidden
        inputs = [ta.tensor(x, requires_grad=True) for x in inputs]
        y = attend(*inputs, mask=np.arange(6) < 5)
        results.append([y, *ta.grad(y, inputs, ta.ones_like(y))])
    for one, other in zip(*results):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_query_without_a_result_says_nothing_to_keys_that_it_may_not_attend():
    q, k, v = numbers(1, 1, 2, 3), numbers(1, 1, 3, 3), numbers(1, 1, 3, 3)
    bias = np.array([[np.inf, 0, 0], [0, 0, 0]], "float32")
    inputs = [ta.tensor(x, requires_grad=True) for x in (q, k, v)]
    y = attend(*inputs, bias=bias, mask=np.array([[True, True, False], [True, True, True]]))
    (gk,) = ta.grad(y, [inputs[1]], ta.ones_like(y))
    assert np.isnan(y.numpy()[0, 0, 0]).all() and np.isfinite(gk.numpy()[0, 0, 2]).all()


@pytest.mark.parametrize("kept", [0, KERNEL.KEPT])
@pytest.mark.parametrize("place", [1, 2])
def test_a_nan_that_is_attended_says_nothing_to_keys_that_nobody_may_attend(
    place, kept, monkeypatch
):
    monkeypatch.setattr(KERNEL, "KEPT", kept)
    inputs = [numbers(1, 1, 3, 2), numbers(1, 1, 3, 2), numbers(1, 1, 3, 2)]
    inputs[place][..., 0, :] = np.nan
    inputs = [ta.tensor(x, requires_grad=True) for x in inputs]
    y = attend(*inputs, mask=np.array([True, True, False]))
    for grad in ta.grad(y, inputs[1:], ta.ones_like(y)):
        np.testing.assert_array_equal(grad.numpy()[..., 2, :], 0)


def test_norms_whose_product_is_no_number_count_as_steep():
    """|q| overflows and |k| vanishes in float32; their scores are 10⁵ and −10⁵."""
    numbers = [1e30], [-1e-25, 1e-25], [1, 2]
    q, k, v = (np.array(x, "float32").reshape(1, 1, -1, 1) for x in numbers)
    assert attend(*map(ta.tensor, (q, k, v))).tolist() == [[[[2.0]]]]


def test_positions_of_each_of_several_batch_axes():
    q, k = numbers(2, 3, 2, 5, 4), numbers(2, 3, 2, 6, 4)
    positions = np.sort(np.random.default_rng(1).integers(0, 8, (2, 3, 6)), axis=-1)
    same(*both(q, k, k, causal=True, q_positions=np.arange(5), k_positions=positions))


@pytest.mark.parametrize("path", ["dense", "tiled", "spec"])
@pytest.mark.parametrize("dtype", ["uint8", "uint64", "int8"])
def test_positions_of_any_integer_type(dtype, path):
    """Differences of unsigned numbers wrap round, and so do large ones of narrow types."""
    q, k = (ta.tensor(numbers(1, 1, 5, 4)) for _ in range(2))
    at = np.array([-128, -100, 0, 100, 127] if dtype == "int8" else [0, 1, 2, 100, 127])
    options = {"causal": True, "window": 50, "path": path}
    expected = attend(q, k, k, q_positions=at, k_positions=at, **options)
    at = at.astype(dtype)
    found = attend(q, k, k, q_positions=at, k_positions=at, **options)
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize("sign", [1, -1])
@np.errstate(invalid="ignore")  # ∞ − ∞, in the spec
def test_an_infinite_query_is_what_the_spec_makes_of_it(sign):
    """One that holds −∞ may find all of its scores −∞, and then attends nothing."""
    rng = np.random.default_rng(0)
    q, k, v = (np.abs(rng.standard_normal((1, 2, 5, 3))).astype("float32") for _ in range(3))
    q[0, 1, 2, 0] = sign * np.inf
    tensors = [ta.tensor(x) for x in (q, k, v)]
    for causal in (False, True):
        found, expected = (
            ta.scaled_dot_product_attention(*tensors, causal=causal, path=path).numpy()
            for path in ("dense", "spec")
        )
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert (found[0, 1, 2] == 0).all() if sign < 0 else np.isnan(found[0, 1, 2]).all()


@pytest.mark.parametrize("kept", [0, KERNEL.KEPT])
@pytest.mark.parametrize(
    ("score", "value", "gradient"),
    [
        (29, 1e26, 1),
        (-29, 1e-30, 1),
        (29, 1e-30, 1),
        (29, 1, 1e-30),
        (-29, 1e14, 1e14),
        (-29, 1e30, 1),
    ],
)
def test_a_score_that_needs_no_maximum_takes_no_digit_of_what_it_weighs(
    kept, score, value, gradient, monkeypatch
):
    """Of values and gradients that leave the spec, in float32, far from the ends of its range."""
    monkeypatch.setattr(KERNEL, "KEPT", kept)
    q = np.full((1, 2, 1), score, "float32")
    k = np.array([1.0, 0.98, 0.95], "float32").reshape(1, 3, 1)
    v = np.array([[1, 2], [-1, 3], [2, 1]], "float32")[None] * np.float32(value)
    results = []
    for path in ("dense", "spec"):
        inputs = [ta.tensor(x, requires_grad=True) for x in (q, k, v)]
        y = attend(*inputs, scale=1.0, path=path)
        results.append([y, *ta.grad(y, inputs, ta.full(y.shape, float(gradient)))])
    for found, expected in zip(*results):
        found, expected = found.numpy(), expected.numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
