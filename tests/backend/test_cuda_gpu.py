"""The CUDA kernels on a GPU, held to their specs as test_cuda_kernels.py holds them without one."""

import numpy as np
import pytest
from hypothesis import given, settings

from tests.backend.kernel_cases import CASES, DTYPES, check, close, settings_of_a_case
from tinygrad_attn.backend import dtypes, get_backend
from tinygrad_attn.backend.random import keep_mask
from tinygrad_attn.errors import DeviceError
from tinygrad_attn.optim.adam import adam_step
from tinygrad_attn.optim.clip import norm2

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def backend():
    try:
        return get_backend("cuda")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=40)
@given(drawn=settings_of_a_case())
def test_a_kernel_is_its_spec(case, dtype, backend, drawn):
    check(case, dtype, drawn, backend.name)


@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float16], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_large_case(case, dtype, backend):
    """More blocks than run side by side, and rows of more than one stretch."""
    check(case, dtype, (0, "normal", "plain", 3000, 1023), backend.name)
    check(case, dtype, (1, "normal", "plain", 20, 50257), backend.name)


def test_more_elements_than_an_int_can_count(backend):
    """2³¹ + 8 numbers, of which the last are looked at: 4 GB for x and as much for y."""
    xp = backend.xp
    if xp.cuda.Device().mem_info[0] < 10 * 2**30:
        pytest.skip("needs 10 GB of GPU memory")
    x = xp.zeros((2**18 + 1, 2**13), dtype="float16")
    x[-1] = 1
    (y, _) = backend.kernels["gelu"](x, needs=(False,))
    assert not float(y[-2].max()) and float(y[-1].min()) == pytest.approx(0.8413, rel=1e-3)
    del y
    y, _ = backend.kernels["softmax"](x, axis=1)
    assert float(y[-1].min()) == float(y[0].max()) == 2.0**-13


def test_adam_and_clipping_of_many_are_the_portable_ones(backend):
    rng, shapes = np.random.default_rng(0), [(100_001,), (64, 64), (3,)] * 20
    ps, gs = ([rng.standard_normal(s).astype("float32") for s in shapes] for _ in range(2))
    there = [[backend.from_host(a, backend.name) for a in arrays] for arrays in (ps, gs)]
    norm = backend.kernels["norm2"](there[1])
    assert float(norm) == pytest.approx(float(norm2([g.astype("float64") for g in gs])), rel=1e-6)
    scaled = backend.kernels["scale_all"](there[1], 1 / norm)
    for found, g in zip(scaled, gs, strict=True):
        close(backend.to_host(found), g / float(norm), dtypes.float32, 1.0)
    size = sum(p.size for p in ps)
    flat, means = backend.xp.zeros((2, size), dtype="float32"), np.zeros((2, size))
    options = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.1}
    options |= {"step": 1, "is_decoupled": True}
    wide = [[a.astype("float64") for a in arrays] for arrays in (ps, gs)]
    backend.kernels["adam"](*there, *flat, **options)
    adam_step(*wide, *means, **options)
    for found, p in zip(there[0], wide[0]):
        close(backend.to_host(found), p, dtypes.float32, 1.0)


def test_masks_are_the_cpus(backend):
    for shape in ((3,), (1029,), (1000, 1000)):
        mask = keep_mask(np, shape, 0.3, (2**63 - 25, 7))
        found = backend.to_host(backend.keep_mask(shape, 0.3, (2**63 - 25, 7)))
        np.testing.assert_array_equal(found, mask)


def test_kernels_use_no_more_memory_than_their_results(backend):
    """Once a kernel has run, a second call and its way back allocate what they return."""
    pool, x = backend.xp.get_default_memory_pool(), backend.xp.ones((1024, 1024), dtype="float32")
    for _ in range(2):
        before = pool.used_bytes()
        y, back = backend.kernels["softmax"](x, axis=1)
        (gx,) = back(y)
        assert pool.used_bytes() - before == y.nbytes + gx.nbytes
        del y, back, gx
