// A launch: guarded copies of the arrays, the blocks in random order, and what went wrong in words.
//
// Every array lies at the end of a mapping whose next page may not be touched, with a margin of NaN
// in front, so a kernel that leaves an array is caught, or reads NaN. Shared memory is NaN when a
// block begins. Kernels are compiled with -fsanitize=..., which catches misaligned vectors, indices
// outside local and shared arrays, and overflowing integers; it calls the functions at the end.
// This file is compiled once, and linked to each.
#include "cuda_on_host.h"

namespace cuda_on_host {

constexpr size_t margin = 4096;  // bytes of NaN before an array

struct Region {  // one argument, or several that overlap: [begin, end) on the host
    char *begin, *end, *mapping, *copy;
    size_t mapped;
    bool is_written;
    int argument;
};

Region regions[65];
int region_count;

Region guarded(char* begin, char* end, int argument) {
    size_t bytes = end - begin, skew = (uintptr_t)begin % 16;
    size_t body = (margin + bytes + 48 + page - 1) / page * page;
    char* mapping = (char*)mmap(nullptr, body + page, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(mapping + body, page, PROT_NONE);
    memset(mapping, 0xff, body);
    char* copy = mapping + (body - bytes - skew) / 16 * 16 + skew;
    if (copy + bytes > mapping + body) copy -= 16;
    if (bytes && begin) memcpy(copy, begin, bytes);
    return {begin, end, mapping, copy, body + page, false, argument};
}

void check_margin(const Region& region) {
    const char* end = region.copy + (region.end - region.begin);
    const char* places[2][2] = {{region.mapping, region.copy},
                                {end, region.mapping + region.mapped - page}};
    for (auto& [from, to] : places)
        for (const char* p = from; p < to; ++p)
            if (*p != char(0xff)) {
                snprintf(message, sizeof message,
                         "%s: something wrote %ld bytes %s argument %d", kernel_name,
                         long(from == end ? p - end : region.copy - p),
                         from == end ? "after" : "before", region.argument);
                return;
            }
}

// Copies of the arrays, one for those that overlap; ``sizes`` are −1 for what is no array.
void guard_arrays(int count, void** args, const long long* sizes, const char* is_written) {
    region_count = 0;
    for (int i = 0; i < count; ++i) {
        if (sizes[i] < 0) continue;
        char* begin = *(char**)args[i];
        Region merged{begin, begin + sizes[i], nullptr, nullptr, 0, bool(is_written[i]), i};
        for (int j = 0; j < region_count;) {
            Region& other = regions[j];
            if (other.begin < merged.end && merged.begin < other.end) {
                if (other.begin < merged.begin) merged.begin = other.begin;
                if (other.end > merged.end) merged.end = other.end;
                merged.is_written |= other.is_written;
                regions[j] = regions[--region_count];
                j = 0;
            } else {
                ++j;
            }
        }
        regions[region_count++] = merged;
    }
    for (int j = 0; j < region_count; ++j) {
        bool is_written = regions[j].is_written;
        regions[j] = guarded(regions[j].begin, regions[j].end, regions[j].argument);
        regions[j].is_written = is_written;
    }
    for (int i = 0; i < count; ++i) {
        if (sizes[i] < 0) continue;
        char*& address = *(char**)args[i];
        for (int j = 0; j < region_count; ++j) {
            Region& region = regions[j];
            bool is_inside = address >= region.begin && address + sizes[i] <= region.end;
            if (is_inside && (sizes[i] > 0 || region.argument == i)) {
                address = region.copy + (address - region.begin);
                break;
            }
        }
    }
}

void end_guards(bool went_well) {
    for (int j = 0; j < region_count; ++j) {
        Region& region = regions[j];
        if (went_well && !*message) check_margin(region);
        if (went_well && !*message && region.is_written)
            memcpy(region.begin, region.copy, region.end - region.begin);
        munmap(region.mapping, region.mapped);
    }
    region_count = 0;
}

void on_signal(int number, siginfo_t* info, void*) {
    const char* address = (const char*)info->si_addr;
    for (int j = 0; j < region_count; ++j) {
        const char* end = regions[j].copy + (regions[j].end - regions[j].begin);
        if (address >= end - margin && address < end + 2 * page)
            fail("an access %ld bytes after the end of argument %d", long(address - end),
                 regions[j].argument);
    }
    if (address >= dynamic_shared && address < dynamic_shared + dynamic_shared_bytes + 2 * page)
        fail("an access %ld bytes after the end of dynamic shared memory",
             long(address - dynamic_shared - dynamic_shared_bytes));
    if (number == SIGSEGV || number == SIGBUS)
        fail("an access at %p, outside all arrays (or the stack of a thread ran over)", address);
    fail("%s", strsignal(number));
}

constexpr int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};

uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

// Shared memory belongs to the block that runs: another's comes into its place.
void exchange_shared(Block* last, Block* next) {
    size_t bytes = __stop_cuda_shared - __start_cuda_shared;
    if (last == next) return;
    if (last && last->live) {
        last->shared = (char*)malloc(bytes + dynamic_shared_bytes + 1);
        memcpy(last->shared, __start_cuda_shared, bytes);
        memcpy(last->shared + bytes, dynamic_shared, dynamic_shared_bytes);
    }
    if (!next->shared) return;
    memcpy(__start_cuda_shared, next->shared, bytes);
    memcpy(dynamic_shared, next->shared + bytes, dynamic_shared_bytes);
    free(next->shared);
    next->shared = nullptr;
}

void run_grid() {
    uint64_t count = 1ull * gridDim.x * gridDim.y * gridDim.z;
    uint64_t at = random_below(count), step = 1 + random_below(count), begun = 0;
    while (common_divisor(step, count) != 1) ++step;  // so that it comes to every block once
    for (block = nullptr;;) {
        Block *open[4], *free = nullptr, *last = block;
        int waiting = 0;
        for (Block& slot : blocks) {
            if (slot.live) open[waiting++] = &slot;
            else free = &slot;
        }
        if (begun == count && !waiting) return;
        if (begun < count && free && !(waiting && random_below(2))) {
            exchange_shared(last, free);
            uint3 index{unsigned(at % gridDim.x), unsigned(at / gridDim.x % gridDim.y),
                        unsigned(at / (1ull * gridDim.x * gridDim.y))};
            begin_block(*free, index);
            size_t bytes = __stop_cuda_shared - __start_cuda_shared;
            if (bytes) memset(__start_cuda_shared, 0xff, bytes);
            if (dynamic_shared_bytes) memset(dynamic_shared, 0xff, dynamic_shared_bytes);
            at = (at + step) % count;
            ++begun;
        } else {
            block = open[random_below(waiting)];
            exchange_shared(last, block);
        }
        run_block();
    }
}

void abandon_blocks() {
    for (Block& slot : blocks) {
        for (Fiber& fiber : slot.fibers) fiber.is_alive = false;
        slot.live = 0;
        free(slot.shared);
        slot.shared = nullptr;
    }
}

const char* launch(const char* name, void (*kernel)(void**), const unsigned* shape,
                   size_t shared_bytes, uint64_t seed, int count, void** args,
                   const long long* sizes, const char* is_written) {
    static char* signal_stack = (char*)malloc(1 << 16);
    kernel_name = name;
    body = kernel;
    arguments = args;
    random_state = seed;
    gridDim = {shape[0], shape[1], shape[2]};
    blockDim = {shape[3], shape[4], shape[5]};
    thread_count = shape[3] * shape[4] * shape[5];
    *message = 0;
    guard_arrays(count, args, sizes, is_written);
    Region shared = guarded(nullptr, (char*)nullptr + (shared_bytes + 15) / 16 * 16, -1);
    dynamic_shared = shared.copy;
    dynamic_shared_bytes = shared_bytes;

    stack_t own{signal_stack, 0, 1 << 16}, previous_stack;
    sigaltstack(&own, &previous_stack);
    struct sigaction action = {}, previous[5];
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int i = 0; i < 5; ++i) sigaction(caught[i], &action, &previous[i]);
    bool went_well = !sigsetjmp(launcher, 1);
    if (went_well) run_grid();
    for (int i = 0; i < 5; ++i) sigaction(caught[i], &previous[i], nullptr);
    sigaltstack(&previous_stack, nullptr);
    if (!went_well) abandon_blocks();
    end_guards(went_well);
    munmap(shared.mapping, shared.mapped);
    return *message ? message : nullptr;
}

struct Place {
    const char* file;
    unsigned line, column;
};

}  // namespace cuda_on_host

#define CAUGHT(name, what)                                                                       \
    extern "C" void __ubsan_handle_##name##_abort(cuda_on_host::Place* at, ...) {                \
        cuda_on_host::fail("line %u: " what, at->line);                                          \
    }
CAUGHT(type_mismatch_v1, "an access through a pointer that is null or not aligned for its type")
CAUGHT(out_of_bounds, "an index outside its array")
CAUGHT(add_overflow, "an integer sum overflows")
CAUGHT(sub_overflow, "an integer difference overflows")
CAUGHT(mul_overflow, "an integer product overflows")
CAUGHT(negate_overflow, "an integer negation overflows")
CAUGHT(divrem_overflow, "an integer division by 0 or overflow")
CAUGHT(shift_out_of_bounds, "a shift by more bits than there are")
CAUGHT(pointer_overflow, "a pointer overflows")
CAUGHT(float_cast_overflow, "a float that its integer type cannot hold")
#undef CAUGHT
