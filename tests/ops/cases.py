"""What one row of the tables ``cases_*.py`` says about an op; ``test_every_op`` does the rest.

A table is a module beside this one, with a list ``CASES``:

    CASES = [
        Case("exp", ta.exp, ((-2, 2),), np.exp),
        Case("arctan2", ta.arctan2, ((0.5, 2), (-2, 2)), np.arctan2),
        Case("cumsum", lambda x: ta.cumsum(x, 0), ((-2, 2),), shapes=one_shape(min_dims=1)),
        Case("matmul", ta.matmul, ((-2, 2), (-2, 2)), np.matmul, shapes=matmul_shapes()),
    ]
"""

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

__all__ = ["Case", "broadcast_shapes", "one_shape", "same_shapes"]


@dataclass(frozen=True)
class Case:
    """One op, or one way to call it: where it is tested, and against what."""

    name: str
    """As it stands in the name of the test: "sum over the last axis"."""

    fn: Callable
    """Takes one tensor for each domain; returns a tensor, or a list, tuple or dict of them."""

    domains: tuple[tuple[float, float], ...]
    """For each tensor (low, high), between which its values are drawn: where the op is smooth."""

    reference: Callable | None = None
    """The same function of NumPy arrays."""

    order: int = 2
    """The highest order of derivative to check; 0 where there is none (comparisons, argmax)."""

    broadcast: bool = True
    """Whether the tensors may have any shapes that broadcast together; if not, all have one."""

    integer: bool = False
    """Whether to call it with int64 tensors too, and compare with the reference."""

    shapes: SearchStrategy[tuple[tuple[int, ...], ...]] | None = None
    """Draws one shape for each tensor, for ops that do not take any shape."""

    def __str__(self):
        return self.name

    def draw_shapes(self):
        """The strategy for the shapes: the given one, or any that broadcast (or are equal)."""
        if self.shapes is not None:
            return self.shapes
        draw = broadcast_shapes if self.broadcast else same_shapes
        return draw(len(self.domains))


SIZES = st.sampled_from([1, 2, 3, 0, 4])


def one_shape(min_dims=0, max_dims=3, min_size=0):
    """``(shape,)`` for an op of one tensor that needs axes, or elements along each."""
    return same_shapes(1, min_dims, max_dims, min_size)


@st.composite
def same_shapes(draw, count, min_dims=0, max_dims=3, min_size=0):
    """``count`` times one shape: 0-d, empty, and small ones."""
    sizes = SIZES.filter(lambda size: size >= min_size)
    shape = tuple(draw(st.lists(sizes, min_size=min_dims, max_size=max_dims)))
    return (shape,) * count


@st.composite
def broadcast_shapes(draw, count, max_dims=3):
    """``count`` shapes that broadcast together, each stretching the others where it can."""
    (whole,) = draw(same_shapes(1, max_dims=max_dims))
    shapes = []
    for _ in range(count):
        kept = whole[draw(st.integers(0, len(whole))) :]
        shapes.append(tuple(1 if draw(st.booleans()) else size for size in kept))
    shapes[draw(st.integers(0, count - 1))] = whole
    return tuple(shapes)
