// dropout: which elements stay, by the hash of backend/random.py, and what becomes of them.
#include "rows.cuh"

// Number i of the hash decides about the elements 4i … 4i + 3, by 16 bits each.
extern "C" __global__ void __launch_bounds__(BLOCK)
keep_mask(bool* keep, Index n, unsigned long long offset, unsigned dropped) {
    Index i = (Index)blockIdx.x * BLOCK + threadIdx.x;
    unsigned long long z = i * 0x9E3779B97F4A7C15ull + offset;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    for (int j = 0; j < 4; ++j)
        if (4 * i + j < n) keep[4 * i + j] = (unsigned)(z >> 16 * j & 0xffff) >= dropped;
}

struct __align__(PACK) Flags {
    bool at[PACK];
};

// The same map takes x to y and g to ∂L/∂x.
extern "C" __global__ void __launch_bounds__(BLOCK)
dropout(const Stored* x, const bool* keep, Stored* y, Index n, Real upscale) {
    Index i = (Index)blockIdx.x * KEPT * BLOCK;
    Real numbers[KEPT];
    load(numbers, x + i, n - i, 0);
    for (int k = 0; k < KEPT; k += PACK) {
        if (i + place(k) >= n) continue;
        Flags flags = *(const Flags*)(keep + i + place(k));
        for (int j = 0; j < PACK; ++j) numbers[k + j] *= flags.at[j] ? upscale : Real(0);
    }
    store(numbers, y + i, n - i);
}
