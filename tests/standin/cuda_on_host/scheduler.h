// Blocks, threads and barriers: each thread of a block is a fiber, one of which runs at a time.
//
// A fiber runs until it waits at a barrier or ends; which one comes next is random, in bursts of
// one warp, so that a warp can be far ahead of another or a lane of its neighbour. A kernel that
// lacks a barrier gives other results from one seed to the next. Blocks run one after the other, in
// random order too, but at an atomic operation, by which alone they can know of one another, a
// block may stop half-way and let others go first. What is written is there for all at once: that a
// __threadfence is missing does not show. What a GPU would leave undefined
// ends the launch with a message: a barrier that some threads never reach, lanes in different
// warp functions, a lane that is asked for its value and takes no part.
#pragma once

#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "types.h"

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace cuda_on_host {

constexpr int most_threads = 1024, stack_bytes = 1 << 18, most_copies = 512;
inline const size_t page = sysconf(_SC_PAGESIZE);

using Collective = void (*)(void* const* operands, unsigned mask);

struct Copy {  // a cp.async that has not arrived yet
    void* to;
    const void* from;
    int bytes, taken, group;
};

struct Fiber {
    enum State { ready, at_block, at_warp, done } state;
    bool is_alive;  // has a context to go on in
    int index, line;
    jmp_buf here;
    char* stack;
    // what it waits for in its warp
    Collective collective;
    void* operand;
    unsigned mask;
    // its asynchronous copies
    Copy* copies;
    int copy_count, groups;
};

struct Warp {
    unsigned ready, waiting, exited, exists;
};

struct Block {
    Fiber fibers[most_threads];
    Warp warps[most_threads / 32];
    uint3 index;
    int live, arrived, votes, result_of_votes;
    char* shared;  // what its shared memory held when it let others go first
};

inline Block blocks[4];  // begun and not yet done, at most; those with ``live`` threads are
inline Block* block;     // the one that runs
inline Fiber* current;
inline bool is_leaving;  // whether the block lets others go first
inline jmp_buf scheduler;
inline sigjmp_buf launcher;
inline char message[1024];
inline const char* kernel_name;
inline void (*body)(void**);
inline void** arguments;
inline int thread_count;
inline uint64_t random_state;

inline uint32_t random_below(uint32_t n) {  // splitmix64
    uint64_t z = random_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return uint32_t((z ^ z >> 31) >> 32) % n;
}

[[noreturn]] inline void fail(const char* format, ...) {
    int n = snprintf(message, sizeof message, "%s, block (%u, %u, %u), thread (%u, %u, %u): ",
                     kernel_name, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y,
                     threadIdx.z);
    va_list rest;
    va_start(rest, format);
    vsnprintf(message + n, sizeof message - n, format, rest);
    va_end(rest);
    siglongjmp(launcher, 1);
}

__attribute__((noinline)) inline void wait() {  // until the scheduler resumes this fiber
    if (!_setjmp(current->here)) _longjmp(scheduler, 1);
}

inline void fiber_main() {
    for (;;) {
        body(arguments);
        current->state = Fiber::done;
        wait();
    }
}

inline void start(Fiber& fiber) {
    static ucontext_t context;
    if (!fiber.stack) {
        fiber.stack = (char*)mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        mprotect(fiber.stack, page, PROT_NONE);
    }
    fiber.is_alive = true;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack;
    context.uc_stack.ss_size = stack_bytes;
    makecontext(&context, fiber_main, 0);
    setcontext(&context);
}

__attribute__((noinline)) inline void resume(Fiber& fiber) {
    current = &fiber;
    unsigned i = fiber.index;
    threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    if (_setjmp(scheduler)) return;
    if (fiber.is_alive) _longjmp(fiber.here, 1);
    start(fiber);
}

inline void make_ready(int i) {
    block->fibers[i].state = Fiber::ready;
    Warp& warp = block->warps[i / 32];
    warp.ready |= 1u << i % 32;
    warp.waiting &= ~(1u << i % 32);
}

inline void release_block_if_complete() {
    if (!block->live || block->arrived < block->live) return;
    int line = 0;
    Fiber* fibers = block->fibers;
    for (int i = 0; i < thread_count; ++i) {
        if (fibers[i].state != Fiber::at_block) continue;
        if (line && fibers[i].line != line)
            fail("threads wait at different barriers, of lines %d and %d", line, fibers[i].line);
        line = fibers[i].line;
        make_ready(i);
    }
    block->result_of_votes = block->votes;
    block->arrived = block->votes = 0;
}

inline void complete_collective(int w, unsigned mask, Collective collective) {
    Warp& warp = block->warps[w];
    unsigned needed = mask & warp.exists & ~warp.exited;
    if ((warp.waiting & needed) != needed || !needed) return;
    void* operands[32] = {};
    for (int lane = 0; lane < 32; ++lane) {
        if (!(needed >> lane & 1)) continue;
        Fiber& fiber = block->fibers[w * 32 + lane];
        if (fiber.collective != collective || fiber.mask != mask)
            fail("the lanes of its warp wait in different functions, or name different lanes "
                 "(0x%08x and 0x%08x)", mask, fiber.mask);
        operands[lane] = fiber.operand;
    }
    collective(operands, needed);
    for (int lane = 0; lane < 32; ++lane)
        if (needed >> lane & 1) make_ready(w * 32 + lane);
}

inline void sort_out(Fiber& fiber) {  // what became of a fiber that ran
    int w = fiber.index / 32;
    unsigned bit = 1u << fiber.index % 32;
    Warp& warp = block->warps[w];
    if (fiber.state != Fiber::ready) warp.ready &= ~bit;
    if (fiber.state == Fiber::at_block) {
        ++block->arrived;
        release_block_if_complete();
    } else if (fiber.state == Fiber::at_warp) {
        warp.waiting |= bit;
        complete_collective(w, fiber.mask, fiber.collective);
    } else if (fiber.state == Fiber::done) {
        warp.exited |= bit;
        --block->live;
        release_block_if_complete();
        for (int lane = 0; lane < 32; ++lane)
            if (warp.waiting >> lane & 1)
                complete_collective(w, block->fibers[w * 32 + lane].mask,
                                    block->fibers[w * 32 + lane].collective);
    }
}

inline void fail_for_deadlock() {
    int at_block = 0, at_warp = 0, who = -1;
    Fiber* fibers = block->fibers;
    for (int i = 0; i < thread_count; ++i) {
        at_block += fibers[i].state == Fiber::at_block;
        at_warp += fibers[i].state == Fiber::at_warp;
        if (fibers[i].state == Fiber::at_warp || (who < 0 && fibers[i].state == Fiber::at_block))
            who = i;
    }
    unsigned i = who;
    threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    fail("it waits for ever in line %d: %d threads at __syncthreads, %d in warp functions (lanes "
         "0x%08x), %d have ended", fibers[who].line, at_block, at_warp, fibers[who].mask,
         thread_count - block->live);
}

inline int nth_bit(unsigned bits, int n) {
    while (n--) bits &= bits - 1;
    return __builtin_ctz(bits);
}

inline void begin_block(Block& next, uint3 index) {
    block = &next;
    block->index = index;
    for (int i = 0; i < thread_count; ++i) {
        Fiber& fiber = block->fibers[i];
        fiber.index = i;
        fiber.state = Fiber::ready;
        fiber.copy_count = fiber.groups = 0;
    }
    for (int w = 0; 32 * w < thread_count; ++w) {
        int lanes = thread_count - 32 * w;
        Warp& warp = block->warps[w];
        warp.exists = warp.ready = lanes >= 32 ? ~0u : (1u << lanes) - 1;
        warp.waiting = warp.exited = 0;
    }
    block->live = thread_count;
    block->arrived = block->votes = 0;
}

inline void run_block() {  // until it is done or lets others go first
    int warp_count = (thread_count + 31) / 32, w = random_below(warp_count);
    Warp* warps = block->warps;
    blockIdx = block->index;
    is_leaving = false;
    while (block->live && !is_leaving) {
        if (!warps[w].ready || random_below(64) == 0) {
            int tries = warp_count;
            for (w = random_below(warp_count); !warps[w].ready; w = (w + 1) % warp_count)
                if (!tries--) fail_for_deadlock();
        }
        unsigned ready = warps[w].ready;
        int lane = nth_bit(ready, random_below(__builtin_popcount(ready)));
        Fiber& fiber = block->fibers[32 * w + lane];
        resume(fiber);
        sort_out(fiber);
    }
}

// What kernels call.

inline void wait_in_warp(Collective collective, void* operand, unsigned mask, int line) {
    if (!(mask >> current->index % 32 & 1))
        fail("line %d: the mask 0x%08x leaves its own lane out", line, mask);
    current->state = Fiber::at_warp;
    current->collective = collective;
    current->operand = operand;
    current->mask = mask;
    current->line = line;
    wait();
}

inline int wait_in_block(int line, int vote) {
    current->state = Fiber::at_block;
    current->line = line;
    block->votes += vote;
    wait();
    return block->result_of_votes;
}

inline void meet_other_blocks() {
    if (random_below(2)) return;
    is_leaving = true;
    wait();
}

}  // namespace cuda_on_host
