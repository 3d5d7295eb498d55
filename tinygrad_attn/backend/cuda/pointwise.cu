// gelu, silu and swiglu. Backward finds the slope again from x, which the tape keeps in any case:
// to read x costs as much time as to read a stored slope, and forward has one array less to write.
//
// The arrays are taken as one row that all blocks share, a stretch each.
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

__device__ __forceinline__ Index my_stretch() { return (Index)blockIdx.x * KEPT * BLOCK; }

template <class Activation>
__device__ __forceinline__ void forward(const Stored* x, Stored* y, Index n) {
    Index i = my_stretch();
    Real numbers[KEPT];
    load(numbers, x + i, n - i, 0);
    for (Real& v : numbers) v = Activation(v).value();
    store(numbers, y + i, n - i);
}

template <class Activation>
__device__ __forceinline__ void backward(const Stored* x, const Stored* g, Stored* gx, Index n) {
    Index i = my_stretch();
    Real numbers[KEPT], slopes[KEPT];
    load(numbers, x + i, n - i, 0);
    load(slopes, g + i, n - i, 0);
    for (int k = 0; k < KEPT; ++k) slopes[k] *= Activation(numbers[k]).slope();
    store(slopes, gx + i, n - i);
}

extern "C" __global__ void __launch_bounds__(BLOCK) gelu(const Stored* x, Stored* y, Index n) {
    forward<Gelu>(x, y, n);
}
extern "C" __global__ void __launch_bounds__(BLOCK)
gelu_backward(const Stored* x, const Stored* g, Stored* gx, Index n) {
    backward<Gelu>(x, g, gx, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK) gelu_tanh(const Stored* x, Stored* y, Index n) {
    forward<GeluTanh>(x, y, n);
}
extern "C" __global__ void __launch_bounds__(BLOCK)
gelu_tanh_backward(const Stored* x, const Stored* g, Stored* gx, Index n) {
    backward<GeluTanh>(x, g, gx, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK) silu(const Stored* x, Stored* y, Index n) {
    forward<Silu>(x, y, n);
}
extern "C" __global__ void __launch_bounds__(BLOCK)
silu_backward(const Stored* x, const Stored* g, Stored* gx, Index n) {
    backward<Silu>(x, g, gx, n);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
swiglu(const Stored* gate, const Stored* up, Stored* y, Index n) {
    Index i = my_stretch();
    Real gates[KEPT], ups[KEPT];
    load(gates, gate + i, n - i, 0);
    load(ups, up + i, n - i, 0);
    for (int k = 0; k < KEPT; ++k) ups[k] *= Silu(gates[k]).value();
    store(ups, y + i, n - i);
}

// Either of the two gradients may be unwanted, and is a null pointer then.
extern "C" __global__ void __launch_bounds__(BLOCK)
swiglu_backward(const Stored* gate, const Stored* up, const Stored* g, Stored* of_gate,
                Stored* of_up, Index n) {
    Index i = my_stretch();
    Real gates[KEPT], ups[KEPT], slopes[KEPT];
    load(gates, gate + i, n - i, 0);
    load(ups, up + i, n - i, 0);
    load(slopes, g + i, n - i, 0);
    for (int k = 0; k < KEPT; ++k) {
        Silu silu(gates[k]);
        gates[k] = slopes[k] * ups[k] * silu.slope();
        ups[k] = slopes[k] * silu.value();
    }
    if (of_gate) store(gates, of_gate + i, n - i);
    if (of_up) store(ups, of_up + i, n - i);
}
