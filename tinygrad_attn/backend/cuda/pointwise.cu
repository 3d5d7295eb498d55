// gelu, silu and swiglu. Backward finds the slope again from x, which the tape keeps in any case:
// to read x costs as much time as to read a stored slope, and forward has one array less to write.
//
// The arrays are taken as one row that all blocks share, a stretch each.
#include "activations.cuh"

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
