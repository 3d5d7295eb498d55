"""The emulator that runs CUDA kernels on the CPU: it computes right, and it catches what is wrong.

What is proved of the kernels rests on it, so each of its alarms is set off once.
"""

import numpy as np
import pytest

from tests.standin import fake_cupy as cp
from tests.standin.on_host import LaunchError, RawModule

SOURCE = r"""
#ifndef BARRIER
#define BARRIER __syncthreads()
#endif

template <class T> __device__ T sum_of_warp(T x) {
    for (int d = 16; d; d /= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}

extern "C" __global__ void __launch_bounds__(256) row_sums(const float* x, float* y, int n) {
    __shared__ float parts[8];
    float sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += x[(long long)blockIdx.x * n + i];
    sum = sum_of_warp(sum);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
    BARRIER;
    if (threadIdx.x == 255) {
        sum = 0;
        for (float part : parts) sum += part;
        y[blockIdx.x] = sum;
    }
}

extern "C" __global__ void reverse(float* x, int n) {
    extern __shared__ float room[];
    int i = threadIdx.x;
    room[i] = x[i];
    __syncthreads();
    x[i] = room[n - 1 - i];
}

struct Pair {
    long long first;
    float second;
};
extern "C" __global__ void unpack(Pair pair, float* y) { y[0] = pair.first + pair.second; }
extern "C" __global__ void shift(const float* x, float* y, int by) {
    y[threadIdx.x] = x[int(threadIdx.x) + by];
}
extern "C" __global__ void shift_shared(float* y, int by) {
    __shared__ float room[4];
    room[threadIdx.x + by] = 1;
    y[threadIdx.x] = room[threadIdx.x];
}
extern "C" __global__ void read_shared(float* y) {
    __shared__ float room[4];
    y[threadIdx.x] = room[threadIdx.x];
}
extern "C" __global__ void write_after(float* y, int by) { y[int(threadIdx.x) + by] = 1; }
extern "C" __global__ void misaligned(float* y) { y[0] = ((float4*)(y + 1))->x; }
extern "C" __global__ void overflowing(int* y) { y[0] = y[0] + y[1]; }
extern "C" __global__ void divided(float* y) {
    if (threadIdx.x < 3) __syncthreads();
    else __syncwarp();
    y[0] = 1;
}
extern "C" __global__ void two_barriers(float* y) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        y[0] = 1;
        __syncthreads();
    }
}
extern "C" __global__ void absent(float* y) {
    if (threadIdx.x < 4) y[0] = __shfl_sync(0xfu, y[0], 5);
}

// What the blocks have written, summed by the one that is last to count itself.
extern "C" __global__ void sum_of_all(float* parts, float* y, unsigned* counter) {
    __shared__ bool is_last;
    parts[blockIdx.x * blockDim.x + threadIdx.x] = threadIdx.x;
    BARRIER;
    if (threadIdx.x == 0) is_last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
    __syncthreads();
    if (!is_last || threadIdx.x) return;
    float sum = 0;
    for (int i = 0; i < gridDim.x * blockDim.x; ++i) sum += parts[i];
    *y = sum;
}
extern "C" __global__ void wait_for_another(float* y, unsigned* counter) {
    __shared__ float mine;
    mine = blockIdx.x;
    while (atomicAdd(counter, 1) < 20);
    y[blockIdx.x] = mine;
}

extern "C" __global__ void votes(unsigned* y) {
    unsigned all = 0xffffffffu;
    int lane = threadIdx.x;
    unsigned ballot = __ballot_sync(all, lane % 3 == 0);
    unsigned sum = __reduce_add_sync(all, (unsigned)lane), most = __reduce_max_sync(all, lane);
    int up = __shfl_up_sync(all, lane, 1), down = __shfl_down_sync(all, lane, 3, 8);
    int same = __match_any_sync(all, lane % 2), some = __syncthreads_or(lane == 5);
    unsigned mine[] = {ballot, sum, most, (unsigned)up, (unsigned)down, (unsigned)same,
                       (unsigned)some};
    for (int i = 0; i < 7; ++i) y[lane * 7 + i] = mine[i];
}

extern "C" __global__ void convert(const float* x, unsigned short* half, unsigned short* bfloat,
                                   float* back, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    half[i] = __half_as_ushort(__float2half(x[i]));
    bfloat[i] = __bfloat16_as_ushort(__float2bfloat16(x[i]));
    back[i] = __half2float(__ushort_as_half(half[i]));
}
"""


