"""packed_attention against scaled_dot_product_attention of its parts: values, gradients, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tinygrad_attn.core.fused import Fused
from tinygrad_attn.errors import DTypeError, ShapeError
from tinygrad_attn.ops.fused.attention_packed import unpack

TOLERANCE = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}
PATHS = "dense", "tiled", "spec"


class Problem:
    """A drawn call: qkv, the sizes of its heads, rules; ``on`` gives them on a device."""

    def __init__(self, seed, dtype):
        self.rng = rng = np.random.default_rng(seed)
        self.seed, self.dtype = seed, dtype
        self.batch = [(), (2,), (2, 1), (0,), (3,)][rng.integers(5)]
        self.kv_heads, group, self.width = rng.integers(1, (3, 3, 6)).tolist()
        self.heads, self.length = self.kv_heads * group, int(rng.integers(0, 12))
        self.full = (*self.batch, self.heads, self.length, self.length)
        packed = (self.heads + 2 * self.kv_heads) * self.width
        self.qkv = self.floats(*self.batch, self.length, packed)
        self.g = self.floats(*self.batch, self.length, self.heads * self.width)
        self.floating = {}
        if rng.random() < 0.4:
            self.floating["bias"] = self.floats(*self.part_of_full())
        if rng.random() < 0.3:
            self.floating["sinks"] = self.floats(self.heads)
        self.rules = {"causal": bool(rng.random() < 0.5)}
        self.rules["window"] = int(rng.integers(1, 6)) if rng.random() < 0.4 else None
        self.rules["softcap"] = 2.0 if rng.random() < 0.2 else None
        self.rules["scale"] = 0.3 if rng.random() < 0.3 else None
        self.rules["dropout"] = 0.3 if rng.random() < 0.4 else 0.0
        self.arrays = {}
        if rng.random() < 0.4:
            self.arrays["mask"] = rng.random(self.part_of_full()) < 0.6
        if rng.random() < 0.3:
            rows = self.batch if rng.random() < 0.5 else ()
            at = np.sort(rng.integers(-3, 12, (*rows, self.length)), axis=-1)
            self.arrays["q_positions"] = self.arrays["k_positions"] = at
        self.wanted = rng.random(3) < 0.8
        self.wanted[rng.integers(0, 3)] = True

    def floats(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)

    def part_of_full(self):
        cut = self.full[self.rng.integers(0, len(self.full) + 1) :]
        return tuple(n if self.rng.random() < 0.6 else 1 for n in cut)

    def run(self, attend, device, **options):
        """[y, *gradients] of ``attend(qkv, heads, kv_heads, ...)``."""
        given = {"qkv": self.qkv, **self.floating}
        floating = {
            name: ta.tensor(x, device=device, requires_grad=bool(need))
            for (name, x), need in zip(given.items(), self.wanted)
        }
        arrays = {name: ta.tensor(x, device=device) for name, x in self.arrays.items()}
        wanted = [x for x in floating.values() if x.requires_grad]
        rules = {**floating, **arrays, **self.rules, "generator": ta.Generator(self.seed)}
        y = attend(rules.pop("qkv"), self.heads, self.kv_heads, **rules, **options)
        if not wanted:
            return [y.numpy()]
        g = ta.tensor(self.g, device=device)
        once, again = (ta.grad(y, wanted, g, retain_graph=True) for _ in range(2))
        for one, other in zip(once, again):
            assert one.numpy().tobytes() == other.numpy().tobytes()
        return [x.numpy() for x in (y, *once)]


def apart(qkv, heads, kv_heads, **rules):
    """The same without any packing."""
    y = ta.scaled_dot_product_attention(*unpack(qkv, heads, kv_heads), **rules)
    return y.swapaxes(-3, -2).reshape(*qkv.shape[:-1], heads * y.shape[-1])


def same(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        room = tolerance * max(1, np.abs(other.astype("float64")).max(initial=0))
        np.testing.assert_allclose(one, other, rtol=0, atol=room)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_it_is_attention_of_the_parts(device, dtype, path, seed):
    problem = Problem(seed, dtype)
    before = problem.qkv.tobytes()
    found = problem.run(ta.packed_attention, device, path=path)
    same(found, problem.run(apart, device, path=path), TOLERANCE[dtype])
    assert before == problem.qkv.tobytes()


@pytest.mark.parametrize("path", PATHS)
def test_orders(path):
    rng = np.random.default_rng(0)
    qkv = ta.tensor(rng.standard_normal((2, 3, 8)), requires_grad=True)
    bias = ta.tensor(rng.standard_normal((2, 3, 3)), requires_grad=True)

    def attend(qkv, bias):
        return ta.packed_attention(qkv, 2, 1, bias=bias, causal=True, path=path)

    assert ta.gradcheck(attend, [qkv, bias], order=2)


def test_it_picks_the_path_as_attention_does(monkeypatch):
    taken, compute = [], Fused.compute

    def noting(op, *arrays, **options):
        taken.append(op.name)
        return compute(op, *arrays, **options)

    monkeypatch.setattr(Fused, "compute", noting)
    for length in (512, 513):
        ta.packed_attention(ta.randn(length, 3), 1)
    assert taken == ["dense_attention", "tiled_attention"]


def test_heads_are_joined_without_a_copy():
    """y is laid out as the output map wants it, and its gradient arrives as views."""
    qkv = ta.randn(2, 5, 3 * 4 * 8, requires_grad=True)
    y = ta.packed_attention(qkv, 4, causal=True)
    assert y.data.base is not None and y.data.flags.c_contiguous


def test_strided_and_shared():
    """Of a part of a wider array, and of one sequence stretched over a batch."""
    wide = np.random.default_rng(0).standard_normal((2, 5, 40))
    for qkv in (wide[..., 4:28], np.broadcast_to(wide[:1, :, :24], (3, 5, 24)), wide[:, ::-1, :24]):
        expected = ta.packed_attention(ta.tensor(np.ascontiguousarray(qkv)), 4, 2)
        found = ta.packed_attention(ta.Tensor(qkv), 4, 2)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-14)


def test_maps_and_ablation_see_each_head():
    qkv = ta.randn(2, 5, 24)
    with ta.capture_attention() as maps:
        y = ta.packed_attention(qkv, 2, causal=True)
    assert maps["attention"].shape == (2, 2, 5, 5)
    np.testing.assert_array_equal(y.numpy(), apart(qkv, 2, 2, causal=True).numpy())
    with ta.capture_attention(ablate={"attention": [1]}):
        y = ta.packed_attention(qkv, 2)
    assert (y.numpy()[..., 4:] == 0).all() and y.numpy()[..., :4].all()


@pytest.mark.parametrize(
    ("shape", "heads", "options", "error", "message"),
    [
        ((2, 5, 24), 5, {}, ShapeError, "the width must be a multiple of num_heads .*, 15, and"),
        ((2, 5, 24), 4, {"num_kv_heads": 3}, ShapeError, r"qkv is \(2, 5, 24\), num_heads is 4, n"),
        ((24,), 4, {}, ShapeError, r"qkv must be \(..., length, width\)"),
        ((2, 5, 0), 4, {}, ShapeError, "and not 0"),
        ((2, 5, 24), 0, {}, ShapeError, "num_heads is 0"),
        ((2, 5, 24), 2.0, {}, DTypeError, "num_heads is 2.0; it must be a whole number"),
        ((2, 5, 24), 4, {"mask": ta.ones(5, 5)}, DTypeError, "packed_attention: mask is float32"),
        ((2, 5, 24), 4, {"bias": ta.ones(3)}, ShapeError, r"bias is \(3,\), qkv is \(2, 5, 24\)"),
        ((2, 5, 24), 4, {"path": "flash"}, ShapeError, "packed_attention: path is 'flash'"),
        ((2, 5, 24), 4, {"attn_mask": None}, TypeError, "unknown argument 'attn_mask'; write mask"),
        ((2, 5, 24), 4, {"q_positions": [1, 2]}, ShapeError, r"it must be \(5,\), or one row"),
    ],
)
def test_what_it_refuses(shape, heads, options, error, message):
    with pytest.raises(error, match=message):
        ta.packed_attention(ta.zeros(shape), heads, **options)
