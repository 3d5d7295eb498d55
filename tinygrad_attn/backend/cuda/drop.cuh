// dropout of numbers in registers.
#pragma once

#include "hash.cuh"
#include "rows.cuh"

// A stretch of numbers whose first is number ``start`` of all: 0, or upscale times what it was.
__device__ __forceinline__ void thin(Real (&numbers)[KEPT], Index start, Real upscale,
                                     unsigned long long offset, unsigned dropped) {
    unsigned long long z = 0;
    for (int k = 0; k < KEPT; ++k) {
        Index element = start + place(k);
        if (k % PACK == 0 || element % 4 == 0) z = hash(element / 4, offset);
        numbers[k] *= stays(z, element, dropped) ? upscale : Real(0);
    }
}
