// cross entropy by rows of logits. Forward reads them once and keeps two numbers of each row, its
// maximum and the logarithm of Σ exp(x − maximum). As one number, their sum, they would lose the
// digits that matter where logits are large.
#include "rows.cuh"

// loss = share[t]·(1 − s)·(ln Σ eˣ − xₜ) + s/n·Σ share·(ln Σ eˣ − x), s the smoothing. Without
// share every class weighs 1; share_sum is Σ share, given where there are both share and smoothing.
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
        if (!smoothing) continue;
        Real factors[KEPT];
        if (share) load(factors, share + i, count - i, 0);
        for (int k = 0; k < KEPT; ++k)
            if (i + place(k) < count) weighted += share ? factors[k] * numbers[k] : numbers[k];
    }
    Real highest = row_max(top), shift = highest == -infinity() ? Real(0) : highest;
    sum = row_sum(sum * exponential(top - shift));
    weighted = smoothing ? row_sum(weighted) : Real(0);
    if (!count || threadIdx.x) return;
    Real log_sum = log(sum), loss = 0, weight = 0;
    Index target = targets[row];
    if (target != ignored) {
        weight = share ? widen(share[target]) : Real(1);
        loss = weight * (1 - smoothing) * (log_sum - (widen(logits[target]) - shift));
        Real all = share_sum ? *share_sum : Real(n);
        if (smoothing) loss += smoothing / n * ((shift + log_sum) * all - weighted);
    }
    losses[row] = loss;
    weights[row] = weight;
    tops[row] = shift;
    log_sums[row] = log_sum;
}

// The sum of all losses, or, where ``total`` is given, their mean: ``total`` is what the rows weigh
// together, or 1 where no row weighs anything.
extern "C" __global__ void __launch_bounds__(BLOCK)
reduce(const Real* losses, const Real* weights, Stored* y, Real* total, Index rows) {
    double loss = 0, weight = 0;
    for (Index i = threadIdx.x; i < rows; i += BLOCK) {
        loss += losses[i];
        weight += weights[i];
    }
    auto add = [](double a, double b) { return a + b; };
    loss = across_row(loss, add);
    weight = across_row(weight, add);
    if (threadIdx.x) return;
    if (weight == 0) weight = 1;
    if (total) *total = (Real)weight;
    *y = narrow((Real)(total ? loss / weight : loss));
}

// gx = g·(softmax·(aₜ + e·Σ share) − e·share − aₜ at the target), aₜ and e the two factors above.
// A step of 0 from one g to the next gives all rows the same; of a mean g is shared by ``total``.
extern "C" __global__ void __launch_bounds__(BLOCK)
cross_entropy_backward(const Stored* logits, const long long* targets, const Stored* share,
                       const Real* share_sum, const Real* weights, const Real* tops,
                       const Real* log_sums, const Stored* g, const Real* total, Stored* gx,
                       Index rows, Index n, Real smoothing, Index ignored, Index g_step) {
    Index row = (Index)blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    logits += row * n;
    gx += row * n;
    Index target = targets[row];
    bool is_kept = target != ignored;
    Real slope = widen(g[row * g_step]), top = tops[row], log_sum = log_sums[row];
    if (total) slope /= *total;
    Real at_target = slope * weights[row] * (1 - smoothing);
    Real everywhere = slope * smoothing / n, all = share_sum ? *share_sum : Real(n);
    Real together = smoothing ? at_target + everywhere * all : at_target;
    for (Index i = 0; i < n; i += KEPT * blockDim.x) {
        Real numbers[KEPT], factors[KEPT];
        load(numbers, logits + i, n - i, 0);
        if (smoothing && share) load(factors, share + i, n - i, 0);
        for (int k = 0; k < KEPT; ++k) {
            Real slope = exponential(numbers[k] - top - log_sum) * together;
            if (smoothing) slope -= share ? everywhere * factors[k] : everywhere;
            if (i + place(k) == target) slope -= at_target;
            numbers[k] = is_kept ? slope : Real(0);
        }
        store(numbers, gx + i, n - i);
    }
}
