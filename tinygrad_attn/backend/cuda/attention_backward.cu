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
static_assert(2 * COLUMNS <= THREADS, "a thread copies one logarithm, or one δ, of a tile");

// From scores and g·vᵀ, in place, to the weights that met the values and the gradient of scores.
// ``ends(m, n, i)`` gives the logarithm of the row's sum, and δ, of a pair's query.
template <class Ends>
__device__ inline void differentiate(float (&s)[BANDS][PIECES][4], float (&gs)[BANDS][PIECES][4],
                                     const Pairs& pairs, bool some_closed, int row, int column,
                                     float unit, float* gbias, Ends ends) {
    Open open = pairs.find_open(row, column, GENERAL && some_closed);
    for_each_pair([&](int m, int n, int i) {
        const int mine = row + row_of(m, i), other = column + column_of(n, i);
        const float2 end = ends(m, n, i);
        float score = s[m][n][i], slope = 1, keep = 1;
        if (GENERAL && open(m, n, i)) {
            score = pairs.shape(score, mine, other, slope);
            keep = pairs.keep(mine, other);
        }
        const float weight = power_of_two(fmaf(score, unit, -end.x));
        const float gscore = weight * (gs[m][n][i] * keep - end.y);
        if (GENERAL && gbias && open(m, n, i))
            gbias[(long long)mine * pairs.columns.count + other] = gscore;
        s[m][n][i] = weight * keep;
        gs[m][n][i] = gscore * slope;
    });
    if (some_closed) {
        if (!GENERAL) open = pairs.find_open(row, column, true);  // not sooner: registers are few
        close(s, open, 0), close(gs, open, 0);
    }
}

// δ = Σ g·y of a row, by a warp; 0 beyond the last.
__device__ inline float delta_of(const scalar* g, const scalar* y, const Problem& p, int row) {
    float sum = 0;
    if (row < p.queries)
        for (int i = lane(); i < p.width_v; i += 32)
            sum += to_float(g[row * p.g.row + i]) * to_float(y[row * p.y.row + i]);
#pragma unroll
    for (int flip = 16; flip; flip /= 2) sum += __shfl_xor_sync(~0u, sum, flip);
    return sum;
}

// The gradients of the queries and of the bias, if wanted; and δ, for the other kernel too. Rows
// are queries.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attention_backward_queries(const scalar* q, const scalar* k, const scalar* v, const scalar* g,
                           const scalar* y, const float* bias, const bool* mask,
                           const long long* q_positions, const long long* k_positions,
                           const float* log_total, float* delta, scalar* gq, float* gbias,
                           const Problem p) {
    extern __shared__ __align__(16) char memory[];
    const int batch = blockIdx.z, head = blockIdx.y, index = batch * p.heads + head;
    const int key_head = head / (p.heads / p.key_heads);
    const int first = (gridDim.x - 1 - blockIdx.x) * ROWS;  // the last have most keys to visit
    const int row = first + threadIdx.x / 32 * 16 * BANDS;
    const Tile<WIDTH> queries{memory};
    const Tile<WIDTH_V> gradients{memory + ROWS * queries.row_bytes};
    char* const stages = gradients.at(ROWS, 0);

    q = head_of(q, p.q, batch, head), k = head_of(k, p.k, batch, key_head);
    g = head_of(g, p.g, batch, head), v = head_of(v, p.v, batch, key_head);
    y = head_of(y, p.y, batch, head);
    auto load = [&](int tile) {
        char* stage = stages + tile % 2 * STAGE_BYTES;
        const int start = tile * COLUMNS;
        Tile<WIDTH>{stage}.load<COLUMNS>(k, p.k.row, start, p.keys, p.width, p.is_aligned);
        Tile<WIDTH_V>{stage + KEY_BYTES}.load<COLUMNS>(v, p.v.row, start, p.keys, p.width_v,
                                                       p.is_aligned);
    };
    queries.load<ROWS>(q, p.q.row, first, p.queries, p.width, p.is_aligned);
    gradients.load<ROWS>(g, p.g.row, first, p.queries, p.width_v, p.is_aligned);
    const Pairs pairs(p, batch, head, mask, bias, q_positions, k_positions);
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
            end[m][i] = make_float2(mine < p.queries ? log_total[place] : 0, 0);
#pragma unroll 1
            for (int line = 0; line < 8; ++line) {
                const float sum = delta_of(g, y, p, row + 16 * m + 8 * i + line);
                if (lane() / 4 == line) end[m][i].y = sum;
            }
            if (lane() % 4 == 0 && mine < p.queries) delta[place] = end[m][i].y;
        }
    if (!gq && !gbias) {
        cp_async_wait_all();
        return;
    }
    const float unit = GENERAL ? 1 : p.scale * LOG2_E;
    float sum[BANDS][WIDTH / 8][4] = {};
    const Rows<WIDTH> mine(queries, row - first);
    const Rows<WIDTH_V> mine_v(gradients, row - first);
    for (int tile = reach.begin; tile < reach.end; ++tile) {
        cp_async_wait_all();
        __syncthreads();
        if (tile + 1 < reach.end) load(tile + 1);
        const int column = tile * COLUMNS;
        char* stage = stages + tile % 2 * STAGE_BYTES;
        const Tile<WIDTH> keys{stage};
        const Tile<WIDTH_V> values{stage + KEY_BYTES};
        const bool some_closed = reach.has_edge(tile);
        if (some_closed) settle(sum, keys, pairs, row, column);

        float s[BANDS][PIECES][4] = {}, gs[BANDS][PIECES][4] = {};
        match(s, mine, keys);
        match(gs, mine_v, values);
        differentiate(s, gs, pairs, some_closed, row, column, unit, gbias,
                      [&](int m, int, int i) { return end[m][i / 2]; });
        multiply(sum, gs, keys);
    }
    float factor[BANDS][2];
