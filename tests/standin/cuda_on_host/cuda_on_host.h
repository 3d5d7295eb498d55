// CUDA C++ on a CPU, for tests: include this before a .cu file and compile it with g++.
//
// scheduler.h   threads as fibers, barriers, warps
// types.h       vectors and 16-bit floats
// intrinsics.h  the functions that kernels call
// tensor_core.h host forms of mma, ldmatrix, cp.async
// launch.h      a launch
// runtime.cpp   its inside: guarded arrays, and a message for what went wrong
//
// The Python side is on_host.py, which writes the few lines that make a kernel callable.
#pragma once

#define CUDA_ON_HOST 1

#include "launch.h"
