"""The CUDA backend against the CPU's, on the stand-in, and on the GPU where there is one."""

import numpy as np
import pytest

from tests.conftest import devices
from tests.standin import fake_cupy
from tinygrad_attn.backend import get_backend
from tinygrad_attn.backend.random import keep_at, keep_mask

CPU = get_backend("cpu")


@pytest.fixture(params=[device for device in devices() if device != "cpu"])
def backend(request):
    return get_backend(request.param)


def draw(*shape, dtype="float32"):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


def test_there_and_back(backend):
    for host in (draw(2, 3), draw(2, 3).T, np.arange(4), np.array(True), draw(0, 2), draw()):
        there = backend.from_host(host, backend.name)
        back = backend.to_host(there)
        assert isinstance(there, backend.array_type) and type(back) is np.ndarray
        assert back.dtype == host.dtype and backend.device_of(there) == f"{backend.name}:0"
        np.testing.assert_array_equal(back, host)
        assert not np.shares_memory(back, host)


def test_names_of_devices(backend):
    assert backend.validate(backend.name) == backend.validate(f"{backend.name}:0")
    with backend.on(f"{backend.name}:0"):
        assert backend.device_of(backend.xp.zeros(1)) == f"{backend.name}:0"
    backend.synchronize()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 5, 2, 3), (3, 4)),
        ((2, 1, 2, 3), (5, 3, 4)),
        ((2, 3), (5, 3, 4)),
        ((3,), (3, 4)),
        ((2, 5, 3), (3,)),
        ((3,), (3,)),
        ((0, 2, 3), (3, 4)),
        ((2, 5, 0), (0, 4)),
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_matmul_follows_numpy(backend, a, b, dtype):
    a, b = draw(*a, dtype=dtype), draw(*b, dtype=dtype)
    product = backend.matmul(*(backend.from_host(x, backend.name) for x in (a, b)))
    expected = a.astype("float64") @ b.astype("float64")
    assert product.dtype == dtype and product.shape == expected.shape
    tolerance = 4 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(backend.to_host(product), expected, tolerance, tolerance)


def test_matmul_takes_views_as_they_are(backend):
    a, b = draw(4, 3, 2), draw(5, 3)
    there_a, there_b = (backend.from_host(x, backend.name) for x in (a, b))
    product = backend.matmul(there_a.swapaxes(1, 2), there_b.T)
    np.testing.assert_allclose(backend.to_host(product), a.swapaxes(1, 2) @ b.T, rtol=1e-5)


@pytest.mark.parametrize("name", ["erf", "erfc"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_erf_keeps_its_dtype(backend, name, dtype):
    x = np.linspace(-3, 3, 25).astype(dtype)
    y = getattr(backend, name)(backend.from_host(x, backend.name))
    assert y.dtype == dtype
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(backend.to_host(y), getattr(CPU, name)(x), 4 * eps, 4 * eps)


IDS = np.array([[2, 0, 2], [-1, 0, 0]])
INDICES = {
    "rows": (IDS, (2, 3, 4)),
    "one row": (np.array(1), (4,)),
    "no rows": (IDS[:0], (0, 3, 4)),
    "rows and columns": ((IDS, IDS), (2, 3)),
    "rows of one matrix": ((1, IDS[0]), (3,)),
    "columns": ((slice(None), IDS), (3, 2, 3)),
    "columns, by an ellipsis": ((..., IDS[0]), (3, 3)),
    "rows of a slice": ((IDS[0], slice(1, 3)), (3, 2)),
    "with a new axis": ((None, IDS[0]), (1, 3, 4)),
    "a mask of rows": (np.array([True, False, True]), (2, 4)),
    "a mask and columns": ((np.array([True, False, True]), IDS[0][:2]), (2,)),
    "a slice": ((slice(None), slice(1, 3)), (3, 2)),
    "an element": ((1, -1), ()),
    "all": (..., (3, 4)),
}


def write(backend, method, index, target, values):
    """What becomes of the target in a method of the backend that writes at an index."""

    def move(part):
        return backend.from_host(part, backend.name) if isinstance(part, np.ndarray) else part

    moved = tuple(map(move, index)) if isinstance(index, tuple) else move(index)
    there = move(target)
    getattr(backend, method)(there, moved, move(values))
    return backend.to_host(there)


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_index_add_adds_up(backend, index, dtype):
    index, shape = INDICES[index]
    target, values = (10 * draw(3, 4)).astype(dtype), (10 * draw(*shape)).astype(dtype)
    expected = target.astype("float64")
    np.add.at(expected, index, values)
    result = write(backend, "index_add", index, target, values)
    assert result.dtype == dtype
    tolerance = 2e-2 if dtype == "float16" else 1e-4
    np.testing.assert_allclose(result, expected, tolerance, tolerance)


@pytest.mark.parametrize("index", INDICES)
def test_index_put_leaves_the_last(backend, index):
    index, shape = INDICES[index]
    target, values = draw(3, 4), draw(*shape)
    for given in (values, values[None] if shape else values, 1):
        expected = write(CPU, "index_put", index, target, given)
        for _ in range(5):
            result = write(backend, "index_put", index, target, given)
            np.testing.assert_array_equal(result, expected)


def test_index_add_broadcasts_its_values(backend):
    there = backend.xp.zeros((3, 4))
    backend.index_add(there, backend.from_host(IDS, backend.name), 1.0)
    np.testing.assert_array_equal(backend.to_host(there)[:, 0], [3, 0, 3])


def test_index_add_writes_through_a_view(backend):
    whole = backend.xp.zeros((4, 3))
    backend.index_add(whole.T, backend.from_host(IDS, backend.name), 1.0)
    np.testing.assert_array_equal(backend.to_host(whole)[0], [3, 0, 3])


def test_index_add_gives_the_same_bits_every_time(backend):
    rng = np.random.default_rng(0)
    ids = backend.from_host(rng.integers(0, 7, 1000), backend.name)
    values = backend.from_host(10.0 ** rng.uniform(-4, 4, (1000, 3)), backend.name)
    sums = []
    for _ in range(5):
        target = backend.xp.zeros((7, 3))
        backend.index_add(target, ids, values)
        sums.append(backend.to_host(target).tobytes())
    assert len(set(sums)) == 1


def test_index_add_does_not_wait_for_the_gpu():
    backend, before = get_backend("standin"), fake_cupy.synchronizations
    backend.index_add(fake_cupy.zeros((3, 4)), fake_cupy.array(IDS), fake_cupy.ones((2, 3, 4)))
    assert fake_cupy.synchronizations == before


def test_the_masks_of_dropout_are_the_same_bits_as_on_the_cpu(backend):
    key = (2**63 - 25, 7)
    mask = keep_mask(np, (37, 11), 0.3, key)
    np.testing.assert_array_equal(backend.to_host(keep_mask(backend.xp, (37, 11), 0.3, key)), mask)
    chosen = keep_at(backend.xp, backend.xp.arange(100, dtype="uint64"), 0.3, key)
    np.testing.assert_array_equal(backend.to_host(chosen), mask.ravel()[:100])
