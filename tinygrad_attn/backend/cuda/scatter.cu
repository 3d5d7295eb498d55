// Rows of a table: read by index, and added to by index, always in the same order.
//
// To add, the indices come sorted: ``rows``, with ``order``, where each was before. The equal ones
// are a run, to be summed into one row of the table. A block sums the runs of CHUNK places; of a
// run that goes on over the end of its chunk it leaves a part, and a second kernel joins those.
#include "rows.cuh"

constexpr int CHUNK = 64;
constexpr int AHEAD = 8;  // values read before the first is needed

extern "C" __global__ void __launch_bounds__(BLOCK)
take_rows(const Stored* table, const long long* rows, Stored* y, Index count, Index n) {
    Index place_of_row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    if (place_of_row >= count) return;
    table += rows[place_of_row] * n;
    y += place_of_row * n;
    for (Index i = threadIdx.x * PACK; i < n; i += blockDim.x * PACK)
        *(Pack*)(y + i) = *(const Pack*)(table + i);
}

// Whether the run at the end of a chunk goes on in the next one.
__device__ __forceinline__ bool goes_on(const long long* rows, Index end, Index count) {
    return end < count && rows[end - 1] == rows[end];
}

// Whether the run at the end of a chunk began before that chunk.
__device__ __forceinline__ bool began_before(const long long* rows, Index begin, Index end) {
    return begin > 0 && rows[begin - 1] == rows[begin] && rows[begin] == rows[end - 1];
}

extern "C" __global__ void __launch_bounds__(BLOCK)
add_runs(const long long* rows, const long long* order, const Stored* values, Stored* table,
         Real* heads, Real* tails, Index count, Index n) {
    Index column = (Index)blockIdx.y * blockDim.x + threadIdx.x;
    Index begin = (Index)blockIdx.x * CHUNK, end = min(begin + CHUNK, count);
    if (column >= n) return;
    Index part = blockIdx.x * n + column;
    Real sum = 0, ahead[AHEAD];
    for (Index i = begin; i < end; i += AHEAD) {
#pragma unroll
        for (int j = 0; j < AHEAD; ++j)
            ahead[j] = i + j < end ? widen(values[order[i + j] * n + column]) : Real(0);
#pragma unroll
        for (int j = 0; j < AHEAD; ++j) {
            Index at = i + j;
            if (at >= end) break;
            sum += ahead[j];
            if (at + 1 < end && rows[at + 1] == rows[at]) continue;
            Stored& target = table[rows[at] * n + column];
            if (begin > 0 && rows[begin - 1] == rows[at]) heads[part] = sum;
            else if (at + 1 == end && goes_on(rows, end, count)) tails[part] = sum;
            else target = narrow(widen(target) + sum);
            sum = 0;
        }
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
join_runs(const long long* rows, const Real* heads, const Real* tails, Stored* table, Index count,
          Index n) {
    Index column = (Index)blockIdx.y * blockDim.x + threadIdx.x;
    Index begin = (Index)blockIdx.x * CHUNK, end = min(begin + CHUNK, count);
    if (column >= n || !goes_on(rows, end, count) || began_before(rows, begin, end)) return;
    Real sum = tails[blockIdx.x * n + column];
    Index row = rows[end - 1], chunk = blockIdx.x;
    while (goes_on(rows, end, count) && rows[end] == row) {
        end = min(end + CHUNK, count);
        sum += heads[++chunk * n + column];
    }
    Stored& target = table[row * n + column];
    target = narrow(widen(target) + sum);
}
