// Sums over the rows of a matrix in one launch: gradients of biases and of the weights of norms.
//
// Every block sums the rows that are its own and leaves one row of ``parts``. Whichever of a group
// of blocks is the last to finish adds up what the group left, and the last group of all what the
// groups left. Who comes last differs from run to run; what is added to what, and in which order,
// does not.
//
// Reference: NVIDIA, CUDA samples, "threadFenceReduction".
#pragma once

#include "rows.cuh"

constexpr int GROUP = 16;  // of at most GROUP·GROUP blocks

struct Sums {
    Real* parts;  // (blocks, n), or null where nobody asks for these sums
    Stored* to;   // (n,)
};

// Whether this block is the last of ``count`` that come by this counter: then it sees all that they
// have written. The counter is back at 0 for the next launch.
__device__ __forceinline__ bool is_last(unsigned* counter, int count) {
    __shared__ bool answer;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0)
        answer = atomicInc(counter, count - 1) == count - 1;
    __syncthreads();
    __threadfence();
    return answer;
}

// The columns first..end−1 of ``count`` rows that are ``step`` apart, each added up by one thread.
template <class To>
__device__ __forceinline__ void add_up(const Real* rows, Index step, int count, To* sums,
                                       Index first, Index end) {
    for (Index i = first + threadIdx.y * blockDim.x + threadIdx.x; i < end; i += BLOCK) {
        Real sum = rows[i];
#pragma unroll 4
        for (int row = 1; row < count; ++row) sum += rows[row * step + i];
        assign(sums[i], sum);
    }
}

// To be called by all threads of each of ``blocks``, when they have written their row of parts.
template <int N>
__device__ __forceinline__ void join(const Sums (&all)[N], Index n, Index first, Index end,
                                     unsigned* counters, int block, int blocks) {
    int group = block / GROUP, groups = (blocks + GROUP - 1) / GROUP;
    int in_group = min(GROUP, blocks - group * GROUP);
    if (!is_last(counters + 1 + group, in_group)) return;
    for (const Sums& sums : all) {
        Real* mine = sums.parts + group * GROUP * n;
        if (sums.parts) add_up(mine, n, in_group, mine, first, end);
    }
    if (!is_last(counters, groups)) return;
    for (const Sums& sums : all)
        if (sums.parts) add_up(sums.parts, GROUP * n, groups, sums.to, first, end);
}

// One row of parts: what the threads of each column hold, those of all rows of the block joined.
__device__ __forceinline__ void leave(const Real (&sums)[KEPT], Real* part, Index left) {
    __shared__ Real room[KEPT * BLOCK];
    int thread = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();
    for (int k = 0; k < KEPT; ++k) room[k * BLOCK + thread] = sums[k];
    __syncthreads();
    if (threadIdx.y) return;
    for (int k = 0; k < KEPT; ++k) {
        Real sum = 0;
        for (int y = 0; y < blockDim.y; ++y) sum += room[k * BLOCK + y * blockDim.x + thread];
        if (place(k) < left) part[place(k)] = sum;
    }
}
