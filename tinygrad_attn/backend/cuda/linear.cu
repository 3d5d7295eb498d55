// What surrounds the products of linear: residual + drop(activation(x·Wᵀ + bias)).
//
// A block has a tile of columns, which its threads span, and every so many rows. On the way back it
// finds the slope again from the product, and sums the gradient of the bias as it goes: each number
// is read once.
#include "activations.cuh"
#include "columns.cuh"
#include "drop.cuh"

#ifndef ACTIVATION
#define ACTIVATION Same
#endif

// y may be the product itself.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
epilogue(const Stored* product, const Stored* bias, const Stored* residual, Stored* y, Index rows,
         Index n, Real upscale, unsigned long long offset, unsigned dropped) {
    Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    Index first = (Index)blockIdx.y * KEPT * blockDim.x, left = n - first, start = row * n + first;
    if (row >= rows) return;
    Real numbers[KEPT], terms[KEPT];
    load(numbers, product + start, left, 0);
    if (bias) {
        load(terms, bias + first, left, 0);
        for (int k = 0; k < KEPT; ++k) numbers[k] += terms[k];
    }
    for (Real& v : numbers) v = ACTIVATION(v).value();
    if (upscale != 1) thin(numbers, start, upscale, offset, dropped);
    if (residual) {
        load(terms, residual + start, left, 0);
        for (int k = 0; k < KEPT; ++k) numbers[k] += terms[k];
    }
    store(numbers, y + start, left);
}

// The gradients of product and bias, null where nobody asks; ``product`` is, without activation.
extern "C" __global__ void __launch_bounds__(BLOCK, 2)
epilogue_backward(const Stored* product, const Stored* bias, const Stored* g, Stored* gproduct,
                  Real* parts, Stored* gbias, unsigned* counters, Index rows, Index n, Real upscale,
                  unsigned long long offset, unsigned dropped) {
    Index width = KEPT * blockDim.x, first = blockIdx.y * width, left = n - first;
    Index step = (Index)gridDim.x * blockDim.y;
    Real sums[KEPT] = {}, terms[KEPT] = {}, numbers[KEPT], slopes[KEPT];
    if (product && bias) load(terms, bias + first, left, 0);
    for (Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y; row < rows; row += step) {
        Index start = row * n + first;
        load(slopes, g + start, left, 0);
        if (upscale != 1) thin(slopes, start, upscale, offset, dropped);
        if (product) {
            load(numbers, product + start, left, 0);
            for (int k = 0; k < KEPT; ++k)
                slopes[k] = pull(ACTIVATION(numbers[k] + terms[k]), slopes[k]);
        }
        if (gproduct) store(slopes, gproduct + start, left);
        for (int k = 0; k < KEPT; ++k) sums[k] += slopes[k];
    }
    if (!parts) return;
    leave(sums, parts + blockIdx.x * n + first, left);
    join({{parts, gbias}}, n, first, min(first + width, n), counters + blockIdx.y * (1 + GROUP),
         blockIdx.x, gridDim.x);
}
