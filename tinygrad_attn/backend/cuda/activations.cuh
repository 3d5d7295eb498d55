// Activations of one number, and what they make of the gradient that arrives.
#pragma once

#include "rows.cuh"

constexpr Real ROOT_HALF = 0.70710678118654752440;
constexpr Real DENSITY = 0.39894228040143267794;  // of the normal distribution, at 0
constexpr Real SLOPE = 0.79788456080286535588;    // √(2/π), of the tanh form
constexpr Real CUBIC = 0.044715;
#ifdef FLOAT64
constexpr Real LARGEST = 700;  // of which 1/eˣ is still no denormal number
#else
constexpr Real LARGEST = 87;
#endif

// x·Φ(x) with Φ(−|x|) = erfcx(|x|/√2)·exp(−x²/2)/2: no digits are lost where Φ is near 0.
struct Gelu {
    Real x, bell, below;
    __device__ __forceinline__ Gelu(Real x) : x(x), bell(exponential(-x * x / 2)) {
        Real tail = erfcx(abs(x) * ROOT_HALF) * bell / 2;
        below = x > 0 ? 1 - tail : tail;
    }
    __device__ __forceinline__ Real value() const { return x * below; }
    __device__ __forceinline__ Real slope() const { return below + x * bell * DENSITY; }
};

// 1/(1 + e⁻ˣ), and 1 − that, each with all its digits.
struct Sigmoid {
    Real up, down;
    __device__ __forceinline__ Sigmoid(Real x) {
        Real e = exponential(-x > LARGEST ? LARGEST : -x);
        up = 1 / (1 + e);
        down = e * up;
    }
};

struct Silu {
    Real x;
    Sigmoid gate;
    __device__ __forceinline__ Silu(Real x) : x(x), gate(x) {}
    __device__ __forceinline__ Real value() const { return x * gate.up; }
    __device__ __forceinline__ Real slope() const { return gate.up + value() * gate.down; }
};

// x·(1 + tanh u)/2 = x·σ(2u) with u = √(2/π)(x + 0.044715x³); beyond ±30 the gate does not move.
struct GeluTanh {
    Real x, inside;
    Sigmoid gate;
    __device__ __forceinline__ GeluTanh(Real x)
        : x(x), inside(x > 30 ? Real(30) : x < -30 ? Real(-30) : x),
          gate(2 * SLOPE * inside * (1 + CUBIC * inside * inside)) {}
    __device__ __forceinline__ Real value() const { return x * gate.up; }
    __device__ __forceinline__ Real slope() const {
        Real of_u = SLOPE * (1 + 3 * CUBIC * inside * inside);
        return gate.up + 2 * inside * gate.up * gate.down * of_u;
    }
};

struct Relu {
    Real x;
    __device__ __forceinline__ Relu(Real x) : x(x) {}
    __device__ __forceinline__ Real value() const { return x <= 0 ? Real(0) : x; }
};

struct Same {  // none at all
    Real x;
    __device__ __forceinline__ Same(Real x) : x(x) {}
    __device__ __forceinline__ Real value() const { return x; }
    __device__ __forceinline__ Real slope() const { return 1; }
};

template <class Activation>
__device__ __forceinline__ Real pull(const Activation& at, Real g) {
    return g * at.slope();
}
__device__ __forceinline__ Real pull(const Relu& at, Real g) {
    return at.x <= 0 ? Real(0) : g;  // what is shut out stays out, be it NaN
}
