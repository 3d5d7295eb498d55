// dropout: which elements stay, by the hash of backend/random.py, and what becomes of them.
#include "rows.cuh"

// Number i of the hash decides about the elements 4i … 4i + 3, by 16 bits each.
__device__ __forceinline__ unsigned long long hash(Index i, unsigned long long offset) {
    unsigned long long z = i * 0x9E3779B97F4A7C15ull + offset;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}
__device__ __forceinline__ bool stays(unsigned long long z, Index element, unsigned dropped) {
    return (unsigned)(z >> 16 * (element % 4) & 0xffff) >= dropped;
}

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
    unsigned long long z = 0;
    for (int k = 0; k < KEPT; ++k) {
        Index element = i + place(k);
        if (k % PACK == 0 || element % 4 == 0) z = hash(element / 4, offset);
        numbers[k] *= stays(z, element, dropped) ? upscale : Real(0);
    }
    store(numbers, y + i, n - i);
}
