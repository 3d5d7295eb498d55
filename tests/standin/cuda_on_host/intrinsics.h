// The functions of CUDA that kernels call: barriers, warps, atomics, arithmetic.
//
// Fast approximations err as on a GPU where that is known: __expf(x) is 2 to the rounded x·log2 e.
#pragma once

#include <math.h>  // with the overloads for float, which <cmath> alone keeps in std
#include <stdlib.h>
#include <type_traits>

#include "scheduler.h"

#define HERE int line = __builtin_LINE()

inline void __syncthreads(HERE) { cuda_on_host::wait_in_block(line, 0); }
inline int __syncthreads_count(int x, HERE) { return cuda_on_host::wait_in_block(line, x != 0); }
inline int __syncthreads_or(int x, HERE) { return cuda_on_host::wait_in_block(line, x != 0) > 0; }
inline int __syncthreads_and(int x, HERE) { return !cuda_on_host::wait_in_block(line, x == 0); }
inline void __threadfence() {}
inline void __threadfence_block() {}
[[noreturn]] inline void __trap() { cuda_on_host::fail("__trap()"); }

namespace cuda_on_host {

inline void do_nothing(void* const*, unsigned) {}

template <class T>
struct Shuffle {
    T value, result;
    int source, line;
};

template <class T>
void shuffle_all(void* const* operands, unsigned mask) {
    for (int lane = 0; lane < 32; ++lane) {
        if (!(mask >> lane & 1)) continue;
        auto& mine = *(Shuffle<T>*)operands[lane];
        if (!(mask >> mine.source & 1))
            fail("line %d: lane %d reads lane %d, which takes no part", mine.line, lane,
                 mine.source);
        mine.result = ((Shuffle<T>*)operands[mine.source])->value;
    }
}

template <class T>
T shuffle(unsigned mask, T value, int source, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2);
    Shuffle<T> mine{value, value, source, line};
    wait_in_warp(shuffle_all<T>, &mine, mask, line);
    return mine.result;
}

template <class T>
struct Gather {
    T value, all[32];
    unsigned present;
};

template <class T>
void gather_all(void* const* operands, unsigned mask) {
    for (int lane = 0; lane < 32; ++lane) {
        if (!(mask >> lane & 1)) continue;
        auto& mine = *(Gather<T>*)operands[lane];
        mine.present = mask;
        for (int other = 0; other < 32; ++other)
            if (mask >> other & 1) mine.all[other] = ((Gather<T>*)operands[other])->value;
    }
}

template <class T, class Join>
T reduce(unsigned mask, T value, int line, Join join) {
    Gather<T> mine{value, {}, 0};
    wait_in_warp(gather_all<T>, &mine, mask, line);
    int first = __builtin_ctz(mine.present);
    T total = mine.all[first];
    for (int i = first + 1; i < 32; ++i)
        if (mine.present >> i & 1) total = join(total, mine.all[i]);
    return total;
}

inline int lane() { return current->index % 32; }

}  // namespace cuda_on_host

