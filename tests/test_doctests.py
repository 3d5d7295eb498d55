"""Every example in every docstring of the package runs, and prints what it says."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import tinygrad_attn as ta

PACKAGE = Path(ta.__file__).parent
PROMPTS = {
    path: len(re.findall(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE))
    for path in sorted(PACKAGE.rglob("*.py"))
}


def dotted(path):
    """The name by which a file of the package is imported."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@pytest.mark.parametrize("path", [path for path in PROMPTS if PROMPTS[path]], ids=dotted)
def test_examples_run(path):
    name = dotted(path)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.startswith(ta.__name__):
            raise
        pytest.skip(f"{error.name} is not installed")
    examples = doctest.DocTestFinder().find(module, name)
    found = sum(len(example.examples) for example in examples)
    assert found == PROMPTS[path], "an example stands where doctest does not look"
    said = []
    for example in examples:
        ta.manual_seed(0)
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert not said, "".join(said)
