// Up to six arrays, one behind the other, in one launch. A row of blocks has one of them.
#include "rows.cuh"

extern "C" __global__ void __launch_bounds__(BLOCK)
join(Stored* to, const Stored* a, const Stored* b, const Stored* c, const Stored* d,
     const Stored* e, const Stored* f, Index a_size, Index b_size, Index c_size, Index d_size,
     Index e_size, Index f_size) {
    Index i = (Index)blockIdx.x * KEPT * BLOCK, left = 0;
    const Stored* from = a;
    auto look_at = [&](int part, const Stored* array, Index size) {
        if (blockIdx.y > part) to += size;
        if (blockIdx.y == part) from = array, left = size - i;
    };
    look_at(0, a, a_size), look_at(1, b, b_size), look_at(2, c, c_size);
    look_at(3, d, d_size), look_at(4, e, e_size), look_at(5, f, f_size);
    if (left <= 0) return;
    Real numbers[KEPT];
    load(numbers, from + i, left, 0);
    store(numbers, to + i, left);
}
