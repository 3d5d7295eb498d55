// dropout: which elements stay, and what becomes of them.
#include "drop.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK)
keep_mask(bool* keep, Index n, unsigned long long offset, unsigned dropped) {
    Index i = (Index)blockIdx.x * BLOCK + threadIdx.x;
    unsigned long long z = hash(i, offset);
    for (int j = 0; j < 4; ++j)
        if (4 * i + j < n) keep[4 * i + j] = stays(z, j, dropped);
}

// The same map takes x to y and g to ∂L/∂x, and nothing is remembered in between.
extern "C" __global__ void __launch_bounds__(BLOCK)
dropout(const Stored* x, Stored* y, Index n, Real upscale, unsigned long long offset,
        unsigned dropped) {
    Index i = (Index)blockIdx.x * KEPT * BLOCK;
    Real numbers[KEPT];
    load(numbers, x + i, n - i, 0);
    thin(numbers, i, upscale, offset, dropped);
    store(numbers, y + i, n - i);
}
