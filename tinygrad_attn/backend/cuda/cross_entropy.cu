// cross entropy by rows of logits. Forward reads them once and keeps two numbers of each row, its
// maximum and the logarithm of Σ exp(x − maximum). As one number, their sum, they would lose the
// digits that matter where logits are large.
#include "rows.cuh"

// loss = share[t]·(1 − s)·(ln Σ eˣ − xₜ) + s/n·Σ share·(ln Σ eˣ − x), s the smoothing. Without
// share every class weighs 1; share_sum is there only where there is smoothing, and share with it.
extern "C" __global__ void __launch_bounds__(BLOCK)
cross_entropy(const Stored* logits, const long long* targets, const Stored* share,
              const Real* share_sum, Real* losses, Real* weights, Real* tops, Real* log_sums,
              Index rows, Index n, Real smoothing, Index ignored) {
    Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    Index count = row < rows ? n : 0;
    logits += row * n;
    Real numbers[KEPT], top = -infinity(), sum = 0, weighted = 0;
    for (Index i = 0; i < count; i += KEPT * blockDim.x) {
        load(numbers, logits + i, count - i, -infinity());
        Real higher = top;
        for (Real v : numbers) higher = max(higher, v);
        Real shift = higher == -infinity() ? Real(0) : higher;  // −∞ − −∞ would be NaN
        sum *= exponential(top - shift);
        for (Real v : numbers) sum += exponential(v - shift);
        top = higher;
        if (!share_sum) continue;
        Real factors[KEPT];
        load(factors, share + i, count - i, 0);
        for (int k = 0; k < KEPT; ++k)
            if (i + place(k) < count) weighted += factors[k] * numbers[k];
    }
    Real highest = row_max(top), shift = highest == -infinity() ? Real(0) : highest;
    sum = row_sum(sum * exponential(top - shift));
    weighted = share_sum ? row_sum(weighted) : Real(0);
    if (!count || threadIdx.x) return;
    Real log_sum = log(sum), loss = 0, weight = 0;
    Index target = targets[row];
    if (target != ignored) {
        weight = share ? widen(share[target]) : Real(1);
        loss = weight * (1 - smoothing) * (log_sum - (widen(logits[target]) - shift));
        if (share_sum) loss += smoothing / n * ((shift + log_sum) * *share_sum - weighted);
    }
    losses[row] = loss;
    weights[row] = weight;
    tops[row] = shift;
    log_sums[row] = log_sum;
}

// gx = g·(softmax·(aₜ + e·Σ share) − e·share − aₜ at the target), aₜ and e the two factors above.
// A step of 0 from one g to the next gives all rows the same.
extern "C" __global__ void __launch_bounds__(BLOCK)
cross_entropy_backward(const Stored* logits, const long long* targets, const Stored* share,
                       const Real* share_sum, const Real* weights, const Real* tops,
                       const Real* log_sums, const Real* g, Stored* gx,
                       Index rows, Index n, Real smoothing, Index ignored, Index g_step) {
    Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    logits += row * n;
    gx += row * n;
    Index target = targets[row];
    bool is_kept = target != ignored;
    Real slope = g[row * g_step], top = tops[row], log_sum = log_sums[row];
    Real at_target = slope * weights[row] * (1 - smoothing);
    Real everywhere = share_sum ? slope * smoothing / n : Real(0), total = at_target;
    if (share_sum) total += everywhere * *share_sum;
    for (Index i = 0; i < n; i += KEPT * blockDim.x) {
        Real numbers[KEPT], factors[KEPT];
        load(numbers, logits + i, n - i, 0);
        if (share_sum) load(factors, share + i, n - i, 0);
        for (int k = 0; k < KEPT; ++k) {
            Real slope = exponential(numbers[k] - top - log_sum) * total;
            if (share_sum) slope -= everywhere * factors[k];
            if (i + place(k) == target) slope -= at_target;
            numbers[k] = is_kept ? slope : Real(0);
        }
        store(numbers, gx + i, n - i);
    }
}
