// Rotary positions: each pair of numbers of a row turns by its position times a speed.
#include "rows.cuh"

// Angles are large: what is left of them after whole turns has to be found in double precision.
__device__ __forceinline__ void point_at(double angle, Real& cosine, Real& sine) {
#ifndef FLOAT64
    constexpr double whole = 6.283185307179586477;
    angle -= whole * rint(angle / whole);
#endif
    cosine = cos((Real)angle);
    sine = sin((Real)angle);
}

// Rows of n numbers, one for each of ``length`` tokens in each of ``heads``; a stride of 0 is one
// that all share. Numbers i and i + planes turn, or 2i and 2i + 1; those beyond 2·planes stay.
extern "C" __global__ void __launch_bounds__(BLOCK)
turn(const Stored* x, Stored* y, const long long* positions, const double* speeds, Index rows,
     Index n, Index heads, Index length, Index x_batch, Index x_head, Index x_row, Index y_batch,
     Index y_head, Index y_row, Index p_batch, Index p_head, Index p_row, Index planes,
     Index is_interleaved) {
    Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    Index token = row % length, head = row / length % heads, batch = row / length / heads;
    x += batch * x_batch + head * x_head + token * x_row;
    y += batch * y_batch + head * y_head + token * y_row;
    double position = positions[batch * p_batch + head * p_head + token * p_row];
    for (Index i = threadIdx.x; i < n - planes; i += blockDim.x) {
        if (i >= planes) {
            y[i + planes] = x[i + planes];
            continue;
        }
        Index first = is_interleaved ? 2 * i : i, second = is_interleaved ? first + 1 : i + planes;
        Real cosine, sine, a = widen(x[first]), b = widen(x[second]);
        point_at(position * speeds[i], cosine, sine);
        y[first] = narrow(a * cosine - b * sine);
        y[second] = narrow(a * sine + b * cosine);
    }
}
