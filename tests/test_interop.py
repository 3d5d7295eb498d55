"""Other libraries on our tensors: NumPy, DLPack, einops."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import tinygrad_attn as ta

RNG = np.random.default_rng(0)
DTYPES = [ta.float16, ta.float32, ta.float64, ta.int8, ta.int16, ta.int32, ta.int64, ta.uint8]


# ---- NumPy and the standard library -------------------------------------------------------------


def test_numpy_sees_the_memory_of_a_tensor_read_only():
    x = ta.ones(2, 3)
    seen = np.asarray(x)
    assert np.shares_memory(seen, x.data) and not seen.flags.writeable
    assert np.asarray(x, np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x), x.data)


def test_lists_copies_and_pickles():
    x = ta.tensor([[1.0, 2.0]], requires_grad=True)
    x.sum().backward()
    assert x.tolist() == [[1, 2]] and ta.tensor(3).tolist() == 3
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.tolist() == x.tolist() and twin.requires_grad and twin.is_leaf
        assert not np.shares_memory(twin.data, x.data)


# ---- DLPack -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dlpack_to_and_from_numpy_copies_nothing(dtype):
    x = ta.arange(6).reshape(2, 3).astype(dtype)
    there = np.from_dlpack(x)
    assert np.shares_memory(there, x.data) and there.dtype == dtype
    host = np.arange(6).reshape(2, 3).astype(dtype)
    back = ta.from_dlpack(host)
    assert np.shares_memory(back.data, host) and back.dtype == dtype
    np.testing.assert_array_equal(back.numpy(), host)


def test_dlpack_keeps_strides():
    x = ta.arange(6).reshape(2, 3)
    assert np.from_dlpack(x.T).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert ta.from_dlpack(x.T).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_dlpack_to_and_from_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x = ta.arange(6, dtype=ta.float32).reshape(2, 3)
    there = torch.from_dlpack(x)
    assert there.tolist() == x.tolist() and there.data_ptr() == x.data.ctypes.data
    back = ta.from_dlpack(torch.arange(4.0))
    assert back.tolist() == [0, 1, 2, 3] and back.dtype == ta.float32


# ---- einops -------------------------------------------------------------------------------------


@pytest.fixture
def einops():
    return pytest.importorskip("einops", reason="einops is not installed: pip install einops")


def image():
    """(batch, height, width, channels), different everywhere."""
    values = RNG.permutation(2 * 4 * 6 * 3).reshape(2, 4, 6, 3) / 100
    return ta.tensor(values, requires_grad=True)


PATTERNS = [
    ("rearrange", "b h w c -> b c (h w)", (), {}),
    ("rearrange", "b (h p) (w q) c -> b (h w) (p q c)", (), {"p": 2, "q": 3}),
    ("rearrange", "b ... c -> c b ...", (), {}),
    ("reduce", "b h w c -> b c", ("mean",), {}),
    ("reduce", "b (h p) w c -> b h c", ("max",), {"p": 2}),
    ("reduce", "b h w c -> h () c", ("sum",), {}),
    ("reduce", "b h w c -> b", ("min",), {}),
    ("reduce", "b h w c -> w", ("prod",), {}),
    ("repeat", "b h w c -> b (h r) w c s", (), {"r": 2, "s": 3}),
]


@pytest.mark.parametrize(("name", "pattern", "args", "sizes"), PATTERNS, ids=lambda v: str(v))
def test_einops_with_gradients(einops, name, pattern, args, sizes):
    def fn(x):
        return getattr(einops, name)(x, pattern, *args, **sizes)

    x = image()
    y = fn(x)
    assert isinstance(y, ta.Tensor)
    np.testing.assert_allclose(y.numpy(), fn(x.numpy()))
    report = ta.gradcheck(fn, x, order=2)
    assert report, report


def test_einops_reduces_booleans(einops):
    x = image() > 0.5
    assert einops.reduce(x, "b h w c -> b", "all").tolist() == [False, False]
    assert einops.reduce(x, "b h w c -> b", "any").tolist() == [True, True]


def test_einops_einsum(einops):
    q, k = (ta.tensor(RNG.normal(size=(2, 3, 4)), requires_grad=True) for _ in range(2))

    def scores(q, k):
        return einops.einsum(q, k, "batch query width, batch key width -> batch query key")

    np.testing.assert_allclose(scores(q, k).numpy(), q.numpy() @ k.numpy().swapaxes(1, 2))
    report = ta.gradcheck(scores, (q, k), order=2)
    assert report, report


def test_einops_on_lists_packs_and_shapes(einops):
    x = image()
    assert einops.rearrange([x, x], "n b h w c -> b (n h) w c").shape == (2, 8, 6, 3)
    packed, shapes = einops.pack([x, x[..., 0, :]], "b * c")
    assert packed.shape == (2, 28, 3) and packed.requires_grad
    first, second = einops.unpack(packed, shapes, "b * c")
    assert first.tolist() == x.tolist() and second.shape == (2, 4, 3)
    assert einops.parse_shape(x, "b _ w c") == {"b": 2, "w": 6, "c": 3}
    assert einops.asnumpy(x).shape == x.shape


def test_a_wrong_pattern_is_the_error_of_einops(einops):
    with pytest.raises(einops.EinopsError, match="Input tensor shape"):
        einops.rearrange(image(), "b h w -> b (h w)")


@pytest.mark.parametrize("order", ["einops, tinygrad_attn", "tinygrad_attn, einops"])
def test_einops_finds_us_whichever_is_imported_first(einops, order):
    program = (
        f"import {order}\nprint(einops.rearrange(tinygrad_attn.ones(2, 3), 'a b -> b a').shape)\n"
    )
    assert run(program) == "(3, 2)"


def test_nobody_imports_einops_for_us():
    assert run("import sys, tinygrad_attn\nprint('einops' in sys.modules)") == "False"


def run(program):
    """What a fresh interpreter prints."""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()
