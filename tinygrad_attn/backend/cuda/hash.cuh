// Which elements dropout keeps, by the hash of backend/random.py. Number i of the hash decides
// about the elements 4i … 4i + 3, by 16 bits each.
#pragma once

__device__ inline unsigned long long hash(unsigned long long i, unsigned long long offset) {
    unsigned long long z = i * 0x9E3779B97F4A7C15ull + offset;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}

__device__ inline bool stays(unsigned long long z, unsigned long long element, unsigned dropped) {
    return (unsigned)(z >> 16 * (element & 3) & 0xffff) >= dropped;
}