def launch(name, *args, grid=(1,), block=(4,), options=(), **more):
    kernel = RawModule(code=SOURCE, options=options).get_function(name)
    kernel(grid, block, args, **more)


def test_rows_are_summed():
    x = np.random.default_rng(0).standard_normal((5, 777)).astype("float32")
    y = cp.empty(5, "float32")
    launch("row_sums", cp.array(x), y, np.int32(777), grid=(5,), block=(256,))
    np.testing.assert_allclose(y.get(), x.sum(1), rtol=1e-5)


def test_a_missing_barrier_shows():
    """Without it the last warp sums what the others have not written, and shared memory is NaN."""
    x, y = cp.ones((50, 777), "float32"), cp.empty(50, "float32")
    options = ("-DBARRIER=",)
    launch("row_sums", x, y, np.int32(777), grid=(50,), block=(256,), options=options)
    assert np.isnan(y.get()).any()


def sums_of_all(options):
    """Of ten launches: what the last of eight blocks sums, and what it leaves in the counter."""
    y, counter, found = zeros(1), cp.zeros(1, "uint32"), []
    for _ in range(10):
        parts = cp.empty((8, 64), "float32")
        launch("sum_of_all", parts, y, counter, grid=(8,), block=(64,), options=options)
        found.append((y.get().item(), counter.get().item()))
    return set(found)


def test_the_last_block_sees_what_all_have_written():
    assert sums_of_all(()) == {(8 * 2016.0, 0)}


def test_a_barrier_that_is_missing_before_blocks_meet_shows():
    assert sums_of_all(("-DBARRIER=",)) != {(8 * 2016.0, 0)}


def test_blocks_that_meet_keep_their_own_shared_memory():
    y = zeros(9)
    launch("wait_for_another", y, cp.zeros(1, "uint32"), grid=(9,), block=(1,))
    np.testing.assert_array_equal(y.get(), np.arange(9))


def test_dynamic_shared_memory():
    x = cp.arange(64, dtype="float32")
    launch("reverse", x, np.int32(64), block=(64,), shared_mem=256)
    np.testing.assert_array_equal(x.get(), np.arange(64)[::-1])


def test_shared_memory_is_nan_at_first():
    y = cp.zeros(4, "float32")
    launch("read_shared", y)
    assert np.isnan(y.get()).all()


def test_arguments_may_overlap():
    whole = cp.arange(8, dtype="float32")
    launch("shift", whole, whole[4:], np.int32(0))
    np.testing.assert_array_equal(whole.get(), [0, 1, 2, 3, 0, 1, 2, 3])


def test_a_struct_by_value():
    pair = np.zeros((), np.dtype([("first", "i8"), ("second", "f4")], align=True))
    pair["first"], pair["second"] = 2, 0.5
    y = zeros(1)
    launch("unpack", pair[()], y, block=(1,))
    assert y.get() == 2.5


def test_warp_functions():
    y = cp.zeros((32, 7), "uint32")
    launch("votes", y, block=(32,))
    lanes = np.arange(32)
    expected = np.array(
        [
            np.full(32, sum(1 << i for i in range(0, 32, 3))),
            np.full(32, 31 * 16),
            np.full(32, 31),
            np.maximum(lanes - 1, 0),
            np.where(lanes % 8 < 5, lanes + 3, lanes),
            np.where(lanes % 2, 0xAAAAAAAA, 0x55555555),
            np.full(32, 1),
        ]
    )
    np.testing.assert_array_equal(y.get(), expected.T)


