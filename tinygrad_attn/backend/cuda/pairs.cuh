// Who may attend whom, and what the scores are before the softmax.
//
// On the way forward and for the gradient of the queries the rows of a tile are queries and its
// columns keys; for the gradients of keys and values it is the other way round. All below speaks
// of rows and columns, so it serves both.
#ifndef PAIRS_CUH
#define PAIRS_CUH

#include "tiles.cuh"

#ifndef WIDTH  // of queries and keys, rounded up to 32, 64, 96 or 128
#define WIDTH 64
#endif
#ifndef WIDTH_V  // of values, likewise
#define WIDTH_V 64
#endif

constexpr float LOG2_E = 1.44269504f;

struct Strides {  // of (B, heads, length, width), in elements; the last is 1
    long long batch, head, row;
};

struct PairStrides {  // of (B, H, T, S), in elements; 0 where broadcast
    long long batch, head, query, key;
};

struct Problem {
    Strides q, k, v, g;
    PairStrides mask, bias;
    long long q_positions, k_positions;  // from one sequence's positions to the next's
    long long offset;                    // the position of query 0 where none are given
    long long least, most;               // a query attends the keys that it is so far past
    unsigned long long drop_key;
    int batch, heads, key_heads, queries, keys, width, width_v;
    int is_aligned;  // whether rows can be copied 16 bytes at a time
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

    // How many tiles there are whose first, or last, position is below the limit.
    __device__ int tiles_below(long long limit, bool by_last) const {
        int low = 0, high = (count + COLUMNS - 1) / COLUMNS;
        while (low < high) {
            int middle = (low + high) / 2;
            int place = by_last ? min((middle + 1) * COLUMNS, count) - 1 : middle * COLUMNS;
            if (position(place) < limit)
                low = middle + 1;
            else
                high = middle;
        }
        return low;
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
        long long first = rows.position(row);
        long long last = rows.position(min(row + ROWS, rows.count) - 1);
        return {columns.tiles_below(first - most, true), columns.tiles_below(last - least + 1, false),
                columns.tiles_below(last - most, false),
                min(columns.tiles_below(first - least + 1, true), columns.count / COLUMNS)};
    }

    __device__ bool is_open(int row, int column) const {
        if (row >= rows.count || column >= columns.count) return false;
        long long ahead = rows.position(row) - columns.position(column);
        if (ahead < least || ahead > most) return false;
        return !GENERAL || !mask || mask[row * mask_row + column * mask_column];
    }

    __device__ Open find_open(int row, int column, bool some_closed) const {
        Open open;
#pragma unroll
        for (int m = 0; m < BANDS; ++m) {
            open.bits[m] = some_closed ? 0 : ~0u;
            if (!some_closed) continue;
#pragma unroll 1
            for (int bit = 0; bit < 4 * PIECES; ++bit)
                open.bits[m] |= (unsigned)is_open(row + row_of(m, bit % 4),
                                                  column + column_of(bit / 4, bit)) << bit;
        }
        return open;
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
        unsigned long long z = (index >> 2) * 0x9E3779B97F4A7C15ull + p.drop_key;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ z >> 27) * 0x94D049BB133111EBull;
        z ^= z >> 31;
        return (unsigned)(z >> (index & 3) * 16 & 0xffff) < p.dropped ? 0 : p.upscale;
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

#endif
