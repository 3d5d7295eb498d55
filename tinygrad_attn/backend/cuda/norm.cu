// layer_norm and rms_norm, and their ways back.
//
// Forward keeps two numbers a row, the mean and 1/√(variance + eps); backward finds the rest again
// from x. The gradients of weight and bias are sums over all rows: each block sums its own, in
// registers, and columns.cuh joins them.
#include "columns.cuh"

template <bool is_centred>
__device__ __forceinline__ void forward(const Stored* x, const Stored* weight, const Stored* bias,
                                        Stored* y, Real* means, Real* scales, Index rows, Index n,
                                        Real eps) {
    Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    Index count = row < rows ? n : 0, stretch = KEPT * blockDim.x;
    x += row * n;
    y += row * n;
    Real numbers[KEPT], mean = 0, squares = 0;
    if (is_centred) {
        for (Index i = 0; i < count; i += stretch) {
            load(numbers, x + i, count - i, 0);
            for (Real v : numbers) mean += v;
        }
        mean = row_sum(mean) / n;
    }
    for (Index i = 0; i < count; i += stretch) {
        if (!is_centred || count > stretch) load(numbers, x + i, count - i, mean);
        for (int k = 0; k < KEPT; ++k) {
            Real centred = numbers[k] - mean;
            if (i + place(k) < count) squares += centred * centred;
        }
    }
    Real scale = 1 / sqrt(row_sum(squares) / n + eps);
    if (count && threadIdx.x == 0) {
        if (is_centred) means[row] = mean;
        scales[row] = scale;
    }
    for (Index i = 0; i < count; i += stretch) {
        if (count > stretch) load(numbers, x + i, count - i, mean);
        for (Real& v : numbers) v = (v - mean) * scale;
        Real affine[KEPT];
        if (weight) {
            load(affine, weight + i, count - i, 0);
            for (int k = 0; k < KEPT; ++k) numbers[k] *= affine[k];
        }
        if (bias) {
            load(affine, bias + i, count - i, 0);
            for (int k = 0; k < KEPT; ++k) numbers[k] += affine[k];
        }
        store(numbers, y + i, count - i);
    }
}

// Add to the sums over rows; those of a row longer than a stretch lie in ``parts`` from the start.
__device__ __forceinline__ void collect(Real (&sums)[KEPT], const Real (&terms)[KEPT], Real* parts,
                                        Index i, Index n, bool is_first) {
    bool is_short = n <= KEPT * blockDim.x;
    parts += blockIdx.x * n + i;
    for (int k = 0; k < KEPT; ++k) {
        if (is_short) {
            sums[k] += terms[k];
        } else if (i + place(k) < n) {
            Real before = is_first ? 0 : parts[place(k)];
            parts[place(k)] = before + terms[k];
        }
    }
}

// gx = (h − mean h − x̂·mean(h·x̂))·scale with h = g·weight; without centring, mean h stays.
template <bool is_centred>
__device__ __forceinline__ void backward(const Stored* x, const Stored* weight, const Stored* g,
                                         const Real* means, const Real* scales, Stored* gx,
                                         Sums weights, Sums biases, unsigned* counters, Index rows,
                                         Index n) {
    Real of_weight[KEPT] = {}, of_bias[KEPT] = {};
    Index stretch = KEPT * blockDim.x, step = (Index)gridDim.x * blockDim.y;
    for (Index first = (Index)blockIdx.x * blockDim.y; first < rows; first += step) {
        Index row = first + threadIdx.y, count = row < rows ? n : 0;
        Real mean = is_centred && count ? means[row] : 0, scale = count ? scales[row] : 0;
        bool is_first = first < step;
        Real unit[KEPT], slopes[KEPT], products[KEPT], sum = 0, along = 0;
        auto look = [&](Index i) {  // x̂ and h from i on
            load(unit, x + row * n + i, count - i, mean);
            load(slopes, g + row * n + i, count - i, 0);
            for (Real& v : unit) v = (v - mean) * scale;
        };
        auto weigh = [&](Index i) {
            if (!weight) return;
            load(products, weight + i, count - i, 0);
            for (int k = 0; k < KEPT; ++k) slopes[k] *= products[k];
        };
        for (Index i = 0; i < count; i += stretch) {
            look(i);
            if (biases.parts) collect(of_bias, slopes, biases.parts, i, n, is_first);
            if (weights.parts) {
                for (int k = 0; k < KEPT; ++k) products[k] = slopes[k] * unit[k];
                collect(of_weight, products, weights.parts, i, n, is_first);
            }
            weigh(i);
            for (int k = 0; k < KEPT; ++k) {
                sum += slopes[k];
                along += slopes[k] * unit[k];
            }
        }
        if (!gx) continue;
        along = row_sum(along) / n;
        sum = is_centred ? row_sum(sum) / n : 0;
        for (Index i = 0; i < count; i += stretch) {
            if (count > stretch) {
                look(i);
                weigh(i);
            }
            for (int k = 0; k < KEPT; ++k)
                slopes[k] = (slopes[k] - sum - unit[k] * along) * scale;
            store(slopes, gx + row * n + i, count - i);
        }
    }
    if (n <= stretch) {
        if (weights.parts) leave(of_weight, weights.parts + blockIdx.x * n, n);
        if (biases.parts) leave(of_bias, biases.parts + blockIdx.x * n, n);
    }
    if (weights.parts || biases.parts)
        join({weights, biases}, n, 0, n, counters, blockIdx.x, gridDim.x);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
layer_norm(const Stored* x, const Stored* weight, const Stored* bias, Stored* y, Real* means,
           Real* scales, Index rows, Index n, Real eps) {
    forward<true>(x, weight, bias, y, means, scales, rows, n, eps);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
rms_norm(const Stored* x, const Stored* weight, Stored* y, Real* scales, Index rows, Index n,
         Real eps) {
    forward<false>(x, weight, nullptr, y, nullptr, scales, rows, n, eps);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
layer_norm_backward(const Stored* x, const Stored* weight, const Stored* g, const Real* means,
                    const Real* scales, Stored* gx, Real* weight_parts, Stored* gweight,
                    Real* bias_parts, Stored* gbias, unsigned* counters, Index rows, Index n) {
    backward<true>(x, weight, g, means, scales, gx, {weight_parts, gweight}, {bias_parts, gbias},
                   counters, rows, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
rms_norm_backward(const Stored* x, const Stored* weight, const Stored* g, const Real* scales,
                  Stored* gx, Real* weight_parts, Stored* gweight, unsigned* counters, Index rows,
                  Index n) {
    backward<false>(x, weight, g, nullptr, scales, gx, {weight_parts, gweight}, {}, counters, rows,
                    n);
}
