"""What our code asks of CuPy exists, with the keywords that it passes: read from the sources.

``cupy_api.json`` says what CuPy has; where CuPy itself is installed (the extra ``gpu-contract``,
no GPU needed), that table is held against it, and so is all that the CUDA backend asks of devices,
memory and cuBLAS.
A name that only ``ta.ops`` has passes too, as ``namespace(x)`` is that for Tensors; that no raw
array gets there is for ``test_ops_on_standin`` to find.
"""

import ast
import importlib.util
import inspect
import json
from pathlib import Path

import pytest

import tinygrad_attn as ta

PACKAGE = Path(ta.__file__).parent
TABLE = Path(__file__).parents[1] / "standin" / "cupy_api.json"
API = json.loads(TABLE.read_text(encoding="utf-8"))
HOST_ONLY = PACKAGE / "backend" / "cpu"  # is called with NumPy arrays and nothing else
CUPYS_OWN = {"ndarray": [], "cuda": [], "RawModule": ["code=", "options="]}  # NumPy has them not
OF_A_UFUNC = ["out=", "dtype=", "casting="]


def _is_library(node):
    """Whether an expression is an array library: ``xp``, ``self.xp`` or ``namespace(x)``."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "namespace"
    return getattr(node, "id", getattr(node, "attr", None)) == "xp"


def uses():
    """(file:line, function, keywords) for each name that is asked of an array library."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if HOST_ONLY in path.parents:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        keywords = {
            call.func: [keyword.arg for keyword in call.keywords if keyword.arg]
            for call in ast.walk(tree)
            if isinstance(call, ast.Call)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _is_library(node.value):
                where = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                yield where, node.attr, keywords.get(node, [])


def test_the_sources_do_ask_something():
    asked = {name for _, name, _ in uses()}
    assert {"exp", "sum", "where", "sqrt"} <= asked


def test_every_function_that_we_call_exists():
    known = {*API["functions"], *API["ufuncs"], *API["constants"], *dir(ta.ops), *CUPYS_OWN}
    missing = [f"{where}: xp.{name}" for where, name, _ in uses() if name not in known]
    assert not missing, "neither CuPy nor ta.ops has\n" + "\n".join(missing)


def test_every_keyword_that_we_pass_exists():
    wrong = [
        f"{where}: xp.{name}({keyword}=)"
        for where, name, keywords in uses()
        for keyword in keywords
        if not (cupy_takes(name, keyword) or ops_take(name, keyword))
    ]
    assert not wrong, "neither CuPy nor ta.ops has\n" + "\n".join(wrong)


def cupy_takes(name, keyword):
    functions = {**API["functions"], **CUPYS_OWN}
    parameters = OF_A_UFUNC if name in API["ufuncs"] else functions.get(name, [])
    return keyword + "=" in parameters or keyword in parameters or "**kwargs" in parameters


def ops_take(name, keyword):
    op = getattr(ta.ops, name, None)
    return callable(op) and keyword in inspect.signature(op).parameters


WITH_CUPY = pytest.mark.skipif(
    importlib.util.find_spec("cupy") is None, reason="CuPy is not installed"
)


@WITH_CUPY
def test_the_table_is_true():
    from tests.standin import make_cupy_api

    now = make_cupy_api.api()
    if now["version"] != API["version"]:
        pytest.skip(f"the table is of CuPy {API['version']}, installed is {now['version']}")
    for section in ("functions", "ufuncs", "methods"):
        for name, entry in API[section].items():
            assert now[section].get(name) == entry, f"{section}: {name}"
    assert set(API["constants"]) <= set(now["constants"])


# ---- beyond arrays: devices, memory, cuBLAS ------------------------------------------------------


def chains(root):
    """The dotted names that the CUDA backend and the doctor ask of ``root``, without it."""
    files = [*(PACKAGE / "backend" / "cuda").rglob("*.py"), PACKAGE / "doctor" / "gpu.py"]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            while isinstance(node, ast.Attribute):
                names.append(node.attr)
                node = node.value
            if isinstance(node, ast.Name):
                names.append(node.id)
            names.reverse()
            if root in names[:-1]:
                yield ".".join(names[names.index(root) + 1 :])


@WITH_CUPY
def test_all_that_we_ask_of_devices_and_memory_exists():
    import cupy

    asked = {chain for root in ("xp", "cupy") for chain in chains(root)}
    asked = {chain for chain in asked if chain.startswith("cuda.")}
    asked |= {f"cuda.runtime.{chain}" for chain in chains("runtime")}
    assert {"cuda.Device", "cuda.device.get_cublas_handle", "cuda.runtime.CUDA_R_32F"} <= asked
    for chain in asked:
        found = cupy
        for name in chain.split("."):
            assert hasattr(found, name), f"cupy.{chain}"
            found = getattr(found, name)
    assert {"id", "mem_info", "synchronize", "__enter__"} <= set(dir(cupy.cuda.Device))
    assert {"device", "data", "base", "__dlpack__"} <= set(dir(cupy.ndarray))
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)


@WITH_CUPY
def test_cublas_takes_what_we_tell_it():
    """From the text in the compiled module, which cannot be imported without cuBLAS itself."""
    from tests.standin import fake_cublas

    folder = Path(importlib.util.find_spec("cupy_backends").origin).parent / "cuda" / "libs"
    (module,) = (
        p for p in folder.iterdir() if p.name.startswith("cublas.") and "pyx" not in p.name
    )
    text = module.read_bytes().decode("latin-1")
    asked = set(chains("cublas"))
    assert {"gemmEx", "gemmStridedBatchedEx", "CUBLAS_COMPUTE_32F"} <= asked
    for name in asked:
        assert name in text, f"cublas.{name}"
    for name in ("gemmEx", "gemmStridedBatchedEx", "setMathMode"):
        said = text[text.index(f"{name}(intptr_t handle") :]
        parameters = said[said.index("(") + 1 : said.index(")")].split(", ")
        ours = inspect.signature(getattr(fake_cublas, name)).parameters
        assert [parameter.split()[-1] for parameter in parameters] == list(ours), name


@WITH_CUPY
def test_every_signature_that_the_doctor_and_the_allocator_rely_on():
    import cupy

    error = cupy.cuda.memory.OutOfMemoryError(10, 20)
    assert str(error).startswith("Out of memory allocating 10 bytes")
    assert callable(cupy.cuda.get_allocator())
    assert cupy.cuda.runtime.runtimeGetVersion() >= 12000