def test_16_bit_floats_are_numpys():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    every = every[np.isfinite(every)]
    between = (every[:-1] + every[1:]) / 2  # ties, to be rounded to the even one
    near = np.nextafter(between, np.float32(np.inf))
    x = np.concatenate([every, between, near, np.float32([np.inf, 3e38, 1e-45, 65519, 65520])])
    half, bfloat = cp.zeros(x.size, "uint16"), cp.zeros(x.size, "uint16")
    back = cp.zeros(x.size, "float32")
    grid = (-(-x.size // 256),)
    launch("convert", cp.array(x), half, bfloat, back, np.int32(x.size), grid=grid, block=(256,))
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    np.testing.assert_array_equal(half.get(), expected.view(np.uint16))
    np.testing.assert_array_equal(back.get(), expected.astype(np.float32))
    bits = x.view(np.uint32).astype(np.uint64)
    np.testing.assert_array_equal(bfloat.get(), (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


def zeros(n):
    return cp.zeros(n, "float32")


ALARMS = {
    "a read beyond an array": ("shift", lambda: (zeros(4), zeros(4), np.int32(1)), "after the end"),
    "a write beyond an array": ("write_after", lambda: (zeros(4), np.int32(4)), "after the end"),
    "a write before an array": ("write_after", lambda: (zeros(4), np.int32(-9)), "before"),
    "a write just beyond": ("write_after", lambda: (zeros(3), np.int32(0)), "after argument 0"),
    "an index outside shared memory": (
        "shift_shared",
        lambda: (zeros(4), np.int32(1)),
        "line [0-9]+: an index outside its array",
    ),
    "a misaligned vector": ("misaligned", lambda: (zeros(8),), "not aligned"),
    "an overflow": ("overflowing", lambda: (cp.full(2, 2**30, "int32"),), "sum overflows"),
    "a barrier that some miss": ("divided", lambda: (zeros(4),), "waits for ever"),
    "a lane that takes no part": ("absent", lambda: (zeros(4),), "takes no part"),
    "a Python number": ("write_after", lambda: (zeros(4), 1), "is a int, its parameter is i4"),
    "a wider number": ("write_after", lambda: (zeros(4), np.int64(1)), "is a int64"),
    "another dtype": ("misaligned", lambda: (cp.zeros(8),), "array of float64"),
    "too few arguments": ("misaligned", lambda: (), "0 arguments for 1 parameters"),
}


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm(alarm):
    name, args, message = ALARMS[alarm]
    with pytest.raises(LaunchError, match=message):
        launch(name, *args())
    test_dynamic_shared_memory()  # and the next launch is none the worse


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"grid": (0,)}, "none that a GPU takes"),
        ({"grid": (1, 2**16)}, "none that a GPU takes"),
        ({"block": (2048,)}, "none that a GPU takes"),
        ({"block": (64, 32)}, "more than 1024 threads"),
        ({"shared_mem": 50_000}, "dynamic shared memory"),
    ],
)
def test_a_shape_that_no_gpu_takes(more, message):
    with pytest.raises(LaunchError, match=message):
        launch("read_shared", zeros(4), **more)


def test_dynamic_shared_memory_has_an_end():
    with pytest.raises(LaunchError, match="dynamic shared memory"):
        launch("reverse", zeros(64), np.int32(64), block=(64,), shared_mem=128)


def test_threads_at_different_barriers():
    with pytest.raises(LaunchError, match="different barriers"):
        launch("two_barriers", zeros(4), block=(64,))


# ---- tensor cores --------------------------------------------------------------------------------

