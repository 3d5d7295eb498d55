"""CUDA kernels on the CPU: ``RawModule`` and ``RawKernel`` of the stand-in for CuPy.

A ``.cu`` file is compiled by g++ as C++, behind the headers in ``cuda_on_host/``, which emulate
blocks, threads, barriers, warps and tensor cores, and run the threads of a block in random order.
That shows that a kernel computes what it should, leaves its arrays alone beyond their ends, and
needs no luck in the order of its threads. It says nothing about speed.

A launch holds its arguments to what the kernel declares, which CuPy does not: an array must have
the element type of its pointer, a number must be a NumPy scalar of the very type. ``np.uintp(0)``
is a null pointer, an array of one record a struct by value; so is the record itself (``np.void``),
if it is small: CuPy copies that into 32 bytes, whatever its size.

Of a kernel it asks: ``extern "C" __global__ void name(...)`` written out, no macro; dynamic shared
memory declared as ``extern __shared__ T name[];``; inline PTX and what else g++ cannot read under
``#ifndef CUDA_ON_HOST``.
"""

import ctypes
import hashlib
import itertools
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest

HEADERS = Path(__file__).with_name("cuda_on_host")
COMPILER = shutil.which("g++") if sys.platform == "linux" else None
FLAGS = "-std=c++17 -O1 -g0 -fPIC -w -ffp-contract=off -U_FORTIFY_SOURCE -fno-exceptions".split()
CHECKS = (
    "-fsanitize=alignment,bounds,shift,signed-integer-overflow,integer-divide-by-zero,null,"
    "pointer-overflow,float-cast-overflow -fno-sanitize-recover=all"
).split()

_BOUNDS = r"(?:__launch_bounds__\([^)]*\)\s*)?"
_KERNEL = re.compile(rf'extern "C" __global__\s+{_BOUNDS}void\s+{_BOUNDS}(?!__launch_)(\w+)\s*\(')
_DYNAMIC = re.compile(
    r"extern\s+__shared__\s+(?:(?:__align__|alignas)\(\d+\)\s+)?"
    r"([\w:<> ]+?)\s+(\w+)\s*\[\s*\]"
)
_LAUNCHER = """
extern "C" const char* signature_{name}() {{ return cuda_on_host::signature({name}); }}
extern "C" const char* launch_{name}(const unsigned* shape, size_t shared, uint64_t seed, int count,
                                     void** args, const long long* sizes, const char* written) {{
    return cuda_on_host::launch("{name}", [](void** a) {{ cuda_on_host::call({name}, a); }}, shape,
                                shared, seed, count, args, sizes, written);
}}
"""

seeds = itertools.count()
"""Where the order of blocks and threads comes from: one number for each launch."""

launches = 0
"""How many kernels have been launched so far."""


class LaunchError(RuntimeError):
    """A kernel did, or was given, what it must not."""


class RawModule:
    """What ``cupy.RawModule`` is: the kernels of one source, compiled when one is asked for."""

    def __init__(self, code=None, *, path=None, options=(), backend="nvrtc"):
        self._code = Path(path).read_text(encoding="utf-8") if code is None else code
        self._options = options

    def get_function(self, name):
        return RawKernel(self._code, name, self._options)


