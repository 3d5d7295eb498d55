// softmax and log_softmax along rows, and their ways back.
#include "rows.cuh"

template <bool is_log>
__device__ __forceinline__ void forward(const Stored* x, Stored* y, Index rows, Index n) {
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
    for (Index i = 0; i < count; i += stretch) {
        if (count > stretch) {
            load(numbers, x + i, count - i, -infinity());
            for (Real& v : numbers) v = is_log ? v - top : exponential(v - top);
        }
        for (Real& v : numbers) v = is_log ? v - scale : v * scale;
        store(numbers, y + i, count - i);
    }
}

// gx = y·(g − Σ g·y), or g − eʸ·Σ g.
template <bool is_log>
__device__ __forceinline__ void backward(const Stored* y, const Stored* g, Stored* gx, Index rows,
                                         Index n) {
    Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    Index count = row < rows ? n : 0, stretch = KEPT * blockDim.x;
    y += row * n;
    g += row * n;
    gx += row * n;
    Real values[KEPT], slopes[KEPT], sum = 0;
    for (Index i = 0; i < count; i += stretch) {
        load(slopes, g + i, count - i, 0);
        load(values, y + i, count - i, 0);
        for (int k = 0; k < KEPT; ++k) sum += is_log ? slopes[k] : slopes[k] * values[k];
    }
    sum = row_sum(sum);
    for (Index i = 0; i < count; i += stretch) {
        if (count > stretch) {
            load(slopes, g + i, count - i, 0);
            load(values, y + i, count - i, 0);
        }
        for (int k = 0; k < KEPT; ++k)
            slopes[k] = is_log ? slopes[k] - exponential(values[k]) * sum
                               : values[k] * (slopes[k] - sum);
        store(slopes, gx + i, count - i);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax(const Stored* x, Stored* y, Index rows, Index n) {
    forward<false>(x, y, rows, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
log_softmax(const Stored* x, Stored* y, Index rows, Index n) {
    forward<true>(x, y, rows, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax_backward(const Stored* y, const Stored* g, Stored* gx, Index rows, Index n) {
    backward<false>(y, g, gx, rows, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
log_softmax_backward(const Stored* y, const Stored* g, Stored* gx, Index rows, Index n) {
    backward<true>(y, g, gx, rows, n);
}
