// What clipping asks of all gradients at once: their norm, and to be scaled.
#include "many.cuh"

// Every block sums the squares of its stretches, in double precision: there may be 10⁹ of them.
extern "C" __global__ void __launch_bounds__(BLOCK)
sum_squares(const Index* table, Index count, Index blocks, double* parts) {
    Real numbers[KEPT];
    double sum = 0;
    for (Index block = blockIdx.x; block < blocks; block += gridDim.x) {
        Stretch stretch(table, count, block);
        load(numbers, (const Stored*)stretch.part.first + stretch.begin, stretch.left, 0);
        for (Real v : numbers) sum += (double)v * v;
    }
    sum = across_row(sum, [](double a, double b) { return a + b; });
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
root_of_sum(const double* parts, Real* norm, Index count) {
    double sum = 0;
    for (Index i = threadIdx.x; i < count; i += BLOCK) sum += parts[i];
    sum = across_row(sum, [](double a, double b) { return a + b; });
    if (threadIdx.x == 0) *norm = (Real)sqrt(sum);
}

// second = first · factor
extern "C" __global__ void __launch_bounds__(BLOCK)
scale(const Index* table, Index count, Index blocks, const Real* factor) {
    Stretch stretch(table, count, blockIdx.x);
    Real numbers[KEPT];
    load(numbers, (const Stored*)stretch.part.first + stretch.begin, stretch.left, 0);
    for (Real& v : numbers) v *= *factor;
    store(numbers, (Stored*)stretch.part.second + stretch.begin, stretch.left);
}
