// The types of CUDA: vectors, and 16-bit floats with their conversions (round to nearest even).
#pragma once

#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ __attribute__((section("cuda_shared"))) static
#define __grid_constant__

namespace cuda_on_host {
template <class To, class From>
inline To bits(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
}  // namespace cuda_on_host

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

#define VECTORS(T, name, size)                                                                   \
    struct alignas(2 * size) name##2 { T x, y; };                                                \
    struct name##3 { T x, y, z; };                                                               \
    struct alignas(4 * size > 16 ? 16 : 4 * size) name##4 { T x, y, z, w; };                     \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                                   \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                           \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTORS(signed char, char, 1)
VECTORS(unsigned char, uchar, 1)
VECTORS(short, short, 2)
VECTORS(unsigned short, ushort, 2)
VECTORS(int, int, 4)
VECTORS(unsigned, uint, 4)
VECTORS(float, float, 4)
VECTORS(long long, longlong, 8)
VECTORS(unsigned long long, ulonglong, 8)
VECTORS(double, double, 8)
#undef VECTORS

namespace cuda_on_host {

inline uint16_t half_bits(float x) {
    uint32_t b = bits<uint32_t>(x), sign = b >> 16 & 0x8000, magnitude = b & 0x7fffffff;
    if (magnitude > 0x7f800000) return 0x7fff;
    if (magnitude >= 0x47800000) return sign | 0x7c00;  // 2^16 and more
    if (magnitude < 0x38800000) {                       // below 2^-14: a multiple of 2^-24
        float steps = bits<float>(magnitude) * 16777216.0f;
        uint32_t whole = uint32_t(steps);
        float rest = steps - whole;
        whole += rest > 0.5f || (rest == 0.5f && whole & 1);
        return sign | whole;
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return sign | (rounded - 0x38000000) >> 13;
}

inline float half_value(uint16_t b) {
    uint32_t sign = uint32_t(b & 0x8000) << 16, exponent = b >> 10 & 31, fraction = b & 1023;
    if (exponent == 0) {
        float magnitude = fraction / 16777216.0f;
        return sign ? -magnitude : magnitude;
    }
    if (exponent == 31) return bits<float>(sign | 0x7f800000 | fraction << 13);
    return bits<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

inline uint16_t bfloat16_bits(float x) {
    uint32_t b = bits<uint32_t>(x);
    if ((b & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (b + 0x7fff + (b >> 16 & 1)) >> 16;
}

inline float bfloat16_value(uint16_t b) { return bits<float>(uint32_t(b) << 16); }

}  // namespace cuda_on_host

#define SIXTEEN_BITS(type, pair, name)                                                           \
    struct alignas(2) type {                                                                     \
        uint16_t raw;                                                                            \
        type() = default;                                                                        \
        type(float x) : raw(cuda_on_host::name##_bits(x)) {}                                     \
        operator float() const { return cuda_on_host::name##_value(raw); }                       \
        type& operator+=(float x) { return *this = type(float(*this) + x); }                     \
        type& operator-=(float x) { return *this = type(float(*this) - x); }                     \
        type& operator*=(float x) { return *this = type(float(*this) * x); }                     \
    };                                                                                           \
    struct alignas(4) pair {                                                                     \
        type x, y;                                                                               \
    };
SIXTEEN_BITS(__half, __half2, half)
SIXTEEN_BITS(__nv_bfloat16, __nv_bfloat162, bfloat16)
#undef SIXTEEN_BITS
using half = __half;
using half2 = __half2;
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

inline __half __float2half(float x) { return x; }
inline __half __float2half_rn(float x) { return x; }
inline float __half2float(__half x) { return x; }
inline __half2 __floats2half2_rn(float x, float y) { return {x, y}; }
inline __half2 __float22half2_rn(float2 v) { return {v.x, v.y}; }
inline float2 __half22float2(__half2 v) { return {v.x, v.y}; }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline float __low2float(__half2 v) { return v.x; }
inline float __high2float(__half2 v) { return v.y; }
inline unsigned short __half_as_ushort(__half x) { return x.raw; }
inline __half __ushort_as_half(unsigned short b) { return cuda_on_host::bits<__half>(b); }
inline __nv_bfloat16 __float2bfloat16(float x) { return x; }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return x; }
inline float __bfloat162float(__nv_bfloat16 x) { return x; }
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
inline float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x, v.y}; }
inline float __low2float(__nv_bfloat162 v) { return v.x; }
inline float __high2float(__nv_bfloat162 v) { return v.y; }
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.raw; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short b) {
    return cuda_on_host::bits<__nv_bfloat16>(b);
}
