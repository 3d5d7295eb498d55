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

template <int W>
struct Tile {
    // 16 bytes more than needed, so that eight rows, one under another, lie in different banks
    static constexpr int row_bytes = W * sizeof(scalar) + 16;

    char* memory;

    __device__ char* at(int row, int byte) const { return memory + row * row_bytes + byte; }
    __device__ scalar* row(int row) const { return (scalar*)at(row, 0); }

    // Start to copy rows from global memory; beyond ``count`` rows and ``width`` columns is 0.
    template <int R>
    __device__ void load(const scalar* from, long long stride, int count, int width,
                         bool is_aligned) const {
        if (is_aligned) {
            constexpr int chunk = 16 / sizeof(scalar), chunks = W / chunk;
#pragma unroll
            for (int start = 0; start < R * chunks; start += THREADS) {
                int i = start + threadIdx.x, row = i / chunks, column = i % chunks * chunk;
                if (R * chunks % THREADS && i >= R * chunks) break;
                bool is_inside = row < count && column < width;
                cp_async<16>(this->row(row) + column,
                             is_inside ? from + row * stride + column : from, is_inside ? 16 : 0);
            }
        } else {
            for (int i = threadIdx.x; i < R * W; i += THREADS) {
                int row = i / W, column = i % W;
                bool is_inside = row < count && column < width;
                this->row(row)[column] = is_inside ? from[row * stride + column] : scalar{};
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
    for (int i = threadIdx.x; i < rows * chunks; i += THREADS) {
        uint4 words = *(const uint4*)tile.at(i / chunks, i % chunks * 16);
        found |= holds_nonfinite(words.x) | holds_nonfinite(words.y) | holds_nonfinite(words.z) |
                 holds_nonfinite(words.w);
    }
    return found;
}

template <int W>
__device__ inline void make_finite(Tile<W> tile, int rows) {
    for (int i = threadIdx.x; i < rows * W; i += THREADS) {
        scalar& x = tile.row(i / W)[i % W];
        if (!is_finite(x)) x = scalar{};
    }
}

// ---- products ------------------------------------------------------------------------------------

// A warp's own rows of a tile, ready to be multiplied.
template <int W>
struct Rows {
#if ARITHMETIC == FLOAT32
    const char* first;  // row g; row g + 8 is eight further on

    __device__ void load(Tile<W> tile, int row) { first = tile.at(row + lane() / 4, 0); }
#else
    static constexpr int steps = W * sizeof(scalar) / 32;
    unsigned registers[BANDS][steps][4];

    __device__ void load(Tile<W> tile, int row) {
#pragma unroll
        for (int b = 0; b < BANDS; ++b)
#pragma unroll
            for (int k = 0; k < steps; ++k) {
                ldmatrix_x4(registers[b][k],
                            tile.at(row + 16 * b + lane() % 16, 32 * k + lane() / 16 * 16));
                if (ARITHMETIC == TFLOAT32)
#pragma unroll
                    for (unsigned& x : registers[b][k]) x = round_to_tf32(__uint_as_float(x));
            }
    }
#endif
};

// c += a·bᵀ: every row with every row of the tile b.
template <int N, int W>
__device__ inline void match(float (&c)[BANDS][N][4], const Rows<W>& a, Tile<W> b) {
#if ARITHMETIC == FLOAT32
    const char* other = b.at(lane() % 4 * 2, 0);
#pragma unroll 2
    for (int k = 0; k < W; k += 4)
#pragma unroll
        for (int m = 0; m < BANDS; ++m) {
            const char* mine = a.first + 16 * m * b.row_bytes + 4 * k;
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
    for (int k = 0; k < a.steps; ++k)
#pragma unroll
        for (int n = 0; n < N; n += 2) {
            unsigned y[4];
            ldmatrix_x4(y, b.at(8 * n + lane() % 8 + lane() / 16 * 8,
                                32 * k + lane() / 8 % 2 * 16));
            if (ARITHMETIC == TFLOAT32)
#pragma unroll
                for (unsigned& x : y) x = round_to_tf32(__uint_as_float(x));
#pragma unroll
            for (int m = 0; m < BANDS; ++m) {
                multiply_add(c[m][n], a.registers[m][k], y);
                multiply_add(c[m][n + 1], a.registers[m][k], y + 2);
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
__device__ inline void mark_touched(float (&c)[BANDS][W / 8][4], const unsigned (&open)[BANDS],
                                    Tile<W> b) {
    for (int column = 0; column < COLUMNS; ++column)
#pragma unroll
        for (int m = 0; m < BANDS; ++m) {
            unsigned bits = __shfl_sync(~0u, open[m], column % 8 / 2, 4);  // who has this column
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

// c += p·b, where a closed pair adds exactly nothing, not 0·NaN. All threads come here together.
template <int W>
__device__ inline void mix(float (&c)[BANDS][W / 8][4], const float (&p)[BANDS][PIECES][4],
                           Tile<W> b, const unsigned (&open)[BANDS], bool some_closed) {
    if (some_closed && __syncthreads_or(holds_nonfinite(b, COLUMNS))) {
        mark_touched(c, open, b);
        __syncthreads();
        make_finite(b, COLUMNS);
        __syncthreads();
    }
    multiply(c, p, b);
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
