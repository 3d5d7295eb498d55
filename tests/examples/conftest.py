"""Running the examples inside the tests, as the command line would run them."""

import importlib
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


class Ended(NamedTuple):
    """How a run of an example ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def example(monkeypatch, capsys):
    """``example("sort_digits", "--quick")`` runs it and returns (exit code, stdout, stderr)."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run(name, *flags):
        module = importlib.import_module(name)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, flags)])
        code = 0
        try:
            importlib.import_module("_common").run(module.main)
        except SystemExit as end:
            code = end.code or 0
        return Ended(code, *capsys.readouterr())

    return run