class RawKernel:
    """What ``cupy.RawKernel`` is: ``kernel(grid, block, args, shared_mem=bytes)``."""

    def __init__(self, code, name, options=(), backend="nvrtc"):
        library = _library(code, tuple(options))
        self.name = name
        self._launch = getattr(library, f"launch_{name}")
        self._launch.restype = ctypes.c_char_p
        describe = getattr(library, f"signature_{name}")
        describe.restype = ctypes.c_char_p
        self._parameters = describe().decode().split()
        self.max_dynamic_shared_size_bytes = 48 * 1024

    def __call__(self, grid, block, args, *, shared_mem=0):
        from . import fake_cupy

        global launches
        launches += 1
        fake_cupy.count_launch(self.name)
        grid, block = (*grid, 1, 1)[:3], (*block, 1, 1)[:3]
        self._check_shape(grid, block, shared_mem)
        if len(args) != len(self._parameters):
            self._refuse(f"{len(args)} arguments for {len(self._parameters)} parameters")
        values, sizes = [], []
        for i, (arg, parameter) in enumerate(zip(args, self._parameters)):
            value, size = self._argument(i, arg, parameter)
            values.append(value)
            sizes.append(size)
        count = len(args)
        problem = self._launch(
            (ctypes.c_uint * 6)(*grid, *block),
            ctypes.c_size_t(shared_mem),
            ctypes.c_uint64(next(seeds)),
            count,
            (ctypes.c_void_p * count)(*(value.ctypes.data for value in values)),
            (ctypes.c_longlong * count)(*sizes),
            bytes(parameter[0] == "p" for parameter in self._parameters),
        )
        if problem:
            raise LaunchError(problem.decode())

    def _check_shape(self, grid, block, shared_mem):
        for sizes, limits in (
            (grid, (2**31 - 1, 65535, 65535)),
            (block, (1024, 1024, 64)),
        ):
            for size, limit in zip(sizes, limits):
                if type(size) is not int or not 1 <= size <= limit:
                    self._refuse(f"grid {grid} of blocks {block} is none that a GPU takes")
        if math.prod(block) > 1024:
            self._refuse(f"a block of {block} has more than 1024 threads")
        most = min(self.max_dynamic_shared_size_bytes, 227 * 1024)
        if shared_mem > most:
            self._refuse(
                f"{shared_mem} bytes of dynamic shared memory are more than {most}; "
                "set max_dynamic_shared_size_bytes, to 227 KB at most"
            )

    def _argument(self, i, arg, parameter):
        """(a NumPy scalar that holds the argument, the bytes of its array or −1)."""
        from . import fake_cupy

        if isinstance(arg, fake_cupy.ndarray) and parameter[0] in "pc":
            host = fake_cupy._to_host(arg)
            self._check_elements(i, host.dtype, parameter)
            start = host.__array_interface__["data"][0]
            end = np.lib.array_utils.byte_bounds(host)[1] if host.size else start
            return np.array(start, np.uintp), end - start
        if parameter[0] in "pc" and isinstance(arg, np.uintp) and arg == 0:
            return np.array(arg), -1
        if isinstance(arg, np.ndarray) and arg.size == 1 and parameter == f"s{arg.itemsize}":
            return arg, -1  # a struct
        kind = getattr(arg, "dtype", np.dtype(object)).kind.replace("V", "s")
        if kind == "s" and arg.itemsize >= 32:
            self._refuse(f"argument {i} is a record of {arg.itemsize} bytes; make it an array")
        if not isinstance(arg, np.generic) or f"{kind}{arg.itemsize}" != parameter:
            self._refuse(f"argument {i} is a {type(arg).__name__}, its parameter is {parameter}")
        return np.array(arg), -1

    def _check_elements(self, i, dtype, parameter):
        kind, size = parameter[1], int(parameter[2:])
        of_bytes = kind == "u" and size == 1 and dtype.kind == "b"
        is_right = kind == dtype.kind and size == dtype.itemsize
        if not (is_right or of_bytes or kind == "v" or (kind == "s" and dtype.kind in "fV")):
            self._refuse(f"argument {i} is an array of {dtype}, its parameter is {parameter}")

    def _refuse(self, what):
        raise LaunchError(f"{self.name}: {what}")


@cache
def _library(code, options):
    """The shared library of a source, from a folder of earlier ones or compiled anew."""
    if COMPILER is None:
        pytest.skip("a CUDA kernel is launched; to emulate it needs g++, on Linux")
    macros = [option[2:].replace("=", " ") for option in options if option.startswith("-D")]
    body = _DYNAMIC.sub(r"\1* \2 = (\1*)cuda_on_host::dynamic_shared", code)
    source = "\n".join(
        (
            '#include "cuda_on_host.h"',
            *(f"#define {macro}" for macro in macros),
            f'namespace {{\n#line 1 "kernel.cu"\n{body}\n}}',
            *(_LAUNCHER.format(name=name) for name in _KERNEL.findall(code)),
        )
    )
    folder = _prepared()
    library = folder / f"{hashlib.sha256(source.encode()).hexdigest()[:24]}.so"
    if not library.exists():
        with _building(library) as work:
            (work / "kernel.cpp").write_text(source, encoding="utf-8")
            _compile(*CHECKS, f"-I{folder}", "-c", "kernel.cpp", "-o", "kernel.o", cwd=work)
            _compile("-shared", "kernel.o", f"{folder}/runtime.o", "-o", "made", cwd=work)
    return ctypes.PyDLL(str(library))


@cache
def _prepared():
    """A folder with what all kernels share: the headers precompiled, the runtime compiled.

    It is named after all that they depend on, so that a change there makes a new one.
    """
    files = [path.read_bytes() for path in sorted(HEADERS.iterdir())]
    version = subprocess.run([COMPILER, "--version"], capture_output=True).stdout
    key = hashlib.sha256(b"\0".join([*files, version, repr((FLAGS, CHECKS)).encode()])).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"cuda-on-host-{os.getuid()}" / key[:16]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    headers, runtime = folder / "cuda_on_host.h.gch", folder / "runtime.o"
    if not headers.exists():
        with _building(headers) as work:
            header = HEADERS / "cuda_on_host.h"
            _compile(*CHECKS, "-x", "c++-header", str(header), "-o", "made", cwd=work)
    if not runtime.exists():
        with _building(runtime) as work:
            _compile("-O2", "-c", str(HEADERS / "runtime.cpp"), "-o", "made", cwd=work)
    return folder


@contextmanager
def _building(file):
    """A folder in which to make ``made``, which then becomes ``file`` at once: others may look."""
    with tempfile.TemporaryDirectory(dir=file.parent) as work:
        yield Path(work)
        os.replace(f"{work}/made", file)


def _compile(*arguments, cwd):
    command = [COMPILER, *FLAGS, *arguments, f"-I{HEADERS}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        raise LaunchError(f"{' '.join(command)}\n{done.stderr[:4000]}")
