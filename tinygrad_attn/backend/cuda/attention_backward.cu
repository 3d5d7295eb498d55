// Attention backward: the gradients of queries, keys and values, the weights computed anew.
//
// With g = ∂L/∂y, P the weights and δ = Σ g·y of a row:  ∂L/∂v = Pᵀ·g,  dS = P∘(g·vᵀ − δ),
// ∂L/∂q = dS·k·scale,  ∂L/∂k = dSᵀ·q·scale. Two kernels compute dS, one with queries as rows, one
// with keys as rows. That is more products than one kernel would need, but then several blocks
// would add to the same gradient, in another order in each run. Here every sum has one owner, so
// the same gradients come out bit for bit.
#include "pairs.cuh"

constexpr int KEY_BYTES = COLUMNS * Tile<WIDTH>::row_bytes;
constexpr int STAGE_BYTES =
    KEY_BYTES + COLUMNS * Tile<WIDTH_V>::row_bytes + 2 * COLUMNS * int(sizeof(float));

// From scores and g·vᵀ, in place, to the weights that met the values and the gradient of scores.
// ``ends(m, n, i)`` gives the logarithm of the row's sum, and δ, of a pair's query.
template <class Ends>
__device__ inline void differentiate(float (&s)[BANDS][PIECES][4], float (&gs)[BANDS][PIECES][4],
                                     const unsigned (&open)[BANDS], bool some_closed,
                                     const Pairs& pairs, int row, int column, float unit,
                                     float* gbias, Ends ends) {
    for_each_pair([&](int m, int n, int i) {
        const int mine = row + row_of(m, i), other = column + column_of(n, i);
        const bool is_open = !some_closed || open[m] >> 4 * n + i & 1;
        const float2 end = ends(m, n, i);
        float score = s[m][n][i], slope = 1, keep = 1;
        if (SHAPED && is_open) {
            score = pairs.shape(score, mine, other, slope);
            keep = pairs.keep(mine, other);
        }
        const float weight = is_open ? power_of_two(fmaf(score, unit, -end.x)) : 0;
        const float gscore = is_open ? weight * (gs[m][n][i] * keep - end.y) : 0;
        if (SHAPED && gbias && is_open) gbias[(long long)mine * pairs.columns.count + other] = gscore;
        s[m][n][i] = weight * keep;
        gs[m][n][i] = gscore * slope;
    });
}

// δ = Σ g·y of every row, a warp for each.
extern "C" __global__ void __launch_bounds__(THREADS)
attention_delta(const scalar* g, const scalar* y, float* delta, const Problem p) {
    const long long row = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
    const long long head = row / p.queries;
    if (head >= (long long)p.batch * p.heads) return;
    const scalar* mine = head_of(g, p.g, head / p.heads, head % p.heads) + row % p.queries * p.g.row;
    float sum = 0;
    for (int i = lane(); i < p.width_v; i += 32)
        sum += to_float(mine[i]) * to_float(y[row * p.width_v + i]);
#pragma unroll
    for (int flip = 16; flip; flip /= 2) sum += __shfl_xor_sync(~0u, sum, flip);
    if (lane() == 0) delta[row] = sum;
}

// The gradient of the queries, and that of the bias if wanted: rows are queries.
extern "C" __global__ void __launch_bounds__(THREADS)
attention_backward_queries(const scalar* q, const scalar* k, const scalar* v, const scalar* g,
                           const float* bias, const bool* mask, const long long* q_positions,
                           const long long* k_positions, const float* log_total, const float* delta,
                           scalar* gq, float* gbias, const Problem p) {
    extern __shared__ __align__(16) char memory[];
    const int blocks = (p.queries + ROWS - 1) / ROWS, index = blockIdx.x / blocks;
    const int batch = index / p.heads, head = index % p.heads;
    const int key_head = head / (p.heads / p.key_heads);
    const int first = (blocks - 1 - blockIdx.x % blocks) * ROWS;  // causal: those with most keys first
    const int row = first + threadIdx.x / 32 * 16 * BANDS;
    const Tile<WIDTH> queries{memory};
    const Tile<WIDTH_V> gradients{memory + ROWS * queries.row_bytes};
    char* const stages = gradients.at(ROWS, 0);

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
    gradients.load<ROWS>(head_of(g, p.g, batch, head) + first * p.g.row, p.g.row,
                                  p.queries - first, p.width_v, p.is_aligned);
    Pairs pairs(p, batch, q_positions, k_positions);
    pairs.take_head(mask, bias, batch, head);
    const Reach reach = pairs.reach(first);
    if (reach.begin < reach.end) load(reach.begin);
    if (gbias) gbias += (long long)index * p.queries * p.keys;

    float2 end[BANDS][2];
#pragma unroll
    for (int m = 0; m < BANDS; ++m)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int mine = row + row_of(m, 2 * i);
            const long long place = (long long)index * p.queries + mine;
            end[m][i] = mine < p.queries ? make_float2(log_total[place], delta[place])
                                         : make_float2(0, 0);
        }
    const float unit = SHAPED ? 1 : p.scale * LOG2_E;
    float sum[BANDS][WIDTH / 8][4] = {};
    Rows<WIDTH> mine;
    Rows<WIDTH_V> mine_v;
    for (int tile = reach.begin; tile < reach.end; ++tile) {
        cp_async_wait_all();
        __syncthreads();
        if (tile + 1 < reach.end) load(tile + 1);
        char* stage = stages + tile % 2 * STAGE_BYTES;
        float s[BANDS][PIECES][4] = {}, gs[BANDS][PIECES][4] = {};
        mine.load(queries, row - first);
        match(s, mine, Tile<WIDTH>{stage});
        mine_v.load(gradients, row - first);
        match(gs, mine_v, Tile<WIDTH_V>{stage + KEY_BYTES});

        const int column = tile * COLUMNS;
        const bool some_closed = (SHAPED && mask) || reach.has_edge(tile);
        unsigned open[BANDS];
        if (some_closed) pairs.find_open(open, row, column);
        differentiate(s, gs, open, some_closed, pairs, row, column, unit, gbias,
                      [&](int m, int, int i) { return end[m][i / 2]; });
        mix(sum, gs, Tile<WIDTH>{stage}, open, some_closed);
    }
    float factor[BANDS][2];
