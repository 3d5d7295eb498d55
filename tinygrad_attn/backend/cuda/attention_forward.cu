// Attention forward: y = softmax(q·kᵀ·scale …)·v, a tile of scores at a time.
//
// Each block of threads has ROWS queries of one head. The keys come by in tiles, the next of them
// copied while this one is computed with. Each row keeps its largest score, the sum of
// exponentials, and the sum of values, both relative to that score: the online softmax. Scores
// count in powers of two, which the hardware computes faster. What remains of a row is the logarithm
// of its sum; from it the way back computes every weight again.
//
// Reference: Dao, "FlashAttention-2", arXiv:2307.08691.
#include "pairs.cuh"

constexpr int KEY_BYTES = COLUMNS * Tile<WIDTH>::row_bytes;
constexpr int STAGE_BYTES = KEY_BYTES + COLUMNS * Tile<WIDTH_V>::row_bytes;

// A tile of weights from scores, and what was summed so far scaled down to the new largest score.
__device__ inline void soften(float (&s)[BANDS][PIECES][4], float (&mixed)[BANDS][WIDTH_V / 8][4],
                              float (&top)[BANDS][2], float (&total)[BANDS][2], float unit) {
#pragma unroll
    for (int m = 0; m < BANDS; ++m)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            float highest = top[m][i];
#pragma unroll
            for (int n = 0; n < PIECES; ++n)
                highest = fmaxf(highest, fmaxf(s[m][n][2 * i], s[m][n][2 * i + 1]));
            highest = largest_of_row(highest);
            float shift = highest == -INFINITE ? 0 : highest * unit;
            float ratio = power_of_two(top[m][i] * unit - shift), sum = 0;
#pragma unroll
            for (int n = 0; n < PIECES; ++n)
#pragma unroll
                for (int j = 2 * i; j < 2 * i + 2; ++j) {
                    s[m][n][j] = power_of_two(fmaf(s[m][n][j], unit, -shift));
                    sum += s[m][n][j];
                }
            top[m][i] = highest;
            total[m][i] = total[m][i] * ratio + sum;
#pragma unroll
            for (int n = 0; n < WIDTH_V / 8; ++n)
                mixed[m][n][2 * i] *= ratio, mixed[m][n][2 * i + 1] *= ratio;
        }
}

extern "C" __global__ void __launch_bounds__(THREADS)
attention_forward(const scalar* q, const scalar* k, const scalar* v, const float* bias,
                  const float* sinks, const bool* mask, const long long* q_positions,
                  const long long* k_positions, scalar* y, float* log_total, const Problem p) {
    extern __shared__ __align__(16) char memory[];
    const int blocks = (p.queries + ROWS - 1) / ROWS, index = blockIdx.x / blocks;
    const int batch = index / p.heads, head = index % p.heads;
    const int key_head = head / (p.heads / p.key_heads);
    const int first = (blocks - 1 - blockIdx.x % blocks) * ROWS;  // causal: those with most keys first
    const int row = first + threadIdx.x / 32 * 16 * BANDS;
    const Tile<WIDTH> queries{memory};
    char* const stages = memory + ROWS * queries.row_bytes;

    k = head_of(k, p.k, batch, key_head), v = head_of(v, p.v, batch, key_head);
    auto load = [&](int tile) {
        const int column = tile * COLUMNS, left = p.keys - column;
        char* stage = stages + tile % 2 * STAGE_BYTES;
        Tile<WIDTH>{stage}.load<COLUMNS>(k + column * p.k.row, p.k.row, left, p.width,
                                                  p.is_aligned);
        Tile<WIDTH_V>{stage + KEY_BYTES}.load<COLUMNS>(v + column * p.v.row, p.v.row, left,
                                                                p.width_v, p.is_aligned);
    };
    queries.load<ROWS>(head_of(q, p.q, batch, head) + first * p.q.row, p.q.row,
                                p.queries - first, p.width, p.is_aligned);
    Pairs pairs(p, batch, q_positions, k_positions);
    pairs.take_head(mask, bias, batch, head);
    const Reach reach = pairs.reach(first);
    if (reach.begin < reach.end) load(reach.begin);

    const float unit = SHAPED ? 1 : p.scale * LOG2_E;  // of a score, in powers of two
    float mixed[BANDS][WIDTH_V / 8][4] = {}, top[BANDS][2], total[BANDS][2] = {};
#pragma unroll
    for (int m = 0; m < BANDS; ++m) top[m][0] = top[m][1] = -INFINITE;
    Rows<WIDTH> mine;
    for (int tile = reach.begin; tile < reach.end; ++tile) {
        cp_async_wait_all();
        __syncthreads();
        if (tile + 1 < reach.end) load(tile + 1);
        char* stage = stages + tile % 2 * STAGE_BYTES;
        float s[BANDS][PIECES][4] = {};
        mine.load(queries, row - first);
        match(s, mine, Tile<WIDTH>{stage});

        const int column = tile * COLUMNS;
        const bool some_closed = (SHAPED && mask) || reach.has_edge(tile);
        unsigned open[BANDS];
        if (some_closed) pairs.find_open(open, row, column);
        for_each_pair([&](int m, int n, int i) {
            const bool is_open = !some_closed || open[m] >> 4 * n + i & 1;
            float slope;
            if (SHAPED && is_open)
                s[m][n][i] = pairs.shape(s[m][n][i], row + row_of(m, i), column + column_of(n, i), slope);
            if (!is_open) s[m][n][i] = -INFINITE;
        });
        soften(s, mixed, top, total, unit);
        if (SHAPED && p.upscale != 1)
            for_each_pair([&](int m, int n, int i) {
                s[m][n][i] *= pairs.keep(row + row_of(m, i), column + column_of(n, i));
            });
        mix(mixed, s, Tile<WIDTH_V>{stage + KEY_BYTES}, open, some_closed);
    }

    const float sink = sinks ? sinks[head] * LOG2_E : -INFINITE;
    float factor[BANDS][2];
#pragma unroll
    for (int m = 0; m < BANDS; ++m)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            float highest = fmaxf(top[m][i] * unit, sink);
            float shift = highest == -INFINITE ? 0 : highest;
            float ratio = power_of_two(top[m][i] * unit - shift);
            float sum = sum_of_row(total[m][i]) * ratio + power_of_two(sink - shift);
            factor[m][i] = sum == 0 ? 1 : ratio / sum;
            int place = row + row_of(m, 2 * i);
            if (lane() % 4 == 0 && place < p.queries)
                log_total[(long long)index * p.queries + place] =
                    sum == 0 ? INFINITE : shift + log2f(sum);
        }
    store_rows<WIDTH_V>(mixed, y + (long long)index * p.queries * p.width_v, row, p.queries,
                        p.width_v, factor);
}
