"""What our code asks of CuPy exists, with the keywords that it passes: read from the sources.

``cupy_api.json`` says what CuPy has; where CuPy itself is installed, that table is held against it.
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


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")
def test_the_table_is_true():
    from tests.standin import make_cupy_api

    now = make_cupy_api.api()
    if now["version"] != API["version"]:
        pytest.skip(f"the table is of CuPy {API['version']}, installed is {now['version']}")
    for section in ("functions", "ufuncs", "methods"):
        for name, entry in API[section].items():
            assert now[section].get(name) == entry, f"{section}: {name}"
    assert set(API["constants"]) <= set(now["constants"])
