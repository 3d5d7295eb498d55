// Host forms of the instructions that CUDA C++ reaches by inline PTX only.
//
// A kernel wraps the instruction in a device function and calls these under #ifdef CUDA_ON_HOST:
//     mma_m16n8k16_f16, mma_m16n8k16_bf16, mma_m16n8k8_tf32    d = a·b + c on tensor cores
//     ldmatrix_x1, _x2, _x4, and the same with _trans          8 × 8 matrices of 16-bit numbers
//     cp_async<4, 8 or 16>, cp_async_commit, cp_async_wait<n>  copies from global to shared memory
// An asynchronous copy arrives when it is waited for, and not before: until then its place holds
// NaN. Registers of matrices lie in the lanes as the PTX ISA says (section "Matrix fragments").
#pragma once

#include "intrinsics.h"

extern char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

namespace cuda_on_host {

inline char* dynamic_shared;
inline size_t dynamic_shared_bytes;

inline bool is_shared(const void* place, size_t bytes) {
    auto p = (const char*)place;
    return (p >= __start_cuda_shared && p + bytes <= __stop_cuda_shared) ||
           (p >= dynamic_shared && p + bytes <= dynamic_shared + dynamic_shared_bytes);
}

struct Product {
    float* d;
    const unsigned *a, *b;
    const float* c;
};

inline float tf32_value(unsigned b) { return bits<float>(b & 0xffffe000u); }

// The numbers in registers, by row and column: a (16, K), b (K, 8), c and d (16, 8).
template <int K, float (*value)(uint16_t)>
void multiply_16(void* const* operands, unsigned mask) {
    if (mask != ~0u) fail("mma: only the lanes 0x%08x take part; it needs all 32", mask);
    float a[16][K], b[K][8];
    for (int lane = 0; lane < 32; ++lane) {
        auto& mine = *(Product*)operands[lane];
        int group = lane >> 2, pair = (lane & 3) * 2;
        for (int i = 0; i < K / 4; ++i)
            for (int j = 0; j < 2; ++j)
                a[group + (i & 1) * 8][pair + j + (i >> 1) * 8] = value(mine.a[i] >> 16 * j);
        for (int i = 0; i < K / 8; ++i)
            for (int j = 0; j < 2; ++j) b[pair + j + i * 8][group] = value(mine.b[i] >> 16 * j);
    }
    for (int lane = 0; lane < 32; ++lane) {
        auto& mine = *(Product*)operands[lane];
        for (int i = 0; i < 4; ++i) {
            int row = (lane >> 2) + (i >> 1) * 8, column = (lane & 3) * 2 + (i & 1);
            float sum = mine.c[i];
            for (int k = 0; k < K; ++k) sum += a[row][k] * b[k][column];
            mine.d[i] = sum;
        }
    }
}

inline void multiply_tf32(void* const* operands, unsigned mask) {
    if (mask != ~0u) fail("mma: only the lanes 0x%08x take part; it needs all 32", mask);
    float a[16][8], b[8][8];
    for (int lane = 0; lane < 32; ++lane) {
        auto& mine = *(Product*)operands[lane];
        int group = lane >> 2, in_group = lane & 3;
        for (int i = 0; i < 4; ++i)
            a[group + (i & 1) * 8][in_group + (i >> 1) * 4] = tf32_value(mine.a[i]);
        for (int i = 0; i < 2; ++i) b[in_group + i * 4][group] = tf32_value(mine.b[i]);
    }
    for (int lane = 0; lane < 32; ++lane) {
        auto& mine = *(Product*)operands[lane];
        for (int i = 0; i < 4; ++i) {
            int row = (lane >> 2) + (i >> 1) * 8, column = (lane & 3) * 2 + (i & 1);
            float sum = mine.c[i];
            for (int k = 0; k < 8; ++k) sum += a[row][k] * b[k][column];
            mine.d[i] = sum;
        }
    }
}

// d may be c. All lanes come with copies, because d of one lane is written before c of the next
// is read.
template <int A, int B>
void mma(Collective collective, float* d, const unsigned* a, const unsigned* b, const float* c,
         int line) {
    unsigned my_a[A], my_b[B];
    float my_c[4], my_d[4];
    memcpy(my_a, a, sizeof my_a);
    memcpy(my_b, b, sizeof my_b);
    memcpy(my_c, c, sizeof my_c);
    Product mine{my_d, my_a, my_b, my_c};
    wait_in_warp(collective, &mine, ~0u, line);
    memcpy(d, my_d, sizeof my_d);
}

#define HERE int line = __builtin_LINE()
inline void mma_m16n8k16_f16(float* d, const unsigned* a, const unsigned* b, const float* c, HERE) {
    mma<4, 2>(multiply_16<16, half_value>, d, a, b, c, line);
}
inline void mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b, const float* c,
                              HERE) {
    mma<4, 2>(multiply_16<16, bfloat16_value>, d, a, b, c, line);
}
inline void mma_m16n8k8_tf32(float* d, const unsigned* a, const unsigned* b, const float* c, HERE) {
    mma<4, 2>(multiply_tf32, d, a, b, c, line);
}

