// What all kernels share: how numbers are stored, and what the threads of one row do together.
//
// A number is stored as Stored and computed with as Real. The macros FLOAT64, FLOAT16 and BFLOAT16
// choose; without one of them both are float. 16 bits are a format to store in, not to sum in.
#pragma once

typedef long long Index;  // arrays may have more than 2³¹ elements

#if defined FLOAT64
typedef double Stored;
typedef double Real;
#elif defined FLOAT16 || defined BFLOAT16
struct Stored {
    unsigned short bits;
};
typedef float Real;
#else
typedef float Stored;
typedef float Real;
#endif

#if defined FLOAT16
__device__ __forceinline__ Real widen(Stored x) {
#ifdef CUDA_ON_HOST
    return __half2float(__ushort_as_half(x.bits));
#else
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
#endif
}
__device__ __forceinline__ Stored narrow(Real x) {
#ifdef CUDA_ON_HOST
    return {__half_as_ushort(__float2half(x))};
#else
    Stored y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
#endif
}
#elif defined BFLOAT16  // the upper half of a float; rounding to even needs no instruction of its own
__device__ __forceinline__ Real widen(Stored x) {
    return __uint_as_float((unsigned)x.bits << 16);
}
__device__ __forceinline__ Stored narrow(Real x) {
    unsigned bits = __float_as_uint(x);
    unsigned rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return {(unsigned short)(x == x ? rounded : 0x7fffu)};
}
#else
__device__ __forceinline__ Real widen(Stored x) { return x; }
__device__ __forceinline__ Stored narrow(Real x) { return x; }
#endif

__device__ __forceinline__ void assign(Stored& to, Real x) { to = narrow(x); }
#if defined FLOAT16 || defined BFLOAT16  // what is stored wide passes as it is
__device__ __forceinline__ Real widen(Real x) { return x; }
__device__ __forceinline__ void assign(Real& to, Real x) { to = x; }
#endif

#ifdef FLOAT64
__device__ __forceinline__ Real infinity() { return __longlong_as_double(0x7ff0000000000000ll); }
#else
__device__ __forceinline__ Real infinity() { return __int_as_float(0x7f800000); }
#endif

// eˣ; the fast one errs by 2⁻²² and |x|·2⁻²⁴, of which 16 bits see nothing
__device__ __forceinline__ Real exponential(Real x) {
#if defined FLOAT16 || defined BFLOAT16
    return __expf(x);
#else
    return exp(x);
#endif
}

// ---- a row in registers --------------------------------------------------------------------------
//
// blockDim.x threads share a row, blockDim.y rows a block. Each thread holds KEPT numbers of a
// stretch of KEPT·blockDim.x, which is all of a row that is not longer: then memory is read once.

constexpr int BLOCK = 256;
constexpr int KEPT = 8;

// What one thread moves at a time: 16 bytes. Rows that do not begin at multiples of that need
// kernels compiled with SINGLE.
#ifdef SINGLE
constexpr int PACK = 1;
#else
constexpr int PACK = 16 / sizeof(Stored);
#endif

// A pack of what is stored, or, beside 16 bits, of as many Reals, which are two moves.
template <class Number>
struct __align__(PACK * sizeof(Number) > 16 ? 16 : PACK * sizeof(Number)) PackOf {
    Number at[PACK];
};
typedef PackOf<Stored> Pack;

// Where in the stretch number k of this thread stands.
__device__ __forceinline__ int place(int k) {
    return (k / PACK * (int)blockDim.x + (int)threadIdx.x) * PACK + k % PACK;
}

// ``left`` numbers are left in the row, a multiple of PACK; beyond it all are ``fill``.
template <class Number>
__device__ __forceinline__ void load(Real (&numbers)[KEPT], const Number* from, Index left,
                                     Real fill) {
#pragma unroll
    for (int k = 0; k < KEPT; k += PACK) {
        PackOf<Number> pack;
        bool is_there = place(k) < left;
        if (is_there) pack = *(const PackOf<Number>*)(from + place(k));
#pragma unroll
        for (int j = 0; j < PACK; ++j) numbers[k + j] = is_there ? widen(pack.at[j]) : fill;
    }
}

template <class Number>
__device__ __forceinline__ void store(const Real (&numbers)[KEPT], Number* to, Index left) {
#pragma unroll
    for (int k = 0; k < KEPT; k += PACK) {
        PackOf<Number> pack;
#pragma unroll
        for (int j = 0; j < PACK; ++j) assign(pack.at[j], numbers[k + j]);
        if (place(k) < left) *(PackOf<Number>*)(to + place(k)) = pack;
    }
}

// ---- reductions ----------------------------------------------------------------------------------
//
// Every thread of the row gets the same result, and the order of joining is always the same. All
// threads of the block must call, also those whose row is beyond the last.

template <class Number, class Join>
__device__ __forceinline__ Number across_row(Number x, Join join) {
    __shared__ Number parts[BLOCK / 32];
#pragma unroll
    for (int distance = 16; distance; distance /= 2)
        x = join(x, __shfl_xor_sync(0xffffffffu, x, distance));
    int warps = blockDim.x / 32;
    if (warps == 1) return x;
    int first = threadIdx.y * warps;
    __syncthreads();  // until all have read what was here before
    if (threadIdx.x % 32 == 0) parts[first + threadIdx.x / 32] = x;
    __syncthreads();
    x = parts[first];
    for (int w = 1; w < warps; ++w) x = join(x, parts[first + w]);
    return x;
}

__device__ __forceinline__ Real row_sum(Real x) {
    return across_row(x, [](Real a, Real b) { return a + b; });
}

__device__ __forceinline__ Real row_max(Real x) {
    return across_row(x, [](Real a, Real b) { return max(a, b); });
}
