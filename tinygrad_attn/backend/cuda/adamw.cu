// AdamW over one flat array, and the sum of squares by which a gradient is clipped.
#include "rows.cuh"

// p ← p·keep − rate·m/(√v·root + eps) with m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g². The host has
// worked out keep = 1 − lr·decay, rate = lr/(1−β₁ᵗ), root = 1/√(1−β₂ᵗ) in double precision.
// ``factor``, where given, is one number on the device that g is first multiplied with.
extern "C" __global__ void __launch_bounds__(BLOCK)
adamw(Stored* p, const Stored* g, Stored* m, Stored* v, const Real* factor, Index n, Real keep,
      Real rate, Real root, Real eps, Real beta1, Real rest1, Real beta2, Real rest2) {
    Index i = (Index)blockIdx.x * KEPT * BLOCK;
    Real weights[KEPT], slopes[KEPT], means[KEPT], squares[KEPT];
    load(weights, p + i, n - i, 0);
    load(slopes, g + i, n - i, 0);
    load(means, m + i, n - i, 0);
    load(squares, v + i, n - i, 0);
    Real scale = factor ? *factor : Real(1);
    for (int k = 0; k < KEPT; ++k) {
        Real slope = slopes[k] * scale;
        means[k] = beta1 * means[k] + rest1 * slope;
        squares[k] = beta2 * squares[k] + rest2 * (slope * slope);
        weights[k] = weights[k] * keep - rate * means[k] / (sqrt(squares[k]) * root + eps);
    }
    store(weights, p + i, n - i);
    store(means, m + i, n - i);
    store(squares, v + i, n - i);
}

// Every block sums the squares of its stretches, in double precision: there may be 10⁹ of them.
extern "C" __global__ void __launch_bounds__(BLOCK)
sum_squares(const Stored* x, double* parts, Index n) {
    Real numbers[KEPT];
    double sum = 0;
    Index stretch = KEPT * BLOCK;
    for (Index i = blockIdx.x * stretch; i < n; i += gridDim.x * stretch) {
        load(numbers, x + i, n - i, 0);
        for (Real v : numbers) sum += (double)v * v;
    }
    sum = across_row(sum, [](double a, double b) { return a + b; });
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
join_squares(const double* parts, Real* total, Index count) {
    double sum = 0;
    for (Index i = threadIdx.x; i < count; i += BLOCK) sum += parts[i];
    sum = across_row(sum, [](double a, double b) { return a + b; });
    if (threadIdx.x == 0) *total = (Real)sum;
}