struct Load {
    unsigned* to;
    const void* row;
};

template <int count, bool is_transposed>
void load_matrices(void* const* operands, unsigned mask) {
    if (mask != ~0u) fail("ldmatrix: only the lanes 0x%08x take part; it needs all 32", mask);
    uint16_t matrices[count][8][8];
    for (int lane = 0; lane < 8 * count; ++lane) {
        auto row = ((Load*)operands[lane])->row;
        if ((uintptr_t)row % 16 || !is_shared(row, 16))
            fail("ldmatrix: lane %d names a row that is not 16 aligned bytes of shared memory",
                 lane);
        memcpy(matrices[lane / 8][lane % 8], row, 16);
    }
    for (int lane = 0; lane < 32; ++lane)
        for (int i = 0; i < count; ++i) {
            unsigned pair[2];
            for (int j = 0; j < 2; ++j) {
                int across = lane / 4, along = lane % 4 * 2 + j;
                pair[j] = is_transposed ? matrices[i][along][across] : matrices[i][across][along];
            }
            ((Load*)operands[lane])->to[i] = pair[0] | pair[1] << 16;
        }
}

template <int count, bool is_transposed>
void ldmatrix(unsigned* to, const void* row, int line) {
    unsigned mine[count];
    Load load{mine, row};
    wait_in_warp(load_matrices<count, is_transposed>, &load, ~0u, line);
    memcpy(to, mine, sizeof mine);
}

inline void ldmatrix_x1(unsigned* to, const void* row, HERE) { ldmatrix<1, false>(to, row, line); }
inline void ldmatrix_x2(unsigned* to, const void* row, HERE) { ldmatrix<2, false>(to, row, line); }
inline void ldmatrix_x4(unsigned* to, const void* row, HERE) { ldmatrix<4, false>(to, row, line); }
inline void ldmatrix_x1_trans(unsigned* to, const void* row, HERE) {
    ldmatrix<1, true>(to, row, line);
}
inline void ldmatrix_x2_trans(unsigned* to, const void* row, HERE) {
    ldmatrix<2, true>(to, row, line);
}
inline void ldmatrix_x4_trans(unsigned* to, const void* row, HERE) {
    ldmatrix<4, true>(to, row, line);
}
#undef HERE

// The first ``taken`` of the bytes come from global memory, the others become 0.
template <int bytes>
void cp_async(void* shared, const void* global, int taken = bytes) {
    static_assert(bytes == 4 || bytes == 8 || bytes == 16);
    if ((uintptr_t)shared % bytes || (taken && (uintptr_t)global % bytes))
        fail("cp.async: an address is not a multiple of %d", bytes);
    if (!is_shared(shared, bytes)) fail("cp.async: its destination is not in shared memory");
    if (!current->copies) current->copies = (Copy*)calloc(most_copies, sizeof(Copy));
    if (current->copy_count == most_copies) fail("cp.async: more than %d pending", most_copies);
    current->copies[current->copy_count++] = {shared, global, bytes, taken, current->groups};
    memset(shared, 0xff, bytes);
}

inline void cp_async_commit() { ++current->groups; }

inline void arrive(int before_group) {
    int left = 0;
    for (int i = 0; i < current->copy_count; ++i) {
        Copy copy = current->copies[i];
        if (copy.group >= before_group) {
            current->copies[left++] = copy;
            continue;
        }
        memset(copy.to, 0, copy.bytes);
        memcpy(copy.to, copy.from, copy.taken);
    }
    current->copy_count = left;
}

// Wait until at most ``pending`` of the latest groups are on their way.
template <int pending>
void cp_async_wait() { arrive(current->groups - pending); }

inline void cp_async_wait_all() { arrive(current->groups + 1); }

}  // namespace cuda_on_host
