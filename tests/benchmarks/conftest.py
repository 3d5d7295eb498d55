"""A problem so small that every contestant solves it at once."""

import pytest

from benchmarks.contestants.problem import Problem, Sizes

TINY = Sizes(V=11, T=6, B=3, D=8, L=2, H=2)
SLOW = ("torch", "torch fused", "torch compiled", "jax")  # only to import them takes seconds


def each(names):
    """The contestants as parameters of a test, the large libraries among the slow tests."""
    return [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in names]


@pytest.fixture
def problem():
    return Problem.draw(TINY)


@pytest.fixture
def path(problem, tmp_path):
    """The problem in a file."""
    problem.save(tmp_path / "problem.npz")
    return tmp_path / "problem.npz"
