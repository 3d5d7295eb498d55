// Who may attend whom, and what the scores are before the softmax.
//
// On the way forward and for the gradient of the queries the rows of a tile are queries and its
// columns keys; for the gradients of keys and values it is the other way round. All below speaks
// of rows and columns, so it serves both.
#pragma once

#include "hash.cuh"
#include "products.cuh"

#ifndef WIDTH  // of queries and keys, rounded up to 32, 64, 96 or 128
#define WIDTH 32
#endif
#ifndef WIDTH_V  // of values, likewise
#define WIDTH_V 32
#endif

constexpr float LOG2_E = 1.44269504f;

struct Strides {  // of (B, heads, length, width), in elements; the last is 1
    long long batch, head, row;
};

struct PairStrides {  // of (B, H, T, S), in elements; 0 where broadcast
    long long batch, head, query, key;
};

struct Problem {
    Strides q, k, v, y, g, gq, gk, gv;
    PairStrides mask, bias;
    long long q_positions, k_positions;  // from one sequence's positions to the next's
    long long offset;                    // the position of query 0 where none are given
    long long least, most;               // a query attends the keys that it is so far past
    unsigned long long drop_key;
    int batch, heads, key_heads, queries, keys, width, width_v;
    int is_aligned;  // whether rows can be copied 16 bytes at a time
    int has_rule;    // whether positions or a mask close any pair; all others are plain products
    unsigned dropped;
    float scale, softcap, upscale;
};

template <class T>
__device__ inline T* head_of(T* data, const Strides& strides, int batch, int head) {
    return data + batch * strides.batch + head * strides.head;
}

struct Axis {
    const long long* given;  // positions, ascending; else they count up from the first
    long long first;
    int count;

    __device__ long long position(int i) const { return given ? given[i] : first + i; }

    // The first of the places from..to−1 whose position is not below the limit, or ``to``.
    __device__ int place(long long limit, int from, int to) const {
        if (!given) return (int)min(max(limit - first, (long long)from), (long long)to);
        while (from < to) {
            int middle = (from + to) / 2;
            if (given[middle] < limit)
                from = middle + 1;
            else
                to = middle;
        }
        return from;
    }
};

// The tiles of columns that some row of a block reaches, begin..end, and those that all rows reach
// wholly, inside_begin..inside_end.
struct Reach {
    int begin, end, inside_begin, inside_end;

    __device__ bool has_edge(int tile) const { return tile < inside_begin || tile >= inside_end; }
};

// The pairs of one head. A row attends a column that its position is least..most past.
struct Pairs {
    Axis rows, columns;
    long long least, most;
    const bool* mask;
    const float* bias;
    long long mask_row, mask_column, bias_row, bias_column;
    unsigned long long drop_first, drop_row, drop_column;  // where pairs stand among all
    const Problem& p;

    __device__ Pairs(const Problem& p, int batch, int head, const bool* masks, const float* biases,
                     const long long* q_positions, const long long* k_positions)
        : rows{q_positions ? q_positions + batch * p.q_positions : nullptr, p.offset, p.queries},
          columns{k_positions ? k_positions + batch * p.k_positions : nullptr, 0, p.keys},
          least(p.least), most(p.most), p(p) {
        if (!GENERAL) return;
        mask = masks ? masks + batch * p.mask.batch + head * p.mask.head : nullptr;
        bias = biases ? biases + batch * p.bias.batch + head * p.bias.head : nullptr;
        mask_row = p.mask.query, mask_column = p.mask.key;
        bias_row = p.bias.query, bias_column = p.bias.key;
        drop_first = ((unsigned long long)batch * p.heads + head) * p.queries * p.keys;
        drop_row = p.keys, drop_column = 1;
    }

    // The same pairs with keys as rows and queries as columns.
    __device__ Pairs transposed() const {
        Pairs t = *this;
        t.rows = columns, t.columns = rows;
        t.least = -most, t.most = -least;
        if (!GENERAL) return t;
        t.mask_row = mask_column, t.mask_column = mask_row;
        t.bias_row = bias_column, t.bias_column = bias_row;
        t.drop_row = drop_column, t.drop_column = drop_row;
        return t;
    }

    __device__ Reach reach(int row) const {
        const long long first = rows.position(row);
        const long long last = rows.position(min(row + ROWS, rows.count) - 1);
        auto place = [&](long long limit) { return columns.place(limit, 0, columns.count); };
        constexpr int up = COLUMNS - 1;
        // a mask may close any pair; and what there is no row for has no bias to be read either
        const bool never_inside = GENERAL && (mask || row + ROWS > rows.count);
        return {place(first - most) / COLUMNS, (place(last - least + 1) + up) / COLUMNS,
                (place(last - most) + up) / COLUMNS,
                never_inside ? 0 : place(first - least + 1) / COLUMNS};
    }

    // Which pairs of this lane are open, in a tile that begins at ``column``; all, unless some may
    // be closed. A row attends the columns between two places.
    __device__ Open find_open(int row, int column, bool some_closed) const {
        Open open;
        const int end = min(column + COLUMNS, columns.count);
#pragma unroll
        for (int m = 0; m < BANDS; ++m) {
            open.bits[m] = some_closed ? 0 : ~0u;
            if (!some_closed) continue;
#pragma unroll
            for (int i = 0; i < 4; i += 2) {
                const int mine = row + row_of(m, i);
                if (mine >= rows.count) continue;
                const long long at = rows.position(mine);
                const int low = columns.place(at - most, column, end);
                const int high = columns.place(at - least + 1, column, end);
#pragma unroll
                for (int n = 0; n < PIECES; ++n)
#pragma unroll
                    for (int j = 0; j < 2; ++j) {
                        const int other = column + column_of(n, j);
                        if (low <= other && other < high && !is_masked(mine, other))
                            open.bits[m] |= 1u << (4 * n + i + j);
                    }
            }
        }
        return open;
    }

    __device__ bool is_masked(int row, int column) const {
        return GENERAL && mask && !mask[row * mask_row + column * mask_column];
    }

    // The score of an open pair as a power of two, after scale, soft cap and bias.
    __device__ float shape(float score, int row, int column, float& slope) const {
        score *= p.scale;
        slope = 1;
        if (p.softcap > 0) {
            float squashed = tanhf(score / p.softcap);
            score = p.softcap * squashed;
            slope = 1 - squashed * squashed;
        }
        if (bias) score += bias[row * bias_row + column * bias_column];
        return score * LOG2_E;
    }

    // What dropout multiplies the weight of a pair with: see keep_at in backend/random.py.
    __device__ float keep(int row, int column) const {
        if (!p.dropped) return p.upscale;
        unsigned long long index = drop_first + row * drop_row + column * drop_column;
        return stays(hash(index >> 2, p.drop_key), index, p.dropped) ? p.upscale : 0;
    }
};

// To be called by all threads before c += p·b, so that a closed pair adds exactly nothing to c, not
// 0·NaN: whoever may attend what is not finite gets NaN for it now, and b is made finite.
template <int W>
__device__ inline void settle(float (&c)[BANDS][W / 8][4], Tile<W> b, const Pairs& pairs, int row,
                              int column) {
    if (!__syncthreads_or(holds_nonfinite(b, COLUMNS))) return;
    mark_touched(c, pairs.find_open(row, column, true), b);
    __syncthreads();
    make_finite(b, COLUMNS);
    __syncthreads();
}
