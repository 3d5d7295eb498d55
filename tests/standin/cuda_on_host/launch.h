// A launch, as the few lines that on_host.py writes for every kernel call it.
#pragma once

#include <utility>

#include "tensor_core.h"

namespace cuda_on_host {

// Runs the grid; returns null, or in words what went wrong. Defined in runtime.cpp.
const char* launch(const char* name, void (*kernel)(void**), const unsigned* shape,
                   size_t shared_bytes, uint64_t seed, int count, void** args,
                   const long long* sizes, const char* is_written);

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** args, std::index_sequence<I...>) {
    kernel(*(std::remove_cv_t<A>*)args[I]...);
}
template <class... A>
void call(void (*kernel)(A...), void** args) {
    call(kernel, args, std::index_sequence_for<A...>());
}

// The types of a kernel's parameters: "i4" an int, "pf4" a pointer to floats, "cf4" to constants.
template <class T>
char* describe(char* to) {
    if constexpr (std::is_pointer_v<T>) {
        using Element = std::remove_pointer_t<T>;
        *to++ = std::is_const_v<Element> ? 'c' : 'p';
        return describe<std::remove_cv_t<Element>>(to);
    } else if constexpr (std::is_void_v<T>) {
        return to + sprintf(to, "v0 ");
    } else {
        char kind = std::is_floating_point_v<T> ? 'f' : std::is_same_v<T, bool> ? 'b' :
                    std::is_integral_v<T> ? (std::is_signed_v<T> ? 'i' : 'u') : 's';
        return to + sprintf(to, "%c%d ", kind, int(sizeof(T)));
    }
}
template <class... A>
const char* signature(void (*)(A...)) {
    static char text[16 * sizeof...(A) + 1];
    char* end = text;
    ((end = describe<std::remove_cv_t<A>>(end)), ...);
    return text;
}

}  // namespace cuda_on_host
