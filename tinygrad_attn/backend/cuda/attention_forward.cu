// Attention forward: y = softmax(q·kᵀ·scale …)·v, a tile of scores at a time.
//
// Each block of threads has ROWS queries of one head. The keys come by in tiles, the next of them
// copied while this one is computed with. Each row keeps its largest score, the sum of
// exponentials, and the sum of values, both relative to that score: the online softmax. Scores
// count in powers of two, which the hardware computes faster. What remains of a row is the
// logarithm of its sum; from it the way back computes every weight again.
//
// Reference: Dao, "FlashAttention-2", arXiv:2307.08691.
#include "pairs.cuh"

constexpr int KEY_BYTES = COLUMNS * Tile<WIDTH>::row_bytes;
constexpr int STAGE_BYTES = KEY_BYTES + COLUMNS * Tile<WIDTH_V>::row_bytes;

// Whether there are registers enough to keep the queries in, all along.
constexpr bool STAYS = !GENERAL && WIDTH <= 64 && ARITHMETIC >= FLOAT16;

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

extern "C" __global__ void __launch_bounds__(THREADS, 2)
attention_forward(const scalar* q, const scalar* k, const scalar* v, const float* bias,
                  const float* sinks, const bool* mask, const long long* q_positions,
                  const long long* k_positions, scalar* y, float* log_total, const Problem p) {
    extern __shared__ __align__(16) char memory[];
    const int batch = blockIdx.z, head = blockIdx.y, index = batch * p.heads + head;
    const int key_head = head / (p.heads / p.key_heads);
    const int first = (gridDim.x - 1 - blockIdx.x) * ROWS;  // the last have most keys to visit
    const int row = first + threadIdx.x / 32 * 16 * BANDS;
    const Tile<WIDTH> queries{memory};
    char* const stages = memory + ROWS * queries.row_bytes;

    q = head_of(q, p.q, batch, head);
    k = head_of(k, p.k, batch, key_head), v = head_of(v, p.v, batch, key_head);
    auto load = [&](int tile) {
        char* stage = stages + tile % 2 * STAGE_BYTES;
        const int start = tile * COLUMNS;
        Tile<WIDTH>{stage}.load<COLUMNS>(k, p.k.row, start, p.keys, p.width, p.is_aligned);
        Tile<WIDTH_V>{stage + KEY_BYTES}.load<COLUMNS>(v, p.v.row, start, p.keys, p.width_v,
                                                       p.is_aligned);
    };
    queries.load<ROWS>(q, p.q.row, first, p.queries, p.width, p.is_aligned);
    const Pairs pairs(p, batch, head, mask, bias, q_positions, k_positions);
    const Reach reach = pairs.reach(first);
    if (reach.begin < reach.end) load(reach.begin);

    const float unit = GENERAL ? 1 : p.scale * LOG2_E;  // of a score, in powers of two
    float mixed[BANDS][WIDTH_V / 8][4] = {}, top[BANDS][2], total[BANDS][2] = {};
#pragma unroll
    for (int m = 0; m < BANDS; ++m) top[m][0] = top[m][1] = -INFINITE;
    cp_async_wait_all();  // for the queries
    __syncthreads();
    const Rows<WIDTH, STAYS> mine(queries, row - first);
    for (int tile = reach.begin; tile < reach.end; ++tile) {
        cp_async_wait_all();
        __syncthreads();
        if (tile + 1 < reach.end) load(tile + 1);
        const int column = tile * COLUMNS;
        char* stage = stages + tile % 2 * STAGE_BYTES;
        const Tile<WIDTH> keys{stage};
        const Tile<WIDTH_V> values{stage + KEY_BYTES};
        const bool some_closed = reach.has_edge(tile);
        if (some_closed) settle(mixed, values, pairs, row, column);

        float s[BANDS][PIECES][4] = {};
        match(s, mine, keys);
        if (p.has_rule) spoil(s, keys);
        const Open open = pairs.find_open(row, column, some_closed);
        if (GENERAL)
            for_each_pair([&](int m, int n, int i) {
                float slope;
                if (open(m, n, i))
                    s[m][n][i] = pairs.shape(s[m][n][i], row + row_of(m, i),
                                             column + column_of(n, i), slope);
            });
        if (some_closed) close(s, open, -INFINITE);
        soften(s, mixed, top, total, unit);
        if (GENERAL && p.upscale != 1)
            for_each_pair([&](int m, int n, int i) {
                s[m][n][i] *= pairs.keep(row + row_of(m, i), column + column_of(n, i));
            });
        multiply(mixed, s, values);
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
    store_rows<WIDTH_V>(mixed, head_of(y, p.y, batch, head), p.y.row, row, p.queries, p.width_v,
                        factor);
}
