"""The walls of the house: imports run downwards only, and each part keeps to its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_attn as ta

PACKAGE = Path(ta.__file__).parent
FILES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}

FLOORS = [  # each may import from those above it here, and from its own
    ["errors"],
    ["backend"],
    ["core"],
    ["ops"],
    ["trees"],
    ["anomaly", "replay", "transforms", "checking", "inside", "interop", "einops_backend"],
    ["profile"],
    ["nn"],
    ["optim"],
    ["models", "data"],
    ["train"],
    ["viz", "doctor"],
    ["__init__", "__main__"],
]
LEVEL = {part: level for level, floor in enumerate(FLOORS) for part in floor}

MAY_IMPORT_NUMPY = {  # above backend/, where arrays are somebody else's business
    "data": "reads and cuts files on the host",
    "train": "writes checkpoints from the host",
    "viz": "draws on the host",
    "models": "reads checkpoints on the host",
}
LAZY = {"cupy", "matplotlib", "mpi4py", "tokenizers", "einops", "torch"}
IMPORTED_LATE = ("backend/cuda/", "einops_backend.py")  # themselves, so they need not be careful

MAY_COMPARE_WITH_CPU = {
    "core/tensor.py": "what is printed names the device, but not the usual one",
    "ops/random.py": "numbers drawn on the host need not be copied there",
}

LONG_FILES = {  # file -> why it is not two
    "core/tensor.py": "one class, and every method of it is short",
    "nn/module.py": "one class, and every method of it is short",
    "nn/transformer.py": "the layers of one paper, side by side",
}


def part_of(file):
    """The floor's part to which a file belongs: "core", "transforms", "__init__"."""
    return file.split("/")[0].removesuffix(".py")


def imports(file, tree):
    """Yield (node, absolute name of a module) for every import in a file."""
    package = ["tinygrad_attn", *file.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            if node.level and not node.module:  # from . import x: each name may be a module
                for alias in node.names:
                    yield node, ".".join([*module, alias.name])
            else:
                yield node, ".".join(module)


@pytest.mark.parametrize("file", FILES)
def test_imports_run_downwards_only(file):
    part = part_of(file)
    for _, module in imports(file, FILES[file]):
        ours, _, rest = module.partition(".")
        if ours != "tinygrad_attn":
            continue
        target = rest.split(".")[0] if rest else "__init__"
        target = target if target in LEVEL else "__init__"
        assert target == part or LEVEL[target] < LEVEL[part], f"{file} imports {module}"


@pytest.mark.parametrize("file", FILES)
def test_numpy_stays_in_the_backend(file):
    part = part_of(file)
    named = {module.split(".")[0] for _, module in imports(file, FILES[file])}
    assert "numpy" not in named or part == "backend" or part in MAY_IMPORT_NUMPY


@pytest.mark.parametrize("file", FILES)
def test_optional_libraries_are_imported_where_they_are_used(file):
    """Not at the top of a module, except of those that are imported late themselves."""
    if file.startswith(IMPORTED_LATE):
        return
    top = ast.Module(
        [n for n in FILES[file].body if isinstance(n, (ast.Import, ast.ImportFrom))], []
    )
    assert not {module.split(".")[0] for _, module in imports(file, top)} & LAZY


@pytest.mark.parametrize("file", FILES)
def test_no_op_asks_for_the_device(file):
    """``if device == "cuda"`` is what backends are there to answer."""
    if part_of(file) in ("backend", "errors"):
        return
    for node in ast.walk(FILES[file]):
        if isinstance(node, ast.Compare):
            texts = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
            names = {"cuda"} if file in MAY_COMPARE_WITH_CPU else {"cpu", "cuda"}
            assert not texts & names, f"{file}:{node.lineno} compares with {texts}"


@pytest.mark.parametrize("module", ["cupy", "matplotlib", "torch", "jax", "mpi4py", "tokenizers"])
def test_importing_the_package_imports_no_optional_library(module):
    code = f"import sys, tinygrad_attn; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent).returncode == 0


@pytest.mark.parametrize("file", FILES)
def test_files_and_functions_stay_short(file):
    lines = len(lines_of(file))
    assert lines <= 300 or file in LONG_FILES, f"{file} has {lines} lines"
    for node in ast.walk(FILES[file]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = code_lines(node)
            name = f"{file}:{node.name}"
            assert length <= 40, f"{name} has {length} lines"


def lines_of(file):
    return (PACKAGE / file).read_text(encoding="utf-8").splitlines()


def code_lines(function):
    """The lines of a function, without its docstring and its signature."""
    body = function.body[ast.get_docstring(function) is not None :]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_exceptions_are_of_things_that_exist():
    long = [file for file in FILES if len(lines_of(file)) > 300]
    assert sorted(LONG_FILES) == sorted(long)
    assert set(MAY_COMPARE_WITH_CPU) <= set(FILES)
    assert set(MAY_IMPORT_NUMPY) <= {part_of(file) for file in FILES}


@pytest.mark.parametrize("file", FILES)
def test_everything_public_has_a_docstring(file):
    tree = FILES[file]
    assert ast.get_docstring(tree), file
    listed = exported(tree)
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in listed:
            assert ast.get_docstring(node), f"{file}: {node.name}"


def exported(tree):
    """The names in ``__all__``, as written."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [c.value for c in ast.walk(node.value) if isinstance(c, ast.Constant)]
    return []


def test_every_part_has_its_floor():
    assert {part_of(file) for file in FILES} <= set(LEVEL)


def test_the_top_level_names_are_ours():
    """No module of Python's, and no page of ``ops``, leaks into ``ta``."""
    for name, value in vars(ta).items():
        if isinstance(value, type(ast)) and not name.startswith("_"):
            assert value.__name__ == f"tinygrad_attn.{name}", f"ta.{name} is {value.__name__}"
