// Adam's step of all parameters at once.
#include "many.cuh"

// p ← p·keep − rate·m/(√v·root + eps) with m ← β₁m + (1−β₁)g,  v ← β₂v + (1−β₂)g², to g having been
// added pull·p. The host has worked out keep and pull, the two ways to decay, rate = lr/(1−β₁ᵗ) and
// root = 1/√(1−β₂ᵗ) in double precision. What is remembered has as many digits as it is computed
// with, and lies end to end: a tensor's begins at its ``start``.
extern "C" __global__ void __launch_bounds__(BLOCK)
adam(const Index* table, Index count, Index blocks, Real* m, Real* v, Real keep, Real pull,
     Real rate, Real root, Real eps, Real beta1, Real rest1, Real beta2, Real rest2) {
    Stretch stretch(table, count, blockIdx.x);
    Index left = stretch.left;
    Stored* p = (Stored*)stretch.part.first + stretch.begin;
    const Real* g = (const Real*)stretch.part.second + stretch.begin;
    m += stretch.part.start + stretch.begin;
    v += stretch.part.start + stretch.begin;
    Real weights[KEPT], slopes[KEPT], means[KEPT], squares[KEPT];
    load(weights, p, left, 0);
    load(slopes, g, left, 0);
    load(means, m, left, 0);
    load(squares, v, left, 0);
    for (int k = 0; k < KEPT; ++k) {
        Real slope = pull ? slopes[k] + pull * weights[k] : slopes[k];
        means[k] = beta1 * means[k] + rest1 * slope;
        squares[k] = beta2 * squares[k] + rest2 * (slope * slope);
        weights[k] = weights[k] * keep - rate * means[k] / (sqrt(squares[k]) * root + eps);
    }
    store(weights, p, left);
    store(means, m, left);
    store(squares, v, left);
}