#pragma unroll
    for (int m = 0; m < BANDS; ++m) factor[m][0] = factor[m][1] = p.scale;
    store_rows<WIDTH>(sum, gq + (long long)index * p.queries * p.width, row, p.queries, p.width,
                      factor);
}

// The gradients of keys and values, summed over the query heads that share them: rows are keys.
extern "C" __global__ void __launch_bounds__(THREADS)
attention_backward_keys(const scalar* q, const scalar* k, const scalar* v, const scalar* g,
                        const float* bias, const bool* mask, const long long* q_positions,
                        const long long* k_positions, const float* log_total, const float* delta,
                        scalar* gk, scalar* gv, const Problem p) {
    extern __shared__ __align__(16) char memory[];
    const int blocks = (p.keys + ROWS - 1) / ROWS, index = blockIdx.x / blocks;
    const int batch = index / p.key_heads, key_head = index % p.key_heads;
    const int group = p.heads / p.key_heads;
    const int first = blockIdx.x % blocks * ROWS;  // causal: those with most queries first
    const int row = first + threadIdx.x / 32 * 16 * BANDS;
    const Tile<WIDTH> keys{memory};
    const Tile<WIDTH_V> values{memory + ROWS * keys.row_bytes};
    char* const stages = values.at(ROWS, 0);

    Pairs pairs(p, batch, q_positions, k_positions);
    pairs.transpose_positions();
    const Reach reach = pairs.reach(first);
    const int tiles = max(reach.end - reach.begin, 0);
    auto load = [&](int step) {  // the tiles of one head after those of another
        const int head = key_head * group + step / tiles;
        const int column = (reach.begin + step % tiles) * COLUMNS, left = p.queries - column;
        const long long place = ((long long)batch * p.heads + head) * p.queries + column;
        char* stage = stages + step % 2 * STAGE_BYTES;
        Tile<WIDTH>{stage}.load<COLUMNS>(head_of(q, p.q, batch, head) + column * p.q.row,
                                                  p.q.row, left, p.width, p.is_aligned);
        Tile<WIDTH_V>{stage + KEY_BYTES}.load<COLUMNS>(
            head_of(g, p.g, batch, head) + column * p.g.row, p.g.row, left, p.width_v,
            p.is_aligned);
        for (int i = threadIdx.x; i < 2 * COLUMNS; i += THREADS) {
            const int other = i % COLUMNS;
            cp_async<4>(stage + STAGE_BYTES - (2 * COLUMNS - i) * sizeof(float),
                        (i < COLUMNS ? log_total : delta) + place + (other < left ? other : 0),
                        other < left ? 4 : 0);
        }
    };
    keys.load<ROWS>(head_of(k, p.k, batch, key_head) + first * p.k.row, p.k.row,
                             p.keys - first, p.width, p.is_aligned);
    values.load<ROWS>(head_of(v, p.v, batch, key_head) + first * p.v.row, p.v.row,
                               p.keys - first, p.width_v, p.is_aligned);
    if (tiles) load(0);

    const float unit = SHAPED ? 1 : p.scale * LOG2_E;
    float sum[BANDS][WIDTH / 8][4] = {}, sum_v[BANDS][WIDTH_V / 8][4] = {};
    Rows<WIDTH> mine;
    Rows<WIDTH_V> mine_v;
    for (int step = 0; step < group * tiles; ++step) {
        cp_async_wait_all();
        __syncthreads();
        if (step + 1 < group * tiles) load(step + 1);
        char* stage = stages + step % 2 * STAGE_BYTES;
        const float* ends = (const float*)(stage + STAGE_BYTES) - 2 * COLUMNS;
        float s[BANDS][PIECES][4] = {}, gs[BANDS][PIECES][4] = {};
        mine.load(keys, row - first);
        match(s, mine, Tile<WIDTH>{stage});
        mine_v.load(values, row - first);
        match(gs, mine_v, Tile<WIDTH_V>{stage + KEY_BYTES});

        const int tile = reach.begin + step % tiles, column = tile * COLUMNS;
        pairs.take_head(mask, bias, batch, key_head * group + step / tiles);
        pairs.transpose_head();
        const bool some_closed = (SHAPED && mask) || reach.has_edge(tile);
        unsigned open[BANDS];
        if (some_closed) pairs.find_open(open, row, column);
        differentiate(s, gs, open, some_closed, pairs, row, column, unit, nullptr,
                      [&](int, int n, int i) {
                          const int other = column_of(n, i);
                          return make_float2(ends[other], ends[COLUMNS + other]);
                      });
        mix(sum_v, s, Tile<WIDTH_V>{stage + KEY_BYTES}, open, some_closed);
        mix(sum, gs, Tile<WIDTH>{stage}, open, some_closed);
    }
    float factor[BANDS][2], one[BANDS][2];
#pragma unroll
    for (int m = 0; m < BANDS; ++m) {
        factor[m][0] = factor[m][1] = p.scale;
        one[m][0] = one[m][1] = 1;
    }
    const long long place = (long long)index * p.keys;
    store_rows<WIDTH>(sum, gk + place * p.width, row, p.keys, p.width, factor);
    store_rows<WIDTH_V>(sum_v, gv + place * p.width_v, row, p.keys, p.width_v, one);
}
