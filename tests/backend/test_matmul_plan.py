"""What cuBLAS is asked for, without a GPU: plans on drawn shapes and strides, held to NumPy.

The gemm that carries them out is a model in NumPy (``tests/standin/fake_cublas.py``): it reads
addresses by columns, as the manual says, and refuses to leave an array.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_attn as ta
from tests.standin import backend, fake_cublas, fake_cupy
from tinygrad_attn.backend import dtypes
from tinygrad_attn.backend.cuda.matmul import Operand, plan_matmul
from tinygrad_attn.backend.precision import matmul_precision
from tinygrad_attn.errors import ShapeError

SIZES = st.sampled_from([1, 2, 3, 0, 5])


@st.composite
def layouts(draw, shape):
    """A host array of this shape in some layout: axes permuted, stretched, reversed or spaced."""
    order = draw(st.permutations(range(len(shape))))
    spaced = [size * draw(st.sampled_from([1, 1, 2])) for size in shape]
    host = np.arange(np.prod(spaced), dtype=float).reshape([spaced[i] for i in order]) % 7 - 3
    host = host.transpose(np.argsort(order))
    for i, size in enumerate(shape):
        step = spaced[i] // size if size and spaced[i] > size and draw(st.booleans()) else 1
        host = np.moveaxis(np.moveaxis(host, i, 0)[::step][:size], 0, i)
    if host.ndim and draw(st.sampled_from([False, False, False, True])):
        axis = draw(st.integers(0, host.ndim - 1))
        host = np.flip(host, axis)
    if host.ndim and draw(st.sampled_from([False, False, True])):
        axis = draw(st.integers(0, host.ndim - 1))
        first = np.moveaxis(host, axis, 0)[:1]
        stretched = np.broadcast_to(first, (shape[axis], *first.shape[1:])) if first.size else first
        host = np.moveaxis(stretched, 0, axis) if first.size else host
    return host


@st.composite
def operands(draw):
    """Two host arrays that multiply, in whatever layouts, with batches that broadcast."""
    batch = draw(st.lists(SIZES, max_size=3))
    m, k, n = draw(SIZES), draw(SIZES), draw(SIZES)
    arrays = []
    for rows, columns in ((m, k), (k, n)):
        own = [1 if draw(st.booleans()) else size for size in batch[draw(st.integers(0, 3)) :]]
        arrays.append(draw(layouts((*own, rows, columns))))
    return arrays


def on_device(host):
    """The same array on the stand-in, in the very layout that it has here."""
    root = host
    while root.base is not None:
        root = root.base
    there = fake_cupy.array(root)
    offset = host.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    view = np.lib.stride_tricks.as_strided(
        there._host.reshape(-1)[offset // host.itemsize :], host.shape, host.strides
    )
    return fake_cupy.ndarray(view, 0, there)


@settings(max_examples=20 * settings().max_examples)
@given(pair=operands())
def test_products_of_any_layout_are_those_of_numpy(pair):
    a, b = pair
    product = backend.matmul(*map(on_device, pair))
    np.testing.assert_array_equal(product.get(), a @ b)
    assert product.shape == (a @ b).shape


def plan(a, b):
    """The plan for two arrays of the host."""
    strides = [tuple(step // x.itemsize for step in x.strides) for x in (a, b)]
    return plan_matmul(a.shape, strides[0], b.shape, strides[1])


X = np.zeros((6, 4, 8, 5), "float32")  # (B, H, T, E)
W = np.zeros((5, 3), "float32")
VIEWS = {  # what is read where it lies, and in how many calls
    "plain": (X[0, 0], W, (8, 3, 5), 1),
    "both transposed": (np.zeros((5, 8)).T, np.zeros((3, 5)).T, (8, 3, 5), 1),
    "a stack times one matrix is one tall product": (X, W, (6 * 4 * 8, 3, 5), 1),
    "of a part of the stack too": (X[2:4], W, (2 * 4 * 8, 3, 5), 1),
    "q·kᵀ": (X, X.swapaxes(-1, -2), (8, 8, 5), 24),
    "pᵀ·g": (X.swapaxes(-1, -2), X, (5, 5, 8), 24),
    "the same matrix for all": (W.T, X.swapaxes(-1, -2), (3, 8, 5), 24),
    "every other matrix": (X[::2, 0], X[0, :3].swapaxes(-1, -2), (8, 8, 5), 3),
    "some columns": (X[0, 0, :, 1:3], W[:2], (8, 3, 2), 1),
    "a row": (X[0, 0, :1], W, (1, 3, 5), 1),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_read_where_they_lie(name):
    a, b, sizes, count = VIEWS[name]
    found = plan(a, b)
    assert found.copied == (False, False)
    assert (found.sizes, found.count, len(found.starts)) == (sizes, count, 1)


@pytest.mark.parametrize(
    ("a", "b", "copied"),
    [
        (X[0, 0, :, ::2], W[:3], (True, False)),
        (X[0, 0], W[::-1], (False, True)),
        (X.swapaxes(1, 2), np.zeros((5, 3)), (True, False)),
        (np.broadcast_to(W[:1], (8, 3)), np.zeros((3, 2)), (True, False)),
    ],
)
def test_what_cublas_cannot_be_told_is_copied(a, b, copied):
    assert plan(a, b).copied == copied


def test_batches_that_stretch_against_each_other_take_a_call_for_each_of_the_fewer():
    found = plan(np.zeros((6, 1, 2, 3)), np.zeros((1, 4, 3, 5)))
    assert (found.count, len(found.starts), found.copied) == (6, 4, (False, False))
    assert found.starts == tuple((0, i * 15, i * 10) for i in range(4))
    assert (found.a, found.b) == (Operand(0, 3, 6), Operand(0, 5, 0))


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2, 3)), ((2, 2, 3), (3, 3, 4))])
def test_shapes_that_do_not_multiply_are_refused(a, b):
    with pytest.raises(ValueError):
        plan(np.zeros(a), np.zeros(b))


# ---- dtypes and precision ------------------------------------------------------------------------


def test_bfloat16_goes_to_cublas_and_adds_up_in_float32():
    if dtypes.bfloat16 is None:
        pytest.skip("no ml_dtypes, or a NumPy before 2.2")
    a, b = (fake_cupy.array(np.full(s, 1.0).astype(dtypes.bfloat16)) for s in ((2, 999), (999, 2)))
    product = backend.matmul(a, b)
    assert product.dtype == dtypes.bfloat16
    assert product.get().astype(float).tolist() == [[1000.0] * 2] * 2  # 999, rounded once


def compute_type(dtype):
    """What cuBLAS is told to compute in, for operands of this dtype."""
    x = fake_cupy.zeros((2, 2), dtype=dtype)
    backend.matmul(x, x)
    return fake_cublas.calls[-1][1]


def test_the_precision_is_that_which_was_set():
    assert matmul_precision() == "highest"
    assert compute_type("float32") == fake_cublas.CUBLAS_COMPUTE_32F
    assert ta.set_matmul_precision("high") == "highest"
    try:
        assert matmul_precision() == "high"
        assert compute_type("float32") == fake_cublas.CUBLAS_COMPUTE_32F_FAST_TF32
        assert compute_type("float16") == fake_cublas.CUBLAS_COMPUTE_32F
        assert compute_type("float64") == fake_cublas.CUBLAS_COMPUTE_64F
    finally:
        assert ta.set_matmul_precision("highest") == "high"


def test_an_unknown_precision_is_refused():
    with pytest.raises(ShapeError) as error:
        ta.set_matmul_precision("medium")
    assert str(error.value) == (
        'set_matmul_precision: precision is \'medium\'; it must be one of "highest", "high"'
    )
    assert matmul_precision() == "highest"


def test_one_matrix_is_one_call_and_a_batch_is_one_too():
    x = fake_cupy.zeros((4, 3, 3))
    for operand, name, count in ((x[0], "gemmEx", 1), (x, "gemmStridedBatchedEx", 4)):
        before = fake_cupy.launches.total()
        backend.matmul(operand, operand.swapaxes(-1, -2))
        assert fake_cublas.calls[-1][::2] == (name, count)
        assert fake_cupy.launches.total() == before + 1


def test_the_model_of_gemm_refuses_what_leads_out_of_an_array():
    x, y = fake_cupy.zeros(6), fake_cupy.zeros(4)
    one = np.array(1.0)
    common = (one.ctypes.data, x.data.ptr, 1, 3, x.data.ptr, 1, 3)
    with pytest.raises(IndexError, match="lead out of the array"):
        fake_cublas.gemmEx(1, 0, 0, 3, 2, 2, *common, one.ctypes.data, y.data.ptr, 1, 3, 70, -1)