TENSOR_CORES = r"""
namespace gpu = cuda_on_host;

// One tile: a (16, 16) and b (8, 16), both row by row, over shared memory into registers.
extern "C" __global__ void multiply(const unsigned short* a, const unsigned short* b, float* d,
                                    int is_bfloat) {
    extern __shared__ unsigned short room[];
    int lane = threadIdx.x;
    gpu::cp_async<16>(room + lane * 8, a + lane * 8);
    if (lane < 16) gpu::cp_async<16>(room + 256 + lane * 8, b + lane * 8);
    gpu::cp_async_commit();
    gpu::cp_async_wait<PENDING>();
    __syncwarp();
    unsigned ra[4], rb[2];
    float sum[4] = {1, 1, 1, 1};
    gpu::ldmatrix_x4(ra, room + lane % 16 * 16 + lane / 16 * 8);
    gpu::ldmatrix_x2(rb, room + 256 + lane % 8 * 16 + lane / 8 % 2 * 8);
    if (is_bfloat) gpu::mma_m16n8k16_bf16(sum, ra, rb, sum);
    else gpu::mma_m16n8k16_f16(sum, ra, rb, sum);
    for (int i = 0; i < 4; ++i)
        d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}

// The same with b (16, 8) row by row, which ldmatrix transposes.
extern "C" __global__ void multiply_transposed(const unsigned short* a, const unsigned short* b,
                                               float* d) {
    __shared__ __align__(16) unsigned short room[384];
    int lane = threadIdx.x;
    for (int i = lane; i < 384; i += 32) room[i] = i < 256 ? a[i] : b[i - 256];
    __syncwarp();
    unsigned ra[4], rb[2];
    float sum[4] = {1, 1, 1, 1};
    gpu::ldmatrix_x4(ra, room + lane % 16 * 16 + lane / 16 * 8);
    gpu::ldmatrix_x2_trans(rb, room + 256 + lane % 16 * 8);
    gpu::mma_m16n8k16_f16(sum, ra, rb, sum);
    for (int i = 0; i < 4; ++i)
        d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}

extern "C" __global__ void multiply_tf32(const float* a, const float* b, float* d) {
    int lane = threadIdx.x, group = lane / 4, in_group = lane % 4;
    unsigned ra[4], rb[2];
    for (int i = 0; i < 4; ++i)
        ra[i] = __float_as_uint(a[(group + i % 2 * 8) * 8 + in_group + i / 2 * 4]);
    for (int i = 0; i < 2; ++i) rb[i] = __float_as_uint(b[(in_group + i * 4) * 8 + group]);
    float sum[4] = {0, 0, 0, 0};
    gpu::mma_m16n8k8_tf32(sum, ra, rb, sum);
    for (int i = 0; i < 4; ++i)
        d[(group + i / 2 * 8) * 8 + in_group * 2 + i % 2] = sum[i];
}
"""


def multiply(name, *args, pending=0):
    d = zeros((16, 8))
    module = RawModule(code=TENSOR_CORES, options=(f"-DPENDING={pending}",))
    args = [cp.array(a) if isinstance(a, np.ndarray) else a for a in args]
    module.get_function(name)((1,), (32,), (*args[:2], d, *args[2:]), shared_mem=768)
    return d.get()


def small(*shape):
    """Numbers of few bits, whose products and sums are exact."""
    rng = np.random.default_rng(len(shape))
    return rng.integers(-8, 9, shape).astype("float32")


@pytest.mark.parametrize("is_bfloat", [0, 1])
def test_tensor_cores_multiply(is_bfloat):
    a, b = small(16, 16), small(8, 16)
    if is_bfloat:
        stored = [(x.view(np.uint32) >> 16).astype(np.uint16) for x in (a, b)]
    else:
        stored = [x.astype(np.float16).view(np.uint16) for x in (a, b)]
    np.testing.assert_array_equal(multiply("multiply", *stored, np.int32(is_bfloat)), 1 + a @ b.T)


def test_tensor_cores_take_transposed_tiles():
    a, b = small(16, 16), small(16, 8)
    stored = [x.astype(np.float16).view(np.uint16) for x in (a, b)]
    np.testing.assert_array_equal(multiply("multiply_transposed", *stored), 1 + a @ b)


def test_tensor_cores_cut_float32_to_tf32():
    a, b = small(16, 8), small(8, 8)
    np.testing.assert_array_equal(multiply("multiply_tf32", a * np.float32(1 + 2**-12), b), a @ b)


def test_a_copy_that_is_not_waited_for_is_not_there():
    stored = [small(*shape).astype(np.float16).view(np.uint16) for shape in ((16, 16), (8, 16))]
    assert np.isnan(multiply("multiply", *stored, np.int32(0), pending=1)).all()
