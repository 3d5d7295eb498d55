// Products of tiles: rows with rows, as of queries with keys, and weights with rows.
//
// A warp multiplies its own rows with a whole tile. On tensor cores 16 × 8 numbers of the product
// are one instruction for each 32 bytes of depth, and the operands are read in the order in which
// that instruction wants them. Plain float32 keeps to the same spread, so nothing else differs.
#pragma once

#include "tiles.cuh"

// A warp's own rows of a tile. They are read again for each product, unless they ``stay`` in
// registers, of which there must be enough.
template <int W, bool stay = false>
struct Rows {
    static constexpr int steps = W * sizeof(scalar) / 32;  // of 32 bytes, the depth of an mma
    Tile<W> tile;
    int row;
    unsigned kept[stay ? steps : 1][BANDS][4];

    __device__ Rows(Tile<W> tile, int row) : tile(tile), row(row) {
        if constexpr (stay) {
#pragma unroll
            for (int step = 0; step < steps; ++step) read(kept[step], step);
        }
    }

    __device__ void read(unsigned (&a)[BANDS][4], int step) const {
#pragma unroll
        for (int m = 0; m < BANDS; ++m) {
            ldmatrix_x4(a[m], tile.at(row + 16 * m + lane() % 16, 32 * step + lane() / 16 * 16));
            if (ARITHMETIC == TFLOAT32)
#pragma unroll
                for (unsigned& x : a[m]) x = round_to_tf32(__uint_as_float(x));
        }
    }

    __device__ void fetch(unsigned (&a)[BANDS][4], int step) const {
        if constexpr (stay) {
#pragma unroll
            for (int i = 0; i < 4 * BANDS; ++i) a[i / 4][i % 4] = kept[step][i / 4][i % 4];
        } else {
            read(a, step);
        }
    }
};

// c += a·bᵀ: every row with every row of the tile b.
template <int N, int W, bool stay>
__device__ inline void match(float (&c)[BANDS][N][4], const Rows<W, stay>& a, Tile<W> b) {
#if ARITHMETIC == FLOAT32
    const char* first = a.tile.at(a.row + lane() / 4, 0);
    const char* other = b.at(lane() % 4 * 2, 0);
#pragma unroll 2
    for (int k = 0; k < W; k += 4)
#pragma unroll
        for (int m = 0; m < BANDS; ++m) {
            const char* mine = first + 16 * m * b.row_bytes + 4 * k;
            float4 x[2] = {*(const float4*)mine, *(const float4*)(mine + 8 * b.row_bytes)};
#pragma unroll
            for (int n = 0; n < N; ++n)
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    float4 y = *(const float4*)(other + (8 * n + j) * b.row_bytes + 4 * k);
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        float& sum = c[m][n][2 * i + j];
                        sum = fmaf(x[i].x, y.x, sum);
                        sum = fmaf(x[i].y, y.y, sum);
                        sum = fmaf(x[i].z, y.z, sum);
                        sum = fmaf(x[i].w, y.w, sum);
                    }
                }
        }
#else
#pragma unroll
    for (int k = 0; k < a.steps; ++k) {
        unsigned x[BANDS][4];
        a.fetch(x, k);
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            unsigned y[4];
            ldmatrix_x4(y, b.at(8 * n + lane() % 8 + lane() / 16 * 8,
                                32 * k + lane() / 8 % 2 * 16));
            if (ARITHMETIC == TFLOAT32)
#pragma unroll
                for (unsigned& z : y) z = round_to_tf32(__uint_as_float(z));
#pragma unroll
            for (int m = 0; m < BANDS; ++m) {
                multiply_add(c[m][n], x[m], y);
                multiply_add(c[m][n + 1], x[m], y + 2);
            }
        }
    }
#endif
}

// c += p·b, where p is a product spread over the warp and b a tile with a row for each column of p.
template <int N, int W>
__device__ inline void multiply(float (&c)[BANDS][W / 8][4], const float (&p)[BANDS][N][4],
                                Tile<W> b) {
#if ARITHMETIC == FLOAT32
#pragma unroll
    for (int k = 0; k < N; ++k)
#pragma unroll 1
        for (int t = 0; t < 4; ++t)
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                const float* row = b.row(8 * k + 2 * t + j) + lane() % 4 * 2;
                float x[BANDS][2];  // column 2t + j of my two rows, which my neighbour t has
#pragma unroll
                for (int m = 0; m < BANDS; ++m)
#pragma unroll
                    for (int i = 0; i < 2; ++i)
                        x[m][i] = __shfl_sync(~0u, p[m][k][2 * i + j], t, 4);
#pragma unroll
                for (int n = 0; n < W / 8; ++n) {
                    float2 y = *(const float2*)(row + 8 * n);
#pragma unroll
                    for (int m = 0; m < BANDS; ++m)
#pragma unroll
                        for (int i = 0; i < 2; ++i) {
                            c[m][n][2 * i] = fmaf(x[m][i], y.x, c[m][n][2 * i]);
                            c[m][n][2 * i + 1] = fmaf(x[m][i], y.y, c[m][n][2 * i + 1]);
                        }
                }
            }
#elif ARITHMETIC == TFLOAT32
    // A sum may take its terms in any order: the two columns of p that a lane has, 2t and 2t + 1,
    // stand where a tensor core expects t and t + 4, and the rows of b likewise.
#pragma unroll
    for (int k = 0; k < N; ++k) {
        unsigned x[BANDS][4];
#pragma unroll
        for (int m = 0; m < BANDS; ++m)
#pragma unroll
            for (int i = 0; i < 4; ++i) x[m][i] = round_to_tf32(p[m][k][i % 2 * 2 + i / 2]);
        const float* row = b.row(8 * k + lane() % 4 * 2) + lane() / 4;
#pragma unroll
        for (int n = 0; n < W / 8; ++n) {
            unsigned y[2] = {round_to_tf32(row[8 * n]),
                             round_to_tf32(row[8 * n + b.row_bytes / 4])};
#pragma unroll
            for (int m = 0; m < BANDS; ++m) multiply_add(c[m][n], x[m], y);
        }
    }
#else
#pragma unroll
    for (int k = 0; k < N; k += 2) {
        unsigned x[BANDS][4];
#pragma unroll
        for (int m = 0; m < BANDS; ++m)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float* pair = p[m][k + i / 2] + i % 2 * 2;
                x[m][i] = pack(pair[0], pair[1]);
            }
#pragma unroll
        for (int n = 0; n < W / 8; n += 2) {
            unsigned y[4];
            ldmatrix_x4_trans(y, b.at(8 * k + lane() % 16, 16 * (n + lane() / 16)));
#pragma unroll
            for (int m = 0; m < BANDS; ++m) {
                multiply_add(c[m][n], x[m], y);
                multiply_add(c[m][n + 1], x[m], y + 2);
            }
        }
    }
#endif
}