inline void __syncwarp(unsigned mask = ~0u, HERE) {
    cuda_on_host::wait_in_warp(cuda_on_host::do_nothing, nullptr, mask, line);
}
template <class T>
T __shfl_sync(unsigned mask, T x, int source, int width = 32, HERE) {
    int base = cuda_on_host::lane() & ~(width - 1);
    return cuda_on_host::shuffle(mask, x, base | (source & (width - 1)), line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T x, unsigned delta, int width = 32, HERE) {
    int lane = cuda_on_host::lane(), inside = lane & (width - 1);
    return cuda_on_host::shuffle(mask, x, inside >= int(delta) ? lane - int(delta) : lane, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T x, unsigned delta, int width = 32, HERE) {
    int lane = cuda_on_host::lane(), inside = lane & (width - 1);
    return cuda_on_host::shuffle(mask, x, inside + int(delta) < width ? lane + int(delta) : lane,
                                 line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T x, int flip, int width = 32, HERE) {
    int lane = cuda_on_host::lane(), source = lane ^ flip;
    bool is_beyond = source >= (lane & ~(width - 1)) + width;
    return cuda_on_host::shuffle(mask, x, is_beyond ? lane : source, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, HERE) {
    unsigned mine = predicate ? 1u << cuda_on_host::lane() : 0;
    return cuda_on_host::reduce(mask, mine, line, [](unsigned a, unsigned b) { return a | b; });
}
inline int __any_sync(unsigned mask, int predicate, HERE) {
    return __ballot_sync(mask, predicate, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, HERE) {
    return __ballot_sync(mask, !predicate, line) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T x, HERE) {
    cuda_on_host::Gather<T> mine{x, {}, 0};
    cuda_on_host::wait_in_warp(cuda_on_host::gather_all<T>, &mine, mask, line);
    unsigned same = 0;
    for (int i = 0; i < 32; ++i)
        if (mine.present >> i & 1 && mine.all[i] == x) same |= 1u << i;
    return same;
}
#define REDUCE(name, T, expression)                                                              \
    inline T __reduce_##name##_sync(unsigned mask, T x, HERE) {                                  \
        return cuda_on_host::reduce(mask, x, line, [](T a, T b) -> T { return expression; });    \
    }
REDUCE(add, unsigned, a + b)
REDUCE(add, int, int(unsigned(a) + unsigned(b)))
REDUCE(min, unsigned, a < b ? a : b)
REDUCE(min, int, a < b ? a : b)
REDUCE(max, unsigned, a > b ? a : b)
REDUCE(max, int, a > b ? a : b)
REDUCE(and, unsigned, a & b)
REDUCE(or, unsigned, a | b)
REDUCE(xor, unsigned, a ^ b)
#undef REDUCE

// One fiber runs at a time, so plain reads and writes are atomic.
#define ATOMIC(name, expression)                                                                 \
    template <class T>                                                                           \
    T atomic##name(T* place, std::common_type_t<T> x) {                                          \
        T old = *place;                                                                          \
        *place = expression;                                                                     \
        cuda_on_host::meet_other_blocks();                                                       \
        return old;                                                                              \
    }
ATOMIC(Add, old + x)
ATOMIC(Sub, old - x)
ATOMIC(Max, old > x ? old : x)
ATOMIC(Min, old < x ? old : x)
ATOMIC(And, old & x)
ATOMIC(Or, old | x)
ATOMIC(Xor, old ^ x)
ATOMIC(Exch, x)
ATOMIC(Inc, old >= x ? 0 : old + 1)
#undef ATOMIC
template <class T>
T atomicCAS(T* place, std::common_type_t<T> expected, std::common_type_t<T> x) {
    T old = *place;
    if (old == expected) *place = x;
    cuda_on_host::meet_other_blocks();
    return old;
}

template <class T>
T __ldg(const T* place) { return *place; }
template <class T>
T __ldcs(const T* place) { return *place; }
template <class T>
void __stcs(T* place, std::common_type_t<T> x) { *place = x; }

#define MINMAX(T)                                                                                \
    inline T min(T a, T b) { return b < a ? b : a; }                                             \
    inline T max(T a, T b) { return a < b ? b : a; }
MINMAX(int)
MINMAX(unsigned)
MINMAX(long)
MINMAX(unsigned long)
MINMAX(long long)
MINMAX(unsigned long long)
#undef MINMAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

// glibc declares some of these names for itself.
#define __expf cuda_expf
#define __exp10f cuda_exp10f
#define __logf cuda_logf
#define __log2f cuda_log2f
#define __powf cuda_powf
#define __sinf cuda_sinf
#define __cosf cuda_cosf
#define rsqrtf cuda_rsqrtf
#define rsqrt cuda_rsqrt
inline float __expf(float x) { return exp2f(x * 1.44269504f); }
inline float __exp10f(float x) { return exp2f(x * 3.32192809f); }
inline float __logf(float x) { return log2f(x) * 0.693147181f; }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return exp2f(y * log2f(x)); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float rsqrtf(float x) { return float(1 / sqrt(double(x))); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline double __dadd_rn(double x, double y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline float __saturatef(float x) { return x > 0 ? fminf(x, 1) : 0; }
inline float normcdff(float x) { return float(0.5 * erfc(-x * M_SQRT1_2)); }
inline double normcdf(double x) { return 0.5 * erfc(-x * M_SQRT1_2); }

inline double erfcx(double x) {  // exp(x²)·erfc(x); far out the first terms of its series
    if (x < 25) return exp(x * x) * erfc(x);
    double r = 1 / (2 * x * x);
    return (1 - r * (1 - 3 * r * (1 - 5 * r))) / (x * 1.7724538509055160273);
}
inline float erfcx(float x) { return float(erfcx(double(x))); }
inline float erfcxf(float x) { return erfcx(x); }

inline int __float_as_int(float x) { return cuda_on_host::bits<int>(x); }
inline unsigned __float_as_uint(float x) { return cuda_on_host::bits<unsigned>(x); }
inline float __int_as_float(int b) { return cuda_on_host::bits<float>(b); }
inline float __uint_as_float(unsigned b) { return cuda_on_host::bits<float>(b); }
inline long long __double_as_longlong(double x) { return cuda_on_host::bits<long long>(x); }
inline double __longlong_as_double(long long b) { return cuda_on_host::bits<double>(b); }
inline int __float2int_rn(float x) { return int(rintf(x)); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(unsigned x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(unsigned x) { return __builtin_ffs(int(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return unsigned((unsigned long long)a * b >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
#undef HERE