#pragma unroll
    for (int m = 0; m < BANDS; ++m) factor[m][0] = factor[m][1] = p.scale;
    if (gq)
        store_rows<WIDTH>(sum, head_of(gq, p.gq, batch, head), p.gq.row, row, p.queries, p.width,
                          factor);
}

// The gradients of keys and values, summed over the query heads that share them: rows are keys.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attention_backward_keys(const scalar* q, const scalar* k, const scalar* v, const scalar* g,
                        const float* bias, const bool* mask, const long long* q_positions,
                        const long long* k_positions, const float* log_total, const float* delta,
                        scalar* gk, scalar* gv, const Problem p) {
    extern __shared__ __align__(16) char memory[];
    const int batch = blockIdx.z, key_head = blockIdx.y, group = p.heads / p.key_heads;
    const int first = blockIdx.x * ROWS;  // the first have most queries to visit
    const int row = first + threadIdx.x / 32 * 16 * BANDS;
    const Tile<WIDTH> keys{memory};
    const Tile<WIDTH_V> values{memory + ROWS * keys.row_bytes};
    char* const stages = values.at(ROWS, 0);

    auto pairs_of = [&](int head) {
        return Pairs(p, batch, head, mask, bias, q_positions, k_positions).transposed();
    };
    const Reach reach = pairs_of(0).reach(first);  // which is that of all heads
    auto load = [&](int head, int tile, int turn) {
        const int start = tile * COLUMNS;
        char* stage = stages + turn * STAGE_BYTES;
        Tile<WIDTH>{stage}.load<COLUMNS>(head_of(q, p.q, batch, head), p.q.row, start, p.queries,
                                         p.width, p.is_aligned);
        Tile<WIDTH_V>{stage + KEY_BYTES}.load<COLUMNS>(head_of(g, p.g, batch, head), p.g.row, start,
                                                       p.queries, p.width_v, p.is_aligned);
        if (threadIdx.x < 2 * COLUMNS) {
            float* ends = (float*)(stage + STAGE_BYTES) - 2 * COLUMNS;
            const int query = start + threadIdx.x % COLUMNS;
            cp_async<4>(ends + threadIdx.x,
                        (threadIdx.x < COLUMNS ? log_total : delta) + query +
                            (long long)(batch * p.heads + head) * p.queries,
                        query < p.queries ? 4 : 0);
        }
    };
    keys.load<ROWS>(head_of(k, p.k, batch, key_head), p.k.row, first, p.keys, p.width,
                    p.is_aligned);
    values.load<ROWS>(head_of(v, p.v, batch, key_head), p.v.row, first, p.keys, p.width_v,
                      p.is_aligned);
    int head = key_head * group, tile = reach.begin, turn = 0;
    const int end = reach.begin < reach.end ? head + group : head;
    if (head < end) load(head, tile, turn);

    const float unit = GENERAL ? 1 : p.scale * LOG2_E;
    float sum[BANDS][WIDTH / 8][4] = {}, sum_v[BANDS][WIDTH_V / 8][4] = {};
    const Rows<WIDTH> mine(keys, row - first);
    const Rows<WIDTH_V> mine_v(values, row - first);
    while (head < end) {  // the tiles of one head after those of another
        cp_async_wait_all();
        __syncthreads();
        const bool is_last = tile + 1 == reach.end;
        const int next_head = head + is_last, next_tile = is_last ? reach.begin : tile + 1;
        if (next_head < end) load(next_head, next_tile, turn ^ 1);
        const int column = tile * COLUMNS;
        char* stage = stages + turn * STAGE_BYTES;
        const Tile<WIDTH> queries{stage};
        const Tile<WIDTH_V> gradients{stage + KEY_BYTES};
        const Pairs pairs = pairs_of(head);
        const bool some_closed = reach.has_edge(tile);
        if (some_closed) {
            settle(sum, queries, pairs, row, column);
            settle(sum_v, gradients, pairs, row, column);
        }

        const float* ends = (const float*)(stage + STAGE_BYTES) - 2 * COLUMNS;
        float s[BANDS][PIECES][4] = {}, gs[BANDS][PIECES][4] = {};
        match(s, mine, queries);
        match(gs, mine_v, gradients);
        differentiate(s, gs, pairs, some_closed, row, column, unit, nullptr,
                      [&](int, int n, int i) {
                          const int other = column_of(n, i);
                          return make_float2(ends[other], ends[COLUMNS + other]);
                      });
        multiply(sum_v, s, gradients);
        multiply(sum, gs, queries);
        head = next_head, tile = next_tile, turn ^= 1;
    }
    gk = head_of(gk, p.gk, batch, key_head), gv = head_of(gv, p.gv, batch, key_head);
    float factor[BANDS][2], one[BANDS][2];
#pragma unroll
    for (int m = 0; m < BANDS; ++m) {
        factor[m][0] = factor[m][1] = p.scale;
        one[m][0] = one[m][1] = 1;
    }
    store_rows<WIDTH>(sum, gk, p.gk.row, row, p.keys, p.width, factor);
    store_rows<WIDTH_V>(sum_v, gv, p.gv.row, row, p.keys, p.width_v, one);
}
