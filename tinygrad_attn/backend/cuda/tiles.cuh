// Tiles of numbers in shared memory, and their products, spread over a warp.
//
// A block of threads keeps ROWS rows and lets the columns come by in tiles. What is spread over the
// warp is c[band][piece][4], where a band has 16 rows and a piece 8 columns; see warp.cuh.
#ifndef TILES_CUH
#define TILES_CUH

#include "warp.cuh"

#ifndef BANDS  // how many times 16 rows each of the warps holds
#define BANDS 1
#endif
#ifndef COLUMNS  // of a tile: 16, 32 or 64
#define COLUMNS 64
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

// ---- products ------------------------------------------------------------------------------------

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

// NaN into every place of c = p·b in whose sum an open pair meets a number that is not finite.
template <int W>
__device__ inline void mark_touched(float (&c)[BANDS][W / 8][4], const Open& open, Tile<W> b) {
#pragma unroll 1
    for (int column = 0; column < COLUMNS; ++column)
#pragma unroll
        for (int m = 0; m < BANDS; ++m) {
            unsigned bits = __shfl_sync(~0u, open.bits[m], column % 8 / 2, 4);  // who has this column
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

// Write a warp's rows of c·factor to global memory, whose rows are ``width`` long.
template <int W>
__device__ inline void store_rows(const float (&c)[BANDS][W / 8][4], scalar* to, int row, int count,
                                  int width, const float (&factor)[BANDS][2]) {
#pragma unroll
    for (int m = 0; m < BANDS; ++m)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            int mine = row + 16 * m + 8 * i + lane() / 4;
            if (mine >= count) continue;
            scalar* line = to + (long long)mine * width;
#pragma unroll
            for (int n = 0; n < W / 8; ++n)
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    int column = 8 * n + lane() % 4 * 2 + j;
                    if (column < width) store(line + column, c[m][n][2 * i + j] * factor[m][i]);
                }
        }
}

#endif
