"""Every ``.cu`` file compiles by itself, for two generations of GPU, and keeps to its registers.

By NVRTC, as CuPy does it, where ``cupy`` and NVRTC are installed (neither needs a GPU); else by
nvcc, if there is one.
"""

import importlib.util
import re
import shutil
import subprocess

import pytest

from tinygrad_attn.backend.cuda import launch
from tinygrad_attn.backend.cuda.linear import NAMES

FILES = sorted(path.name for path in launch.FOLDER.glob("*.cu"))
ARCHITECTURES = ("sm_80", "sm_90")  # A100, H100 and H200
OPTIONS = ("-std=c++17", "-ftz=true", f"-I{launch.FOLDER}")  # -ftz=true is added by CuPy

REGISTERS = 65536  # of a multiprocessor, on which two blocks at least should find room
SPILLED = {  # bytes that a thread may move to memory for want of registers; without these, none
    "-DFLOAT64": 256,  # a division or a logarithm is a call, around which some are saved
    "-DSINGLE": 8,  # the compiler rather spills one or two than have fewer blocks side by side
}


def nvrtc():
    """CuPy's binding of NVRTC, or None where it or NVRTC itself is missing."""
    if importlib.util.find_spec("cupy") is None:
        return None
    from cupy.cuda import nvrtc

    try:
        nvrtc.getVersion()
    except (ImportError, RuntimeError, OSError):
        return None
    return nvrtc


NVRTC, NVCC = nvrtc(), shutil.which("nvcc")
pytestmark = pytest.mark.skipif(
    NVRTC is None and NVCC is None, reason="needs CuPy with NVRTC, or nvcc"
)


def compiled(file, architecture, macros, folder):
    """The compiler's report on a file."""
    options = (f"-arch={architecture}", *OPTIONS, *macros)
    if NVRTC is None:
        command = [NVCC, *options, "-Xptxas", "-v", "-cubin", "-o", str(folder / "out")]
        done = subprocess.run(
            [*command, str(launch.FOLDER / file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stderr
    text = (launch.FOLDER / file).read_text(encoding="utf-8")
    program = NVRTC.createProgram(text, file, (), ())
    try:
        NVRTC.compileProgram(program, (*options, "--ptxas-options=-v"))
        assert NVRTC.getCUBIN(program)
    except NVRTC.NVRTCError as error:
        raise AssertionError(NVRTC.getProgramLog(program)) from error
    return NVRTC.getProgramLog(program)


def resources(report):
    """{kernel: (registers, bytes spilled)}"""
    pieces = re.split(r"Compiling entry function '(\w+)'", report)[1:]
    found = {}
    for name, piece in zip(pieces[::2], pieces[1::2]):
        registers = int(re.search(r"Used (\d+) registers", piece)[1])
        found[name] = registers, int(re.search(r"(\d+) bytes spill stores", piece)[1])
    return found


def check(file, architecture, macros, folder):
    found = resources(compiled(file, architecture, macros, folder))
    declared = (launch.FOLDER / file).read_text(encoding="utf-8").count('extern "C" __global__')
    assert len(found) == declared > 0
    is_of_rows = "__launch_bounds__(BLOCK" in launch.source(file)  # attention has smaller blocks
    room = REGISTERS // (2 * launch.BLOCK) if is_of_rows else 255
    most = max((SPILLED.get(macro, 0) for macro in macros), default=0)
    for name, (registers, spilled) in found.items():
        assert spilled <= most, f"{name} spills {spilled} bytes"
        assert registers <= room or "-DFLOAT64" in macros, f"{name} has {registers} registers"


def variants(file):
    """The macros with which the loaders compile a file."""
    text = launch.source(file)
    if "SINGLE" in text:
        macros = [macro for dtype, macro in launch._MACROS.items() if dtype is not None]
        options = [(macro, *single) for macro in macros for single in ((), ("-DSINGLE",))]
        kinds = [f"-DACTIVATION={name}" for name in NAMES.values() if "ACTIVATION" in text]
        return [*options, *((*option, kind) for option in options for kind in kinds)]
    return [(f"-DARITHMETIC={kind}",) for kind in ("FLOAT32", "TFLOAT32", "FLOAT16", "BFLOAT16")]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_a_source_compiles_by_itself(file, architecture, tmp_path):
    check(file, architecture, (), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("file", "macros"), [(f, m) for f in FILES for m in variants(f)], ids=str)
def test_a_source_compiles_for_all_that_it_is_asked_for(file, macros, architecture, tmp_path):
    check(file, architecture, macros, tmp_path)


def test_what_cupy_compiles_has_nothing_left_to_include():
    """CuPy finds a compiled kernel again by its text, and looks into no other file."""
    assert all("#include" not in launch.source(file) for file in FILES)


@pytest.mark.skipif(NVRTC is None, reason="CuPy is not installed")
def test_cupy_has_what_the_loader_calls():
    """Without a GPU a module can be made, though not compiled."""
    import cupy

    module = cupy.RawModule(code=launch.source(FILES[0]), options=("-std=c++17",))
    assert callable(module.get_function)
    assert "data" in dir(cupy.ndarray) and hasattr(cupy.cuda.MemoryPointer, "ptr")
    assert callable(cupy.RawKernel.__call__)
