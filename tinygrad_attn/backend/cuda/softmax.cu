// softmax and log_softmax along rows, and their ways back.
//
// Of each row forward keeps its maximum, and the scale that makes its exponentials sum to 1: 1/Σ,
// or for the logarithm ln Σ. From these and x backward finds y again, with all the digits that it
// had before it was stored.
#include "rows.cuh"

template <bool is_log>
__device__ __forceinline__ void forward(const Stored* x, Stored* y, Real* tops, Real* scales,
                                        Index rows, Index n) {
    Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    Index count = row < rows ? n : 0, stretch = KEPT * blockDim.x;
    x += row * n;
    y += row * n;
    Real numbers[KEPT], top = -infinity(), sum = 0;
    for (Index i = 0; i < count; i += stretch) {
        load(numbers, x + i, count - i, -infinity());
        for (Real v : numbers) top = max(top, v);
    }
    top = row_max(top);
    for (Index i = 0; i < count; i += stretch) {
        if (count > stretch) load(numbers, x + i, count - i, -infinity());
        for (Real& v : numbers) {
            v -= top;
            Real e = exponential(v);
            sum += e;
            if (!is_log) v = e;
        }
    }
    sum = row_sum(sum);
    Real scale = is_log ? log(sum) : 1 / sum;
    if (count && threadIdx.x == 0) {
        tops[row] = top;
        scales[row] = scale;
    }
    for (Index i = 0; i < count; i += stretch) {
        if (count > stretch) {
            load(numbers, x + i, count - i, -infinity());
            for (Real& v : numbers) v = is_log ? v - top : exponential(v - top);
        }
        for (Real& v : numbers) v = is_log ? v - scale : v * scale;
        store(numbers, y + i, count - i);
    }
}

// With p the softmax in either case, gx = p·(g − Σ g·p), or g − p·Σ g.
template <bool is_log>
__device__ __forceinline__ void backward(const Stored* x, const Real* tops, const Real* scales,
                                         const Stored* g, Stored* gx, Index rows, Index n) {
    Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    Index count = row < rows ? n : 0, stretch = KEPT * blockDim.x;
    x += row * n;
    g += row * n;
    gx += row * n;
    Real weights[KEPT], slopes[KEPT], sum = 0, top = 0, scale = 0;
    if (count) top = tops[row], scale = scales[row];
    auto look = [&](Index i) {
        load(slopes, g + i, count - i, 0);
        load(weights, x + i, count - i, -infinity());
        for (Real& v : weights)
            v = is_log ? exponential(v - top - scale) : exponential(v - top) * scale;
    };
    for (Index i = 0; i < count; i += stretch) {
        look(i);
        for (int k = 0; k < KEPT; ++k) sum += is_log ? slopes[k] : slopes[k] * weights[k];
    }
    sum = row_sum(sum);
    for (Index i = 0; i < count; i += stretch) {
        if (count > stretch) look(i);
        for (int k = 0; k < KEPT; ++k)
            slopes[k] = is_log ? slopes[k] - weights[k] * sum : weights[k] * (slopes[k] - sum);
        store(slopes, gx + i, count - i);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax(const Stored* x, Stored* y, Real* tops, Real* scales, Index rows, Index n) {
    forward<false>(x, y, tops, scales, rows, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
log_softmax(const Stored* x, Stored* y, Real* tops, Real* scales, Index rows, Index n) {
    forward<true>(x, y, tops, scales, rows, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax_backward(const Stored* x, const Real* tops, const Real* scales, const Stored* g, Stored* gx,
                 Index rows, Index n) {
    backward<false>(x, tops, scales, g, gx, rows, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
log_softmax_backward(const Stored* x, const Real* tops, const Real* scales, const Stored* g,
                     Stored* gx, Index rows, Index n) {
    backward<true>(x, tops, scales, g, gx, rows, n);
}
