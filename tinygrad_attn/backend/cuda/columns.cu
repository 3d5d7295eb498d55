// Biases: added to every row of a matrix, and their gradients, sums over the rows in two steps, of
// slabs of rows, then of what these left.
#include "rows.cuh"

constexpr int COLUMNS = 32;  // of a block, each summed by BLOCK/32 threads

template <class From, class To>
__device__ __forceinline__ void sum(const From* x, To* sums, Index rows, Index n, Index slab) {
    __shared__ Real parts[BLOCK / COLUMNS][COLUMNS];
    Index column = (Index)blockIdx.x * COLUMNS + threadIdx.x;
    Index first = blockIdx.y * slab, last = min(first + slab, rows);
    Real sum = 0;
    if (column < n)
        for (Index row = first + threadIdx.y; row < last; row += BLOCK / COLUMNS)
            sum += widen(x[row * n + column]);
    parts[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || column >= n) return;
    for (int y = 1; y < BLOCK / COLUMNS; ++y) sum += parts[y][threadIdx.x];
    assign(sums[blockIdx.y * n + column], sum);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
sum_rows(const Stored* x, Stored* sums, Index rows, Index n, Index slab) {
    sum(x, sums, rows, n, slab);
}
extern "C" __global__ void __launch_bounds__(BLOCK)
sum_slabs(const Stored* x, Real* sums, Index rows, Index n, Index slab) {
    sum(x, sums, rows, n, slab);
}
extern "C" __global__ void __launch_bounds__(BLOCK)
sum_parts(const Real* x, Stored* sums, const Real* other, Stored* other_sums, Index rows, Index n) {
    if (blockIdx.z) sum(other, other_sums, rows, n, rows);
    else sum(x, sums, rows, n, rows);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
add_bias(Stored* y, const Stored* bias, Index rows, Index n) {
    Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    y += row * n;
    for (Index i = 0; i < n; i += KEPT * blockDim.x) {
        Real numbers[KEPT], terms[KEPT];
        load(numbers, y + i, n - i, 0);
        load(terms, bias + i, n - i, 0);
        for (int k = 0; k < KEPT; ++k) numbers[k] += terms[k];
        store(numbers, y + i, n - i);
    }
}
