// Tiles of numbers in shared memory, and what a warp keeps of a product of two of them.
//
// A block of threads keeps ROWS rows and lets the columns come by in tiles. What is spread over the
// warp is c[band][piece][4], where a band has 16 rows and a piece 8 columns; see warp.cuh.
#pragma once

#include "warp.cuh"

#ifndef BANDS  // how many times 16 rows each of the warps holds
#define BANDS 1
#endif
#ifndef COLUMNS  // of a tile: 16, 32 or 64
#define COLUMNS 16
#endif
#ifndef GENERAL  // 0: rows can be copied 16 bytes at a time, and there is neither mask, bias, soft
#define GENERAL 1  // cap nor dropout; all code for these is left out
#endif

constexpr int WARPS = 4, THREADS = 32 * WARPS, ROWS = 16 * BANDS * WARPS, PIECES = COLUMNS / 8;

// Where the number c[m][n][i] of a lane stands, counted from the warp's first row and column.
__device__ inline int row_of(int m, int i) { return 16 * m + i / 2 * 8 + lane() / 4; }
__device__ inline int column_of(int n, int i) { return 8 * n + lane() % 4 * 2 + i % 2; }

template <class Act>
__device__ inline void for_each_pair(Act act) {
#pragma unroll
    for (int m = 0; m < BANDS; ++m)
#pragma unroll
        for (int n = 0; n < PIECES; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) act(m, n, i);
}

// Which pairs of a lane are open: of each band, bit 4n + i is that of c[band][n][i].
struct Open {
    unsigned bits[BANDS];

    __device__ bool operator()(int m, int n, int i) const { return bits[m] >> (4 * n + i) & 1; }
};

__device__ inline void close(float (&c)[BANDS][PIECES][4], const Open& open, float value) {
    for_each_pair([&](int m, int n, int i) {
        if (!open(m, n, i)) c[m][n][i] = value;
    });
}

template <int W>
struct Tile {
    // 16 bytes more than needed, so that eight rows, one under another, lie in different banks
    static constexpr int row_bytes = W * sizeof(scalar) + 16;

    char* memory;

    __device__ char* at(int row, int byte) const { return memory + row * row_bytes + byte; }
    __device__ scalar* row(int row) const { return (scalar*)at(row, 0); }

    // Start to copy R rows, from row ``start`` on, of an array of ``count`` rows and ``width``
    // columns in global memory; beyond these is 0.
    template <int R>
    __device__ void load(const scalar* from, long long stride, int start, int count, int width,
                         bool is_aligned) const {
        if (!GENERAL || is_aligned) {
            constexpr int chunk = 16 / sizeof(scalar), chunks = W / chunk, step = THREADS / chunks;
            const int line = threadIdx.x / chunks, column = threadIdx.x % chunks * chunk;
            if (THREADS % chunks && line >= step) return;
            from += (start + line) * stride + column;
            const int taken = column < width ? 16 : 0;
#pragma unroll
            for (int skip = 0; skip < R; skip += step, from += step * stride) {
                if (R % step && skip + line >= R) break;
                cp_async<16>(row(skip + line) + column, from,
                             start + skip + line < count ? taken : 0);
            }
        } else {
            for (int i = threadIdx.x; i < R * W; i += THREADS) {
                const int line = i / W, column = i % W;
                const bool is_inside = start + line < count && column < width;
                row(line)[column] = is_inside ? from[(start + line) * stride + column] : scalar{};
            }
        }
    }
};

// Whether 32 bits of a tile hold a NaN or an infinity: all ones for an exponent.
__device__ inline bool holds_nonfinite(unsigned word) {
#if ARITHMETIC == FLOAT16
    return (word & 0x7c00u) == 0x7c00u || (word & 0x7c000000u) == 0x7c000000u;
#elif ARITHMETIC == BFLOAT16
    return (word & 0x7f80u) == 0x7f80u || (word & 0x7f800000u) == 0x7f800000u;
#else
    return (word & 0x7f800000u) == 0x7f800000u;
#endif
}

__device__ inline bool is_finite(scalar x) { return fabsf(to_float(x)) < INFINITE; }

template <int W>
__device__ inline bool holds_nonfinite(Tile<W> tile, int rows) {
    constexpr int chunks = W * sizeof(scalar) / 16;
    bool found = false;
#pragma unroll 1  // seldom run: it shall not take registers from the others
    for (int i = threadIdx.x; i < rows * chunks; i += THREADS) {
        uint4 words = *(const uint4*)tile.at(i / chunks, i % chunks * 16);
        found |= holds_nonfinite(words.x) | holds_nonfinite(words.y) | holds_nonfinite(words.z) |
                 holds_nonfinite(words.w);
    }
    return found;
}

template <int W>
__device__ inline void make_finite(Tile<W> tile, int rows) {
#pragma unroll 1
    for (int i = threadIdx.x; i < rows * W; i += THREADS) {
        scalar& x = tile.row(i / W)[i % W];
        if (!is_finite(x)) x = scalar{};
    }
}

// NaN into every place of c = p·b in whose sum an open pair meets a number that is not finite.
template <int W>
__device__ inline void mark_touched(float (&c)[BANDS][W / 8][4], const Open& open, Tile<W> b) {
#pragma unroll 1
    for (int column = 0; column < COLUMNS; ++column)
#pragma unroll
        for (int m = 0; m < BANDS; ++m) {
            unsigned bits = __shfl_sync(~0u, open.bits[m], column % 8 / 2, 4);  // of whose it is
            bits >>= column / 8 * 4 + column % 2;
#pragma unroll
            for (int n = 0; n < W / 8; ++n)
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    if (!is_finite(b.row(column)[8 * n + lane() % 4 * 2 + i % 2]) &&
                        bits >> i / 2 * 2 & 1)
                        c[m][n][i] = INFINITE - INFINITE;
        }
}

// NaN for whoever meets a row of b that is not finite. Only then is a product not finite, unless it
// overflowed, or the other factor was not.
template <int W>
__device__ inline void spoil(float (&c)[BANDS][PIECES][4], Tile<W> b) {
    bool found = false;
    for_each_pair([&](int m, int n, int i) { found |= !(fabsf(c[m][n][i]) < INFINITE); });
    if (!__any_sync(~0u, found)) return;
#pragma unroll
    for (int n = 0; n < PIECES; ++n)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const scalar* row = b.row(column_of(n, j));
            bool is_lost = false;
#pragma unroll 1
            for (int i = 0; i < W; ++i) is_lost |= !is_finite(row[i]);
#pragma unroll
            for (int m = 0; m < BANDS; ++m)
                if (is_lost) c[m][n][j] = c[m][n][2 + j] = INFINITE - INFINITE;
        }
}

// Write a warp's rows of c·factor to global memory: ``count`` rows of ``width`` numbers there.
template <int W>
__device__ inline void store_rows(const float (&c)[BANDS][W / 8][4], scalar* to, long long stride,
                                  int row, int count, int width,
                                  const float (&factor)[BANDS][2]) {
#pragma unroll
    for (int m = 0; m < BANDS; ++m)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            int mine = row + row_of(m, 2 * i);
            if (mine >= count) continue;
            scalar* line = to + mine * stride;
#pragma unroll
            for (int n = 0; n < W / 8; ++n)
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    int column = column_of(n, j);
                    if (column < width) store(line + column, c[m][n][2 * i + j] * factor[m][i]);
                }
        }
}
