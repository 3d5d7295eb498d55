// Many tensors in one launch. A table says where each lies, and the blocks share out the stretches
// of them all: a block looks up whose stretch its number is.
#pragma once

#include "rows.cuh"

// One row of the table, as many.py writes it.
struct Part {
    Index first, second;  // addresses of two arrays
    Index start;          // what was before it, in elements
    Index size;           // elements
    Index block;          // the first of its stretches, counted through all tensors
};
constexpr Index COLUMNS = sizeof(Part) / sizeof(Index);

// The stretch of KEPT·BLOCK numbers that is ``block`` of all: its tensor, and where in it.
struct Stretch {
    Part part;
    Index begin, left;

    __device__ __forceinline__ Stretch(const Index* table, Index count, Index block) {
        const Part* parts = (const Part*)table;
        Index low = 0;
        for (Index high = count; high - low > 1;) {
            Index middle = (low + high) / 2;
            (parts[middle].block <= block ? low : high) = middle;
        }
        part = parts[low];
        begin = (block - part.block) * KEPT * BLOCK;
        left = part.size - begin;
    }
};
