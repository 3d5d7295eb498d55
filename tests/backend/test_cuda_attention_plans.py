"""How the kernels of attention are compiled: their tiles, registers and shared memory.

The compiler is NVRTC, as in CuPy, where CuPy is installed, else nvcc; neither needs a GPU.
"""

import importlib.util
import re
import shutil
import subprocess

import numpy as np
import pytest

from tinygrad_attn.backend.cuda import launch
from tinygrad_attn.backend.cuda.attention import ARITHMETIC, WIDTHS, Plan

NVCC = shutil.which("nvcc")
HAS_NVRTC = bool(importlib.util.find_spec("cupy") and importlib.util.find_spec("nvidia"))
ARITHMETICS = sorted({*ARITHMETIC.values(), "TFLOAT32"})
FILES = {False: "attention_forward.cu", True: "attention_backward.cu"}
MANY = [
    Plan.make(arithmetic, width, width, general=general, backward=backward)
    for arithmetic in ARITHMETICS
    for width in WIDTHS
    for general in (False, True)
    for backward in (False, True)
]
MOST_IMPORTANT = [plan for plan in MANY if plan[:2] == ("FLOAT16", 64) and not plan.general]


def name(plan):
    kind = "general" if plan.general else "plain"
    way = "backward" if plan.backward else "forward"
    return f"{plan.arithmetic}-{plan.width}-{kind}-{way}"


def report(plan, architecture, folder):
    """What the assembler says about the kernels of a plan."""
    text, options = launch.source(FILES[plan.backward]), (*plan.options, f"-arch={architecture}")
    if HAS_NVRTC:
        from cupy.cuda import nvrtc

        program = nvrtc.createProgram(text, "attention.cu", (), ())
        nvrtc.compileProgram(program, (*options, "-ftz=true", "--ptxas-options=-v"))
        return nvrtc.getProgramLog(program)
    (folder / "attention.cu").write_text(text, encoding="utf-8")
    command = [NVCC, *options, "-cubin", "-Xptxas", "-v", "-o", "made", "attention.cu"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr


def check(plan, architecture, folder):
    """No number that a thread works with is moved to memory, and two blocks find room."""
    found = report(plan, architecture, folder)
    spilled = [int(n) for n in re.findall(r"(\d+) bytes spill", found)]
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", found)]
    assert len(registers) == len(spilled) // 2 == (2 if plan.backward else 1)
    assert max(registers) <= 255 and sum(spilled) == 0, found


needs_compiler = pytest.mark.skipif(
    not HAS_NVRTC and NVCC is None, reason="needs CuPy with NVRTC, or nvcc"
)


@needs_compiler
@pytest.mark.parametrize("plan", MOST_IMPORTANT, ids=name)
def test_registers_are_enough(plan, tmp_path):
    check(plan, "sm_90", tmp_path)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("plan", MANY, ids=name)
def test_registers_are_enough_for_every_plan(plan, architecture, tmp_path):
    check(plan, architecture, tmp_path)


@pytest.mark.skipif(not HAS_NVRTC, reason="CuPy is not installed")
def test_cupy_has_what_the_loader_asks():
    from cupy.cuda import Device, runtime

    assert hasattr(runtime, "cudaDevAttrMaxSharedMemoryPerBlockOptin")
    assert "`cudaDevAttr` has been trimmed" in Device.attributes.__doc__
    assert "compute_capability" in dir(Device)


def test_shared_memory_is_what_the_gpus_of_data_centres_have():
    assert max(plan.shared_bytes for plan in MANY) <= 163 * 1024  # an A100
    halves = [plan for plan in MANY if plan.arithmetic.endswith("16")]
    assert max(plan.shared_bytes for plan in halves) <= 99 * 1024  # every GPU since the A10


@pytest.mark.parametrize("plan", MANY[: len(MANY) // 4], ids=name)
def test_eight_rows_of_a_tile_lie_in_different_banks(plan):
    """Eight lanes read 16 bytes each, one row under another: together all 32 banks of 4 bytes."""
    for width in (plan.width, plan.width_v):
        row_bytes = width * (2 if plan.arithmetic.endswith("16") else 4) + 16
        banks = np.arange(8) * row_bytes // 16 % 8
        assert len(set(banks)) == 8


# ---- which tiles are visited: a model of Pairs::reach --------------------------------------------


def place(positions, limit):
    """The first place whose position is not below the limit."""
    return int(np.searchsorted(positions, limit))


def reach(rows, columns, least, most, size):
    """(begin, end, inside_begin, inside_end) in tiles of ``size`` columns."""
    first, last = rows[0], rows[-1]
    return (
        place(columns, first - most) // size,
        -(-place(columns, last - least + 1) // size),
        -(-place(columns, last - most) // size),
        place(columns, first - least + 1) // size,
    )


@pytest.mark.parametrize("seed", range(40))
def test_tiles_outside_have_no_open_pair_and_tiles_inside_no_closed_one(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    rows, columns = (np.sort(rng.integers(0, 60, n)) for n in rng.integers(1, 50, 2))
    least = int(rng.choice([-(2**62), -5, 0]))
    most = int(rng.choice([2**62, 0, 5, 11]))
    ahead = rows[:, None] - columns
    open_pairs = (ahead >= least) & (ahead <= most)
    begin, end, inside_begin, inside_end = reach(rows, columns, least, most, size)
    for tile in range(-(-len(columns) // size)):
        pairs = open_pairs[:, tile * size : (tile + 1) * size]
        if not begin <= tile < end:
            assert not pairs.any()
        elif inside_begin <= tile < inside_end:
            assert pairs.all() and pairs.shape[1] == size
