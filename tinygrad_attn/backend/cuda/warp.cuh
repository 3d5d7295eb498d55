// What the 32 threads of a warp do together: products of matrices, and the numbers that enter them.
//
// ARITHMETIC says how products of two tiles are computed:
//   FLOAT32    multiply and add, exact to float32's last bit
//   TFLOAT32   float32 in memory; on tensor cores, with factors rounded to 11 bits of mantissa
//   FLOAT16, BFLOAT16   16-bit floats in memory; on tensor cores
// Sums are float32 always.
//
// A product c is spread over the warp as tensor cores have it. With g = lane / 4 and t = lane % 4,
// the numbers c[0..3] of an 16 × 8 piece are those at (g, 2t), (g, 2t + 1), (g + 8, 2t) and
// (g + 8, 2t + 1): four neighbouring lanes hold a row.
//
// Reference: PTX ISA, "Matrix Fragments for mma.m16n8k16", "ldmatrix", "cp.async".
#pragma once

#define FLOAT32 0
#define TFLOAT32 1
#define FLOAT16 2
#define BFLOAT16 3
#ifndef ARITHMETIC
#define ARITHMETIC FLOAT16
#endif

struct Half {  // the bits of a 16-bit float; the headers of CUDA that know more are not needed
    unsigned short bits;
};

#if ARITHMETIC == FLOAT32 || ARITHMETIC == TFLOAT32
typedef float scalar;
#else
typedef Half scalar;
#endif

#define INFINITE __int_as_float(0x7f800000)  // NVRTC knows no other name for it

__device__ inline int lane() { return threadIdx.x % 32; }

#ifdef CUDA_ON_HOST  // the tests bring their own forms of what stands in PTX below
using namespace cuda_on_host;
__device__ inline float power_of_two(float x) { return exp2f(x); }
__device__ inline unsigned round_to_tf32(float x) {
    return __float_as_uint(x) + (fabsf(x) < INFINITE ? 0x1000 : 0);
}
__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(Half x) {
    return ARITHMETIC == FLOAT16 ? half_value(x.bits) : bfloat16_value(x.bits);
}
__device__ inline unsigned pack(float low, float high) {
    return ARITHMETIC == FLOAT16 ? half_bits(low) | half_bits(high) << 16
                                 : bfloat16_bits(low) | bfloat16_bits(high) << 16;
}
#else

__device__ inline unsigned shared_address(const void* place) {
    return (unsigned)__cvta_generic_to_shared(place);
}

__device__ inline float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ inline unsigned round_to_tf32(float x) {
    unsigned y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(Half x) {
#if ARITHMETIC == FLOAT16
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
#else
    return __uint_as_float((unsigned)x.bits << 16);
#endif
}

// Two 16-bit floats in one register.
__device__ inline unsigned pack(float low, float high) {
    unsigned y;
#if ARITHMETIC == FLOAT16
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
#else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
#endif
    return y;
}

#define MMA(name, instruction)                                                                   \
    __device__ inline void name(float* d, const unsigned* a, const unsigned* b,                  \
                                const float* c) {                                                \
        asm(instruction " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"   \
            : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])                                     \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]),       \
              "f"(c[1]), "f"(c[2]), "f"(c[3]));                                                  \
    }
MMA(mma_m16n8k16_f16, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")
MMA(mma_m16n8k16_bf16, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")
MMA(mma_m16n8k8_tf32, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")
#undef MMA

#define LDMATRIX(name, instruction)                                                              \
    __device__ inline void name(unsigned* to, const void* row) {                                 \
        asm volatile(instruction " {%0, %1, %2, %3}, [%4];"                                      \
                     : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])                        \
                     : "r"(shared_address(row))                                                  \
                     : "memory");                                                                \
    }
LDMATRIX(ldmatrix_x4, "ldmatrix.sync.aligned.m8n8.x4.shared.b16")
LDMATRIX(ldmatrix_x4_trans, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16")
#undef LDMATRIX

// Start to copy from global to shared memory; what is not taken from there becomes 0. What comes
// in 16 bytes goes past the first cache: every block reads it once.
template <int bytes>
__device__ inline void cp_async(void* shared, const void* global, int taken) {
    if constexpr (bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                     "l"(global), "r"(taken)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)),
                     "l"(global), "n"(bytes), "r"(taken)
                     : "memory");
}

__device__ inline void cp_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#endif

__device__ inline void store(float* to, float x) { *to = x; }
__device__ inline void store(Half* to, float x) { to->bits = (unsigned short)pack(x, 0); }

// d += a·b on tensor cores: a of 16 rows, b of 8 columns, 32 bytes deep.
__device__ inline void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned* b) {
#if ARITHMETIC == FLOAT16
    mma_m16n8k16_f16(d, a, b, d);
#elif ARITHMETIC == BFLOAT16
    mma_m16n8k16_bf16(d, a, b, d);
#else
    mma_m16n8k8_tf32(d, a, b, d);
#endif
}

// The sum, or the largest, over the four lanes that hold a row.
__device__ inline float sum_of_row(float x) {
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}
__device__ inline float largest_of_row(float x) {
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}
